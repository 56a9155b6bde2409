//! What else the machine did: CPU that neither the member nor its clients used.

use std::fs;

use measure::cpu;

/// The machine's processors since it started, and this process since it did; seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Processors {
    busy: f64,
    idle: f64,
    own: f64,
}

impl Processors {
    /// None where the kernel does not say.
    pub(super) fn read() -> Option<Processors> {
        let (busy, idle) = parse(&fs::read_to_string("/proc/stat").ok()?)?;
        let second = rustix::param::clock_ticks_per_second() as f64;
        Some(Processors { busy: busy / second, idle: idle / second, own: cpu::of_process().as_secs_f64() })
    }

    /// Share of all processors that others used since `before`, when the member used so many seconds of them.
    pub(super) fn others_since(&self, before: &Processors, member: f64) -> f64 {
        let (busy, idle, own) = (self.busy - before.busy, self.idle - before.idle, self.own - before.own);
        ((busy - own - member) / (busy + idle).max(1e-9)).clamp(0.0, 1.0)
    }
}

/// Ticks at work and without work. What a hypervisor gave to others is work, too: nobody here had it.
fn parse(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user, nice, system, idle, waiting for disks, interrupts, soft ones, stolen; guests are in user already.
    let &[user, nice, system, idle, waiting, interrupts, soft, stolen, ..] = &ticks[..] else { return None };
    Some((user + nice + system + interrupts + soft + stolen, idle + waiting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_idleness_are_told_apart() {
        let text = "cpu  100 10 50 800 40 5 15 20 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse(text), Some((200.0, 840.0)));
        assert_eq!(parse("cpu 1 2 3\n"), None);
        assert!(Processors::read().is_some());
    }

    #[test]
    fn others_are_what_is_left() {
        let before = Processors { busy: 10.0, idle: 10.0, own: 1.0 };
        let after = Processors { busy: 15.0, idle: 15.0, own: 2.5 };
        assert!((after.others_since(&before, 2.5) - 0.1).abs() < 1e-9);
        assert_eq!(after.others_since(&before, 9.0), 0.0, "ticks are coarse");
    }
}
