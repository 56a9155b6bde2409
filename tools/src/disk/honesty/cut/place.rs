//! Where a run writes: which file system, to know it again after a cut, and whether there was a cut at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use measure::Mount;
use rustix::fs::{AtFlags, CWD, StatxFlags, statvfs, statx};

/// A directory's path, and which file system is mounted there.
pub(crate) fn place(dir: &Path) -> String {
    let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mount = Mount::of(Path::new("/"), &path);
    let what = mount.map_or_else(String::new, |mount| {
        // Devices may have other names after the next boot.
        let identity = uuid(&path, &mount).or_else(|| own_number(&path, &mount)).unwrap_or(mount.source);
        format!("{} {identity}", mount.kind)
    });
    format!("{} ({what})", path.display())
}

/// As udev has read it off the device.
fn uuid(path: &Path, mount: &Mount) -> Option<String> {
    // btrfs has device numbers of its own.
    let numbers = [fs::metadata(path).ok().map(|found| found.dev()), number(Path::new(&mount.source))];
    let links = fs::read_dir("/dev/disk/by-uuid").ok()?;
    links.filter_map(Result::ok).find_map(|link| {
        let device = number(&link.path())?;
        numbers.contains(&Some(device)).then(|| link.file_name().to_string_lossy().into_owned())
    })
}

fn number(device: &Path) -> Option<u64> {
    fs::metadata(device).ok().map(|found| found.rdev()).filter(|number| *number != 0)
}

/// Where there is no udev: file systems that make their number of the UUID. Others make it of the device's.
fn own_number(path: &Path, mount: &Mount) -> Option<String> {
    let makes = ["ext2", "ext3", "ext4", "btrfs"].contains(&mount.kind.as_str());
    let number = statvfs(path).ok().filter(|_| makes)?.f_fsid;
    (number != 0).then(|| format!("{number:016x}"))
}

/// Since when what is written may have stayed in memory: while both are the same, no power was cut that a disk could show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uptime {
    /// The kernel's name for this boot.
    pub(crate) boot: String,
    /// Its number for the mount. From Linux 6.8 on it is never given twice; before, a mount may get that of the one before.
    pub(crate) mount: u64,
}

impl Uptime {
    /// Of this machine, and the mount that holds a directory.
    pub(crate) fn now(dir: &Path) -> Option<Uptime> {
        /// `STATX_MNT_ID_UNIQUE`
        const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let found = statx(CWD, dir, AtFlags::empty(), StatxFlags::MNT_ID | UNIQUE).ok()?;
        Some(Uptime { boot: boot.trim().to_owned(), mount: found.stx_mnt_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_twice_and_two_places() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(place(one.path()), place(one.path()));
        assert_ne!(place(one.path()), place(other.path()));
        let uptime = Uptime::now(one.path()).unwrap();
        assert_eq!(Uptime::now(other.path()), Some(uptime.clone()), "one boot, one mount");
        let other_mount = Uptime::now(Path::new("/proc")).unwrap();
        assert_eq!(other_mount.boot, uptime.boot);
        assert_ne!(other_mount.mount, uptime.mount);
    }

    #[test]
    fn a_file_system_is_known_by_more_than_its_devices_name() {
        let dir = tempfile::tempdir().unwrap();
        let mount = Mount::of(Path::new("/"), &dir.path().canonicalize().unwrap()).unwrap();
        if mount.kind == "ext4" {
            assert!(!place(dir.path()).contains("/dev/"), "{}", place(dir.path()));
        }
        let renamed = Mount { source: "/dev/renamed".to_owned(), ..mount.clone() };
        assert_eq!(own_number(dir.path(), &mount), own_number(dir.path(), &renamed));
    }
}
