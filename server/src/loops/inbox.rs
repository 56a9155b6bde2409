//! What other threads leave for a loop: one lock, and a wake only when the loop sleeps.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::grpc::{CallId, Frame, Status};

/// One thing left for a loop.
pub(crate) enum Parcel {
    Post(Arc<dyn Any + Send + Sync>),
    Wake(CallId),
}

/// Everything that waits for a loop, in order of arrival by kind.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) completions: Vec<(CallId, Result<Frame, Status>)>,
    pub(crate) parcels: Vec<Parcel>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    contents: Mutex<Contents>,
    filled: AtomicBool,
    /// The loop is about to sleep or sleeps: whoever fills the inbox must wake it.
    asleep: AtomicBool,
    bell: OnceLock<Arc<Notify>>,
}

impl Inbox {
    /// Takes over the list, leaving it empty with memory to reuse.
    pub(crate) fn complete(&self, list: &mut Vec<(CallId, Result<Frame, Status>)>) {
        {
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
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
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.parcels.push(parcel);
            self.filled.store(true, Ordering::SeqCst);
        }
        self.ring();
    }

    fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            if let Some(bell) = self.bell.get() {
                bell.notify_one();
            }
        }
    }
}
