//! The disks below a file system: through partitions, device mapper, RAID and loop devices.

use std::fs;
use std::path::{Path, PathBuf};

use super::mount::Mount;
use super::{Fact, Level, Root, read};

/// Stacks are not deeper, and a loop in them would be the kernel's mistake.
const DEEPEST: usize = 8;

/// A file system's device and what it stands on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stack {
    /// From the file system downwards: `vda1 (partition) on vda`.
    pub(crate) text: String,
    /// Those that have no others below them.
    pub(crate) disks: Vec<Disk>,
}

/// A disk in `/sys`.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) name: String,
    /// `/sys/devices/.../block/vda`.
    pub(crate) path: PathBuf,
    /// `254:0`, as limits name it.
    pub(crate) number: String,
}

impl Stack {
    /// `device` is what `stat` says; file systems with made-up numbers (btrfs) name their device in the mount.
    pub(crate) fn of(root: &Root, device: (u32, u32), mount: Option<&Mount>) -> Stack {
        let numbered = root.path(&format!("sys/dev/block/{}:{}", device.0, device.1));
        let named = mount.and_then(|mount| Some(mount.source.strip_prefix("/dev/")?.replace('/', "!")));
        let found = numbered.canonicalize().ok().or_else(|| {
            // A name of the device mapper is a link in /dev; its kernel name is the end of that link.
            let named = named?;
            let link = fs::read_link(root.path(&format!("dev/{}", named.replace('!', "/")))).ok();
            let kernel = link.and_then(|link| Some(link.file_name()?.to_str()?.to_owned())).unwrap_or(named);
            root.path(&format!("sys/class/block/{kernel}")).canonicalize().ok()
        });
        let mut stack = Stack::default();
        if let Some(path) = found {
            stack.text = stack.descend(&path, DEEPEST);
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

    pub(super) fn fact(&self) -> Fact {
        const WHY: &str =
            "What is measured is this stack as a whole; each layer adds its own wait to a sync.";
        if self.disks.is_empty() {
            let value = "none that the kernel names (a network, a layer in user space, memory)";
            return Fact::new("device", value, Level::Note, WHY);
        }
        let is_loop = self.disks.iter().any(|disk| disk.path.join("loop").exists());
        let level = if is_loop { Level::Note } else { Level::Fine };
        Fact::new("device", self.text.clone(), level, WHY)
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
