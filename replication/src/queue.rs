//! The one queue into the driver: everything that has gathered is taken in one go.
//!
//! The `parked` mark lives under the same lock as the queue, so that a wake can neither be lost nor be sent to a
//! driver that is awake anyway.

use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;

use crate::config::Limits;
use crate::membership::MembershipChange;
use crate::reads::ReadCall;
use crate::state_machine::Refused;
use crate::transport::Message;

/// A proposal that waits for its turn.
pub(crate) struct Proposal<T> {
    pub(crate) data: Bytes,
    pub(crate) ticket: T,
}

/// What the callers have handed in since the last turn.
pub(crate) struct Gathered<T> {
    pub(crate) proposals: Vec<Proposal<T>>,
    pub(crate) changes: Vec<(MembershipChange, T)>,
    pub(crate) reads: Vec<ReadCall>,
    pub(crate) messages: Vec<Message>,
    pub(crate) unreachable: Vec<u64>,
    pub(crate) transfer_to: Option<u64>,
    pub(crate) stop: Option<Stop>,
}

/// How the driver is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Answer everything taken, close the log.
    Orderly,
    /// At once, as if the process had been killed.
    Abandoned,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Gathered {
            proposals: Vec::new(),
            changes: Vec::new(),
            reads: Vec::new(),
            messages: Vec::new(),
            unreachable: Vec::new(),
            transfer_to: None,
            stop: None,
        }
    }
}

impl<T> Gathered<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.proposals.is_empty()
            && self.changes.is_empty()
            && self.reads.is_empty()
            && self.messages.is_empty()
            && self.unreachable.is_empty()
            && self.transfer_to.is_none()
            && self.stop.is_none()
    }
}

struct State<T> {
    gathered: Gathered<T>,
    parked: bool,
    /// Nothing is taken any more, and why.
    closed: Option<Refused>,
}

/// Shared by all callers and the driver.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    driver: OnceLock<Thread>,
    limits: Limits,
    /// Proposals taken and not answered, and their bytes.
    pending: AtomicUsize,
    pending_bytes: AtomicUsize,
    refused: AtomicU64,
}

/// Messages that may wait for the driver; peers repeat what is dropped beyond.
const MESSAGES_WAITING: usize = 4096;

impl<T> Queue<T> {
    pub(crate) fn new(limits: Limits) -> Queue<T> {
        Queue {
            state: Mutex::new(State { gathered: Gathered::default(), parked: false, closed: None }),
            driver: OnceLock::new(),
            limits,
            pending: AtomicUsize::new(0),
            pending_bytes: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no caller panics while it holds the queue")
    }

    /// The driver's thread, which is the one calling.
    pub(crate) fn attach(&self) {
        let _ = self.driver.set(thread::current());
    }

    fn put(&self, insert: impl FnOnce(&mut Gathered<T>)) -> Result<(), Refused> {
        let wake = {
            let mut state = self.lock();
            if let Some(why) = state.closed {
                return Err(why);
            }
            insert(&mut state.gathered);
            mem::take(&mut state.parked)
        };
        if wake && let Some(driver) = self.driver.get() {
            driver.unpark();
        }
        Ok(())
    }

    pub(crate) fn propose(&self, data: Bytes, ticket: T) -> Result<(), (T, Refused)> {
        let bytes = data.len();
        if let Err(why) = self.reserve(bytes) {
            return Err((ticket, why));
        }
        let mut given = Some(Proposal { data, ticket });
        let put = self.put(|gathered| gathered.proposals.extend(given.take()));
        put.map_err(|why| self.take_back(bytes, given.take().map(|p| p.ticket), why))
    }

    pub(crate) fn propose_membership(&self, change: MembershipChange, ticket: T) -> Result<(), (T, Refused)> {
        let bytes = change.context.len();
        if let Err(why) = self.reserve(bytes) {
            return Err((ticket, why));
        }
        let mut given = Some((change, ticket));
        let put = self.put(|gathered| gathered.changes.extend(given.take()));
        put.map_err(|why| self.take_back(bytes, given.take().map(|(_, ticket)| ticket), why))
    }

    fn reserve(&self, bytes: usize) -> Result<(), Refused> {
        if bytes > self.limits.proposal_bytes {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::TooLarge);
        }
        let count = self.pending.fetch_add(1, Ordering::Relaxed);
        let waiting = self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        if count >= self.limits.pending || waiting.saturating_add(bytes) > self.limits.pending_bytes {
            self.release(1, bytes);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::TooMany);
        }
        Ok(())
    }

    fn take_back(&self, bytes: usize, ticket: Option<T>, why: Refused) -> (T, Refused) {
        self.release(1, bytes);
        self.refused.fetch_add(1, Ordering::Relaxed);
        (ticket.expect("a closed queue takes nothing"), why)
    }

    /// So many proposals have been answered.
    pub(crate) fn release(&self, count: usize, bytes: usize) {
        self.pending.fetch_sub(count, Ordering::Relaxed);
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Proposals that were turned away before they reached the driver.
    pub(crate) fn turned_away(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self, call: ReadCall) {
        let mut given = Some(call);
        let put = self.put(|gathered| gathered.reads.extend(given.take()));
        if let (Err(why), Some(call)) = (put, given) {
            call(Err(why));
        }
    }

    /// Messages of peers. What does not fit is dropped, as a network would.
    pub(crate) fn deliver(&self, messages: Vec<Message>) {
        let _ = self.put(|gathered| {
            let room = MESSAGES_WAITING.saturating_sub(gathered.messages.len());
            gathered.messages.extend(messages.into_iter().take(room));
        });
    }

    pub(crate) fn unreachable(&self, member: u64) {
        let _ = self.put(|gathered| {
            if !gathered.unreachable.contains(&member) {
                gathered.unreachable.push(member);
            }
        });
    }

    pub(crate) fn transfer_leader(&self, to: u64) {
        let _ = self.put(|gathered| gathered.transfer_to = Some(to));
    }

    pub(crate) fn stop(&self, stop: Stop) {
        let _ = self.put(|gathered| gathered.stop = Some(stop));
    }

    /// Everything gathered, in exchange for an emptied buffer whose room is used again. If there is nothing, waits for
    /// something, at most so long.
    pub(crate) fn take(&self, into: &mut Gathered<T>, wait: Duration) {
        debug_assert!(into.is_empty());
        let mut state = self.lock();
        if state.gathered.is_empty() && !wait.is_zero() {
            state.parked = true;
            drop(state);
            thread::park_timeout(wait);
            state = self.lock();
            state.parked = false;
        }
        mem::swap(&mut state.gathered, into);
    }

    /// From here on everything is refused; what had been taken is returned.
    pub(crate) fn close(&self, why: Refused) -> Gathered<T> {
        let mut state = self.lock();
        state.closed = Some(why);
        mem::take(&mut state.gathered)
    }
}
