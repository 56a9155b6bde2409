//! What other threads leave for a loop: one lock, and a wake only when the loop sleeps.
//!
//! A loop that is awake looks into its inbox at every turn of a connection and once more before it sleeps
//! (`before_sleep`, run by the runtime just before it parks the thread). Whoever fills the inbox therefore rings only
//! when `asleep` is set; both sides use sequentially consistent stores, so that one of them always sees the other.

use std::any::Any;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::grpc::{CallId, Frame, Status};
use crate::loops::listener::Serves;

/// One answer on its way to its call.
pub(crate) type Completion = (CallId, Result<Frame, Status>);

/// One thing left for a loop.
pub(crate) enum Parcel {
    /// For `Services::on_post`.
    Post(Arc<dyn Any + Send + Sync>),
    /// A stream of this loop was woken.
    Wake(CallId),
    /// A connection assigned to this loop.
    Connection(TcpStream, Serves),
    /// Stop taking calls; whatever is still open at the instant is ended.
    Stop(Instant),
}

/// Everything that waits for a loop, each kind in order of arrival.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) completions: Vec<Completion>,
    pub(crate) parcels: Vec<Parcel>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    contents: Mutex<Contents>,
    filled: AtomicBool,
    /// The loop sleeps or is about to: whoever fills the inbox must ring.
    asleep: AtomicBool,
    bell: Notify,
}

impl Inbox {
    /// Takes over the list, leaving it empty with memory to use again.
    pub(crate) fn complete(&self, list: &mut Vec<Completion>) {
        {
            let mut contents = self.lock();
            if contents.completions.is_empty() {
                std::mem::swap(&mut contents.completions, list);
            } else {
                contents.completions.append(list);
            }
            self.filled.store(true, Ordering::SeqCst);
        }
        self.ring();
    }

    pub(crate) fn send(&self, parcel: Parcel) {
        {
            let mut contents = self.lock();
            contents.parcels.push(parcel);
            self.filled.store(true, Ordering::SeqCst);
        }
        self.ring();
    }

    /// True when `take` would find something. One load: cheap enough for every turn.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::SeqCst)
    }

    /// Exchanges the contents for `spare`, which must be empty.
    pub(crate) fn take(&self, spare: &mut Contents) {
        debug_assert!(spare.completions.is_empty() && spare.parcels.is_empty());
        let mut contents = self.lock();
        self.filled.store(false, Ordering::SeqCst);
        std::mem::swap(&mut *contents, spare);
    }

    /// Resolves after a ring.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Rings whether the loop sleeps or not, for what the loop itself must look at.
    pub(crate) fn nudge(&self) {
        self.bell.notify_one();
    }

    /// On the loop's thread, just before it parks.
    pub(crate) fn before_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.is_filled() {
            self.asleep.store(false, Ordering::SeqCst);
            self.bell.notify_one();
        }
    }

    /// On the loop's thread, after it was unparked.
    pub(crate) fn after_sleep(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn ring(&self) {
        // Only the one who clears the flag rings: a second wake before the loop is up would be a wasted system call.
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
