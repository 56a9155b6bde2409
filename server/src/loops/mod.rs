//! The threads that own the connections, and how other threads hand them work.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::grpc::{CallId, Frame, Status};

mod inbox;

pub(crate) use inbox::{Inbox, Parcel};

/// Numbers the loops from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopId(pub u16);

impl LoopId {
    /// For indexing.
    pub fn index(self) -> usize {
        usize::from(self.0)
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
        let mut batch = self.batch();
        batch.push(id, answer);
        batch.flush();
    }

    /// Completions that nobody hears, for tests of what completes.
    pub fn nowhere() -> Completions {
        Completions { inboxes: Arc::new([]) }
    }
}

/// Answers of one batch of work. Nothing reaches a client before `flush`.
pub struct CompletionBatch {
    inboxes: Arc<[Arc<Inbox>]>,
    pending: Vec<Vec<(CallId, Result<Frame, Status>)>>,
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
