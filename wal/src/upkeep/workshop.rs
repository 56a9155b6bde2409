//! What the upkeep does to files.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::handover::Worker;
use crate::io::{Access, AlignedBuffer, File, Io, Method};
use crate::options::{Fill, Options};
use crate::planted::{Fault, planted};
use crate::segment::name::Name;
use crate::segment::sector::BLOCK;
use crate::stats::NextSegment;
use crate::sync::lock;

/// Pieces in which new files are filled, so that an append waits for one of them at most.
const FILL_BYTES: usize = 256 << 10;

/// A segment file, open and ready for its first write.
pub(crate) struct Prepared {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn File>,
    /// It holds an older segment's bytes instead of zeros.
    pub(crate) recycled: bool,
}

/// A step that failed.
pub(crate) struct Failure {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl Failure {
    /// Whether something had run out, space or file descriptors: nothing is wrong then, and it may be waited out.
    pub(crate) fn may_pass(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
        // A file system that fills up shortens a write before it refuses one.
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero)
            || is_out_of_descriptors(&self.source)
    }

    /// Whether trying again could hide it: what a device holds after a failed sync is unknown.
    fn is_final(&self) -> bool {
        self.operation == SYNC && !self.may_pass()
    }

    fn again(&self) -> Failure {
        let source = match self.source.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(self.source.kind(), self.source.to_string()),
        };
        Failure { operation: self.operation, path: self.path.clone(), source }
    }
}

const SYNC: &str = "sync";

/// Of the process or the system. No sync says so, but to sync a directory it may have to be opened.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// What the worker and the log see of each other besides the hand-over.
#[derive(Default)]
pub(crate) struct Shared {
    /// Somebody waits: fill without pauses.
    hurry: AtomicBool,
    stop: AtomicBool,
    /// Bytes of the segment in use that are used.
    used: AtomicU64,
    /// Recycling steps that failed. Nothing depends on them.
    failures: AtomicU64,
    next: Mutex<Option<NextSegment>>,
}

impl Shared {
    pub(super) fn set_next(&self, next: NextSegment) {
        *lock(&self.next) = Some(next);
    }

    pub(super) fn next(&self) -> NextSegment {
        lock(&self.next).clone().unwrap_or(NextSegment::Preparing)
    }

