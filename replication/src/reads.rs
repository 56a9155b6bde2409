//! Linearizable reads: may this member answer from its own state, and from when on?

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::queue::Queue;
use crate::state_machine::Refused;

/// Called on the driver's thread once the state is recent enough, or with the reason why it won't be.
pub(crate) type ReadCall = Box<dyn FnOnce(Result<u64, Refused>) + Send>;

/// Whether the newest published state may be read right now.
#[must_use]
pub enum ReadGate {
    /// Yes: take the newest view after this answer, not before it.
    Now,
    /// The leadership has to be confirmed first, and the state to catch up.
    Wait(ReadWaiter),
}

/// Asks for linearizable reads. Cheap to clone, usable from every thread.
#[derive(Clone)]
pub struct Reads {
    local: Arc<LocalReads>,
    calls: Arc<dyn ReadCalls>,
}

impl Reads {
    pub(crate) fn new<T: Send + 'static>(local: Arc<LocalReads>, queue: Arc<Queue<T>>) -> Reads {
        Reads { local, calls: queue }
    }

    /// Gates one linearizable read.
    pub fn read_index(&self) -> ReadGate {
        if self.local.permitted() {
            ReadGate::Now
        } else {
            ReadGate::Wait(ReadWaiter { calls: Arc::clone(&self.calls) })
        }
    }
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").field("local", &self.local.permitted()).finish_non_exhaustive()
    }
}

/// A read that has to wait.
pub struct ReadWaiter {
    calls: Arc<dyn ReadCalls>,
}

impl ReadWaiter {
    /// Calls back on the driver's thread, exactly once: with the read index once everything up to it is applied and
    /// published, or with a refusal. The call must be short and must not wait. It may come before `then` returns.
    /// Reads of the same turn share one round of messages. A message that gets lost is sent again, so a caller that
    /// has a deadline of its own gives up by itself.
    pub fn then(self, call: impl FnOnce(Result<u64, Refused>) + Send + 'static) {
        self.calls.call(Box::new(call));
    }
}

impl fmt::Debug for ReadWaiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadWaiter")
    }
}

trait ReadCalls: Send + Sync {
    fn call(&self, call: ReadCall);
}

impl<T: Send + 'static> ReadCalls for Queue<T> {
    fn call(&self, call: ReadCall) {
        self.read(call);
    }
}

/// Whether reads need nobody else's word. Holds while this member leads, is the only voter, and has applied the
/// first entry of its term: then whatever was acknowledged is in the published state, because publishing comes
/// before acknowledging and nobody else can acknowledge anything.
///
/// The driver withdraws it before it lets a second voter in and before it stops leading.
#[derive(Debug, Default)]
pub(crate) struct LocalReads(AtomicBool);

impl LocalReads {
    fn permitted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn permit(&self, permitted: bool) {
        self.0.store(permitted, Ordering::Release);
    }
}
