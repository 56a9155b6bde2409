//! Every branch of the judgment, on trees that look like /sys and /proc. Honest devices first.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::super::super::environment::{Place, Root};
use super::evidence::Evidence;
use super::judge::{Answer, Verdict, judge};
use super::probe::{Counted, Probe};

const SYNCS: u64 = 400;

/// A machine with one disk, and what happens to its counters during the syncs.
#[derive(Clone)]
struct Machine {
    disk: &'static str,
    /// Folder of the disk below /sys/devices.
    bus: &'static str,
    file_system: &'static str,
    source: &'static str,
    options: &'static str,
    cache: Option<&'static str>,
    own_word: Option<&'static str>,
    vendor: Option<&'static str>,
    turns: bool,
    virtualized: bool,
    /// Of each sync.
    writes: f64,
    flushes: f64,
    /// Of other programs, each second.
    others: f64,
    old_kernel: bool,
    partition: bool,
    micros: (f64, Option<f64>, f64),
}

/// An NVMe disk for a desk: a volatile cache, and flushes that take their time.
const NVME: Machine = Machine {
    disk: "nvme0n1",
    bus: "pci0/nvme/nvme0",
    file_system: "ext4",
    source: "/dev/nvme0n1",
    options: "rw,relatime",
    cache: Some("write back"),
    own_word: None,
    vendor: None,
    turns: false,
    virtualized: false,
    writes: 1.0,
    flushes: 1.0,
    others: 0.0,
    old_kernel: false,
    partition: true,
    micros: (1.5, Some(20.0), 900.0),
};
/// A disk that turns, on SATA.
const SATA: Machine = Machine {
    disk: "sda",
    bus: "pci0/ata1/host0/target0/0:0:0:0",
    source: "/dev/sda1",
    vendor: Some("ATA"),
    own_word: Some("write back"),
    turns: true,
    micros: (1.5, Some(90.0), 8_400.0),
    ..NVME
};
const VIRTIO: Machine = Machine {
    disk: "vda",
    bus: "pci0/virtio1",
    source: "/dev/vda",
    vendor: Some("0x1af4"),
    turns: true,
    virtualized: true,
    partition: false,
    micros: (1.5, Some(120.0), 300.0),
    ..NVME
};

impl Machine {
    fn stat(&self, disk: &Path, syncs: u64, seconds: f64) {
        let count = |each: f64| 1000 + (each * syncs as f64 + self.others * seconds) as u64;
        let flushes = if self.old_kernel { String::new() } else { format!(" {} 9", count(self.flushes)) };
        let text = format!("1 2 3 4 {} 6 7 8 9 10 11 12 13 14 15{flushes}\n", count(self.writes));
        fs::write(disk.join("stat"), text).unwrap();
    }

    fn judge(&self) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let disk = root.join("sys/devices").join(self.bus).join("block").join(self.disk);
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        };
        write(&disk.join("queue/rotational"), if self.turns { "1" } else { "0" });
        write(&disk.join("dev"), "8:0");
        let optional = [("queue/write_cache", self.cache), ("device/vendor", self.vendor)];
        for (file, text) in optional.into_iter().filter_map(|(file, text)| Some((file, text?))) {
            write(&disk.join(file), text);
        }
        if let Some(word) = self.own_word {
            write(&disk.join("device/scsi_disk/0:0:0:0/cache_type"), word);
        }
        let mut place = disk.clone();
        if self.partition {
            place = disk.join("part1");
            write(&place.join("partition"), "1");
        }
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        if self.disk != "none" {
            symlink(&place, root.join("sys/dev/block/8:1")).unwrap();
        }
        let mount =
            format!("30 1 8:1 / / {} shared:1 - {} {} rw", self.options, self.file_system, self.source);
        write(&root.join("proc/self/mountinfo"), &mount);
        let flags = if self.virtualized { "flags : fpu hypervisor" } else { "flags : fpu" };
        write(&root.join("proc/cpuinfo"), flags);
        self.stat(&disk, 0, 0.0);

        let at = Place { path: "/data".into(), device: (8, 1) };
        let mut evidence = Evidence::gather(&Root(root.to_owned()), &at);
        let mut counted = Counted::default();
        let begin = evidence.counts();
        self.stat(&disk, 0, 1.0);
        let between = evidence.counts();
        counted.quiet.add(Duration::from_secs(1), &begin, &between);
        self.stat(&disk, SYNCS, 2.0);
        counted.syncs.add(Duration::from_secs(1), &between, &evidence.counts());
        let micros = |micros: f64| Duration::from_secs_f64(micros / 1e6);
        let (copy, direct, sync) = self.micros;
        let probe =
            Probe { copy: micros(copy), direct: direct.map(micros), sync: micros(sync), syncs: SYNCS };
        evidence.measured(&counted, probe);
        assert!(evidence.figures().len() > 4);
        judge(&evidence)
    }

    fn expect(&self, answer: Answer, text: &str) {
        let verdict = self.judge();
        assert_eq!(verdict.answer, answer, "{verdict:?}");
        assert!(verdict.reasons.join(" ").contains(text), "{text} is not in {verdict:?}");
    }
}

