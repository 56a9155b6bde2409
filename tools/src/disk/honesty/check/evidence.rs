//! What the kernel says about the devices, and what it counts.

use std::time::Duration;

use measure::Mount;
use measure::disks::{Counts, Disk, Stack};
use measure::units::{micros, number};

use super::super::super::environment::{Place, Root, virtualization};
use super::probe::{Counted, Probe};

/// Everything that a judgment rests on.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// `ext4`, if there is a mount.
    pub(super) file_system: String,
    pub(super) options: Vec<String>,
    /// The name of what runs this machine, if it is a virtual one.
    pub(super) virtualized: Option<String>,
    pub(super) devices: Vec<Device>,
    pub(super) probe: Probe,
}

/// A device that has no others below it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) model: String,
    /// What the kernel believes about a cache that loses its content: whether it sends flushes.
    pub(super) cache: Cache,
    /// A SCSI or SATA disk's own word on its cache, which an administrator can overrule for the kernel.
    pub(super) own_word: Cache,
    pub(super) rotational: bool,
    pub(super) link: Link,
    /// A file on another file system, if that is what it is.
    pub(super) backing_file: Option<String>,
    /// While the syncs were made; others use the device, too...
    pub(super) counts: Option<Counts>,
    /// ...and would have caused so much of it, by what they did while no sync was made.
    pub(super) others: Counts,
    disk: Disk,
}

/// A device's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    Volatile,
    /// None, or one that keeps its content.
    Safe,
    Unknown,
}

/// What is between the kernel and the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// A SATA disk of its own, not behind a controller with a cache.
    Ata,
    Usb,
    /// Memory that pretends to be a disk.
    Memory,
    /// Anything else: NVMe, a controller with memory and a battery, a host.
    Other,
}

impl Evidence {
    /// Everything but the measurement.
    pub(super) fn gather(root: &Root, place: &Place) -> Evidence {
        let mount = Mount::of(&root.0, &place.path);
        let stack = Stack::of(&root.0, place.device, mount.as_ref());
        let (file_system, options) = mount.map_or_else(Default::default, |mount| (mount.kind, mount.options));
        Evidence {
            file_system,
            options,
            virtualized: virtualization(root),
            devices: stack.disks.into_iter().map(Device::of).collect(),
            probe: Probe { copy: Duration::ZERO, direct: None, sync: Duration::ZERO, syncs: 0 },
        }
    }

    /// As the kernel counts now, for each device.
    pub(super) fn counts(&self) -> Vec<Option<Counts>> {
        self.devices.iter().map(|device| device.disk.counts()).collect()
    }

    /// Puts in what was measured, and what was counted meanwhile.
    pub(super) fn measured(&mut self, counted: &Counted, probe: Probe) {
        self.probe = probe;
        let others = counted.quiet.scaled_to(&counted.syncs);
        for (device, (counts, others)) in self.devices.iter_mut().zip(counted.syncs.counts.iter().zip(others))
        {
            device.counts = *counts;
            device.others = others.unwrap_or_default();
        }
    }

    /// For people: name and value.
    pub(super) fn figures(&self) -> Vec<(String, String)> {
        let micros = |time: Duration| micros(time.as_nanos() as f64 / 1000.0);
        let Probe { copy, direct, sync, syncs } = self.probe;
        let mut figures = vec![
            ("file system".to_owned(), format!("{} ({})", self.file_system, self.options.join(","))),
            (
                "machine".to_owned(),
                self.virtualized.clone().unwrap_or_else(|| "not a virtual one".to_owned()),
            ),
        ];
        for device in &self.devices {
            let cache = match device.cache {
                Cache::Volatile => "a volatile write cache",
                Cache::Safe => "no volatile write cache",
                Cache::Unknown => "nothing known of a write cache",
            };
            let spins = if device.rotational { ", says that it turns" } else { "" };
            figures.push((device.name.clone(), format!("{}, {cache}{spins}", device.model)));
            let counted = match device.counts {
                Some(Counts { writes, flushes: Some(flushes), .. }) => {
                    format!("{} writes, {} flushes", number(writes as f64), number(flushes as f64))
                }
                Some(Counts { writes, flushes: None, .. }) => {
                    format!("{} writes; flushes are not counted", number(writes as f64))
                }
                None => "nothing".to_owned(),
            };
            figures.push((String::new(), format!("counted during {syncs} syncs: {counted}")));
            let Counts { writes, flushes, .. } = device.others;
            if writes > 0 || flushes.is_some_and(|flushes| flushes > 0) {
                let (writes, flushes) = (number(writes as f64), number(flushes.unwrap_or(0) as f64));
                figures.push((
                    String::new(),
                    format!("of others, by what they do without: some {writes} writes, {flushes} flushes"),
                ));
            }
        }
        figures.push(("copy".to_owned(), format!("{} (a write into memory, median)", micros(copy))));
        let direct = direct.map_or_else(|| "refused".to_owned(), micros);
        figures.push(("write".to_owned(), format!("{direct} (4 KiB to the device, no sync)")));
        figures.push(("sync".to_owned(), format!("{} (4 KiB and fdatasync)", micros(sync))));
        figures
    }
}

impl Device {
    fn of(disk: Disk) -> Device {
        let file = |name: &str| disk.read(name);
        let cache = |word: Option<String>| match word.as_deref() {
            Some(word) if word.starts_with("write back") => Cache::Volatile,
            Some("write through" | "none") => Cache::Safe,
            _ => Cache::Unknown,
        };
        let vendor = file("device/vendor").filter(|vendor| !vendor.starts_with("0x"));
        let path = disk.path.to_string_lossy();
        let memory = ["ram", "zram", "pmem"].iter().any(|kind| disk.name.starts_with(kind));
        let link = match &vendor {
            _ if path.contains("/usb") => Link::Usb,
            // Persistent memory keeps its content, and takes no power cut to prove it.
            _ if memory && !disk.name.starts_with("pmem") => Link::Memory,
            Some(vendor) if vendor == "ATA" => Link::Ata,
            _ => Link::Other,
        };
        let own_word = std::fs::read_dir(disk.path.join("device/scsi_disk")).ok().and_then(|mut found| {
            std::fs::read_to_string(found.next()?.ok()?.path().join("cache_type")).ok()
        });
        let names = [vendor, file("device/model")].into_iter().flatten();
        let model = names.collect::<Vec<_>>().join(" ");
        Device {
            model: if model.is_empty() { "a device that does not say its name".to_owned() } else { model },
            cache: cache(file("queue/write_cache")),
            own_word: cache(own_word.map(|word| word.trim().to_owned())),
            rotational: file("queue/rotational").as_deref() == Some("1"),
            link,
            backing_file: file("loop/backing_file"),
            counts: None,
            others: Counts::default(),
            name: disk.name.clone(),
            disk,
        }
    }
}
