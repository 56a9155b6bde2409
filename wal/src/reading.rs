//! Reads one file of a log as fast as the device gives it: several reads at a time, while what came is looked at.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::error::Error;
use crate::io::{Access, AlignedBuffer, File};
use crate::recovery::Recovery;
use crate::segment::lanes::{Foreign, Lanes, PART_BYTES, Part};
use crate::segment::sector::BLOCK;

/// Reads of one file under way at a time.
const READERS: usize = 3;
/// Up to so many bytes a thread costs more than it saves.
pub(crate) const ALONE_BYTES: u64 = 4 << 20;

/// A file to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: u64,
    /// Bytes that it should have, which are the most that is read of it.
    pub(crate) file_bytes: u64,
    /// `Access::Read`, or what is read is made durable first.
    pub(crate) access: Access,
    pub(crate) foreign: Foreign,
}

/// A file that is being read, or was.
pub(crate) struct ReadSegment {
    pub(crate) path: PathBuf,
    /// Its real length.
    pub(crate) file_bytes: u64,
    pub(crate) lanes: Arc<Lanes>,
}

/// Reads one file whole.
pub(crate) fn read(recovery: &Recovery<'_>, wanted: Wanted) -> Result<ReadSegment, Error> {
    read_while(recovery, wanted, |segment| segment)
}

/// Reads one file whole, and meanwhile does `work` with what is there; `work` waits where it needs more. What it came to is
/// worthless, and not returned, where reading failed.
pub(crate) fn read_while<R>(
    recovery: &Recovery<'_>,
    wanted: Wanted,
    work: impl FnOnce(ReadSegment) -> R,
) -> Result<R, Error> {
    let (path, mut file) = recovery.open(wanted.id, wanted.access)?;
    if wanted.access != Access::Read {
        // What is read from here on may be relied on: it must not be only in a cache.
        file.sync().map_err(|source| recovery.failed("sync", path.clone(), 0, source))?;
    }
    let file_bytes = file.length().map_err(|source| recovery.failed("measure", path.clone(), 0, source))?;
    let bytes = file_bytes.min(wanted.file_bytes);
    let lanes = Arc::new(Lanes::new(bytes));
    let reading = Reading {
        recovery,
        wanted,
        path: &path,
        bytes,
        lanes: &lanes,
        next: AtomicUsize::new(0),
        failure: Mutex::default(),
    };
    let segment = ReadSegment { path: path.clone(), file_bytes, lanes: Arc::clone(&lanes) };
    let done = if bytes <= ALONE_BYTES {
        reading.run(&*file);
        work(segment)
    } else {
        thread::scope(|scope| {
            let mut helpers = (1..READERS).map_while(|_| {
                let (_, file) = recovery.open(wanted.id, Access::Read).ok()?;
                let reading = &reading;
                thread::Builder::new().spawn_scoped(scope, move || reading.run(&*file)).ok()
            });
            // One that does not come leaves its share to the others; all of it to this thread, if there is none.
            let helped = helpers.by_ref().count() > 0;
            if helped {
                let reading = &reading;
                let spawned = thread::Builder::new().spawn_scoped(scope, move || reading.run(&*file));
                // The helpers do without it.
                drop(spawned);
            } else {
                reading.run(&*file);
            }
            work(segment)
        })
    };
    let failure = reading.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(done), Err)
}

/// One file, read by several threads.
struct Reading<'a> {
    recovery: &'a Recovery<'a>,
    wanted: Wanted,
    path: &'a Path,
    bytes: u64,
    lanes: &'a Lanes,
    /// Number of the next part that nobody reads yet.
    next: AtomicUsize,
    failure: Mutex<Option<Error>>,
}

impl Reading<'_> {
    /// Reads parts until there is none left. Every part that is taken is there in the end, if only as zeros beside a failure:
    /// somebody may wait for it.
    fn run(&self, file: &dyn File) {
        let _whatever_happens = FillIfPanicking(self.lanes);
        let most = self.bytes.next_multiple_of(BLOCK as u64).min(PART_BYTES as u64) as usize;
        let mut buffer = AlignedBuffer::new(most);
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= self.lanes.parts() {
                return;
            }
            if self.has_failed() {
                self.lanes.set(at, Part::default());
                continue;
            }
            let offset = (at * PART_BYTES) as u64;
            match file.read_at(offset, buffer.as_mut()) {
                Ok(read) => {
                    let read = (self.bytes - offset).min(read as u64) as usize;
                    self.lanes.fill(at, self.wanted.id, &buffer.as_ref()[..read], self.wanted.foreign);
                }
                Err(source) => {
                    self.fail(self.recovery.failed("read", self.path.to_path_buf(), offset, source));
                    self.lanes.set(at, Part::default());
                }
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Nobody waits for a thread that is gone; its panic is passed on once all have ended.
struct FillIfPanicking<'a>(&'a Lanes);

impl Drop for FillIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            (0..self.0.parts()).for_each(|at| self.0.set(at, Part::default()));
        }
    }
}
