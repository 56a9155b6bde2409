//! Whether a log and a state belong together. Asked at every start, and by tools about a member that is stopped.

use crate::Error;
use crate::batch::{Batch, decode_change};
use crate::state_machine::Position;
use crate::storage::from_wal;
use crate::transport::EntryKind;

/// What a log covers, and how much of it it calls committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The place before the first entry.
    pub before: Position,
    /// Index of the last entry.
    pub last: u64,
    /// The commit index in the newest hard state; 0 if there is none.
    pub commit: u64,
}

impl LogRange {
    /// Refuses a log that ends before the state, begins after it, or has another entry where the state says it was.
    /// `term_at` is asked for indexes of this range only.
    pub fn check_state(&self, applied: Position, term_at: impl FnOnce(u64) -> u64) -> Result<(), Error> {
        let LogRange { before, last, commit } = *self;
        if applied.index > last {
            return Err(Error::LogBehindState { applied: applied.index, last });
        }
        if applied.index < before.index {
            return Err(Error::StateBehindLog { applied: applied.index, first: before.index + 1 });
        }
        if commit > last {
            return Err(Error::LogBehindCommit { commit, last });
        }
        let log_term = term_at(applied.index);
        if applied.index > 0 && log_term != applied.term {
            return Err(Error::TermMismatch { index: applied.index, state_term: applied.term, log_term });
        }
        Ok(())
    }
}

/// Whether an entry of the log can be taken apart into proposals or a change of the membership.
pub fn check_entry(entry: wal::Entry) -> Result<(), Error> {
    let entry = from_wal(entry)?;
    match entry.kind {
        // A new leader's first entry.
        EntryKind::Proposals if entry.data.is_empty() => Ok(()),
        EntryKind::Proposals => Batch::decode(entry.data).map(drop),
        EntryKind::Membership => decode_change(entry.data).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const RANGE: LogRange = LogRange { before: Position { index: 10, term: 1 }, last: 20, commit: 18 };

    #[test]
    fn every_disagreement_has_its_name() {
        let at = |index, term| RANGE.check_state(Position { index, term }, |_| 2);
        assert!(at(10, 2).is_ok() && at(20, 2).is_ok());
        assert!(matches!(at(21, 2), Err(Error::LogBehindState { applied: 21, last: 20 })));
        assert!(matches!(at(9, 2), Err(Error::StateBehindLog { applied: 9, first: 11 })));
        assert!(matches!(at(15, 3), Err(Error::TermMismatch { index: 15, state_term: 3, log_term: 2 })));
        let promised = LogRange { commit: 21, ..RANGE };
        let found = promised.check_state(Position { index: 15, term: 2 }, |_| 2);
        assert!(matches!(found, Err(Error::LogBehindCommit { commit: 21, last: 20 })));
    }

    #[test]
    fn entries_that_nobody_can_apply_are_found() {
        let entry =
            |kind, data: &'static [u8]| wal::Entry { index: 1, term: 1, kind, data: Bytes::from(data) };
        assert!(check_entry(entry(EntryKind::Proposals as u8, b"")).is_ok());
        assert!(check_entry(entry(EntryKind::Proposals as u8, b"?")).is_err());
        assert!(check_entry(entry(EntryKind::Membership as u8, b"")).is_err());
        assert!(check_entry(entry(99, b"")).is_err());
    }
}
