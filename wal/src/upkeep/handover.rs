//! Between the thread that appends and the thread that does the work beside it: one desk under one lock.
//!
//! The appending thread asks for one segment at a time, and takes it when it needs it; it puts released ones on the desk and
//! never waits for those. A segment that could not be prepared is tried again by itself, at growing intervals, at once when
//! something was released (its file may serve) and when the appending thread needs it now.
//!
//! This file knows nothing of files, and of threads only what `sync` offers: `tests/handover.rs` compiles it
//! once more, against a scheduler that tries thousands of interleavings.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::sync::{Arc, Condvar, JoinHandle, Mutex, lock, spawn, wait, wait_at_most};

/// The pause after a first failure; it doubles with every further one...
const FIRST_REST: Duration = Duration::from_millis(100);
/// ...up to this: how long it takes at most until space that came back is noticed.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Who does the work.
pub(crate) trait Worker: Send + 'static {
    type Ready: Send + 'static;
    type Failure: Send + 'static;
    fn prepare(&mut self, id: u64) -> Result<Self::Ready, Self::Failure>;
    fn release(&mut self, id: u64);
    /// Work that can wait, a piece of it. Says whether there was any.
    fn tidy(&mut self) -> bool;
}

/// The appending thread's side. Dropping it ends the other one: what was released is still put aside, nothing is prepared.
pub(crate) struct Handover<W: Worker> {
    shared: Arc<Shared<W::Ready, W::Failure>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<R, F> {
    desk: Mutex<Desk<R, F>>,
    /// There is work.
    work: Condvar,
    /// An attempt has ended, or there is nothing more to do.
    done: Condvar,
}

struct Desk<R, F> {
    /// The segment to prepare, until it is ready.
    wanted: Option<u64>,
    /// How the last attempt ended, until it is taken.
    result: Option<Result<R, F>>,
    released: VecDeque<u64>,
    /// An attempt failed, and the next one is not due yet.
    resting: Option<Duration>,
    /// The thread waits for work.
    idle: bool,
    closing: bool,
    /// The thread is gone.
    ended: bool,
}

/// What [`Handover::take`] brings.
pub(crate) struct Taken<W: Worker> {
    /// `None` when the thread is gone. A failure leaves the segment asked for.
    pub(crate) result: Option<Result<W::Ready, W::Failure>>,
    pub(crate) waited: bool,
}

impl<W: Worker> Handover<W> {
    pub(crate) fn start(worker: W) -> io::Result<Self> {
        let desk = Desk {
            wanted: None,
            result: None,
            released: VecDeque::new(),
            resting: None,
            idle: false,
            closing: false,
            ended: false,
        };
        let shared = Arc::new(Shared { desk: Mutex::new(desk), work: Condvar::new(), done: Condvar::new() });
        let theirs = Ending(Arc::clone(&shared));
        let thread = spawn("wal-upkeep", move || theirs.0.run(worker))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands over a segment that is ready already.
    pub(crate) fn put(&self, ready: W::Ready) {
        lock(&self.shared.desk).result = Some(Ok(ready));
    }

    /// Has segment `id` prepared, for [`Self::take`].
    pub(crate) fn ask(&self, id: u64) {
        let mut desk = lock(&self.shared.desk);
        assert!(desk.wanted.is_none() && desk.result.is_none(), "segments are prepared one at a time");
        desk.wanted = Some(id);
        self.shared.work.notify_one();
    }

    pub(crate) fn release(&self, ids: impl IntoIterator<Item = u64>) {
        let mut desk = lock(&self.shared.desk);
        desk.released.extend(ids);
        if !desk.released.is_empty() {
            self.shared.work.notify_one();
        }
    }

    /// Whether the next segment can be taken without waiting.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(lock(&self.shared.desk).result, Some(Ok(_)))
    }

    /// The segment asked for. Waits for it where it is not ready, and for a new attempt where the last one failed.
    pub(crate) fn take(&self) -> Taken<W> {
        let mut desk = lock(&self.shared.desk);
        assert!(desk.wanted.is_some() || desk.result.is_some(), "a segment is asked for before it is taken");
        let waited = !matches!(desk.result, Some(Ok(_)));
        if waited {
            desk.result = None;
            desk.resting = None;
            self.shared.work.notify_one();
            while desk.result.is_none() && !desk.ended {
                desk = wait(&self.shared.done, desk);
            }
        }
        Taken { result: desk.result.take(), waited }
    }

    /// Waits until there is nothing to do: what was asked for is there or cannot be had, what was released is put aside, and
    /// what could wait is done too.
    pub(crate) fn settle(&self) {
        let mut desk = lock(&self.shared.desk);
        while !(desk.ended || desk.is_settled()) {
            desk = wait(&self.shared.done, desk);
        }
    }
}

impl<R, F> Desk<R, F> {
    fn is_settled(&self) -> bool {
        let refused = self.wanted.is_some() && self.resting.is_some();
        self.idle && self.released.is_empty() && (self.wanted.is_none() || refused)
    }
}

impl<W: Worker> Drop for Handover<W> {
    fn drop(&mut self) {
        lock(&self.shared.desk).closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// Says that the thread is gone however it ends, so that nobody waits for it.
struct Ending<R, F>(Arc<Shared<R, F>>);

impl<R, F> Drop for Ending<R, F> {
    fn drop(&mut self) {
        lock(&self.0.desk).ended = true;
        self.0.done.notify_one();
    }
}

enum Job {
    Release(u64),
    Prepare(u64),
    Tidy,
}

impl<R, F> Shared<R, F> {
    fn run<W: Worker<Ready = R, Failure = F>>(&self, mut worker: W) {
        let mut rest = FIRST_REST;
        let mut tidy = true;
        while let Some(job) = self.next_job(tidy) {
            match job {
                Job::Release(id) => {
                    worker.release(id);
                    tidy = true;
                    // Its file may be what could not be had before.
                    lock(&self.desk).resting = None;
                }
                Job::Prepare(id) => {
                    let result = worker.prepare(id);
                    tidy = true;
                    let mut desk = lock(&self.desk);
                    if result.is_ok() {
                        desk.wanted = None;
                        rest = FIRST_REST;
                    } else {
                        desk.resting = Some(rest);
                        rest = (rest * 2).min(LONGEST_REST);
                    }
                    desk.result = Some(result);
                    self.done.notify_one();
                }
                Job::Tidy => tidy = worker.tidy(),
            }
        }
    }

    /// Waits for work; `None` when the log is being closed and nothing released is left.
    fn next_job(&self, tidy: bool) -> Option<Job> {
        let mut desk = lock(&self.desk);
        loop {
            if let Some(id) = desk.released.pop_front() {
                return Some(Job::Release(id));
            }
            if desk.closing {
                return None;
            }
            match (desk.wanted, desk.resting) {
                (Some(id), None) => return Some(Job::Prepare(id)),
                _ if tidy => return Some(Job::Tidy),
                (wanted, resting) => {
                    desk.idle = true;
                    self.done.notify_one();
                    match resting.filter(|_| wanted.is_some()) {
                        Some(time) => {
                            let over;
                            (desk, over) = wait_at_most(&self.work, desk, time);
                            if over {
                                desk.resting = None;
                            }
                        }
                        None => desk = wait(&self.work, desk),
                    }
                    desk.idle = false;
                }
            }
        }
    }
}
