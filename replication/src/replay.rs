//! Applying what the log says while it is still being read.
//!
//! An entry is applied once a commit index in the log covers it: from then on nothing replaces it. Applying changes
//! memory alone, and `StateMachine::maintain`, which stores it, is not called: whatever refuses the log in the end, the
//! stored state and the entries are as they were. What is left is the driver's: entries not known to be agreed,
//! everything from a membership change on, which is the node's, and everything once memory is full, which only
//! `maintain` can help.

#[cfg(test)]
mod model;

use std::collections::VecDeque;

use crate::Error;
use crate::batch::Batch;
use crate::planted::{Fault, planted};
use crate::state_machine::{Position, Progress, StateMachine};
use crate::storage::from_wal;
use crate::transport::{Entry, EntryKind};

/// Bytes of entries between two views. Every view has pages copied that are changed again.
const VIEW_BYTES: usize = if cfg!(test) { 1 << 10 } else { 32 << 20 };

/// See the module.
pub(crate) struct Replay<'a, S> {
    state: &'a mut S,
    /// As it was when the log was opened.
    opened: Position,
    applied: Position,
    /// What follows, not known to be agreed.
    waiting: VecDeque<Entry>,
    commit: u64,
    proposals: u64,
    /// Bytes of entries that no view shows.
    unseen: usize,
    verdict: Verdict,
}

enum Verdict {
    GoesOn,
    /// The rest is for others.
    Ended,
    /// An entry that was applied is replaced.
    Contradicted {
        index: u64,
    },
}

impl<'a, S: StateMachine> Replay<'a, S> {
    pub(crate) fn new(state: &'a mut S) -> Self {
        let opened = state.applied();
        Self {
            state,
            opened,
            applied: opened,
            waiting: VecDeque::new(),
            commit: 0,
            proposals: 0,
            unseen: 0,
            verdict: Verdict::GoesOn,
        }
    }

    pub(crate) fn follow(&mut self, passage: wal::Passage) {
        if !matches!(self.verdict, Verdict::GoesOn) {
            return;
        }
        if !passage.entries.is_empty() {
            self.append(passage.before, passage.entries);
        }
        if let Some(hard_state) = passage.hard_state {
            self.commit = self.commit.max(hard_state.commit);
        }
        self.apply();
        if self.state.is_full() && !planted(Fault::GoesOnFull) {
            self.end();
        }
    }

    fn append(&mut self, before: wal::Position, entries: Vec<wal::Entry>) {
        if before.index < self.applied.index && self.applied != self.opened {
            self.verdict = Verdict::Contradicted { index: before.index + 1 };
            return;
        }
        if !planted(Fault::KeepsReplaced) {
            self.waiting.truncate(before.index.saturating_sub(self.applied.index) as usize);
        }
        if self.is_another(before.index, before.term) {
            return self.end();
        }
        for entry in entries {
            if self.is_another(entry.index, entry.term) {
                return self.end();
            }
            if entry.index <= self.applied.index {
                continue;
            }
            match from_wal(entry) {
                Ok(entry) if entry.index == self.next_index() => self.waiting.push_back(entry),
                _ => return self.end(),
            }
        }
    }

    /// Whether it stands where the state was when the log was opened, and is not what the state was made from.
    fn is_another(&self, index: u64, term: u64) -> bool {
        index == self.opened.index && term != self.opened.term && !planted(Fault::TrustsOpened)
    }

    fn next_index(&self) -> u64 {
        self.waiting.back().map_or(self.applied.index, |entry| entry.index) + 1
    }

    /// Whatever is wrong is met again by whoever comes next, and told there.
    fn end(&mut self) {
        self.verdict = Verdict::Ended;
        self.waiting.clear();
    }

    fn apply(&mut self) {
        let commit = self.commit + u64::from(planted(Fault::CommitTooFar));
        while let Some(entry) = self.waiting.pop_front_if(|entry| entry.index <= commit) {
            let at = Position { index: entry.index, term: entry.term };
            let bytes = entry.data.len();
            match entry.kind {
                EntryKind::Membership if planted(Fault::PassesMembership) => {}
                EntryKind::Membership => return self.end(),
                EntryKind::Proposals if planted(Fault::SkipsAnEntry) && at.index.is_multiple_of(7) => {}
                EntryKind::Proposals if entry.data.is_empty() => self.state.applied_empty(at),
                EntryKind::Proposals => {
                    let Ok(batch) = Batch::decode(entry.data) else { return self.end() };
                    self.proposals += batch.len() as u64;
                    batch.for_each(|proposal| self.state.apply(at, proposal, None));
                }
            }
            self.applied = at;
            self.unseen += bytes;
            if self.unseen >= VIEW_BYTES && !planted(Fault::NeverShows) {
                self.show();
            }
        }
    }

    fn show(&mut self) {
        self.unseen = 0;
        let Position { index, term } = self.applied;
        self.state.end_batch(Progress { commit: self.commit, applied: index, term });
    }

    /// How many proposals were applied; that the log contradicts itself, if it does. `term_at` says what the whole log
    /// has at an index: its last append was not followed, and may replace something as well.
    pub(crate) fn finish(mut self, term_at: impl FnOnce(u64) -> Option<u64>) -> Result<u64, Error> {
        let replayed = self.applied != self.opened;
        let contradicted = match self.verdict {
            Verdict::Contradicted { index } => Some(index),
            _ if replayed && term_at(self.applied.index) != Some(self.applied.term) => {
                Some(self.applied.index)
            }
            _ => None,
        };
        if let Some(index) = contradicted {
            let why = format!("entry {index} was agreed, and is replaced");
            return Err(Error::Malformed { what: "log", why });
        }
        if replayed {
            self.show();
        }
        Ok(self.proposals)
    }
}
