//! What is refused before anything is written.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use measure::units::bytes;
use measure::{Error, Result, check_outputs, free_bytes};
use rustix::fs::Access;

/// Left free on the disk beside what is needed: a full disk hurts whoever shares it.
const RESERVE_BYTES: u64 = 64 << 20;

/// Magic numbers, by `statfs`, of file systems in memory.
const IN_MEMORY: [(u64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// What can be measured: a directory that a file system on a device holds, and that can be written to.
pub(crate) fn check_dir(dir: &Path, allow_tmpfs: bool) -> Result<()> {
    let found = fs::metadata(dir).map_err(|error| {
        usage(
            dir,
            &format!("cannot be used: {error}: give a directory that is there, on the disk to measure"),
        )
    })?;
    if found.file_type().is_block_device() {
        let what = "is a block device, and writing to it would destroy what is on it: mount a file system that lies on \
                    it, and give a directory there";
        return Err(usage(dir, what));
    }
    if !found.is_dir() {
        return Err(usage(dir, "is not a directory: give one on the disk to measure"));
    }
    // The administrator's rights count here, and a file system that is mounted read-only refuses even him.
    rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let error = io::Error::from(error);
        usage(dir, &format!("cannot be written to: {error}: give a directory that can"))
    })?;
    match in_memory(dir) {
        Some(name) if !allow_tmpfs => {
            let what =
                format!("lies on a {name}, which is memory: give a directory on a disk, or --allow-tmpfs");
            Err(usage(dir, &what))
        }
        _ => Ok(()),
    }
}

/// Names by which a member's data directory is known: Graven's marker, and the folder that etcd's has, too.
const MEMBERS: [&str; 2] = ["GRAVEN", "member"];

/// Refuses a member's data directory, and what is below one: whoever looks after that counts its files, copies or replaces it.
pub(crate) fn check_no_member(dir: &Path) -> Result<()> {
    let whole = fs::canonicalize(dir).map_err(|error| usage(dir, &format!("cannot be used: {error}")))?;
    let is_members = |dir: &&Path| {
        let [marker, folder] = MEMBERS.map(|name| dir.join(name));
        marker.is_file() || folder.join("wal").is_dir()
    };
    match whole.ancestors().find(is_members) {
        Some(data) => {
            let beside = data.parent().unwrap_or(data).display();
            let what = format!(
                "is in the data directory of a member, {}: give a directory beside it, as one in {beside}",
                data.display()
            );
            Err(usage(dir, &what))
        }
        None => Ok(()),
    }
}

/// The name of the file system, if it keeps everything in memory.
fn in_memory(dir: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(dir).ok()?;
    // The kernel's type is signed on some machines, and 32 bits wide on others.
    let magic = found.f_type as u64 & 0xffff_ffff;
    IN_MEMORY.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

/// Refuses what does not fit. `remedy` says what to do about it.
pub(crate) fn check_space(dir: &Path, at_once: u64, remedy: &str) -> Result<()> {
    let free = free_bytes(dir)?;
    if at_once.saturating_add(RESERVE_BYTES) > free {
        let what = format!(
            "has too little space: {} are needed at one time and {} are free; {remedy}",
            bytes(at_once + RESERVE_BYTES),
            bytes(free),
        );
        return Err(usage(dir, &what));
    }
    Ok(())
}

/// A file that will be written at the end can be written: found out before minutes of measuring, not after.
pub(crate) fn check_output(option: &str, path: &Path) -> Result<()> {
    check_outputs([(option, Some(path))])
}

fn usage(path: &Path, what: &str) -> Error {
    Error::Usage(format!("{} {what}", path.display()))
}
