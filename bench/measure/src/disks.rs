//! The disks below a file system, through partitions, device mapper, RAID and loop devices, and what the kernel counts on
//! them. It counts flushes only where there is a queue, and neighbors on another partition only on the whole disk: whoever
//! wants to know what a sync did has to look at the bottom.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use crate::mount::Mount;

/// Stacks are not deeper, and a loop in them would be the kernel's mistake.
const DEEPEST: usize = 8;
/// Of the block layer's counters, whatever the device.
const SECTOR: u64 = 512;

/// A file system's device and what it stands on.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// From the file system downwards: `vda1 (partition) on vda`.
    pub text: String,
    /// The device that the file system knows, in `/sys`; none for tmpfs, overlays and the like.
    pub top: Option<PathBuf>,
    /// Those that have no others below them.
    pub disks: Vec<Disk>,
}

/// A disk in `/sys`.
#[derive(Clone, Debug)]
pub struct Disk {
    /// `vda`.
    pub name: String,
    /// `/sys/devices/.../block/vda`.
    pub path: PathBuf,
    /// `254:0`, as limits name it.
    pub number: String,
}

/// What a device has done since the machine started, whoever asked for it: `/sys/block/*/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes, also forced ones.
    pub writes: u64,
    /// Bytes in them.
    pub written_bytes: u64,
    /// Flushes of its cache; Linux counts them from 5.5 on.
    pub flushes: Option<u64>,
}

impl Counts {
    /// What was added since `before`.
    #[must_use]
    pub fn since(self, before: Counts) -> Counts {
        let flushes = self.flushes.zip(before.flushes);
        Counts {
            writes: self.writes.saturating_sub(before.writes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
            flushes: flushes.map(|(after, before)| after.saturating_sub(before)),
        }
    }
}

/// What a durable write shows up as in [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// It has a volatile cache and knows no forced writes: every sync ends with a flush.
    Volatile,
    /// It has a volatile cache and can be forced to write through it: a sync may be a write alone, which looks like one that
    /// stays in the cache.
    Forced,
    /// It has none that forgets: a write that is done is durable.
    Safe,
    /// The kernel does not say, or does not count.
    Unknown,
}

impl Stack {
    /// Below a directory of this machine.
    pub fn below(dir: &Path) -> Stack {
        let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let root = Path::new("/");
        let device = fs::metadata(dir).map_or(0, |found| found.dev());
        Stack::of(root, (major(device), minor(device)), Mount::of(root, &path).as_ref())
    }

    /// `device` is what `stat` says; file systems with made-up numbers (btrfs) name their device in the mount. `root` is `/` but
    /// in tests.
    pub fn of(root: &Path, device: (u32, u32), mount: Option<&Mount>) -> Stack {
        let numbered = root.join(format!("sys/dev/block/{}:{}", device.0, device.1));
        let named = mount.and_then(|mount| Some(mount.source.strip_prefix("/dev/")?.replace('/', "!")));
        let found = numbered.canonicalize().ok().or_else(|| {
            // A name of the device mapper is a link in /dev; its kernel name is the end of that link.
            let named = named?;
            let link = fs::read_link(root.join(format!("dev/{}", named.replace('!', "/")))).ok();
            let kernel = link.and_then(|link| Some(link.file_name()?.to_str()?.to_owned())).unwrap_or(named);
            root.join(format!("sys/class/block/{kernel}")).canonicalize().ok()
        });
        let mut stack = Stack::default();
        if let Some(path) = found {
            stack.text = stack.descend(&path, DEEPEST);
            stack.top = Some(path);
        }
        stack
    }

    /// Describes a device and what is below it.
    fn descend(&mut self, path: &Path, deep: usize) -> String {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if deep == 0 {
            return name;
        }
        if path.join("partition").exists()
            && let Some(whole) = path.parent()
        {
            return format!("{name} (partition) on {}", self.descend(whole, deep - 1));
        }
        let kind = kind(path);
        let mut below: Vec<_> = fs::read_dir(path.join("slaves"))
            .map(|found| found.filter_map(|entry| entry.ok()?.path().canonicalize().ok()).collect())
            .unwrap_or_default();
        below.sort();
        if below.is_empty() {
            let number = read(&path.join("dev")).unwrap_or_default();
            if !self.disks.iter().any(|disk| disk.name == name) {
                self.disks.push(Disk { name: name.clone(), path: path.to_owned(), number });
            }
            return name + &kind;
        }
        let below: Vec<_> = below.iter().map(|path| self.descend(path, deep - 1)).collect();
        match below.as_slice() {
            [one] => format!("{name}{kind} on {one}"),
            several => format!("{name}{kind} on [{}]", several.join(", ")),
        }
    }

