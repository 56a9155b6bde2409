//! Applying what the log says while it is still being read.
//!
//! An entry is applied once a commit index in the log covers it: from then on nothing replaces it. Applying changes memory alone, and
//! `StateMachine::maintain`, which stores it, is not called: whatever refuses the log in the end, the disk is as it was. What
//! is left is the driver's: entries not known to be agreed, and everything from a membership change on, which is the node's.

use std::collections::VecDeque;

use crate::Error;
use crate::batch::Batch;
use crate::state_machine::{Position, Progress, StateMachine};
use crate::storage::from_wal;
use crate::transport::{Entry, EntryKind};

/// Bytes of entries between two views. Every view has pages copied that are changed again.
const VIEW_BYTES: usize = 32 << 20;

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

    pub(crate) fn follow(&mut self, passage: &wal::Passage) {
        if !matches!(self.verdict, Verdict::GoesOn) {
            return;
        }
        if !passage.entries.is_empty() {
            self.append(passage.before, &passage.entries);
        }
        if let Some(hard_state) = passage.hard_state {
            self.commit = self.commit.max(hard_state.commit);
        }
        self.apply();
    }

    fn append(&mut self, before: wal::Position, entries: &[wal::Entry]) {
        if before.index < self.applied.index && self.applied != self.opened {
            self.verdict = Verdict::Contradicted { index: before.index + 1 };
            return;
        }
        self.waiting.truncate(before.index.saturating_sub(self.applied.index) as usize);
        if before.index == self.opened.index && before.term != self.opened.term {
            return self.end();
        }
        for entry in entries {
            if entry.index == self.opened.index && entry.term != self.opened.term {
                return self.end();
            }
            if entry.index <= self.applied.index {
                continue;
            }
            match from_wal(entry.clone()) {
                Ok(entry) if entry.index == self.next_index() => self.waiting.push_back(entry),
                _ => return self.end(),
            }
        }
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
        while let Some(entry) = self.waiting.pop_front_if(|entry| entry.index <= self.commit) {
            let at = Position { index: entry.index, term: entry.term };
            let bytes = entry.data.len();
            match entry.kind {
                EntryKind::Membership => return self.end(),
                EntryKind::Proposals if entry.data.is_empty() => self.state.applied_empty(at),
                EntryKind::Proposals => {
                    let Ok(batch) = Batch::decode(entry.data) else { return self.end() };
                    self.proposals += batch.len() as u64;
                    batch.for_each(|proposal| self.state.apply(at, proposal, None));
                }
            }
            self.applied = at;
            self.unseen += bytes;
            if self.unseen >= VIEW_BYTES {
                self.show();
            }
        }
    }

    fn show(&mut self) {
        self.unseen = 0;
        let Position { index, term } = self.applied;
        self.state.end_batch(Progress { commit: self.commit, applied: index, term });
    }

    /// How many proposals were applied; that the log contradicts itself, if it does.
    pub(crate) fn finish(mut self) -> Result<u64, Error> {
        if let Verdict::Contradicted { index } = self.verdict {
            let why = format!("entry {index} was agreed, and is replaced");
            return Err(Error::Malformed { what: "log", why });
        }
        if self.applied != self.opened {
            self.show();
        }
        Ok(self.proposals)
    }
}
