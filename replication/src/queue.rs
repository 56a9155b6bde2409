//! The one queue into the driver. Proposals are packed into the data of log entries as they come, so that what is
//! taken from here goes to the log as it is. A turn takes what one entry may hold; the rest stays, in order, and
//! whatever comes next is packed behind it.
//!
//! The `parked` mark lives under the same lock as the queue, so that a wake can neither be lost nor be sent to a
//! driver that is awake anyway.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Buf;

use crate::batch::{BatchWriter, PROPOSAL_OVERHEAD};
use crate::config::Limits;
use crate::membership::MembershipChange;
use crate::proposer::Room;
use crate::reads::ReadCall;
use crate::state_machine::Refused;
use crate::transport::Message;

/// Proposals that will be one entry.
pub(crate) struct Packed<T> {
    pub(crate) batch: BatchWriter,
    /// Of the callers, in the order of the proposals.
    pub(crate) tickets: Vec<T>,
    /// Which of the proposals need no room; usually none.
    pub(crate) frees: Vec<u32>,
    /// Bytes of the proposals, as reserved here.
    pub(crate) bytes: usize,
}

impl<T> Packed<T> {
    pub(crate) fn new(capacity: usize, tickets: Vec<T>) -> Packed<T> {
        let batch = BatchWriter::with_capacity(capacity);
        Packed { batch, tickets, frees: Vec::new(), bytes: 0 }
    }

    pub(crate) fn push(&mut self, proposal: impl Buf, ticket: T, room: Room) {
        if room == Room::Frees {
            self.frees.push(self.tickets.len() as u32);
        }
        self.bytes += proposal.remaining();
        self.batch.push(proposal);
        self.tickets.push(ticket);
    }
}

/// What the callers have handed in since the last turn.
pub(crate) struct Gathered<T> {
    pub(crate) proposals: VecDeque<Packed<T>>,
    pub(crate) changes: Vec<(MembershipChange, T)>,
    pub(crate) reads: Vec<ReadCall>,
    pub(crate) messages: Vec<Message>,
    pub(crate) unreachable: Vec<u64>,
    pub(crate) transfer_to: Option<u64>,
    pub(crate) stop: Option<Stop>,
    /// Emptied lists to be used again.
    pub(crate) spare_tickets: Vec<Vec<T>>,
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
            proposals: VecDeque::new(),
            changes: Vec::new(),
            reads: Vec::new(),
            messages: Vec::new(),
            unreachable: Vec::new(),
            transfer_to: None,
            stop: None,
            spare_tickets: Vec::new(),
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

    /// Behind the last proposal, as long as one entry holds them.
    fn pack(&mut self, proposal: impl Buf, ticket: T, room: Room, batch_bytes: usize) {
        let bytes = proposal.remaining() + PROPOSAL_OVERHEAD;
        if let Some(last) = self.proposals.back_mut()
            && last.batch.size() + bytes <= batch_bytes
        {
            return last.push(proposal, ticket, room);
        }
        let mut packed = Packed::new(FIRST_BYTES.max(bytes + FIRST_BYTES / 4), self.new_tickets());
        packed.push(proposal, ticket, room);
        self.proposals.push_back(packed);
    }

    fn new_tickets(&mut self) -> Vec<T> {
        self.spare_tickets.pop().unwrap_or_default()
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
    /// The log has room for nothing but what frees space.
    tight: AtomicBool,
}

/// What a new entry has room for at first.
const FIRST_BYTES: usize = 1 << 10;
/// A proposal from this size on is packed before the queue is locked, as an entry of its own that may still be added to.
const LARGE: usize = 16 << 10;
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
            tight: AtomicBool::new(false),
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

    pub(crate) fn propose(&self, proposal: impl Buf, ticket: T, room: Room) -> Result<(), (T, Refused)> {
        let bytes = proposal.remaining();
        if let Err(why) = self.reserve(bytes, room) {
            return Err((ticket, why));
        }
        let put = if bytes < LARGE {
            let mut given = Some((proposal, ticket));
            let put = self.put(|gathered| {
                let (proposal, ticket) = given.take().expect("called once");
                gathered.pack(proposal, ticket, room, self.limits.batch_bytes);
            });
            put.map_err(|why| (given.map(|(_, ticket)| ticket), why))
        } else {
            let mut packed = Packed::new(bytes + FIRST_BYTES, Vec::new());
            packed.push(proposal, ticket, room);
            let mut given = Some(packed);
            let put = self.put(|gathered| gathered.proposals.extend(given.take()));
            put.map_err(|why| (given.and_then(|mut packed| packed.tickets.pop()), why))
        };
        put.map_err(|(ticket, why)| self.take_back(bytes, ticket, why))
    }

    pub(crate) fn propose_membership(&self, change: MembershipChange, ticket: T) -> Result<(), (T, Refused)> {
        let bytes = change.context.len();
        if let Err(why) = self.reserve(bytes, Room::Frees) {
            return Err((ticket, why));
        }
        let mut given = Some((change, ticket));
        let put = self.put(|gathered| gathered.changes.extend(given.take()));
        put.map_err(|why| self.take_back(bytes, given.take().map(|(_, ticket)| ticket), why))
    }

    fn reserve(&self, bytes: usize, room: Room) -> Result<(), Refused> {
        if bytes > self.limits.proposal_bytes {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::TooLarge);
        }
        if room == Room::Needs && self.is_tight() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::NoSpace);
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

    /// From here on what needs room is refused at once, or not any more.
    pub(crate) fn set_tight(&self, tight: bool) {
        self.tight.store(tight, Ordering::Relaxed);
    }

    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
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

    /// Everything gathered, in exchange for an emptied buffer whose room is used again; of the proposals only as many
    /// as one entry may hold, or one that is larger. If there is nothing, waits for something, at most so long.
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
        if into.proposals.len() > 1 {
            let sizes = into.proposals.iter().scan(0, |sum, packed| {
                *sum += packed.batch.size();
                Some(*sum)
            });
            let taken = sizes.take_while(|sum| *sum <= self.limits.batch_bytes).count().max(1);
            state.gathered.proposals.extend(into.proposals.drain(taken..));
        }
    }

    /// From here on everything is refused. What is there already can be taken.
    pub(crate) fn close(&self, why: Refused) {
        self.lock().closed = Some(why);
    }

    /// Drops what nobody will take any more.
    pub(crate) fn clear(&self) {
        // Tickets may do something when they are dropped: not under the lock.
        let left = mem::take(&mut self.lock().gathered);
        drop(left);
    }
}
