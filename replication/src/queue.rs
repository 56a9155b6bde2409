//! The one queue into the driver. Proposals are packed into the data of log entries as they come, so that what is
//! taken from here goes to the log as it is. A turn takes what one entry may hold; the rest stays, in order, and
//! whatever comes next is packed behind it. `handover.rs` says who takes it, and when.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Buf;

use crate::Error;
use crate::batch::{BatchWriter, PROPOSAL_OVERHEAD};
use crate::config::Limits;
use crate::handover::{Gather, Handover, Seat, Wake};
use crate::membership::MembershipChange;
use crate::proposer::Room;
use crate::reads::ReadCall;
use crate::state_machine::Refused;
use crate::transport::Message;
use crate::turn::Next;

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

impl<T> Gather for Gathered<T> {
    fn is_empty(&self) -> bool {
        self.proposals.is_empty()
            && self.changes.is_empty()
            && self.reads.is_empty()
            && self.messages.is_empty()
            && self.unreachable.is_empty()
            && self.transfer_to.is_none()
            && self.stop.is_none()
    }
}

impl<T> Gathered<T> {
    /// If there is one small proposal and nothing else, the size of its entry.
    fn one_proposal(&self) -> Option<usize> {
        let one = |packed: &Packed<T>| packed.tickets.len() == 1 && packed.bytes < LARGE;
        let only = self.proposals.len() == 1
            && one(&self.proposals[0])
            && self.changes.is_empty()
            && self.reads.is_empty()
            && self.messages.is_empty()
            && self.unreachable.is_empty()
            && self.transfer_to.is_none()
            && self.stop.is_none();
        only.then(|| self.proposals[0].batch.size())
    }

