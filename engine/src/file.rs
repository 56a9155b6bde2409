//! The seam between the tree and the disk: everything the tree does to its file goes through [`File`].

use std::io;

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
    /// Grows the file with zeros, or cuts it.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Maps the file read-only over `reserve` bytes of address space; the file grows underneath.
    fn map(&self, reserve: u64) -> io::Result<Map>;
}

/// A file of the operating system. Locking it against other processes is the caller's business.
#[derive(Debug)]
pub struct OsFile {
    file: std::fs::File,
}

impl OsFile {
    /// Uses an open file (read and write).
    pub fn new(file: std::fs::File) -> Self {
        OsFile { file }
    }

    /// Opens the file at `path`, creating it when it does not exist.
    pub fn open(path: &std::path::Path) -> io::Result<Self> {
        let mut options = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(OsFile { file })
    }

    /// Opens the file at `path` to look at it: whatever would change it fails.
    pub fn open_read_only(path: &std::path::Path) -> io::Result<Self> {
        Ok(OsFile { file: std::fs::File::open(path)? })
    }
}

impl File for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        Map::of_file(&self.file, reserve)
    }
}
