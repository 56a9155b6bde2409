//! Wakers that know whether the connection is already in its turn.
//!
//! h2 wakes the connection's task for every frame it is given to send. During the connection's own turn that would
//! schedule the task once more for nothing, because the turn goes on until there is nothing left to do. These wakers
//! only take a note then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Wakes the connection's task.
#[derive(Default)]
pub(crate) struct ConnectionWaker {
    in_turn: AtomicBool,
    noted: AtomicBool,
    task: Mutex<Option<Waker>>,
    /// Slots whose stream h2 has news of.
    ready: Mutex<Vec<u32>>,
}

impl ConnectionWaker {
    /// The connection's turn begins. `task` is whom to wake between turns.
    pub(crate) fn begin_turn(&self, task: &Waker) {
        self.in_turn.store(true, Ordering::Relaxed);
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// The turn is over.
    pub(crate) fn end_turn(&self) {
        self.in_turn.store(false, Ordering::Relaxed);
    }

    /// Forgets wakes of this turn that what comes next will answer.
    pub(crate) fn forget(&self) {
        self.noted.store(false, Ordering::Relaxed);
    }

    /// True when somebody asked for another turn since `forget`.
    pub(crate) fn noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    pub(crate) fn wake_connection(&self) {
        if self.in_turn.load(Ordering::Relaxed) {
            self.noted.store(true, Ordering::Relaxed);
        } else if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }

    /// Exchanges the list of slots with news for an empty one.
    pub(crate) fn take_ready(&self, into: &mut Vec<u32>) {
        debug_assert!(into.is_empty());
        std::mem::swap(into, &mut self.ready.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn push_ready(&self, slot: u32) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_connection();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_connection();
    }
}

/// Notes that a slot's stream has news, and wakes the connection. Lives as long as the slot's place, so that calls
/// need not allocate wakers.
pub(crate) struct SlotWaker {
    slot: u32,
    queued: AtomicBool,
    connection: Arc<ConnectionWaker>,
}

impl SlotWaker {
    pub(crate) fn new(slot: u32, connection: Arc<ConnectionWaker>) -> Arc<SlotWaker> {
        Arc::new(SlotWaker { slot, queued: AtomicBool::new(false), connection })
    }

    /// Before the slot is looked at: news from now on queue it again.
    pub(crate) fn rearm(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.connection.push_ready(self.slot);
            self.connection.wake_connection();
        }
    }
}