    /// What does not belong into the same turn goes back in front of what came meanwhile.
    fn keep_back(&mut self, behind: &mut Gathered<T>, batch_bytes: usize) {
        if self.proposals.len() > 1 {
            let sizes = self.proposals.iter().scan(0, |sum, packed| {
                *sum += packed.batch.size();
                Some(*sum)
            });
            let taken = sizes.take_while(|sum| *sum <= batch_bytes).count().max(1);
            behind.proposals.extend(self.proposals.drain(taken..));
        }
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

/// Who works on what has gathered, whichever thread it is done on.
pub(crate) trait Worker<T>: Send {
    /// Takes everything given and carries it as far as it goes without hearing from a peer.
    fn turn(&mut self, gathered: &mut Gathered<T>, ticked: bool) -> Result<Next, Error>;
    /// As `turn`, without a clock and without upkeep, which waits for the next tick.
    fn turn_alone(&mut self, gathered: &mut Gathered<T>) -> Result<Next, Error>;
    /// Whether `turn_alone` with one entry of so many bytes would wait for nothing but its own durable write.
    fn may_turn_alone(&self, bytes: usize) -> bool;
    /// Whether turns without input lead nowhere: at most upkeep is left.
    fn is_settled(&self) -> bool;
    /// The last turn: what is in the log and committed has been applied and answered, the rest is refused.
    fn finish(&mut self) -> Result<(), Error>;
    /// Nothing may be answered any more.
    fn fail(&mut self, error: &Error);
    /// Itself, for whoever knows what it is.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// What sits in the driver's seat.
pub(crate) struct Sitting<T> {
    /// There from `seat` until `leave`.
    pub(crate) worker: Option<Box<dyn Worker<T>>>,
    /// What a caller met who worked in the driver's stead.
    pub(crate) failed: Option<Error>,
}

pub(crate) type DriverSeat<T> = Seat<Gathered<T>, Sitting<T>>;

/// Shared by all callers and the driver.
pub(crate) struct Queue<T> {
    handover: Handover<Gathered<T>, Refused, Sitting<T>>,
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
            handover: Handover::new(Sitting { worker: None, failed: None }),
            limits,
            pending: AtomicUsize::new(0),
            pending_bytes: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            tight: AtomicBool::new(false),
        }
    }

    fn leave(&self, insert: impl FnOnce(&mut Gathered<T>)) -> Result<(), Refused> {
        self.handover.put(Wake::Now, insert)
    }

    pub(crate) fn propose(
        &self,
        proposal: impl Buf,
        ticket: T,
        room: Room,
        wake: Wake,
    ) -> Result<(), (T, Refused)> {
        let bytes = proposal.remaining();
        if let Err(why) = self.reserve(bytes, room) {
            return Err((ticket, why));
        }
        let put = if bytes < LARGE {
            let mut given = Some((proposal, ticket));
            let put = self.handover.put(wake, |gathered| {
                let (proposal, ticket) = given.take().expect("called once");
                gathered.pack(proposal, ticket, room, self.limits.batch_bytes);
            });
            put.map_err(|why| (given.map(|(_, ticket)| ticket), why))
        } else {
            let mut packed = Packed::new(bytes + FIRST_BYTES, Vec::new());
            packed.push(proposal, ticket, room);
            let mut given = Some(packed);
            let put = self.leave(|gathered| gathered.proposals.extend(given.take()));
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
        let put = self.leave(|gathered| gathered.changes.extend(given.take()));
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
        let put = self.leave(|gathered| gathered.reads.extend(given.take()));
        if let (Err(why), Some(call)) = (put, given) {
            call(Err(why));
        }
    }

    /// Messages of peers. What does not fit is dropped, as a network would.
    pub(crate) fn deliver(&self, messages: Vec<Message>) {
        let _ = self.leave(|gathered| {
            let room = MESSAGES_WAITING.saturating_sub(gathered.messages.len());
            gathered.messages.extend(messages.into_iter().take(room));
        });
    }

    pub(crate) fn unreachable(&self, member: u64) {
        let _ = self.leave(|gathered| {
            if !gathered.unreachable.contains(&member) {
                gathered.unreachable.push(member);
            }
        });
    }

    pub(crate) fn transfer_leader(&self, to: u64) {
        let _ = self.leave(|gathered| gathered.transfer_to = Some(to));
    }

    pub(crate) fn stop(&self, stop: Stop) {
        let _ = self.leave(|gathered| gathered.stop = Some(stop));
    }

    /// What was proposed with `Wake::AtSettle` is seen to: carried out here and now if that may be, it is alone and the
    /// driver is parked, else the driver is woken. Whether it was carried out.
    pub(crate) fn settle(&self, here: bool) -> bool {
        let suits = |gathered: &Gathered<T>, sitting: &Sitting<T>| {
            // After a failure the driver is still parked until it has heard of it: nobody works any more.
            let worker = sitting.worker.as_ref().filter(|_| here && sitting.failed.is_none());
            gathered.one_proposal().zip(worker).is_some_and(|(bytes, worker)| worker.may_turn_alone(bytes))
        };
        let carried_out = self.handover.settle(suits, |seat| {
            let Some(worker) = &mut seat.worker.worker else { return Next::Continue };
            worker.turn_alone(&mut seat.taken).unwrap_or_else(|error| {
                // Nothing is taken or answered from here on. The driver says why.
                self.handover.close(Refused::Stopped);
                seat.worker.failed = Some(error);
                Next::Continue
            })
        });
        if carried_out == Some(Next::Continue) {
            self.handover.wake();
        }
        carried_out.is_some()
    }

    /// Who sits takes everything gathered; of the proposals only as many as one entry may hold, or one that is
    /// larger.
    pub(crate) fn take(&self, seat: &mut DriverSeat<T>) {
        self.handover.take(seat, |taken, behind| taken.keep_back(behind, self.limits.batch_bytes));
    }
}

/// Parking, sitting down and closing are the hand-over's.
impl<T> Deref for Queue<T> {
    type Target = Handover<Gathered<T>, Refused, Sitting<T>>;

    fn deref(&self) -> &Self::Target {
        &self.handover
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Ends its turns as told, by default with a failure; meanwhile another caller leaves a proposal.
    struct Ending {
        queue: Arc<Queue<u64>>,
        turns: Arc<AtomicUsize>,
        has_room: bool,
        next: Option<Next>,
    }

    impl Worker<u64> for Ending {
        fn turn(&mut self, _: &mut Gathered<u64>, _: bool) -> Result<Next, Error> {
            unreachable!("the driver never wakes here")
        }
        fn turn_alone(&mut self, gathered: &mut Gathered<u64>) -> Result<Next, Error> {
            gathered.proposals.clear();
            self.turns.fetch_add(1, Ordering::Relaxed);
            if let Some(next) = self.next {
                return Ok(next);
            }
            self.queue.propose(&b"late"[..], 2, Room::Needs, Wake::AtSettle).unwrap();
            Err(Error::DriverEnded)
        }
        fn may_turn_alone(&self, _: usize) -> bool {
            self.has_room
        }
        fn is_settled(&self) -> bool {
            true
        }
        fn finish(&mut self) -> Result<(), Error> {
            Ok(())
        }
        fn fail(&mut self, _: &Error) {}
        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    /// The turns that callers took with a driver that is parked and does not hear of anything, and the queue they left.
    fn turns_beside_a_parked_driver(has_room: bool, here: bool) -> (usize, Arc<Queue<u64>>) {
        let queue = Arc::new(Queue::new(Limits::default()));
        let turns = Arc::new(AtomicUsize::new(0));
        let failing = Ending { queue: Arc::clone(&queue), turns: Arc::clone(&turns), has_room, next: None };
        queue.sit().worker.worker = Some(Box::new(failing));
        let (ended, end) = channel::<()>();
        let parked = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                queue.wait(Duration::from_secs(60));
                drop(ended);
            }
        });
        while !queue.is_parked() {
            thread::yield_now();
        }
        queue.propose(&b"first"[..], 1, Room::Needs, Wake::AtSettle).unwrap();
        let carried_out = queue.settle(here);
        assert_eq!(carried_out, has_room && here);
        assert!(!queue.settle(true), "nobody works after a failure, and what was given away is the driver's");
        parked.thread().unpark();
        let _ = end.recv();
        parked.join().unwrap();
        (turns.load(Ordering::Relaxed), queue)
    }

    #[test]
    fn after_a_turn_that_failed_no_caller_takes_another() {
        let (turns, queue) = turns_beside_a_parked_driver(true, true);
        assert_eq!(turns, 1);
        assert!(queue.sit().worker.failed.is_some());
        let refused = queue.propose(&b"later"[..], 3, Room::Needs, Wake::Now);
        assert_eq!(refused, Err((3, Refused::Stopped)));
    }

    /// The driver is parked, and nothing but this check at the end of the caller's turn tells it to go on.
    #[test]
    fn a_callers_turn_that_leaves_something_to_do_wakes_the_driver() {
        let queue = Arc::new(Queue::new(Limits::default()));
        let turns = Arc::new(AtomicUsize::new(0));
        let next = Some(Next::Continue);
        let worker = Ending { queue: Arc::clone(&queue), turns: Arc::clone(&turns), has_room: true, next };
        queue.sit().worker.worker = Some(Box::new(worker));
        let (woken, hears) = channel();
        let driver = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                queue.attach();
                queue.wait(Duration::from_secs(3600));
                woken.send(()).unwrap();
            }
        });
        while !queue.is_parked() {
            thread::yield_now();
        }
        queue.propose(&b"alone"[..], 1, Room::Needs, Wake::AtSettle).unwrap();
        assert!(queue.settle(true), "carried out here");
        assert_eq!(turns.load(Ordering::Relaxed), 1);
        hears.recv_timeout(Duration::from_secs(60)).expect("the driver goes on");
        driver.join().unwrap();
    }

    #[test]
    fn a_turn_that_would_wait_for_more_than_its_write_is_the_drivers() {
        assert_eq!(turns_beside_a_parked_driver(false, true).0, 0);
        assert_eq!(turns_beside_a_parked_driver(true, false).0, 0);
    }
}
