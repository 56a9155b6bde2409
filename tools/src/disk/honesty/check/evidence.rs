//! What the kernel says about the devices, and what it counts.

use std::time::Duration;

use super::super::super::environment::{Disk, Mount, Place, Root, Stack, virtualization};
use super::probe::Probe;

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
    /// While the syncs were made; others use the device, too.
    pub(super) counts: Option<Counts>,
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

/// Requests that were done, of `/sys/block/*/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) writes: u64,
    /// Linux counts them from 5.5 on.
    pub(super) flushes: Option<u64>,
}

impl Evidence {
    /// Everything but the measurement.
    pub(super) fn gather(root: &Root, place: &Place) -> Evidence {
        let mount = Mount::of(root, place);
        let stack = Stack::of(root, place.device, mount.as_ref());
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
        self.devices.iter().map(Device::count).collect()
    }

    /// Puts in what was measured, and what was counted since `before`.
    pub(super) fn measured(&mut self, before: &[Option<Counts>], probe: Probe) {
        self.probe = probe;
        for (device, before) in self.devices.iter_mut().zip(before) {
            device.counts = before.zip(device.count()).map(|(before, after)| Counts {
                writes: after.writes.saturating_sub(before.writes),
                flushes: before
                    .flushes
                    .zip(after.flushes)
                    .map(|(before, after)| after.saturating_sub(before)),
            });
        }
    }

    /// For people: name and value.
    pub(super) fn figures(&self) -> Vec<(String, String)> {
        let micros = |time: Duration| format!("{:.1} us", time.as_nanos() as f64 / 1000.0);
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
                Some(Counts { writes, flushes: Some(flushes) }) => {
                    format!("{writes} writes, {flushes} flushes")
                }
                Some(Counts { writes, flushes: None }) => format!("{writes} writes; flushes are not counted"),
                None => "nothing".to_owned(),
            };
            figures.push((String::new(), format!("counted during {syncs} syncs: {counted}")));
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
        let file = |name: &str| {
            let text = std::fs::read_to_string(disk.path.join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
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
            name: disk.name.clone(),
            disk,
        }
    }

    fn count(&self) -> Option<Counts> {
        let own = count(&std::fs::read_to_string(self.disk.path.join("stat")).ok()?)?;
        // An NVMe disk with several paths: the flushes are counted at the paths.
        let Some(all) = self.disk.path.parent() else { return Some(own) };
        let mut paths = Counts::default();
        for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
            let is_path = entry.file_name().to_str().is_some_and(|name| is_path_of(name, &self.disk.name));
            if is_path
                && let Some(found) =
                    std::fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(count)
            {
                paths.writes += found.writes;
                paths.flushes = Some(paths.flushes.unwrap_or(0) + found.flushes?);
            }
        }
        Some(Counts { writes: own.writes.max(paths.writes), flushes: own.flushes.max(paths.flushes) })
    }
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

/// Reads, ..., writes as the fifth, ..., flushes as the sixteenth number.
fn count(stat: &str) -> Option<Counts> {
    let mut numbers = stat.split_whitespace().map(|word| word.parse().ok());
    let writes = numbers.nth(4)??;
    let flushes = numbers.nth(10).flatten();
    Some(Counts { writes, flushes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernel() {
        let whole = "1 2 3 4 500 6 7 8 9 10 11 12 13 14 15 1600 17";
        assert_eq!(count(whole), Some(Counts { writes: 500, flushes: Some(1600) }));
        assert_eq!(count("1 2 3 4 500 6 7 8 9 10 11"), Some(Counts { writes: 500, flushes: None }));
        assert_eq!(count("1 2 x"), None);
        assert!(is_path_of("nvme0c1n1", "nvme0n1"));
        for other in ["nvme0n1", "nvme1c1n1", "nvme0c1n2", "sda", "nvme"] {
            assert!(!is_path_of(other, "nvme0n1"), "{other}");
        }
    }
}
