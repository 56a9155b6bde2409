//! The device: files and directories of the backing directory, each operation with its cost, and the power that can fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rustix::fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Timestamps};
use rustix::io::Errno;

use crate::brake::{Brake, Operation};
use crate::error::Error;
use crate::faults::Faults;
use crate::handles::{Handle, Handles};
use crate::journal::Journal;
use crate::names::{GRAVEYARD, Names};
use crate::nodes::{Node, Nodes, ROOT};

/// `O_DSYNC`, whose bit `O_SYNC` has as well; rustix gives both the value of `O_SYNC`. The kernel sets it on each write
/// with `RWF_DSYNC` too.
const DSYNC: OFlags = OFlags::from_bits_retain(0o10000);

/// What survives of that which was not synced when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Lost,
    /// Each write whole or not at all, by chance; names up to a moment chosen by chance.
    Reordered,
    /// Each sector of 512 bytes of each write by chance; names as in `Reordered`.
    Torn,
    /// Everything: the machine was reset and the disk kept its power.
    Nothing,
}

impl FromStr for Cut {
    type Err = Error;

    fn from_str(text: &str) -> Result<Cut, Error> {
        match text {
            "lost" => Ok(Cut::Lost),
            "reordered" => Ok(Cut::Reordered),
            "torn" => Ok(Cut::Torn),
            "nothing" => Ok(Cut::Nothing),
            _ => Err(Error::Setting(format!("cut {text}: is none of lost, reordered, torn and nothing"))),
        }
    }
}

/// What a cut did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutReport {
    /// Changes of files that are gone.
    pub lost: u64,
    /// Writes of which some sectors are gone.
    pub torn: u64,
    /// Changes of files that were in danger and survived.
    pub kept: u64,
    /// Changes of names that are gone.
    pub names_lost: u64,
}

/// What was asked of the layer since it was mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Reads of files.
    pub reads: u64,
    /// Writes, durable or not.
    pub writes: u64,
    /// Those that are durable when they return.
    pub durable_writes: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Durable writes and syncs that were acknowledged and not done.
    pub dropped: u64,
    /// In writes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    reads: AtomicU64,
    writes: AtomicU64,
    durable_writes: AtomicU64,
    syncs: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
}

/// What a cut needs to know.
#[derive(Debug)]
struct Volatile {
    journal: Journal,
    names: Names,
}

/// A cut to come.
#[derive(Clone, Copy, Debug)]
struct Countdown {
    /// Syncs and durable writes until then.
    left: u64,
    cut: Cut,
    seed: u64,
}

