//! The real files.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use super::uring::Ring;
use super::{Access, Chosen, File, Io, Method};

/// A released file gives its space back in pieces of this size...
const REMOVE_STEP: u64 = 1 << 20;
/// ...with this pause between them: a 64 MiB unlink stalls commits for 10 ms where the mount discards.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// Magic numbers, by `statfs`, of the file systems that never overwrite in place: btrfs, ZFS, bcachefs.
const COPY_ON_WRITE: [u64; 3] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e];

/// The operating system's files, with one ring for all of them if one is asked for.
#[derive(Clone, Default)]
pub struct OsIo {
    ring: Arc<Mutex<RingState>>,
    /// The directory synced last, open: that it can be synced must not depend on descriptors being left.
    synced_dir: Arc<Mutex<Option<Directory>>>,
}

struct Directory {
    path: PathBuf,
    file: Arc<fs::File>,
}

#[derive(Default)]
enum RingState {
    #[default]
    Untried,
    Ready(Arc<Mutex<Ring>>),
    Refused(String),
}

impl OsIo {
    /// Touches nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ring, set up at the first call; the reason where it is refused, which is not asked for again.
    fn ring(&self) -> Result<Arc<Mutex<Ring>>, String> {
        let mut state = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, RingState::Untried) {
            *state = match Ring::new() {
                Ok(ring) => RingState::Ready(Arc::new(Mutex::new(ring))),
                Err(error) => RingState::Refused(format!("io_uring: {error}")),
            };
        }
        match &*state {
            RingState::Ready(ring) => Ok(Arc::clone(ring)),
            RingState::Refused(why) => Err(why.clone()),
            RingState::Untried => unreachable!("it was tried above"),
        }
    }

    /// A directory, opened or still open.
    fn directory(&self, path: &Path) -> io::Result<Arc<fs::File>> {
        let mut kept = self.synced_dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = kept.as_ref().filter(|dir| dir.path == path && is_at(&dir.file, path)) {
            return Ok(Arc::clone(&dir.file));
        }
        let file = Arc::new(fs::File::open(path)?);
        *kept = Some(Directory { path: path.to_path_buf(), file: Arc::clone(&file) });
        Ok(file)
    }
}

/// Whether an open directory is still the one with this name.
fn is_at(dir: &fs::File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (rustix::fs::fstat(dir), rustix::fs::stat(path)) else { return false };
    (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
}

impl Io for OsIo {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>> {
        let mut refused = None;
        let mut ring = None;
        if method == Method::Ring && access != Access::Read {
            match self.ring() {
                Ok(ready) => ring = Some(ready),
                Err(why) => refused = Some(why),
            }
        }
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
            Access::Create => OFlags::RDWR | OFlags::CREATE,
        } | OFlags::CLOEXEC
            | OFlags::NOFOLLOW;
        let open = |flags| retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR));
        let direct = matches!(method, Method::Auto | Method::Ring | Method::DirectDsync);
        let (fd, method) = match if direct { open(flags | OFlags::DIRECT) } else { Err(Errno::INVAL) } {
            Ok(fd) if ring.is_some() => (fd, Method::Ring),
            Ok(fd) => (fd, Method::DirectDsync),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                if direct {
                    refused.get_or_insert_with(|| "O_DIRECT: refused by the file system".to_owned());
                    ring = None;
                }
                let method = if method == Method::Fdatasync { method } else { Method::Dsync };
                (open(flags)?, method)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Box::new(OsFile { fd, method, refused, ring, written: false }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Not under the lock: it may take long.
        let dir = self.directory(dir)?;
        dir.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        let mut length = file.metadata()?.len();
        while length > REMOVE_STEP {
            length -= REMOVE_STEP;
            file.set_len(length)?;
            thread::sleep(REMOVE_PAUSE);
        }
        fs::remove_file(path)
    }

    fn copies_on_write(&self, dir: &Path) -> bool {
        rustix::fs::statfs(dir).is_ok_and(|found| is_copy_on_write(found.f_type as u64))
    }
}

/// The kernel's type is signed on some machines, and 32 bits wide on others.
fn is_copy_on_write(magic: u64) -> bool {
    COPY_ON_WRITE.contains(&(magic & 0xffff_ffff))
}

struct OsFile {
    fd: OwnedFd,
    method: Method,
    refused: Option<String>,
    ring: Option<Arc<Mutex<Ring>>>,
    /// Whether a durable write succeeded with this method, so that a refusal is a failure from now on.
    written: bool,
}

impl OsFile {
    fn write_once(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.method {
            Method::Ring => {
                let ring = self.ring.as_ref().expect("a file that uses the ring holds it");
                ring.lock().unwrap_or_else(PoisonError::into_inner).write_durable(&self.fd, offset, bytes)
            }
            Method::Fdatasync => {
                let written = retry_on_intr(|| rustix::io::pwrite(&self.fd, bytes, offset))?;
                rustix::fs::fdatasync(&self.fd)?;
                Ok(written)
            }
            Method::Auto | Method::DirectDsync | Method::Dsync => {
                let bytes = [IoSlice::new(bytes)];
                let write = || rustix::io::pwritev2(&self.fd, &bytes, offset, ReadWriteFlags::DSYNC);
                Ok(retry_on_intr(write)?)
            }
        }
    }