    /// Of each disk; none if there is no disk, or one does not say.
    pub fn counts(&self) -> Option<Vec<Counts>> {
        let counts: Option<Vec<Counts>> = self.disks.iter().map(Disk::counts).collect();
        counts.filter(|counts| !counts.is_empty())
    }

    /// How a sync of the whole is counted.
    pub fn write_cache(&self) -> WriteCache {
        let caches: Vec<WriteCache> = self.disks.iter().map(Disk::write_cache).collect();
        let first = [WriteCache::Unknown, WriteCache::Volatile, WriteCache::Forced, WriteCache::Safe];
        first.into_iter().find(|cache| caches.contains(cache)).unwrap_or(WriteCache::Unknown)
    }
}

impl Disk {
    /// So far; none if the kernel does not say.
    pub fn counts(&self) -> Option<Counts> {
        let own = counts_of(&self.path)?;
        // An NVMe disk with several paths: the flushes are counted at the paths.
        let Some(all) = self.path.parent() else { return Some(own) };
        let mut paths = Counts::default();
        for entry in fs::read_dir(all).into_iter().flatten().flatten() {
            let is_path = entry.file_name().to_str().is_some_and(|name| is_path_of(name, &self.name));
            if is_path && let Some(found) = counts_of(&entry.path()) {
                paths.writes += found.writes;
                paths.written_bytes += found.written_bytes;
                paths.flushes = Some(paths.flushes.unwrap_or(0) + found.flushes?);
            }
        }
        Some(Counts {
            writes: own.writes.max(paths.writes),
            written_bytes: own.written_bytes.max(paths.written_bytes),
            flushes: own.flushes.max(paths.flushes),
        })
    }

    /// A file of the disk's folder without the white space around it; none if it is absent or empty.
    pub fn read(&self, name: &str) -> Option<String> {
        read(&self.path.join(name))
    }

    /// How a sync is counted.
    pub fn write_cache(&self) -> WriteCache {
        match (self.read("queue/write_cache").as_deref(), self.read("queue/fua").as_deref()) {
            // Of drivers without a queue of requests, flushes are not counted: the counter never moves.
            (Some("write back"), Some("0")) => match self.counts().and_then(|counts| counts.flushes) {
                Some(1..) => WriteCache::Volatile,
                _ => WriteCache::Unknown,
            },
            (Some("write back"), Some(_)) => WriteCache::Forced,
            (Some("write through" | "none"), _) => WriteCache::Safe,
            _ => WriteCache::Unknown,
        }
    }
}

/// What a device is made by, in parentheses.
fn kind(path: &Path) -> String {
    if let Some(name) = read(&path.join("dm/name")) {
        let uuid = read(&path.join("dm/uuid")).unwrap_or_default();
        let made_by = match uuid.split('-').next() {
            Some("LVM") => "LVM",
            Some("CRYPT") => "encrypted",
            Some("mpath") => "multipath",
            _ => "device mapper",
        };
        return format!(" ({made_by} {name})");
    }
    if let Some(level) = read(&path.join("md/level")) {
        return format!(" ({level})");
    }
    if let Some(file) = read(&path.join("loop/backing_file")) {
        return format!(" (the file {file})");
    }
    String::new()
}

/// Whether `nvme0c1n1` is a path of `nvme0n1`.
fn is_path_of(name: &str, disk: &str) -> bool {
    let numbers = |text: &str| {
        let (controller, namespace) = text.strip_prefix("nvme")?.rsplit_once('n')?;
        Some((controller.to_owned(), namespace.to_owned()))
    };
    let (Some((path, path_space)), Some((head, head_space))) = (numbers(name), numbers(disk)) else {
        return false;
    };
    path_space == head_space && path.split_once('c').is_some_and(|(controller, _)| controller == head)
}

/// Of any device's folder in `/sys`.
pub(crate) fn counts_of(device: &Path) -> Option<Counts> {
    parse(&fs::read_to_string(device.join("stat")).ok()?)
}

