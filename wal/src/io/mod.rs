//! The seam between the log and the disk. The log does nothing to files but through [`Io`] and [`File`]; [`OsIo`] is the
//! real one, tests bring their own.

mod buffer;
mod os;
#[expect(unsafe_code, reason = "the kernel reads buffers it is given by address; argued at each block")]
mod uring;

use std::io;
use std::path::Path;

pub(crate) use buffer::AlignedBuffer;
pub use os::OsIo;
pub use uring::{RingSync, RingWriter};

/// How one append is made durable. Each does it in one call of [`File::write_durable`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// [`Method::DirectDsync`], or [`Method::Dsync`] where the file system refuses `O_DIRECT`.
    #[default]
    Auto,
    /// One `O_DIRECT` write with `RWF_DSYNC` through io_uring. Falls back as `Auto` does where rings are refused.
    Ring,
    /// `pwritev2` with `O_DIRECT` and `RWF_DSYNC`.
    DirectDsync,
    /// `pwritev2` with `RWF_DSYNC` through the page cache.
    Dsync,
    /// `pwrite`, then `fdatasync`.
    Fdatasync,
}

/// What a file came to use, and why it is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Never [`Method::Auto`].
    pub method: Method,
    /// What was refused, with the system's words.
    pub refused: Option<String>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It exists and is only read.
    Read,
    /// It exists and is written.
    Write,
    /// It is written, and created if it does not exist. Its content is kept.
    Create,
}

/// Directory operations.
pub trait Io: Send + Sync + 'static {
    /// Names of the files in a directory, in any order. Names that are not UTF-8 may be left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file whose durable writes use `method`, or the nearest one permitted.
    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>>;
    /// Renames within a directory, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes creations and renames in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file. It is not on anybody's path: large files go in steps, so that no commit waits for it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether overwriting a file of this directory takes new space each time, so that writing zeros ahead gains nothing.
    fn copies_on_write(&self, _dir: &Path) -> bool {
        false
    }
}

/// One open file. Offsets, lengths and addresses given to `read_at`, `write` and `write_durable` are multiples of 4096.
pub trait File: Send {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads until the buffer is full or the file ends; returns the bytes read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes and returns once the bytes are durable. Fewer bytes than given is a failure.
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Writes; durable after the next `sync`.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes space for, and sets, this length. What was not written reads as zeros.
    fn allocate(&mut self, bytes: u64) -> io::Result<()>;
    /// The method in use.
    fn chosen(&self) -> Chosen;
}
