//! What the kernel knows by number: each a place in the backing directory, held open so that renames and removals below
//! do not matter.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, Stat};
use rustix::io::Errno;

/// One file or directory.
#[derive(Debug)]
pub(crate) struct Node {
    /// As the kernel knows it.
    pub(crate) id: u64,
    /// Opened as a path only; its inode number is not used again while this is held.
    pub(crate) fd: OwnedFd,
    /// Bytes written to the page cache since the last sync.
    pub(crate) dirty: AtomicU64,
    key: (u64, u64),
}

impl Node {
    /// Opens what the node stands for, also when it has no name any more.
    pub(crate) fn open(&self, flags: OFlags) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        Ok(File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?))
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// A path for calls that know no descriptors.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }
}

/// All nodes the kernel may ask for.
#[derive(Debug)]
pub(crate) struct Nodes {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    /// With the number of times the kernel was told of it.
    by_id: HashMap<u64, (Arc<Node>, u64)>,
    by_key: HashMap<(u64, u64), u64>,
    next: u64,
}

/// FUSE's number of the root.
pub(crate) const ROOT: u64 = 1;

impl Nodes {
    pub(crate) fn new(backing: &Path) -> io::Result<Nodes> {
        let fd =
            rustix::fs::open(backing, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let key = (stat.st_dev, stat.st_ino);
        let root = Arc::new(Node { id: ROOT, fd, dirty: AtomicU64::new(0), key });
        let tables = Tables {
            by_id: HashMap::from([(ROOT, (root, 1))]),
            by_key: HashMap::from([(key, ROOT)]),
            next: ROOT + 1,
        };
        Ok(Nodes { tables: Mutex::new(tables) })
    }

    pub(crate) fn get(&self, id: u64) -> io::Result<Arc<Node>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.by_id.get(&id).map(|(node, _)| node.clone()).ok_or_else(|| Errno::STALE.into())
    }

    /// Finds a name, and counts that the kernel is told of it.
    pub(crate) fn look_up(&self, parent: &Node, name: &OsStr) -> io::Result<Arc<Node>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let key = (stat.st_dev, stat.st_ino);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = tables.by_key.get(&key).copied() {
            let (node, told) = tables.by_id.get_mut(&id).expect("both tables hold the same nodes");
            *told += 1;
            return Ok(node.clone());
        }
        let id = tables.next;
        tables.next += 1;
        let node = Arc::new(Node { id, fd, dirty: AtomicU64::new(0), key });
        tables.by_id.insert(id, (node.clone(), 1));
        tables.by_key.insert(key, id);
        Ok(node)
    }

    /// The kernel forgets what it was told so many times.
    pub(crate) fn forget(&self, id: u64, times: u64) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((node, told)) = tables.by_id.get_mut(&id) else { return };
        *told = told.saturating_sub(times);
        if *told == 0 && id != ROOT {
            let key = node.key;
            tables.by_id.remove(&id);
            tables.by_key.remove(&key);
        }
    }
}

/// Where a layer keeps what was removed until the removal is safe; in the root of the backing directory.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}