/// Reads and writes with four numbers each (requests, merges, sectors, time), three of the queue, four of discards, then flushes.
fn parse(stat: &str) -> Option<Counts> {
    let numbers: Vec<Option<u64>> = stat.split_whitespace().map(|word| word.parse().ok()).collect();
    let number = |at: usize| numbers.get(at).copied().flatten();
    Some(Counts { writes: number(4)?, written_bytes: number(6)? * SECTOR, flushes: number(15) })
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn fields_of_the_kernel() {
        let whole = "1 2 3 4 500 6 7 8 9 10 11 12 13 14 15 1600 17";
        assert_eq!(parse(whole), Some(Counts { writes: 500, written_bytes: 3584, flushes: Some(1600) }));
        let old = "1 2 3 4 500 6 7 8 9 10 11";
        assert_eq!(parse(old), Some(Counts { writes: 500, written_bytes: 3584, flushes: None }));
        assert_eq!(parse("1 2 x"), None);
        assert!(is_path_of("nvme0c1n1", "nvme0n1"));
        for other in ["nvme0n1", "nvme1c1n1", "nvme0c1n2", "sda", "nvme"] {
            assert!(!is_path_of(other, "nvme0n1"), "{other}");
        }
    }

    /// A logical volume on a partition of each of two disks.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Machine {
            let machine = Machine(tempfile::tempdir().unwrap());
            for disk in ["sda", "sdb"] {
                machine.write(&format!("{disk}/dev"), "8:0");
                machine.write(&format!("{disk}/queue/write_cache"), "write back\n");
                machine.write(&format!("{disk}/queue/fua"), "0\n");
                machine.write(&format!("{disk}/{disk}2/partition"), "2");
                machine.stat(&format!("{disk}/{disk}2"), 7, 0);
                machine.stat(disk, 100, 50);
            }
            machine.write("dm-0/dm/name", "vg-data");
            machine.write("dm-0/dm/uuid", "LVM-x");
            machine.write("dm-0/queue/write_cache", "write back\n");
            machine.write("dm-0/queue/fua", "0\n");
            machine.stat("dm-0", 30, 0);
            fs::create_dir_all(machine.block("dm-0/slaves")).unwrap();
            for disk in ["sda", "sdb"] {
                let part = format!("{disk}2");
                symlink(machine.block(disk).join(&part), machine.block("dm-0/slaves").join(&part)).unwrap();
            }
            fs::create_dir_all(machine.0.path().join("sys/dev/block")).unwrap();
            symlink(machine.block("dm-0"), machine.0.path().join("sys/dev/block/253:0")).unwrap();
            symlink(machine.block("sda/sda2"), machine.0.path().join("sys/dev/block/8:2")).unwrap();
            machine
        }

        fn block(&self, name: &str) -> PathBuf {
            self.0.path().join("sys/devices/block").join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.block(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn stat(&self, name: &str, writes: u64, flushes: u64) {
            self.write(
                &format!("{name}/stat"),
                &format!("1 2 3 4 {writes} 6 8 8 9 10 11 12 13 14 15 {flushes} 9"),
            );
        }

        fn stack(&self, device: (u32, u32)) -> Stack {
            Stack::of(self.0.path(), device, None)
        }
    }

    #[test]
    fn a_volume_is_counted_at_the_disks_below_it() {
        let machine = Machine::new();
        let stack = machine.stack((253, 0));
        let names: Vec<_> = stack.disks.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["sda", "sdb"]);
        assert!(stack.text.starts_with("dm-0 (LVM vg-data) on [sda2 (partition) on sda"), "{}", stack.text);
        // The volume itself has counted no flush, and never will.
        assert_eq!(stack.write_cache(), WriteCache::Volatile);
        let before = stack.counts().unwrap();
        assert_eq!(before[0], Counts { writes: 100, written_bytes: 4096, flushes: Some(50) });
        machine.stat("sdb", 103, 52);
        let since: Vec<_> =
            stack.counts().unwrap().into_iter().zip(before).map(|(now, then)| now.since(then)).collect();
        assert_eq!((since[0].writes, since[0].flushes), (0, Some(0)));
        assert_eq!((since[1].writes, since[1].flushes), (3, Some(2)));
        // A partition has neither flushes nor a cache of its own, and does not see the one beside it.
        let part = machine.stack((8, 2));
        assert_eq!(part.counts().unwrap()[0].writes, 100);
        assert_eq!(part.write_cache(), WriteCache::Volatile);
    }

    #[test]
    fn what_a_sync_shows_up_as() {
        let machine = Machine::new();
        let cache = || machine.stack((253, 0)).write_cache();
        machine.write("sda/queue/fua", "1");
        assert_eq!(cache(), WriteCache::Volatile, "the other one still needs flushes");
        machine.write("sdb/queue/fua", "1");
        assert_eq!(cache(), WriteCache::Forced);
        machine.write("sda/queue/write_cache", "write through");
        assert_eq!(cache(), WriteCache::Forced);
        machine.write("sdb/queue/write_cache", "write through");
        assert_eq!(cache(), WriteCache::Safe);
        // A counter that has never moved is none.
        machine.write("sda/queue/write_cache", "write back");
        machine.write("sda/queue/fua", "0");
        machine.stat("sda", 100, 0);
        assert_eq!(cache(), WriteCache::Unknown);
        let none = machine.stack((1, 1));
        assert_eq!((none.write_cache(), none.counts()), (WriteCache::Unknown, None));
        assert!(none.top.is_none() && none.text.is_empty());
    }
}
