//! The threads that own the connections, and how other threads hand them work.
//!
//! One OS thread per core, each with a current-thread runtime and its own connections; nothing of a connection is
//! ever touched by two threads. Loop 0 also accepts, and deals connections out in turn. Other threads reach a loop
//! only through its `inbox`: answers of pending calls ([`Completions`]), items for the service ([`LoopInbox`]),
//! stream wake-ups ([`crate::grpc::StreamWaker`]).

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::grpc::{CallId, Frame, Services, Status};
use crate::metrics::Metrics;

mod home;
mod inbox;
mod listener;
mod options;
mod sniff;
mod worker;

pub(crate) use home::{Home, Mailbox};
pub(crate) use inbox::{Completion, Inbox, Parcel};
pub use listener::{Listener, Serves};
pub use options::Options;

/// Numbers the loops from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopId(pub u16);

impl LoopId {
    /// For indexing.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The loops before they run: what services need of them can be had before the services exist.
pub struct Prepared {
    inboxes: Arc<[Arc<Inbox>]>,
}

impl Prepared {
    /// How answers of pending calls get back.
    pub fn completions(&self) -> Completions {
        Completions { inboxes: self.inboxes.clone() }
    }

    /// How items get to `Services::on_post`.
    pub fn inbox(&self) -> LoopInbox {
        LoopInbox { inboxes: self.inboxes.clone() }
    }

    /// Starts the threads and begins to accept.
    pub fn start(
        self,
        options: Options,
        listeners: Vec<Listener>,
        services: Arc<dyn Services>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Loops> {
        let options = Arc::new(options);
        let mut loops = Loops { inboxes: self.inboxes.clone(), threads: Vec::new() };
        let mut listeners = Some(listeners);
        for index in 0..self.inboxes.len() {
            let plan = worker::Plan {
                id: LoopId(index as u16),
                inboxes: self.inboxes.clone(),
                options: options.clone(),
                listeners: listeners.take().unwrap_or_default(),
                services: services.clone(),
                metrics: metrics.clone(),
            };
            loops.threads.push(worker::start(plan)?);
        }
        Ok(loops)
    }
}

/// The running loops. Dropping stops them without grace.
pub struct Loops {
    inboxes: Arc<[Arc<Inbox>]>,
    threads: Vec<JoinHandle<()>>,
}

impl Loops {
    /// Prepares `threads` loops (at least one); see [`Loops::cores`].
    pub fn prepare(threads: usize) -> Prepared {
        let threads = threads.clamp(1, usize::from(u16::MAX));
        Prepared { inboxes: (0..threads).map(|_| Arc::new(Inbox::default())).collect() }
    }

    /// One loop per core this process may use.
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Accepts no more, tells clients to go away, lets calls in progress end, and after `grace` ends those that did
    /// not with Unavailable. Returns when the threads are gone.
    pub fn stop(mut self, grace: Duration) {
        self.stop_by(Instant::now() + grace);
    }

    fn stop_by(&mut self, deadline: Instant) {
        for inbox in self.inboxes.iter() {
            inbox.send(Parcel::Stop(deadline));
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a network loop ended by a panic");
            }
        }
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.stop_by(Instant::now());
    }
}

/// Hands answers of pending calls back to their loops, from any thread.
#[derive(Clone)]
pub struct Completions {
    inboxes: Arc<[Arc<Inbox>]>,
}

impl Completions {
    /// A batch to fill. Keep it and use it again: its memory is reused.
    pub fn batch(&self) -> CompletionBatch {
        CompletionBatch {
            inboxes: self.inboxes.clone(),
            pending: self.inboxes.iter().map(|_| Vec::new()).collect(),
        }
    }

    /// One answer by itself.
    pub fn complete(&self, id: CallId, answer: Result<Frame, Status>) {
        if let Some(inbox) = self.inboxes.get(id.loop_id.index()) {
            inbox.complete(&mut vec![(id, answer)]);
        }
    }

    /// Completions that nobody hears, for tests of what completes.
    pub fn nowhere() -> Completions {
        Completions { inboxes: Arc::new([]) }
    }
}

/// Answers of one batch of work. Nothing reaches a client before `flush`.
pub struct CompletionBatch {
    inboxes: Arc<[Arc<Inbox>]>,
    pending: Vec<Vec<Completion>>,
}

impl CompletionBatch {
    /// Adds an answer.
    pub fn push(&mut self, id: CallId, answer: Result<Frame, Status>) {
        if let Some(list) = self.pending.get_mut(id.loop_id.index()) {
            list.push((id, answer));
        }
    }

    /// Hands everything over: one lock and at most one wake per loop.
    pub fn flush(&mut self) {
        for (inbox, list) in self.inboxes.iter().zip(&mut self.pending) {
            if !list.is_empty() {
                inbox.complete(list);
            }
        }
    }
}

/// Posts items to loops, from any thread. They arrive in order at `Services::on_post`.
#[derive(Clone)]
pub struct LoopInbox {
    inboxes: Arc<[Arc<Inbox>]>,
}

impl LoopInbox {
    /// Loops that do not run, for tests of what would be posted.
    #[cfg(test)]
    pub(crate) fn detached(loops: usize) -> LoopInbox {
        LoopInbox { inboxes: (0..loops).map(|_| Arc::default()).collect() }
    }

    /// How many loops there are.
    pub fn loops(&self) -> usize {
        self.inboxes.len()
    }

    /// Posts to one loop.
    pub fn post(&self, to: LoopId, item: Arc<dyn Any + Send + Sync>) {
        if let Some(inbox) = self.inboxes.get(to.index()) {
            inbox.send(Parcel::Post(item));
        }
    }

    /// Posts to every loop.
    pub fn broadcast(&self, item: &Arc<dyn Any + Send + Sync>) {
        for inbox in self.inboxes.iter() {
            inbox.send(Parcel::Post(item.clone()));
        }
    }
}

/// Where a `StreamWaker` points.
pub(crate) struct WakeTarget {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) id: CallId,
    /// Set between a wake and the stream's turn.
    pub(crate) called: AtomicBool,
}

impl WakeTarget {
    pub(crate) fn wake(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            self.inbox.send(Parcel::Wake(self.id));
        }
    }

    pub(crate) fn loop_id(&self) -> LoopId {
        self.id.loop_id
    }
}

#[cfg(test)]
impl Completions {
    /// Completions for a loop that never runs, for tests that look at what completes.
    pub(crate) fn detached() -> Completions {
        Completions { inboxes: [Arc::default()].into() }
    }

    /// What was flushed since the last time.
    pub(crate) fn taken(&self) -> Vec<Completion> {
        let mut contents = inbox::Contents::default();
        self.inboxes[0].take(&mut contents);
        contents.completions
    }
}
