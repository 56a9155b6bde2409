//! Where it is measured: what a reader of the figures has to know.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::disks::WriteCache;
use crate::disks::{Stack, counts_of};
use crate::mount::Mount;

/// The machine and its disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many of them this process may use.
    pub cpus: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Release of Linux.
    pub kernel: String,
    /// Type and mount options.
    pub file_system: String,
    /// Name, cache mode and FUA of the block device.
    pub device: String,
    /// How the log makes writes durable here.
    pub method: String,
}

impl Machine {
    /// Looks around from a directory. What can't be found out stays empty.
    pub fn of(dir: &Path, method: String) -> Machine {
        let cpu_info = read("/proc/cpuinfo");
        Machine {
            processor: field(&cpu_info, "model name").unwrap_or_default().to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, Into::into),
            memory_bytes: memory_bytes(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(dir).unwrap_or_default(),
            device: Device::of(dir).map_or_else(String::new, |device| device.describe()),
            method,
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{} CPUs ({}), {} MiB memory, Linux {}, {} on {}, durable writes by {}",
            self.cpus,
            self.processor,
            self.memory_bytes >> 20,
            self.kernel,
            self.file_system,
            self.device,
            self.method
        )
    }
}

/// Bytes of memory; 0 where nobody says.
pub fn memory_bytes() -> u64 {
    field(&read("/proc/meminfo"), "MemTotal").map_or(0, kibibytes)
}

/// What a directory's file system lies on.
#[derive(Clone, Debug)]
pub struct Device {
    /// In `/sys`.
    top: PathBuf,
    stack: Stack,
}

/// Operations that a device has completed since the machine started, whoever asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Writes, also forced ones, of all disks below it.
    pub writes: u64,
    /// Flushes of its cache: where there are several disks below, a flush goes to each of them and counts as one.
    pub flushes: u64,
}

impl Counters {
    /// What was added since `before`.
    #[must_use]
    pub fn since(self, before: Counters) -> Counters {
        Counters {
            writes: self.writes.saturating_sub(before.writes),
            flushes: self.flushes.saturating_sub(before.flushes),
        }
    }
}

impl Device {
    /// The device a directory lies on; none for tmpfs, overlays and the like.
    pub fn of(dir: &Path) -> Option<Device> {
        Device::on(Stack::below(dir))
    }

    fn on(stack: Stack) -> Option<Device> {
        Some(Device { top: stack.top.clone()?, stack })
    }

    /// Bytes written to it since the machine started, by everybody; to a partition or a volume, where it is one.
    pub fn written_bytes(&self) -> Option<u64> {
        counts_of(&self.top).map(|counts| counts.written_bytes)
    }

    /// Operations completed so far by the disks below; none where they are not counted.
    pub fn counters(&self) -> Option<Counters> {
        let counts = self.stack.counts()?;
        let flushes = counts.iter().map(|counts| counts.flushes).sum::<Option<u64>>()?;
        let writes = counts.iter().map(|counts| counts.writes).sum();
        Some(Counters { writes, flushes: flushes / counts.len() as u64 })
    }

    /// How a sync is counted.
    pub fn write_cache(&self) -> WriteCache {
        self.stack.write_cache()
    }

    fn describe(&self) -> String {
        let mut caches: Vec<_> = self
            .stack
            .disks
            .iter()
            .map(|disk| (disk.read("queue/write_cache"), disk.read("queue/fua")))
            .collect();
        caches.dedup();
        match caches.as_slice() {
            [(Some(cache), fua)] => {
                let fua = fua.as_deref().unwrap_or("unknown");
                format!("{} ({cache} cache, FUA {fua})", self.stack.text)
            }
            _ => self.stack.text.clone(),
        }
    }
}

/// A figure of `/proc/PID/status`, in bytes.
pub fn status_bytes(pid: &str, what: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, what).map(kibibytes)
}

/// Bytes this process has caused to be written to storage (`/proc/self/io`).
pub fn own_written_bytes() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    field(&io, "write_bytes")?.parse().ok()
}

/// Page faults of this process that had to read the disk.
pub fn own_major_faults() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the program's name, which may hold anything: state, parent, group, session, terminal, its group, flags,
    // minor faults, those of children, major faults.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(9)?.parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|found| found.trim() == name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn kibibytes(value: &str) -> u64 {
    value.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Type and options of the mount that holds a directory.
fn file_system(dir: &Path) -> Option<String> {
    let mount = Mount::of(Path::new("/"), &dir.canonicalize().ok()?)?;
    Some(format!("{} ({})", mount.kind, mount.options.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself() {
        let machine = Machine::of(Path::new("/tmp"), "x".to_owned());
        assert!(machine.cpus > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(!machine.kernel.is_empty() && !machine.file_system.is_empty(), "{machine:?}");
        assert!(own_major_faults().is_some());
        assert!(status_bytes("self", "RssAnon").is_some_and(|bytes| bytes > 4096));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "wchar: 5\nwrite_bytes: 77\ncancelled_write_bytes: 3\n";
        assert_eq!(field(text, "write_bytes"), Some("77"));
        assert_eq!(field(text, "bytes"), None);
    }
}