#[test]
fn honest_devices_are_not_accused() {
    use Answer::{CannotTell, Plausible};
    NVME.expect(Plausible, "400 syncs flushed the volatile cache of nvme0n1 400 times");
    // Two journal writes a sync, and neighbors.
    Machine { writes: 3.0, flushes: 2.7, ..NVME }.expect(Plausible, "1,080 times");
    SATA.expect(Plausible, "flushed");
    VIRTIO.expect(Plausible, "what the host does with a flush");
    // Power-loss protection: no volatile cache, no flushes, fast.
    Machine { cache: Some("write through"), flushes: 0.0, micros: (1.5, Some(15.0), 18.0), ..NVME }
        .expect(Plausible, "power-loss protection");
    // The same, but announced as a cache: flushes that cost nothing.
    Machine { micros: (1.5, Some(15.0), 18.0), ..NVME }.expect(CannotTell, "either power-loss protection");
    // A write cache that was turned off, by the disk's own word.
    let off = Machine { cache: Some("write through"), own_word: Some("write through"), flushes: 0.0, ..SATA };
    off.expect(Plausible, "no volatile write cache");
    // A controller with a battery, which says that it turns and answers from memory, with or without a cache to flush.
    for cache in ["write back", "write through"] {
        let raid = Machine { cache: Some(cache), own_word: None, vendor: Some("AVAGO"), ..SATA };
        Machine { micros: (1.5, Some(40.0), 60.0), ..raid }.expect(CannotTell, "if a battery keeps it");
    }
    // A virtual disk without a cache: slow enough to be somewhere else, or not.
    let through = Machine { cache: Some("write through"), flushes: 0.0, ..VIRTIO };
    through.expect(Plausible, "what the host does");
    Machine { micros: (1.5, Some(20.0), 25.0), ..through }
        .expect(CannotTell, "wrong if it copies into its memory");
    Machine { micros: (1.5, Some(24.0), 25.0), ..VIRTIO }.expect(CannotTell, "or they are ignored");
    // A virtual disk says that it turns, and is not held to it.
    Machine { micros: (1.5, Some(20.0), 150.0), ..VIRTIO }.expect(Plausible, "flushed");
    // nobarrier harms nobody where there is no cache.
    Machine { options: "rw,nobarrier", cache: Some("write through"), flushes: 0.0, ..NVME }
        .expect(Plausible, "no volatile write cache");
}

#[test]
fn what_the_kernel_does_not_see_is_not_judged() {
    use Answer::CannotTell;
    for (file_system, text) in [
        ("tmpfs", "memory"),
        ("nfs4", "as honest as the server"),
        ("fuse.sshfs", "as honest as the process"),
        ("9p", "as honest as the server, or the host"),
        ("zfs", "several devices"),
        ("overlay", "no device"),
    ] {
        Machine { file_system, disk: "none", source: "none", ..NVME }.expect(CannotTell, text);
    }
    Machine { disk: "zram0", bus: "virtual", ..NVME }.expect(CannotTell, "is memory");
    Machine { old_kernel: true, ..NVME }.expect(CannotTell, "does not count flushes");
    Machine { cache: None, ..NVME }
        .expect(CannotTell, "does not say whether the device has a volatile cache");
    Machine { bus: "pci0/usb1/1-1/host6", cache: Some("write through"), flushes: 0.0, ..NVME }
        .expect(CannotTell, "behind USB");
}

/// On a disk that others flush, too, one that flushes nothing looks by the plain count like one that flushes each time.
#[test]
fn flushes_of_others_hide_nothing() {
    use Answer::{CannotTell, Plausible, Suspicious};
    Machine { others: 477.0, ..NVME }.expect(Plausible, "877 times (some 477 of them for others)");
    Machine { others: 100.0, flushes: 0.0, ..NVME }.expect(Suspicious, "flushed it 100 times");
    for (others, flushes) in [(400.0, 0.0), (700.0, 0.0), (400.0, 0.5), (5_000.0, 0.0), (5_000.0, 1.0)] {
        Machine { others, flushes, ..NVME }.expect(CannotTell, "Run it again while they are quiet");
    }
    // Nor do their writes.
    let through = Machine { cache: Some("write through"), flushes: 0.0, ..NVME };
    Machine { others: 400.0, ..through.clone() }.expect(Plausible, "no volatile write cache");
    Machine { others: 400.0, writes: 0.0, ..through }
        .expect(CannotTell, "whether the syncs did cannot be seen");
}

/// Each with the mistake that it must find.
#[test]
fn what_is_wrong_is_named() {
    use Answer::Suspicious;
    Machine { options: "rw,nobarrier", ..NVME }.expect(Suspicious, "Mounted with nobarrier");
    Machine { file_system: "overlay", options: "rw,volatile", ..NVME }.expect(Suspicious, "syncs do nothing");
    Machine { flushes: 0.0, ..NVME }.expect(Suspicious, "flushed it 0 times");
    Machine { flushes: 0.5, ..NVME }.expect(Suspicious, "flushed it 200 times");
    Machine { writes: 0.0, flushes: 0.0, ..NVME }.expect(Suspicious, "was written to 0 times");
    Machine { micros: (1.5, None, 2.5), ..NVME }.expect(Suspicious, "no more than a copy in memory");
    Machine { cache: Some("write through"), flushes: 0.0, ..SATA }
        .expect(Suspicious, "was told not to flush");
    Machine { micros: (1.5, Some(50.0), 120.0), ..SATA }.expect(Suspicious, "less than half a turn");
    let usb = Machine { bus: "pci0/usb1/1-1/host6", vendor: Some("WD"), own_word: None, ..SATA };
    Machine { cache: Some("write through"), flushes: 0.0, micros: (1.5, Some(200.0), 220.0), ..usb }
        .expect(Suspicious, "acknowledges from its cache");
}
