//! What may still be written while the disk gives no more space.
//!
//! Raft can't be told that an entry it holds was not written, and an error of the log in the middle of a turn can only
//! end the member. So the room is looked at before a proposal becomes an entry: raft never holds more than what the
//! log can take for sure. Of that, a part is kept for what gives space back (compaction, deletions), and a last
//! part for what a member needs to live: its votes, the first entry of a term, the record of what was released.
//!
//! Only missing space is waited out. A device that fails in another way ends the member when it needs the next segment.

use crate::Error;
use crate::node::Node;
use crate::proposer::Room;
use crate::queue::Packed;
use crate::storage::Storage;

/// What is kept, and whether it has been touched.
#[derive(Debug)]
pub(crate) struct Space {
    /// Bytes not for proposals that need room.
    reserve: u64,
    /// Bytes not for proposals at all.
    last: u64,
    /// The reserve is in use and there was no more space. Stays until it is whole again: while space is being
    /// tried for, what needs room must not get at it.
    tight: bool,
}

/// How much of a batch may be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admits {
    Everything,
    /// Only what gives space back.
    WhatFrees,
    Nothing,
}

/// Bytes of the log around an entry and its frame, more than there are; sectors take one in 63 besides.
const AROUND: u64 = 512;

/// A compaction and some hundred deletions; some ten starts of a member.
const RESERVE_LEAST: u64 = 48 << 10;
const LAST_LEAST: u64 = 16 << 10;

pub(crate) fn cost(bytes: usize) -> u64 {
    bytes as u64 + bytes as u64 / 32 + AROUND
}

impl Space {
    /// An eighth of a segment, and a sixty-fourth; of small segments more.
    pub(crate) fn of_segment(segment_bytes: u64) -> Space {
        let reserve = (segment_bytes / 8).max(RESERVE_LEAST).min(segment_bytes / 2);
        let last = (segment_bytes / 64).max(LAST_LEAST).min(segment_bytes / 4);
        Space { reserve, last, tight: false }
    }

    /// Whether what needs room is refused from now on.
    pub(crate) fn look(&mut self, storage: &Storage) -> bool {
        let waits = (self.tight || storage.is_refused_space()) && !storage.has_failed();
        self.tight = storage.headroom() < self.reserve && waits;
        self.tight
    }

    /// How much of a batch of so many bytes the log has room for, `held` being what raft holds unwritten already.
    /// Waits for a segment that is about to be ready.
    pub(crate) fn admits(&mut self, storage: &mut Storage, held: u64, bytes: usize) -> Result<Admits, Error> {
        let wanted = held + cost(bytes);
        let mut waited = false;
        loop {
            let headroom = storage.headroom();
            if headroom >= wanted + self.reserve {
                return Ok(Admits::Everything);
            }
            let refused = self.look(storage) || storage.is_refused_space();
            match (headroom >= wanted + self.last, refused) {
                (true, false) => return Ok(Admits::Everything),
                (true, true) => return Ok(Admits::WhatFrees),
                (false, true) => return Ok(Admits::Nothing),
                (false, false) if !waited => waited = storage.await_space()?,
                // Only what is longer than half a segment comes here.
                (false, false) => return Ok(Admits::Nothing),
            }
        }
    }

    /// Whether a batch of so many bytes is let in whole and written without waiting for a segment.
    pub(crate) fn has_room(&self, storage: &Storage, held: u64, bytes: usize) -> bool {
        storage.headroom() >= held + cost(bytes) + self.reserve
    }

    /// Whether entries of a leader can be written, or a change of the membership.
    pub(crate) fn takes(&mut self, storage: &mut Storage, held: u64, bytes: usize) -> Result<bool, Error> {
        // More is written in several frames, each of which may leave the end of a segment unused.
        let one_frame = held + cost(bytes) <= storage.append_bytes();
        Ok(one_frame && self.admits(storage, held, bytes)? != Admits::Nothing)
    }
}

/// What raft holds and the log does not have yet.
pub(crate) fn held(node: &Node) -> u64 {
    node.unwritten().map(cost).sum()
}

/// Takes out of a batch what needs room: what is left, and the tickets of the others with the bytes they had reserved.
pub(crate) fn without_needs<T>(packed: Packed<T>) -> (Option<Packed<T>>, Vec<T>, usize) {
    let mut kept = Packed::new(0, Vec::new());
    let (mut gone, mut gone_bytes) = (Vec::new(), 0);
    let mut frees = packed.frees.iter().copied().peekable();
    for ((number, proposal), ticket) in (0u32..).zip(packed.batch.proposals()).zip(packed.tickets) {
        if frees.next_if_eq(&number).is_some() {
            kept.push(proposal, ticket, Room::Frees);
        } else {
            gone_bytes += proposal.len();
            gone.push(ticket);
        }
    }
    ((!kept.tickets.is_empty()).then_some(kept), gone, gone_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_frees_is_left() {
        let mut packed = Packed::new(0, Vec::new());
        for (ticket, room) in [Room::Needs, Room::Frees, Room::Needs, Room::Frees].into_iter().enumerate() {
            packed.push(&vec![ticket as u8; 10 + ticket][..], ticket, room);
        }
        assert_eq!(packed.bytes, 10 + 11 + 12 + 13);
        let (kept, gone, gone_bytes) = without_needs(packed);
        let kept = kept.expect("two are left");
        assert_eq!((kept.tickets, kept.frees, kept.bytes), (vec![1, 3], vec![0, 1], 24));
        assert!(kept.batch.proposals().eq([&[1u8; 11][..], &[3; 13]]));
        assert_eq!((gone, gone_bytes), (vec![0, 2], 22));
    }
}
