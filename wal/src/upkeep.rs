//! Work beside the appends: preparing the next segment, recycling released ones.
//!
//! A segment gets its name, durably in its directory, before it is used, and only when its first sector is zeros: a
//! file whose name comes after the newest segment's and whose header is zeros was never begun. None of the steps here
//! matters to what is in the log, so that a crash between any two of them leaves at most a file to be used again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::io::{Access, AlignedBuffer, File, Io, Method};
use crate::options::{Fill, Options, Upkeep};
use crate::segment::name::Name;
use crate::segment::sector::BLOCK;
use crate::stats::NextSegment;

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

/// What the thread and the log see of each other besides the queues.
#[derive(Default)]
struct Shared {
    /// Somebody waits: fill without pauses.
    hurry: AtomicBool,
    stop: AtomicBool,
    /// Recycling steps that failed. Nothing depends on them.
    failures: AtomicU64,
    next: Mutex<Option<NextSegment>>,
}

impl Shared {
    fn set_next(&self, next: NextSegment) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }
}

/// Does the work.
pub(crate) struct Workshop {
    dir: PathBuf,
    io: Arc<dyn Io>,
    method: Method,
    segment_bytes: u64,
    fill: Fill,
    spares: VecDeque<u64>,
    spare_limit: usize,
    shared: Arc<Shared>,
}

impl Workshop {
    pub(crate) fn new(dir: &Path, io: &Arc<dyn Io>, options: &Options, spares: Vec<u64>) -> Self {
        Self {
            dir: dir.to_path_buf(),
            io: Arc::clone(io),
            method: options.method,
            segment_bytes: options.segment_bytes,
            fill: options.fill,
            spares: spares.into(),
            spare_limit: options.spares,
            shared: Arc::default(),
        }
    }

    /// Makes segment `id` ready: from a released one if there is one.
    pub(crate) fn prepare(&mut self, id: u64) -> Result<Prepared, Failure> {
        while let Some(spare) = self.spares.pop_front() {
            if let Some(prepared) = self.reuse(spare, id)? {
                return Ok(prepared);
            }
        }
        let (from, file) = self.build(id)?;
        let path = self.publish(&from, id)?;
        Ok(Prepared { id, path, file, recycled: false })
    }

    /// Takes over a file that was made ready before the log was closed.
    pub(crate) fn adopt(&mut self, id: u64, recycled: bool) -> Result<Prepared, Failure> {
        let path = Name::Segment(id).in_dir(&self.dir);
        let file = step("open", &path, self.io.open(&path, Access::Write, self.method))?;
        Ok(Prepared { id, path, file, recycled })
    }

    /// The file of a log that is being created: somebody waits for it.
    pub(crate) fn build_first(&mut self) -> Result<(PathBuf, Box<dyn File>), Failure> {
        self.shared.hurry.store(true, Ordering::Relaxed);
        let built = self.build(1);
        self.shared.hurry.store(false, Ordering::Relaxed);
        built
    }

    /// A new file under its temporary name, durable but for the name.
    fn build(&mut self, id: u64) -> Result<(PathBuf, Box<dyn File>), Failure> {
        let path = Name::New(id).in_dir(&self.dir);
        let mut file = step("create", &path, self.io.open(&path, Access::Create, self.method))?;
        step("allocate", &path, file.allocate(self.segment_bytes))?;
        match self.fill {
            Fill::Zeros { pace } => self.zero(&path, &mut *file, pace)?,
            Fill::Allocate => {}
        }
        step("sync", &path, file.sync())?;
        Ok((path, file))
    }

    /// Gives a finished file its name.
    pub(crate) fn publish(&self, from: &Path, id: u64) -> Result<PathBuf, Failure> {
        let path = Name::Segment(id).in_dir(&self.dir);
        step("rename", from, self.io.rename(from, &path))?;
        step("sync", &self.dir, self.io.sync_dir(&self.dir))?;
        Ok(path)
    }