/// What all threads of the file system share.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) nodes: Nodes,
    pub(crate) handles: Handles,
    started: Instant,
    faults: Mutex<Faults>,
    brake: Mutex<Brake>,
    volatile: Option<Mutex<Volatile>>,
    /// What the cut did, once there was one. Held for reading by everything that touches the backing files.
    off: RwLock<Option<CutReport>>,
    countdown: Mutex<Option<Countdown>>,
    counters: Counters,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// With `volatile`, that many bytes of changes can be lost.
    pub(crate) fn new(backing: &Path, faults: Faults, volatile: Option<u64>) -> io::Result<Disk> {
        let volatile = match volatile {
            Some(limit) => {
                Some(Mutex::new(Volatile { journal: Journal::new(limit), names: Names::new(backing)? }))
            }
            None => None,
        };
        Ok(Disk {
            nodes: Nodes::new(backing)?,
            handles: Handles::default(),
            started: Instant::now(),
            brake: Mutex::new(Brake::new(faults.clone(), Duration::ZERO)),
            faults: Mutex::new(faults),
            volatile,
            off: RwLock::new(None),
            countdown: Mutex::new(None),
            counters: Counters::default(),
        })
    }

    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let mut faults = lock(&self.faults);
        faults.set(name, value)?;
        *lock(&self.brake) = Brake::new(faults.clone(), self.started.elapsed());
        Ok(())
    }

    pub(crate) fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    pub(crate) fn counted(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            reads: read(&self.counters.reads),
            writes: read(&self.counters.writes),
            durable_writes: read(&self.counters.durable_writes),
            syncs: read(&self.counters.syncs),
            dropped: read(&self.counters.dropped),
            bytes: read(&self.counters.bytes),
        }
    }

    pub(crate) fn cut_report(&self) -> Option<CutReport> {
        *self.off.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails. From now on every operation fails; the backing directory holds what a reboot would find.
    pub(crate) fn cut(&self, cut: Cut, seed: u64) -> Result<CutReport, Error> {
        let mut off = self.off.write().unwrap_or_else(PoisonError::into_inner);
        let Some(volatile) = &self.volatile else {
            return Err(Error::Cut("a cut takes nothing back without the option volatile"));
        };
        if off.is_some() {
            return Err(Error::Cut("the power is off already"));
        }
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut volatile = lock(volatile);
        let names = volatile.names.len();
        let kept = match cut {
            Cut::Lost => 0,
            Cut::Nothing => names,
            Cut::Reordered | Cut::Torn => (dice.next_u64() % (names as u64 + 1)) as usize,
        };
        // Files first: those that are removed again are still there for it.
        let failed = |_: io::Error| Error::Cut("the backing directory does not take the changes back");
        let taken = volatile.journal.cut(cut, &mut dice).map_err(failed)?;
        let names_lost = volatile.names.cut(kept).map_err(failed)?;
        let report = CutReport { lost: taken.lost, torn: taken.torn, kept: taken.kept, names_lost };
        *off = Some(report);
        Ok(report)
    }

    /// The power fails at the sync or durable write of that number, counted from 1: it is not done.
    pub(crate) fn cut_after(&self, count: u64, cut: Cut, seed: u64) -> Result<(), Error> {
        if self.volatile.is_none() {
            return Err(Error::Cut("a cut takes nothing back without the option volatile"));
        }
        *lock(&self.countdown) = Some(Countdown { left: count.max(1), cut, seed });
        Ok(())
    }

    fn count_down(&self) {
        let mut countdown = lock(&self.countdown);
        let Some(Countdown { left, cut, seed }) = &mut *countdown else { return };
        *left -= 1;
        if *left == 0 {
            let (cut, seed) = (*cut, *seed);
            *countdown = None;
            // The one way to fail that is left is that the power is off already.
            let _ = self.cut(cut, seed);
        }
    }

    /// Does something to the backing directory while the power is on.
    fn powered<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let off = self.off.read().unwrap_or_else(PoisonError::into_inner);
        if off.is_some() {
            return Err(Errno::IO.into());
        }
        act()
    }

    /// The same for changes of names, which take several steps when they can be lost: nobody sees them halfway.
    fn alone<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.volatile.is_none() {
            return self.powered(act);
        }
        let off = self.off.write().unwrap_or_else(PoisonError::into_inner);
        if off.is_some() {
            return Err(Errno::IO.into());
        }
        act()
    }

    /// Waits until the device has done the operation.
    fn wait(&self, operation: Operation) {
        let now = self.started.elapsed();
        let done = lock(&self.brake).finish(now, operation);
        if let Some(left) = done.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero()) {
            precise_sleep(left);
        }
    }

    /// Counts a sync, and says whether it is one that is not done.
    fn drops(&self, durable_write: bool) -> bool {
        let counter = if durable_write { &self.counters.durable_writes } else { &self.counters.syncs };
        counter.fetch_add(1, Ordering::Relaxed);
        self.count_down();
        let drops = lock(&self.brake).drops();
        self.counters.dropped.fetch_add(u64::from(drops), Ordering::Relaxed);
        drops
    }

    pub(crate) fn look_up(&self, parent: u64, name: &OsStr) -> io::Result<Arc<Node>> {
        self.powered(|| {
            if parent == ROOT && name == GRAVEYARD {
                return Err(Errno::NOENT.into());
            }
            self.nodes.look_up(&*self.nodes.get(parent)?, name)
        })
    }

    pub(crate) fn node(&self, id: u64) -> io::Result<Arc<Node>> {
        self.powered(|| self.nodes.get(id))
    }

    pub(crate) fn open(&self, id: u64, flags: OFlags) -> io::Result<u64> {
        self.powered(|| {
            let node = self.nodes.get(id)?;
            let file = Arc::new(node.open(access(flags))?);
            Ok(self.handles.open(Handle::File { node, file }))
        })
    }

    pub(crate) fn create(
        &self,
        parent: u64,
        name: &OsStr,
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<(Arc<Node>, u64)> {
        self.alone(|| {
            let dir = self.nodes.get(parent)?;
            let make = access(flags) | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let (file, made) = match rustix::fs::openat(&dir.fd, name, make, mode) {
                Ok(file) => (file, true),
                Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => {
                    (rustix::fs::openat(&dir.fd, name, access(flags) | OFlags::NOFOLLOW, mode)?, false)
                }
                Err(error) => return Err(error.into()),
            };
            if made && let Some(volatile) = &self.volatile {
                let mut volatile = lock(volatile);
                let moment = volatile.journal.moment();
                volatile.names.made(moment, &dir, name, false);
            }
            let node = self.nodes.look_up(&dir, name)?;
            let file = Arc::new(File::from(file));
            let handle = self.handles.open(Handle::File { node: node.clone(), file });
            Ok((node, handle))
        })
    }

    pub(crate) fn make_directory(&self, parent: u64, name: &OsStr, mode: Mode) -> io::Result<Arc<Node>> {
        self.alone(|| {
            let dir = self.nodes.get(parent)?;
            rustix::fs::mkdirat(&dir.fd, name, mode)?;
            if let Some(volatile) = &self.volatile {
                let mut volatile = lock(volatile);
                let moment = volatile.journal.moment();
                volatile.names.made(moment, &dir, name, true);
            }
            self.nodes.look_up(&dir, name)
        })
    }

    pub(crate) fn remove(&self, parent: u64, name: &OsStr, is_dir: bool) -> io::Result<()> {
        self.alone(|| {
            let dir = self.nodes.get(parent)?;
            if let Some(volatile) = &self.volatile {
                let mut volatile = lock(volatile);
                let moment = volatile.journal.moment();
                return volatile.names.remove(moment, &dir, name, is_dir);
            }
            let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            Ok(rustix::fs::unlinkat(&dir.fd, name, flags)?)
        })
    }

    pub(crate) fn rename(
        &self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        flags: RenameFlags,
    ) -> io::Result<()> {
        self.alone(|| {
            let (from_dir, to_dir) = (self.nodes.get(from.0)?, self.nodes.get(to.0)?);
            let Some(volatile) = &self.volatile else {
                return Ok(rustix::fs::renameat_with(&from_dir.fd, from.1, &to_dir.fd, to.1, flags)?);
            };
            if !(flags - RenameFlags::NOREPLACE).is_empty() {
                return Err(Errno::INVAL.into());
            }
            let mut volatile = lock(volatile);
            let moment = volatile.journal.moment();
            volatile.names.rename(moment, (&from_dir, from.1), (&to_dir, to.1), flags)
        })
    }

    pub(crate) fn list(&self, id: u64) -> io::Result<u64> {
        self.powered(|| {
            let node = self.nodes.get(id)?;
            let mut entries = Vec::new();
            for entry in rustix::fs::Dir::read_from(node.open(OFlags::RDONLY | OFlags::DIRECTORY)?)? {
                let entry = entry?;
                use std::os::unix::ffi::OsStrExt;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if id != ROOT || name != GRAVEYARD {
                    entries.push((entry.ino(), entry.file_type(), name.to_owned()));
                }
            }
            Ok(self.handles.open(Handle::Directory { entries }))
        })
    }

    pub(crate) fn read(&self, handle: u64, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let handle = self.handles.get(handle)?;
        let Handle::File { file, .. } = &*handle else { return Err(Errno::BADF.into()) };
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        self.wait(Operation::Read);
        self.powered(|| {
            let mut bytes = vec![0; size];
            let mut filled = 0;
            while filled < size {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        })
    }

    pub(crate) fn write(&self, handle: u64, offset: u64, data: &[u8], flags: OFlags) -> io::Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::File { node, file } = &*handle else { return Err(Errno::BADF.into()) };
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        let sequence = self.powered(|| match &self.volatile {
            Some(volatile) => lock(volatile).journal.write(node.id, file, offset, data),
            None => file.write_all_at(data, offset).map(|()| 0),
        })?;
        let bytes = data.len() as u64;
        if flags.contains(DSYNC) {
            if self.drops(true) {
                self.powered(|| Ok(()))?;
            } else {
                self.wait(Operation::Sync(bytes));
                self.powered(|| {
                    self.sync_backing(|| file.sync_data())?;
                    if let Some(volatile) = &self.volatile {
                        lock(volatile).journal.make_safe(node.id, sequence);
                    }
                    Ok(())
                })?;
            }
        } else if flags.contains(OFlags::DIRECT) {
            self.wait(Operation::Write(bytes));
        } else {
            node.dirty.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn sync(&self, handle: u64, data_only: bool) -> io::Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::File { node, file } = &*handle else { return Err(Errno::BADF.into()) };
        let moment = self.moment()?;
        if self.drops(false) {
            return self.powered(|| Ok(()));
        }
        self.wait(Operation::Sync(node.dirty.swap(0, Ordering::Relaxed)));
        self.powered(|| {
            self.sync_backing(|| if data_only { file.sync_data() } else { file.sync_all() })?;
            if let Some(volatile) = &self.volatile {
                lock(volatile).journal.sync(node.id, moment);
            }
            Ok(())
        })
    }

    pub(crate) fn sync_directory(&self, id: u64) -> io::Result<()> {
        let node = self.nodes.get(id)?;
        let moment = self.moment()?;
        if self.drops(false) {
            return self.powered(|| Ok(()));
        }
        self.wait(Operation::Sync(0));
        self.powered(|| {
            self.sync_backing(|| node.open(OFlags::RDONLY | OFlags::DIRECTORY)?.sync_all())?;
            match &self.volatile {
                Some(volatile) => lock(volatile).names.sync(moment),
                None => Ok(()),
            }
        })
    }

    pub(crate) fn resize(&self, id: u64, handle: Option<u64>, to: u64) -> io::Result<()> {
        let handle = handle.and_then(|handle| self.handles.get(handle).ok());
        self.powered(|| {
            let (node, file) = match handle.as_deref() {
                Some(Handle::File { node, file }) => (node.clone(), file.clone()),
                _ => {
                    let node = self.nodes.get(id)?;
                    let file = Arc::new(node.open(OFlags::RDWR)?);
                    (node, file)
                }
            };
            match &self.volatile {
                Some(volatile) => lock(volatile).journal.resize(node.id, &file, to).map(drop),
                None => file.set_len(to),
            }
        })
    }

    pub(crate) fn allocate(
        &self,
        handle: u64,
        flags: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::File { node, file } = &*handle else { return Err(Errno::BADF.into()) };
        self.powered(|| match &self.volatile {
            Some(volatile) => lock(volatile).journal.allocate(node.id, file, flags, offset, length).map(drop),
            None => Ok(rustix::fs::fallocate(file, flags, offset, length)?),
        })
    }

    /// Mode and times; a cut leaves them as they are.
    pub(crate) fn set_attributes(
        &self,
        id: u64,
        mode: Option<Mode>,
        times: Option<&Timestamps>,
    ) -> io::Result<()> {
        self.powered(|| {
            let node = self.nodes.get(id)?;
            if let Some(mode) = mode {
                rustix::fs::chmod(node.path(), mode)?;
            }
            if let Some(times) = times {
                rustix::fs::utimensat(rustix::fs::CWD, node.path(), times, AtFlags::empty())?;
            }
            Ok(())
        })
    }

    pub(crate) fn space(&self, id: u64) -> io::Result<rustix::fs::StatVfs> {
        self.powered(|| Ok(rustix::fs::statvfs(self.nodes.get(id)?.path())?))
    }

    fn moment(&self) -> io::Result<u64> {
        self.powered(|| Ok(self.volatile.as_ref().map_or(0, |volatile| lock(volatile).journal.moment())))
    }

    fn sync_backing(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if lock(&self.faults).backing_sync { sync() } else { Ok(()) }
    }
}

/// How the backing file is opened. What may be written is read as well, and the kernel does the rest itself.
fn access(flags: OFlags) -> OFlags {
    match flags & OFlags::RWMODE {
        mode if mode == OFlags::RDONLY => OFlags::RDONLY,
        _ => OFlags::RDWR,
    }
    .union(OFlags::CLOEXEC)
}

/// Whether a node is a directory, a file or something else.
pub(crate) fn kind(raw_mode: u32) -> FileType {
    FileType::from_raw_mode(raw_mode)
}

/// Sleeps without the 50 us by which the kernel lets timers be late.
fn precise_sleep(time: Duration) {
    thread_local! {
        static PRECISE: () = {
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        };
    }
    PRECISE.with(|()| std::thread::sleep(time));
}
