//! The seam between the tree and the disk: everything the tree does to its file goes through [`File`].
//!
//! # Direct writes beside a map
//!
//! Checkpoints are written with O_DIRECT where the file system takes it: a checkpoint that goes through the page
//! cache makes the device write tens of megabytes at its sync, and every durable write of the log waits for that
//! (18 ms where direct writes in small pieces cost nothing to be seen). Readers look at the same file through a
//! shared map. On Linux the two agree, because
//!
//! - a direct write first writes back and drops what the page cache holds of its range; where that fails, the
//!   kernel does the write through the page cache instead (a buffered write and the map are the same memory);
//! - while it is under way a fault, or the read-ahead of a neighbor, may bring the old bytes back. Nobody uses them:
//!   the pages being written are free, so no reference leads there, and the checkpoint's own references are handed
//!   to readers after its syncs. When the write is done, the kernel drops the range once more, and unmaps it;
//! - should *that* fail (it takes a dirty page in the range, and this program never writes through the map), the
//!   kernel records an I/O error with the file: the sync before the meta page fails, and the tree is poisoned.
//!
//! A page that were stale for all that would carry the checksum of another state than its parent expects, which is
//! compared on every visit (`btree::shared`): an error that stops the process, not a wrong answer.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};

use crate::limits::PAGE_BYTES;
use crate::mmap::Map;

/// A database file. Writes are explicit, reads go through the map. Called from one checkpoint at a time.
#[expect(clippy::len_without_is_empty, reason = "a length that can fail is no collection's")]
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`. A short write is an error. Not durable before [`File::sync`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes every completed write and the length durable.
    fn sync(&self) -> io::Result<()>;
    /// Current length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Grows the file with zeros whose space is allocated, so that later writes there find room; or cuts it. When
    /// growing fails, the file keeps the length it had.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Maps the file read-only over `reserve` bytes of address space; the file grows underneath.
    fn map(&self, reserve: u64) -> io::Result<Map>;
    /// Reads from the device, past the page cache where that can be done. `bytes` is a whole number of pages.
    /// An error of kind `Unsupported` says that this file can only be read through its map.
    fn read_device_at(&self, _offset: u64, _bytes: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// What errors call this file: its path, if it has one.
    fn describe(&self) -> String {
        "the database".into()
    }
}

/// A file of the operating system. Locking it against other processes is the caller's business.
#[derive(Debug)]
pub struct OsFile {
    file: std::fs::File,
    /// The same file, opened with O_DIRECT.
    direct: Option<std::fs::File>,
    name: String,
}

impl OsFile {
    /// Uses an open file (read and write). Writes go through the page cache.
    pub fn new(file: std::fs::File) -> Self {
        OsFile { file, direct: None, name: "the database".into() }
    }

    /// Opens the file at `path`, creating it when it does not exist. Whether its writes can be direct is decided
    /// here and for good.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let direct = direct(&file, path);
        Ok(OsFile { file, direct, name: path.display().to_string() })
    }

    /// Opens the file at `path` to look at it: whatever would change it fails.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(path)?;
        Ok(OsFile { file, direct: None, name: path.display().to_string() })
    }

    /// Whether writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// The direct descriptor, if it takes these bytes.
    fn direct_for(&self, offset: u64, bytes: &[u8]) -> Option<&std::fs::File> {
        let aligned = (bytes.as_ptr() as usize | bytes.len() | offset as usize).is_multiple_of(PAGE_BYTES);
        self.direct.as_ref().filter(|_| aligned)
    }
}

/// A descriptor for direct I/O in whole pages, if the kernel says that this file has such a thing.
fn direct(file: &std::fs::File, path: &Path) -> Option<std::fs::File> {
    let told = rustix::fs::statx(file.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let fits = |align: u32| align > 0 && PAGE_BYTES.is_multiple_of(align as usize);
    if !fits(told.stx_dio_mem_align) || !fits(told.stx_dio_offset_align) {
        return None;
    }
    let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
    std::fs::File::options().read(true).write(true).custom_flags(flags).open(path).ok()
}

impl File for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.direct_for(offset, bytes).unwrap_or(&self.file).write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let len = self.len()?;
        if bytes > len {
            let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), len, bytes - len);
            match rustix::io::retry_on_intr(allocate) {
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                // Some file systems have grown the file before they find out.
                Err(e) => {
                    self.file.set_len(len)?;
                    return Err(e.into());
                }
                Ok(()) => return Ok(()),
            }
        }
        self.file.set_len(bytes)
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        Ok(Map::of_file(&self.file, reserve)?.watched(&self.name))
    }

    fn read_device_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.direct_for(offset, bytes).unwrap_or(&self.file).read_exact_at(bytes, offset)
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
