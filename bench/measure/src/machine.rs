//! Where it is measured: what a reader of the figures has to know.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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

/// A block device, in `/sys`.
#[derive(Clone, Debug)]
pub struct Device {
    /// `/sys/dev/block/MAJOR:MINOR`.
    path: PathBuf,
}

/// Operations that a device has completed since the machine started, whoever asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Writes, also forced ones.
    pub writes: u64,
    /// Flushes of its cache.
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

/// What a durable write shows up as in [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// The device has a volatile cache and knows no forced writes: every sync ends with a flush.
    Volatile,
    /// It has none, or can be forced to write through it: a sync may be a write alone.
    Forced,
}

/// Of the block layer's counters, whatever the device.
const SECTOR: u64 = 512;

impl Device {
    /// The device a directory lies on; none for tmpfs, overlays and the like.
    pub fn of(dir: &Path) -> Option<Device> {
        let device = fs::metadata(dir).ok()?.dev();
        let path = PathBuf::from(format!(
            "/sys/dev/block/{}:{}",
            rustix::fs::major(device),
            rustix::fs::minor(device)
        ));
        path.exists().then_some(Device { path })
    }

    /// Bytes written to it since the machine started, by everybody.
    pub fn written_bytes(&self) -> Option<u64> {
        let stat = fs::read_to_string(self.path.join("stat")).ok()?;
        // Reads: requests, merges, sectors, time; then the same of writes.
        let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
        Some(sectors * SECTOR)
    }

    /// Operations completed so far.
    pub fn counters(&self) -> Option<Counters> {
        // Reads and writes with four fields each, three of the queue, four of discards, then flushes (Linux 5.5).
        let field = |path: &Path, at| {
            fs::read_to_string(path.join("stat")).ok()?.split_whitespace().nth(at)?.parse().ok()
        };
        Some(Counters { writes: field(&self.path, 4)?, flushes: field(&self.disk(), 15)? })
    }

    /// How a sync is counted.
    pub fn write_cache(&self) -> WriteCache {
        let queue = self.disk().join("queue");
        let setting = |what| fs::read_to_string(queue.join(what)).unwrap_or_default();
        match (setting("write_cache").trim(), setting("fua").trim()) {
            ("write back", "0") => WriteCache::Volatile,
            _ => WriteCache::Forced,
        }
    }

    /// A partition has neither a queue nor flushes of its own.
    fn disk(&self) -> PathBuf {
        if self.path.join("partition").exists() { self.path.join("..") } else { self.path.clone() }
    }

    fn describe(&self) -> String {
        let name = fs::read_link(&self.path)
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let queue = |what| fs::read_to_string(self.path.join("queue").join(what)).unwrap_or_default();
        let (cache, fua) = (queue("write_cache"), queue("fua"));
        match (cache.trim(), fua.trim()) {
            ("", _) => name,
            (cache, fua) => format!("{name} ({cache} cache, FUA {fua})"),
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
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut best: Option<(usize, String)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(_), Some(at), Some(kind), Some(options)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if dir.starts_with(at) && best.as_ref().is_none_or(|(length, _)| *length <= at.len()) {
            best = Some((at.len(), format!("{kind} ({options})")));
        }
    }
    best.map(|(_, text)| text)
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
