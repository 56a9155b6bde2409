//! The small state that becomes durable in the same meta write as the data.
//!
//! ```text
//! version u32 | revision i64 | compact i64 | scan main i64 | scan sub i64 | applied index u64 | term u64
//!             | sweep main i64 | sweep sub i64 | dropped bytes u64
//! ```
//!
//! Little endian, the rest of the user meta is zero. All zero is a new store.

use super::Revision;
use super::contents::inconsistent;
use crate::btree::UserMeta;
use crate::error::Error;

/// How far the log has been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Applied {
    /// Index of the last applied entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// The revision of a store that nothing was ever written to.
pub(crate) const FIRST_REVISION: i64 = 1;
/// The compact revision of a store that was never compacted.
pub(crate) const NEVER_COMPACTED: i64 = -1;

/// 3: heads say where in its extent the newest record is.
const VERSION: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Main revision of the last request that changed something.
    pub(crate) revision: i64,
    /// Reads below are refused; what they would need may be gone.
    pub(crate) compact: i64,
    /// The next record the compaction looks at; beyond `compact` when it has finished.
    pub(crate) scan: Revision,
    pub(crate) applied: Applied,
    /// The next extent that the compaction may pack anew; [`Revision::END`] when there is none to look at.
    pub(crate) sweep: Revision,
    /// Bytes of records that were dropped and are still in their extents.
    pub(crate) dropped_bytes: u64,
}

impl State {
    pub(crate) const NEW: State = State {
        revision: FIRST_REVISION,
        compact: NEVER_COMPACTED,
        scan: Revision { main: 0, sub: 0 },
        applied: Applied { index: 0, term: 0 },
        sweep: Revision::END,
        dropped_bytes: 0,
    };

    pub(crate) fn compaction_pending(&self) -> bool {
        self.scan_pending() || self.sweep != Revision::END
    }

    /// Whether there are records that the compaction has not looked at.
    pub(crate) fn scan_pending(&self) -> bool {
        self.scan.main <= self.compact
    }

    /// The bytes dropped from the extent of `first` were `before` and are `after` now. Both are from disk, and so is the
    /// sum: they may contradict each other though their checksums are right, and nothing changes then.
    pub(crate) fn redrop(&mut self, first: Revision, before: u32, after: u32) -> Result<(), Error> {
        let sum = self.dropped_bytes.checked_sub(before.into()).and_then(|sum| sum.checked_add(after.into()));
        self.dropped_bytes = sum.ok_or_else(|| {
            let all = self.dropped_bytes;
            inconsistent(format_args!(
                "{before} bytes were dropped at {first:?}, the state says {all} in sum"
            ))
        })?;
        Ok(())
    }

    pub(crate) fn encode(&self) -> UserMeta {
        let mut meta: UserMeta = [0; _];
        meta[..4].copy_from_slice(&VERSION.to_le_bytes());
        let words = [
            self.revision as u64,
            self.compact as u64,
            self.scan.main as u64,
            self.scan.sub as u64,
            self.applied.index,
            self.applied.term,
            self.sweep.main as u64,
            self.sweep.sub as u64,
            self.dropped_bytes,
        ];
        for (place, word) in meta[4..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        meta
    }

    pub(crate) fn decode(meta: &UserMeta) -> Result<State, Error> {
        if meta.iter().all(|&byte| byte == 0) {
            return Ok(State::NEW);
        }
        let version = u32::from_le_bytes(meta[..4].try_into().expect("four bytes"));
        if version > VERSION {
            return Err(Error::NewerFormat { found: version, supported: VERSION });
        }
        if version < VERSION {
            return Err(Error::OlderFormat { found: version, supported: VERSION });
        }
        let mut words = meta[4..]
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")));
        let mut word = || words.next().expect("the user meta holds more words than the state");
        let state = State {
            revision: word() as i64,
            compact: word() as i64,
            scan: Revision::new(word() as i64, word() as i64),
            applied: Applied { index: word(), term: word() },
            sweep: Revision::new(word() as i64, word() as i64),
            dropped_bytes: word(),
        };
        let sound = state.revision >= FIRST_REVISION
            && (NEVER_COMPACTED..=state.revision).contains(&state.compact)
            && state.scan >= Revision::new(0, 0)
            && state.sweep >= Revision::new(0, 0)
            && state.scan.main <= state.compact.saturating_add(1);
        if sound { Ok(state) } else { Err(inconsistent(format_args!("the store's state is {state:?}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_contradict_each_other_are_errors() {
        let first = Revision::new(7, 0);
        let mut state = State { dropped_bytes: 100, ..State::NEW };
        state.redrop(first, 60, 90).unwrap();
        assert_eq!(state.dropped_bytes, 130);
        state.redrop(first, 90, 0).unwrap();
        assert!(matches!(state.redrop(first, 41, 50), Err(Error::Inconsistent { .. })));
        assert_eq!(state.dropped_bytes, 40, "nothing changes");
        state.dropped_bytes = u64::MAX;
        assert!(matches!(state.redrop(first, 1, 2), Err(Error::Inconsistent { .. })));
    }

    #[test]
    fn round_trip_and_refusals() {
        assert_eq!(State::decode(&[0; _]).unwrap(), State::NEW);
        let state = State {
            revision: 900,
            compact: 450,
            scan: Revision::new(17, 3),
            applied: Applied { index: 5000, term: 7 },
            sweep: Revision::new(99, 1),
            dropped_bytes: 123_456,
        };
        assert_eq!(State::decode(&state.encode()).unwrap(), state);
        assert_eq!(State::decode(&State::NEW.encode()).unwrap(), State::NEW);
        assert!(State::decode(&State { compact: 901, ..state }.encode()).is_err());
        assert!(State::decode(&State { revision: 0, ..state }.encode()).is_err());
        let mut newer = state.encode();
        newer[0] = 4;
        assert!(matches!(State::decode(&newer), Err(Error::NewerFormat { found: 4, supported: 3 })));
        let mut older = state.encode();
        older[0] = 2;
        assert!(matches!(State::decode(&older), Err(Error::OlderFormat { found: 2, supported: 3 })));
    }
}
