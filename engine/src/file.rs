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

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::limits::PAGE_BYTES;
use crate::mmap::{Map, PageBuffer};

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
    direct: Option<Direct>,
    name: String,
}

/// The same file, opened with O_DIRECT.
#[derive(Debug)]
struct Direct {
    file: std::fs::File,
    /// It turned out that the device wants other places or lengths than whole pages.
    refused: AtomicBool,
}

impl OsFile {
    /// Uses an open file (read and write). Writes go through the page cache.
    pub fn new(file: std::fs::File) -> Self {
        OsFile { file, direct: None, name: "the database".into() }
    }

    /// Opens the file at `path`, creating it when it does not exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let direct = Direct::open(path, options.create(false), alignment(&file));
        Ok(OsFile { file, direct, name: path.display().to_string() })
    }

    /// Opens the file at `path` to look at it: whatever would change it fails.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(path)?;
        let direct = Direct::open(path, std::fs::File::options().read(true), alignment(&file));
        Ok(OsFile { file, direct, name: path.display().to_string() })
    }

    /// Whether reads and writes go past the page cache. Of a new file under an old kernel that is known for sure only after
    /// its first write.
    pub fn is_direct(&self) -> bool {
        self.direct.as_ref().is_some_and(|direct| !direct.refused.load(Ordering::Relaxed))
    }

    /// The direct descriptor, if it takes bytes at this address, of this length, at this place.
    fn direct_for(&self, bytes: &[u8], offset: u64) -> Option<&Direct> {
        let aligned = (bytes.as_ptr() as usize | bytes.len() | offset as usize).is_multiple_of(PAGE_BYTES);
        self.direct.as_ref().filter(|direct| aligned && !direct.refused.load(Ordering::Relaxed))
    }
}

/// What direct I/O with a file has to be aligned to, in bytes of memory and of the file; 0 if there is none.
#[derive(Clone, Copy, Debug)]
struct Alignment {
    memory: u32,
    offset: u32,
}

/// What the kernel says; kernels before 6.1, and some file systems, say nothing.
fn alignment(file: &std::fs::File) -> Option<Alignment> {
    let told = rustix::fs::statx(file.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let known = StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::DIOALIGN);
    known.then_some(Alignment { memory: told.stx_dio_mem_align, offset: told.stx_dio_offset_align })
}

impl Direct {
    /// A descriptor for direct I/O in whole pages, if the file has such a thing. Where the kernel does not say, a read does.
    fn open(path: &Path, options: &mut std::fs::OpenOptions, told: Option<Alignment>) -> Option<Direct> {
        let fits = |align: u32| align > 0 && PAGE_BYTES.is_multiple_of(align as usize);
        if told.is_some_and(|told| !fits(told.memory) || !fits(told.offset)) {
            return None;
        }
        let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
        let file = options.custom_flags(flags).open(path).ok()?;
        if told.is_none() {
            let mut page = PageBuffer::new(PAGE_BYTES).ok()?;
            file.read_at(page.fill(PAGE_BYTES), 0).ok()?;
        }
        Some(Direct { file, refused: AtomicBool::new(false) })
    }

    /// What came of direct I/O. None where the device does not take it, which it says before anything is done.
    fn accepts(&self, result: io::Result<()>) -> Option<io::Result<()>> {
        if result.as_ref().is_err_and(|error| Errno::from_io_error(error) == Some(Errno::INVAL)) {
            self.refused.store(true, Ordering::Relaxed);
            return None;
        }
        Some(result)
    }
}

impl File for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let direct = self.direct_for(bytes, offset);
        let written = direct.and_then(|direct| direct.accepts(direct.file.write_all_at(bytes, offset)));
        written.unwrap_or_else(|| self.file.write_all_at(bytes, offset))
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
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
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
        let direct = self.direct_for(bytes, offset);
        let read = direct.and_then(|direct| direct.accepts(direct.file.read_exact_at(bytes, offset)));
        read.unwrap_or_else(|| self.file.read_exact_at(bytes, offset))
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;

    use rustix::io::ReadWriteFlags;

    use super::*;

    fn page(byte: u8) -> PageBuffer {
        let mut page = PageBuffer::new(PAGE_BYTES).unwrap();
        page.fill(PAGE_BYTES).fill(byte);
        page
    }

    /// Whether the page cache has the first page: a read that must not wait finds it there.
    fn is_cached(file: &std::fs::File) -> bool {
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(file, &mut into, 0, ReadWriteFlags::NOWAIT).is_ok()
    }

    #[test]
    fn writes_of_whole_pages_leave_the_page_cache_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsFile::open(&dir.path().join("db")).unwrap();
        let byte = vec![1];
        file.write_at(0, &byte).unwrap();
        file.sync().unwrap();
        assert!(is_cached(&file.file), "the page cache is what this is about");
        file.write_at(0, page(7).filled()).unwrap();
        // A file system in memory is its own page cache.
        let in_memory = rustix::fs::fstatfs(&file.file).unwrap().f_type as u64 == 0x0102_1994;
        assert!(!file.is_direct() || in_memory || !is_cached(&file.file));
        println!("direct: {}", file.is_direct());
        let mut found = page(0);
        file.read_device_at(0, found.fill(PAGE_BYTES)).unwrap();
        assert_eq!(found.filled(), page(7).filled());
    }

    /// As under a kernel that does not say what it takes, and on a device that takes nothing.
    #[test]
    fn what_the_kernel_does_not_say_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut file = OsFile::open(&path).unwrap();
        file.write_at(0, page(3).filled()).unwrap();
        let known = file.is_direct();
        let mut options = std::fs::File::options();
        file.direct = Direct::open(&path, options.read(true).write(true), None);
        assert_eq!(file.is_direct(), known);
        let large = Alignment { memory: 512, offset: 65536 };
        assert!(Direct::open(&path, &mut options, Some(large)).is_none());
        assert!(Direct::open(&path, &mut options, Some(Alignment { memory: 0, offset: 0 })).is_none());
        if let Some(direct) = &file.direct {
            let refused = direct.accepts(Err(Errno::INVAL.into()));
            assert!(refused.is_none() && !file.is_direct());
        }
        file.write_at(0, page(4).filled()).unwrap();
        let mut found = page(0);
        file.read_device_at(0, found.fill(PAGE_BYTES)).unwrap();
        assert_eq!(found.filled(), page(4).filled());
    }

    #[test]
    fn a_file_opened_to_be_looked_at_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        OsFile::open(&path).unwrap().write_at(0, page(3).filled()).unwrap();
        let file = OsFile::open_read_only(&path).unwrap();
        file.write_at(0, page(4).filled()).unwrap_err();
        file.write_at(0, &[4]).unwrap_err();
        let mut found = page(0);
        file.read_device_at(0, found.fill(PAGE_BYTES)).unwrap();
        assert_eq!(found.filled(), page(3).filled());
    }
}
