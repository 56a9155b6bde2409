//! `process_*` and `os_*`: what the kernel says about this process, read at each scrape.

use std::fmt::Write;
use std::fs;

use rustix::process::{Resource, getrlimit};

/// Writes the families in the text format; leaves out what can not be read.
pub(super) fn render(out: &mut String) {
    let mut gauge = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let limit = |resource| getrlimit(resource).current.map_or(f64::INFINITY, |limit| limit as f64);
    let files = limit(Resource::Nofile);
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory being read is one of them.
        let open = open.count().saturating_sub(1) as f64;
        gauge("os_fd_limit", "gauge", "The file descriptor limit.", files);
        gauge("os_fd_used", "gauge", "The number of used file descriptors.", open);
        gauge("process_max_fds", "gauge", "Maximum number of open file descriptors.", files);
        gauge("process_open_fds", "gauge", "Number of open file descriptors.", open);
    }
    let Some(stat) = Stat::read() else { return };
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    gauge(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        stat.cpu_ticks as f64 / ticks,
    );
    let resident = stat.resident_pages as f64 * rustix::param::page_size() as f64;
    gauge("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident);
    if let Some(boot) = boot_time() {
        let start = boot as f64 + stat.start_ticks as f64 / ticks;
        let help = "Start time of the process since unix epoch in seconds.";
        gauge("process_start_time_seconds", "gauge", help, start);
    }
    let virtual_bytes = stat.virtual_bytes as f64;
    gauge("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", virtual_bytes);
    let most = limit(Resource::As);
    let help = "Maximum amount of virtual memory available in bytes.";
    gauge("process_virtual_memory_max_bytes", "gauge", help, if most.is_finite() { most } else { -1.0 });
}

struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the name in parentheses and may contain anything; the third follows the last one.
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