    fn reuse(&mut self, spare: u64, id: u64) -> Result<Option<Prepared>, Failure> {
        let from = Name::Spare(spare).in_dir(&self.dir);
        let mut file = match self.io.open(&from, Access::Write, self.method) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Failure { operation: "open", path: from, source }),
        };
        if step("measure", &from, file.length())? != self.segment_bytes {
            drop(file);
            self.forget_name()?;
            step("remove", &from, self.io.remove(&from))?;
            return Ok(None);
        }
        self.forget_name()?;
        let zeros = AlignedBuffer::new(BLOCK);
        whole("write", &from, file.write_durable(0, zeros.as_ref()), BLOCK)?;
        let path = self.publish(&from, id)?;
        Ok(Some(Prepared { id, path, file, recycled: true }))
    }

    fn zero(&self, path: &Path, file: &mut dyn File, pace: u64) -> Result<(), Failure> {
        let zeros = AlignedBuffer::new(FILL_BYTES.min(self.segment_bytes as usize));
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
                thread::sleep(Duration::from_nanos(bytes as u64 * 1_000_000_000 / pace));
            }
        }
        Ok(())
    }

    /// Puts a released segment aside, or gives its space back.
    fn release(&mut self, id: u64) -> Result<(), Failure> {
        let path = Name::Segment(id).in_dir(&self.dir);
        step("rename", &path, self.io.rename(&path, &Name::Spare(id).in_dir(&self.dir)))?;
        self.spares.push_back(id);
        while self.spares.len() > self.spare_limit {
            let Some(surplus) = self.spares.pop_front() else { break };
            self.forget_name()?;
            let path = Name::Spare(surplus).in_dir(&self.dir);
            step("remove", &path, self.io.remove(&path))?;
        }
        Ok(())
    }

    /// Makes the renames of released segments durable. Until then a power cut may bring the old name back, so that the
    /// content must stay what that name promises.
    fn forget_name(&self) -> Result<(), Failure> {
        step("sync", &self.dir, self.io.sync_dir(&self.dir))
    }

    fn release_or_count(&mut self, id: u64) {
        if self.release(id).is_err() {
            // The segment is still there when the log is opened next, and is released again.
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn prepare_and_note(&mut self, id: u64) -> Result<Prepared, Failure> {
        self.shared.set_next(NextSegment::Preparing);
        let prepared = self.prepare(id);
        self.shared.set_next(match &prepared {
            Ok(_) => NextSegment::Ready,
            Err(failure) => NextSegment::Refused(format!("{}: {}", failure.operation, failure.source)),
        });
        prepared
    }
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

enum Job {
    Prepare(u64),
    Release(u64),
}

/// Has the work done, on its thread or at once.
pub(crate) struct Upkeeper {
    place: Place,
    shared: Arc<Shared>,
    /// The next segment, once it has come.
    ready: Option<Result<Prepared, Failure>>,
    asked: bool,
}

enum Place {
    Inline(Workshop),
    Thread {
        jobs: Option<Sender<Job>>,
        done: Receiver<Result<Prepared, Failure>>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Upkeeper {
    pub(crate) fn start(workshop: Workshop, upkeep: Upkeep) -> io::Result<Self> {
        let shared = Arc::clone(&workshop.shared);
        let place = match upkeep {
            Upkeep::Inline => Place::Inline(workshop),
            Upkeep::Thread => {
                let (jobs, queue) = channel();
                let (results, done) = channel();
                let thread = thread::Builder::new()
                    .name("wal-upkeep".to_owned())
                    .spawn(move || run(workshop, &queue, &results))?;
                Place::Thread { jobs: Some(jobs), done, thread: Some(thread) }
            }
        };
        Ok(Self { place, shared, ready: None, asked: false })
    }

    /// Hands over a segment that is ready already.
    pub(crate) fn put(&mut self, prepared: Prepared) {
        self.shared.set_next(NextSegment::Ready);
        self.ready = Some(Ok(prepared));
        self.asked = true;
    }

    /// Has segment `id` prepared, for [`Self::take`].
    pub(crate) fn ask(&mut self, id: u64) {
        self.asked = true;
        match &mut self.place {
            Place::Inline(workshop) => self.ready = Some(workshop.prepare_and_note(id)),
            Place::Thread { jobs, .. } => {
                self.shared.set_next(NextSegment::Preparing);
                if let Some(jobs) = jobs {
                    // The thread ends only with the log; should it have panicked, `take` says so.
                    let _ = jobs.send(Job::Prepare(id));
                }
            }
        }
    }

    /// The next segment; waits for it if it must, and asks again if it could not be prepared before. Says whether it waited.
    pub(crate) fn take(&mut self, id: u64) -> Result<(Prepared, bool), Failure> {
        self.poll();
        if matches!(self.ready, Some(Err(_))) {
            self.ready = None;
            self.asked = false;
        }
        if !self.asked {
            self.ask(id);
        }
        let waited = self.ready.is_none();
        if let (true, Place::Thread { done, .. }) = (waited, &self.place) {
            self.shared.hurry.store(true, Ordering::Relaxed);
            self.ready = done.recv().ok();
            self.shared.hurry.store(false, Ordering::Relaxed);
        }
        self.asked = false;
        match self.ready.take() {
            Some(Ok(prepared)) => {
                assert_eq!(prepared.id, id, "segments are prepared one at a time, in order");
                Ok((prepared, waited))
            }
            Some(Err(failure)) => Err(failure),
            None => Err(Failure {
                operation: "prepare",
                path: PathBuf::new(),
                source: io::Error::other("the upkeep thread has ended"),
            }),
        }
    }

    /// Asks again for a segment that could not be made.
    pub(crate) fn retry(&mut self, id: u64) {
        self.poll();
        if matches!(self.ready, Some(Err(_))) {
            self.ready = None;
            self.ask(id);
        }
    }

    fn poll(&mut self) {
        if let (None, Place::Thread { done, .. }) = (&self.ready, &self.place) {
            self.ready = done.try_recv().ok();
        }
    }

    pub(crate) fn release(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            match &mut self.place {
                Place::Inline(workshop) => workshop.release_or_count(id),
                Place::Thread { jobs: Some(jobs), .. } => {
                    let _ = jobs.send(Job::Release(id));
                }
                Place::Thread { jobs: None, .. } => {}
            }
        }
    }

    pub(crate) fn next_segment(&self) -> NextSegment {
        let next = self.shared.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.clone().unwrap_or(NextSegment::Preparing)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }
}

impl Drop for Upkeeper {
    fn drop(&mut self) {
        if let Place::Thread { jobs, thread, .. } = &mut self.place {
            self.shared.stop.store(true, Ordering::Relaxed);
            *jobs = None;
            if let Some(thread) = thread.take() {
                // A panic there was reported there.
                let _ = thread.join();
            }
        }
    }
}

fn run(mut workshop: Workshop, jobs: &Receiver<Job>, results: &Sender<Result<Prepared, Failure>>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Prepare(id) => {
                let prepared = workshop.prepare_and_note(id);
                if results.send(prepared).is_err() {
                    return;
                }
            }
            Job::Release(id) => workshop.release_or_count(id),
        }
    }
}