    /// The next method to try when the kernel does not know the one in use. Such a refusal comes before anything is
    /// written, so this repeats no failed write.
    fn step_down(&mut self, error: &io::Error) -> bool {
        let unknown = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => true,
            // Alignment beyond 4096, or flags the kernel is too old for.
            Some(Errno::INVAL) => matches!(self.method, Method::Ring | Method::DirectDsync | Method::Dsync),
            _ => false,
        };
        if self.written || !unknown {
            return false;
        }
        let next = match self.method {
            Method::Ring => Method::DirectDsync,
            Method::Auto | Method::DirectDsync => {
                if !self.goes_through_cache() {
                    return false;
                }
                Method::Dsync
            }
            Method::Dsync => Method::Fdatasync,
            Method::Fdatasync => return false,
        };
        self.refused.get_or_insert_with(|| format!("{:?}: {error}", self.method));
        self.method = next;
        self.ring = None;
        true
    }

    /// Has reads and writes go through the page cache from now on, if they do not yet: for a device whose blocks are larger than
    /// the log's, which says so with EINVAL before it does anything. False if nothing has changed.
    fn goes_through_cache(&self) -> bool {
        let flags = rustix::fs::fcntl_getfl(&self.fd).unwrap_or(OFlags::empty());
        flags.contains(OFlags::DIRECT) && rustix::fs::fcntl_setfl(&self.fd, flags - OFlags::DIRECT).is_ok()
    }
}

impl File for OsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&self.fd)?.st_size).unwrap_or(0))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match rustix::io::pread(&self.fd, &mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(Errno::INTR) => {}
                // The file ended within a block, and O_DIRECT cannot go on from there.
                Err(Errno::INVAL) if !filled.is_multiple_of(512) => break,
                Err(Errno::INVAL) if filled == 0 && self.goes_through_cache() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.write_once(offset, bytes) {
                Ok(written) => {
                    self.written = true;
                    return Ok(written);
                }
                Err(error) if self.step_down(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match retry_on_intr(|| rustix::io::pwrite(&self.fd, bytes, offset)) {
                Err(Errno::INVAL) if self.goes_through_cache() => {
                    self.refused.get_or_insert_with(|| format!("O_DIRECT: {}", Errno::INVAL));
                    self.method = Method::Dsync;
                }
                written => return Ok(written?),
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let have = rustix::fs::fstat(&self.fd)?.st_blocks as u64 * 512;
        let space = rustix::fs::fstatvfs(&self.fd)?;
        if space.f_bavail.saturating_mul(space.f_frsize) < bytes.saturating_sub(have) {
            // Asking would take what there is before it fails, and others need that.
            return Err(Errno::NOSPC.into());
        }
        rustix::fs::ftruncate(&self.fd, bytes)?;
        match retry_on_intr(|| rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), 0, bytes)) {
            // Not every file system can; writing the zeros takes the space then.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn chosen(&self) -> Chosen {
        Chosen { method: self.method, refused: self.refused.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_copy_on_write_are_known_by_their_number() {
        for magic in [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e, 0x9123_683e_u32 as i32 as i64 as u64] {
            assert!(is_copy_on_write(magic), "{magic:x}");
        }
        // ext4, xfs, tmpfs, overlayfs.
        for magic in [0xef53, 0x5846_5342, 0x0102_1994, 0x794c_7630] {
            assert!(!is_copy_on_write(magic), "{magic:x}");
        }
        assert!(!OsIo::new().copies_on_write(Path::new("/proc")));
    }

    /// A second name shows what the first one was removed from.
    #[test]
    fn a_large_file_is_made_small_before_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("large"), dir.path().join("other"));
        fs::write(&path, vec![1; 5 * REMOVE_STEP as usize + 1]).unwrap();
        fs::hard_link(&path, &other).unwrap();
        OsIo::new().remove(&path).unwrap();
        assert!(!path.exists());
        let left = fs::metadata(&other).unwrap().len();
        assert!(left > 0 && left <= REMOVE_STEP, "{left} bytes at once");
    }

    /// A device with larger blocks refuses a direct write as it refuses one from an odd address.
    #[test]
    fn what_direct_io_refuses_goes_through_the_page_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd");
        let odd = 1..4097;
        let open = |access| OsIo::new().open(&path, access, Method::DirectDsync).unwrap();
        let bytes = vec![7; 8192];
        for mut file in [open(Access::Create), open(Access::Write)] {
            assert_eq!(file.write(0, &bytes[odd.clone()]).unwrap(), 4096);
            assert!(file.chosen().method == Method::Dsync);
            file.sync().unwrap();
        }
        let mut found = vec![0; 8192];
        assert_eq!(open(Access::Read).read_at(0, &mut found[odd]).unwrap(), 4096);
        assert_eq!((found[0], &found[1..4097], found[4097]), (0, &bytes[..4096], 0));
    }

    #[test]
    fn a_directory_stays_open_as_long_as_it_has_its_name() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, other) = (parent.path().join("log"), parent.path().join("other"));
        let io = OsIo::new();
        fs::create_dir(&dir).unwrap();
        io.sync_dir(&dir).unwrap();
        let first = io.directory(&dir).unwrap();
        assert!(Arc::ptr_eq(&first, &io.directory(&dir).unwrap()));
        fs::rename(&dir, &other).unwrap();
        io.sync_dir(&dir).unwrap_err();
        fs::create_dir(&dir).unwrap();
        assert!(!Arc::ptr_eq(&first, &io.directory(&dir).unwrap()));
    }

    #[test]
    fn space_that_is_not_there_is_not_even_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        let mut file = OsIo::new().open(&path, Access::Create, Method::Auto).unwrap();
        let error = file.allocate(1 << 60).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        assert_eq!(file.length().unwrap(), 0);
    }
}
