//! Which local callers wait for which batch.
//!
//! A batch put into this leader's own log is decided when its place is applied, or any place before it with an entry of
//! a later term: in a log terms never fall, so the batch can't follow there any more. A batch passed on to the leader may get lost without a trace, so it is given
//! up after a while. Losing the leadership decides nothing: the new leader may well commit what the old one proposed.

use std::collections::VecDeque;

use crate::batch::BatchId;
use crate::node::Placed;
use crate::state_machine::Position;

pub(crate) struct Flight<T> {
    sequence: u64,
    placed: Placed,
    pub(crate) tickets: Vec<T>,
    /// Bytes of the proposals, as reserved in the queue.
    pub(crate) bytes: usize,
    deadline: u64,
}

pub(crate) struct Ledger<T> {
    origin: u64,
    incarnation: u64,
    sequence: u64,
    flights: VecDeque<Flight<T>>,
}

impl<T> Ledger<T> {
    pub(crate) fn new(origin: u64, incarnation: u64) -> Ledger<T> {
        Ledger { origin, incarnation, sequence: 0, flights: VecDeque::new() }
    }

    pub(crate) fn next_id(&mut self) -> BatchId {
        self.sequence += 1;
        BatchId { origin: self.origin, incarnation: self.incarnation, sequence: self.sequence }
    }

    /// The batch is on its way; until this tick if it went elsewhere.
    pub(crate) fn sent(&mut self, id: BatchId, placed: Placed, tickets: Vec<T>, bytes: usize, deadline: u64) {
        self.flights.push_back(Flight { sequence: id.sequence, placed, tickets, bytes, deadline });
    }

    /// The batch has been committed.
    pub(crate) fn arrived(&mut self, id: BatchId) -> Option<Flight<T>> {
        if (id.origin, id.incarnation) != (self.origin, self.incarnation) {
            return None;
        }
        let place = self.flights.iter().position(|flight| flight.sequence == id.sequence)?;
        self.flights.remove(place)
    }

    /// Batches that can't be committed any more, now that this entry is.
    pub(crate) fn overwritten(&mut self, at: Position) -> Vec<Flight<T>> {
        let passed = |place: Position| place.index <= at.index || place.term < at.term;
        self.take_if(|flight| matches!(flight.placed, Placed::Here(place) if passed(place)))
    }

    /// Batches passed on so long ago that they may be lost.
    pub(crate) fn expired(&mut self, tick: u64) -> Vec<Flight<T>> {
        self.take_if(|flight| flight.placed == Placed::Forwarded && flight.deadline <= tick)
    }

    pub(crate) fn drain(&mut self) -> Vec<Flight<T>> {
        self.take_if(|_| true)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    fn take_if(&mut self, mut taken: impl FnMut(&Flight<T>) -> bool) -> Vec<Flight<T>> {
        if !self.flights.iter().any(&mut taken) {
            return Vec::new();
        }
        let (gone, kept): (Vec<_>, Vec<_>) = self.flights.drain(..).partition(taken);
        self.flights = kept.into();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(index: u64, term: u64) -> Placed {
        Placed::Here(Position { index, term })
    }

    #[test]
    fn every_flight_ends_once() {
        let mut ledger = Ledger::new(1, 77);
        let ids: Vec<BatchId> = (0..4).map(|_| ledger.next_id()).collect();
        ledger.sent(ids[0], here(5, 2), vec!["a"], 1, 0);
        ledger.sent(ids[1], here(6, 2), vec!["b"], 1, 0);
        ledger.sent(ids[2], Placed::Forwarded, vec!["c"], 1, 30);
        ledger.sent(ids[3], here(9, 4), vec!["d"], 1, 0);

        assert_eq!(ledger.arrived(ids[0]).unwrap().tickets, ["a"]);
        assert!(ledger.arrived(ids[0]).is_none());
        assert!(ledger.overwritten(Position { index: 5, term: 2 }).is_empty());
        let overwritten = ledger.overwritten(Position { index: 6, term: 3 });
        assert_eq!(overwritten.into_iter().flat_map(|f| f.tickets).collect::<Vec<_>>(), ["b"]);
        assert!(ledger.overwritten(Position { index: 8, term: 4 }).is_empty());
        assert!(ledger.expired(29).is_empty());
        assert_eq!(ledger.expired(30)[0].tickets, ["c"]);
        let id = ledger.next_id();
        ledger.sent(id, here(10, 4), vec!["e"], 1, 0);
        let overwritten = ledger.overwritten(Position { index: 7, term: 5 });
        assert_eq!(overwritten.into_iter().flat_map(|f| f.tickets).collect::<Vec<_>>(), ["d", "e"]);
        let id = ledger.next_id();
        ledger.sent(id, here(9, 5), vec!["f"], 1, 0);
        assert_eq!(ledger.drain()[0].tickets, ["f"]);
    }

    #[test]
    fn batches_of_an_earlier_start_are_nobody_s() {
        let mut ledger = Ledger::new(1, 77);
        let id = ledger.next_id();
        ledger.sent(id, here(5, 2), vec!["a"], 1, 0);
        assert!(ledger.arrived(BatchId { incarnation: 76, ..id }).is_none());
        assert!(ledger.arrived(BatchId { origin: 2, ..id }).is_none());
        assert!(ledger.arrived(id).is_some());
    }
}