    pub(super) fn set_hurry(&self, hurry: bool) {
        self.hurry.store(hurry, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Does the work.
pub(crate) struct Workshop {
    dir: PathBuf,
    io: Arc<dyn Io>,
    method: Method,
    segment_bytes: u64,
    fill: Fill,
    /// Released segments that will be used again.
    spares: VecDeque<u64>,
    spare_limit: usize,
    /// Files that nobody needs, to be removed when there is time.
    surplus: VecDeque<Name>,
    /// A failure after which nothing is prepared or removed any more.
    failed: Option<Failure>,
    shared: Arc<Shared>,
}

impl Workshop {
    /// `spares` and `strays` are what an earlier process left: released segments, and files that were being made ready.
    pub(crate) fn new(
        dir: &Path,
        io: &Arc<dyn Io>,
        options: &Options,
        spares: Vec<u64>,
        strays: Vec<u64>,
    ) -> Self {
        Self {
            dir: dir.to_path_buf(),
            io: Arc::clone(io),
            method: options.method,
            segment_bytes: options.segment_bytes,
            fill: options.fill,
            spares: spares.into(),
            spare_limit: options.spares,
            surplus: strays.into_iter().map(Name::New).collect(),
            failed: None,
            shared: Arc::default(),
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Makes segment `id` ready, from a released one if there is one, and notes how that went.
    pub(crate) fn prepare(&mut self, id: u64) -> Result<Prepared, Failure> {
        let prepared = match &self.failed {
            Some(failure) => Err(failure.again()),
            None => {
                self.shared.set_next(NextSegment::Preparing);
                self.reuse_or_build(id)
            }
        };
        self.shared.set_next(match &prepared {
            Ok(_) => NextSegment::Ready,
            Err(failure) => {
                let errno = failure.source.raw_os_error();
                let reason = format!("{} {}: {}", failure.operation, failure.path.display(), failure.source);
                match failure.may_pass() {
                    true => NextSegment::Refused { errno, reason },
                    false => NextSegment::Failed { errno, reason },
                }
            }
        });
        if let Err(failure) = &prepared {
            self.remember(failure);
        }
        prepared
    }

    /// Nothing is done after a failure that trying again could hide.
    fn remember(&mut self, failure: &Failure) {
        if failure.is_final() && self.failed.is_none() {
            self.failed = Some(failure.again());
        }
    }

    fn reuse_or_build(&mut self, id: u64) -> Result<Prepared, Failure> {
        for _ in 0..self.spares.len() {
            let Some(spare) = self.spares.pop_front() else { break };
            match self.reuse(spare, id) {
                Ok(Some(prepared)) => return Ok(prepared),
                Ok(None) => {}
                Err(failure) if failure.is_final() => return Err(failure),
                Err(failure) => {
                    self.count_failure();
                    match failure.may_pass() {
                        // On a full disk it may be the only space there is: kept for the next attempt.
                        true => self.spares.push_back(spare),
                        // It would fail again and again.
                        false => self.surplus.push_back(Name::Spare(spare)),
                    }
                }
            }
        }
        let (from, file) = self.build(id)?;
        let path = self.publish(&from, id)?;
        Ok(Prepared { id, path, file, recycled: false })
    }

    /// Takes over a file that was made ready before the log was closed, and gives it its name again: whoever gave it may have been
    /// killed before that was durable, or may have met a failure after which the system only seems to know of it.
    pub(crate) fn adopt(&mut self, id: u64, recycled: bool) -> Result<Prepared, Failure> {
        let mut path = Name::Segment(id).in_dir(&self.dir);
        if !planted(Fault::TrustsNames) {
            let unnamed = Name::New(id).in_dir(&self.dir);
            step("rename", &path, self.io.rename(&path, &unnamed))?;
            path = self.publish(&unnamed, id)?;
        }
        let file = step("open", &path, self.io.open(&path, Access::Write, self.method))?;
        Ok(Prepared { id, path, file, recycled })
    }

    /// The file of a log that is being created: somebody waits for it.
    pub(crate) fn build_first(&mut self) -> Result<(PathBuf, Box<dyn File>), Failure> {
        self.shared.set_hurry(true);
        let built = self.build(1);
        self.shared.set_hurry(false);
        built
    }

    /// A new file under its temporary name, durable but for the name.
    fn build(&mut self, id: u64) -> Result<(PathBuf, Box<dyn File>), Failure> {
        let path = Name::New(id).in_dir(&self.dir);
        if let Err(failure) = self.build_at(&path) {
            if !self.shared.stop.load(Ordering::Relaxed) {
                // What could be had of its space goes back at once: others need it more.
                let _ = self.io.remove(&path);
            }
            return Err(failure);
        }
        let file = step("open", &path, self.io.open(&path, Access::Write, self.method))?;
        Ok((path, file))
    }

    fn build_at(&self, path: &Path) -> Result<(), Failure> {
        // Directly, whatever the appends use: a page cache full of zeros would come down on the device all at once.
        let mut file = step("create", path, self.io.open(path, Access::Create, Method::DirectDsync))?;
        step("allocate", path, file.allocate(self.segment_bytes))?;
        match self.fill {
            Fill::Zeros { pace } if !self.io.copies_on_write(&self.dir) => {
                self.zero(path, &mut *file, pace)?
            }
            Fill::Zeros { .. } | Fill::Allocate => {}
        }
        step(SYNC, path, file.sync())
    }

    /// Gives a finished file its name.
    pub(crate) fn publish(&self, from: &Path, id: u64) -> Result<PathBuf, Failure> {
        let path = Name::Segment(id).in_dir(&self.dir);
        step("rename", from, self.io.rename(from, &path))?;
        if !planted(Fault::ForgetsDirectory) {
            self.make_names_durable()?;
        }
        Ok(path)
    }

    fn reuse(&mut self, spare: u64, id: u64) -> Result<Option<Prepared>, Failure> {
        let from = Name::Spare(spare).in_dir(&self.dir);
        let mut file = match self.io.open(&from, Access::Write, self.method) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Failure { operation: "open", path: from, source }),
        };
        // One of the same id was made ready before, and a first write into it cut short: its stamps would pass for ours.
        if spare >= id || step("measure", &from, file.length())? != self.segment_bytes {
            self.surplus.push_back(Name::Spare(spare));
            return Ok(None);
        }
        self.forget_name()?;
        let zeros = AlignedBuffer::new(BLOCK);
        if !planted(Fault::KeepsOldHeader) {
            whole("write", &from, file.write_durable(0, zeros.as_ref()), BLOCK)?;
        }
        let path = self.publish(&from, id).inspect_err(|_| {
            // It may have the name already, and is no spare any more; what is built instead would replace it.
            let _ = self.io.rename(&Name::Segment(id).in_dir(&self.dir), &from);
        })?;
        Ok(Some(Prepared { id, path, file, recycled: true }))
    }

    /// Writes the whole file, piece by piece. As long as it is well ahead of the appends it goes slowly, so that
    /// a member that was just started gives its clients what the device can do; the pace given is for when they come near.
    fn zero(&self, path: &Path, file: &mut dyn File, pace: u64) -> Result<(), Failure> {
        let zeros = AlignedBuffer::new(FILL_BYTES.min(self.segment_bytes as usize));
        let direct = matches!(file.chosen().method, Method::DirectDsync | Method::Ring);
        let mut offset = 0;
        while offset < self.segment_bytes {
            let bytes = (self.segment_bytes - offset).min(zeros.len() as u64) as usize;
            whole("fill", path, file.write(offset, &zeros.as_ref()[..bytes]), bytes)?;
            offset += bytes as u64;
            if self.shared.stop.load(Ordering::Relaxed) {
                let source = io::Error::new(io::ErrorKind::Interrupted, "the log is being closed");
                return Err(Failure { operation: "fill", path: path.to_path_buf(), source });
            }
            if pace > 0 && !self.shared.hurry.load(Ordering::Relaxed) {
                if !direct {
                    step(SYNC, path, file.sync())?;
                }
                let pace = fill_pace(pace, offset, self.shared.used.load(Ordering::Relaxed));
                thread::sleep(Duration::from_nanos(bytes as u64 * 1_000_000_000 / pace));
            }
        }
        Ok(())
    }

    /// Puts a released segment aside. If that fails, it is there when the log is opened next, and released again.
    pub(crate) fn release(&mut self, id: u64) {
        let path = Name::Segment(id).in_dir(&self.dir);
        match self.io.rename(&path, &Name::Spare(id).in_dir(&self.dir)) {
            Ok(()) if self.spares.len() < self.spare_limit => self.spares.push_back(id),
            Ok(()) => self.surplus.push_back(Name::Spare(id)),
            Err(_) => self.count_failure(),
        }
    }

    /// Gives the space of one file back that nobody needs. Says whether there was one.
    pub(crate) fn tidy(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let Some(name) = self.surplus.pop_front() else { return false };
        let removed = self.forget_name().and_then(|()| {
            let path = name.in_dir(&self.dir);
            match self.io.remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => step("remove", &path, result),
            }
        });
        if let Err(failure) = removed {
            self.count_failure();
            self.remember(&failure);
        }
        true
    }

    /// Makes the renames of released segments durable. Until then a power cut may bring the old name back, so that the
    /// content must stay what that name promises.
    fn forget_name(&self) -> Result<(), Failure> {
        self.make_names_durable()
    }

    /// Makes every name in the directory durable.
    pub(crate) fn make_names_durable(&self) -> Result<(), Failure> {
        step(SYNC, &self.dir, self.io.sync_dir(&self.dir))
    }

    fn count_failure(&self) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Worker for Workshop {
    type Ready = Prepared;
    type Failure = Failure;

    fn prepare(&mut self, id: u64) -> Result<Prepared, Failure> {
        Self::prepare(self, id)
    }

    fn release(&mut self, id: u64) {
        Self::release(self, id);
    }

    fn tidy(&mut self) -> bool {
        Self::tidy(self)
    }
}

/// Bytes a second at which filling goes on: as given once `filled` is less than a quarter ahead of `used`, and an eighth of it before.
fn fill_pace(pace: u64, filled: u64, used: u64) -> u64 {
    if filled >= used + used / 4 { (pace / 8).max(1) } else { pace }
}

fn step<T>(operation: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|source| Failure { operation, path: path.to_path_buf(), source })
}

fn whole(
    operation: &'static str,
    path: &Path,
    result: io::Result<usize>,
    bytes: usize,
) -> Result<(), Failure> {
    let written = step(operation, path, result)?;
    if written == bytes {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::WriteZero, format!("{written} of {bytes} bytes were written"));
    Err(Failure { operation, path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_is_slow_while_it_is_ahead() {
        const PACE: u64 = 100 << 20;
        assert_eq!(fill_pace(PACE, 0, 0), PACE / 8);
        assert_eq!(fill_pace(PACE, 1 << 20, 0), PACE / 8);
        assert_eq!(fill_pace(PACE, 5 << 20, 4 << 20), PACE / 8);
        assert_eq!(fill_pace(PACE, 4 << 20, 4 << 20), PACE);
        assert_eq!(fill_pace(PACE, 0, 4096), PACE);
        assert_eq!(fill_pace(1, 1, 0), 1);
    }
}
