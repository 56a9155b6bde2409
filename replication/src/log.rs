//! The raft log in memory: what raft reads while it runs. It is rebuilt from the write-ahead log at start.
//!
//! Entries share their bytes with the batches they were made of or recovered from. Only applied entries are ever
//! let go, so raft finds whatever it may still have to give out.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry as RaftEntry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::state_machine::Position;
use crate::transport::{Entry, EntryKind};

/// A fixed part for every entry in the accounting of bytes: its fields and its place in the queue.
const ENTRY_OVERHEAD: u64 = 128;

pub(crate) struct MemoryLog {
    entries: VecDeque<RaftEntry>,
    /// The place before the first entry kept.
    before: Position,
    bytes: u64,
    /// As at start; raft asks once.
    initial: RaftState,
}

impl MemoryLog {
    pub(crate) fn new(before: Position, hard_state: HardState, conf_state: ConfState) -> MemoryLog {
        let initial = RaftState { hard_state, conf_state };
        MemoryLog { entries: VecDeque::new(), before, bytes: 0, initial }
    }

    pub(crate) fn first_kept(&self) -> u64 {
        self.before.index + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.before.index + self.entries.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.before.index {
            return Some(self.before.term);
        }
        let offset = index.checked_sub(self.first_kept())?;
        self.entries.get(usize::try_from(offset).ok()?).map(|entry| entry.term)
    }

    /// Adds entries; whatever stood at their indexes and after is replaced.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = RaftEntry>) {
        for entry in entries {
            assert!(
                entry.index > self.before.index && entry.index <= self.last() + 1,
                "entry {} does not fit a log of {}..={}",
                entry.index,
                self.first_kept(),
                self.last()
            );
            while self.last() >= entry.index {
                let replaced = self.entries.pop_back().expect("the last index has an entry");
                self.bytes -= size_of_entry(&replaced);
            }
            self.bytes += size_of_entry(&entry);
            self.entries.push_back(entry);
        }
    }

    /// Lets the oldest entries go until `index` is the last one gone. The caller vouches that they are applied.
    pub(crate) fn release_to(&mut self, index: u64) {
        while self.before.index < index {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= size_of_entry(&entry);
            self.before = Position { index: entry.index, term: entry.term };
        }
    }

    /// Lets applied entries go until at most so many of them, and so many bytes, are kept.
    pub(crate) fn keep_applied(&mut self, applied: u64, entries: u64, bytes: u64) {
        let applied = applied.min(self.last());
        self.release_to(applied.saturating_sub(entries));
        while self.bytes > bytes && self.before.index < applied {
            self.release_to(self.before.index + 1);
        }
        if self.entries.capacity() > 1024 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

fn size_of_entry(entry: &RaftEntry) -> u64 {
    entry.data.len() as u64 + ENTRY_OVERHEAD
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<RaftEntry>> {
        if low < self.first_kept() {
            return Err(StorageError::Compacted.into());
        }
        assert!(low <= high && high <= self.last() + 1, "raft reads {low}..{high} of ..={}", self.last());
        let limit = max_size.into().unwrap_or(u64::MAX);
        let from = (low - self.first_kept()) as usize;
        let to = (high - self.first_kept()) as usize;
        let mut size = 0;
        let within = self.entries.range(from..to).take_while(|entry| {
            let first = size == 0;
            size += size_of_entry(entry);
            first || size <= limit
        });
        Ok(within.cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term),
            None if index < self.before.index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first_kept())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// A member that lags behind the entries kept waits until a snapshot can be sent to it.
    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

pub(crate) fn to_raft(entry: Entry) -> RaftEntry {
    let entry_type = match entry.kind {
        EntryKind::Proposals => EntryType::EntryNormal,
        EntryKind::Membership => EntryType::EntryConfChange,
    };
    RaftEntry { entry_type, term: entry.term, index: entry.index, data: entry.data, ..RaftEntry::default() }
}

pub(crate) fn from_raft(entry: RaftEntry) -> Entry {
    let kind = match entry.entry_type {
        EntryType::EntryNormal => EntryKind::Proposals,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => EntryKind::Membership,
    };
    Entry { index: entry.index, term: entry.term, kind, data: entry.data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> RaftEntry {
        RaftEntry { index, term, data: vec![0; 100].into(), ..RaftEntry::default() }
    }

    fn log() -> MemoryLog {
        let before = Position { index: 10, term: 2 };
        let mut log = MemoryLog::new(before, HardState::default(), ConfState::default());
        log.append((11..=20).map(|index| entry(index, 3)));
        log
    }

    #[test]
    fn replaces_a_conflicting_tail() {
        let mut log = log();
        log.append([entry(15, 4), entry(16, 4)]);
        assert_eq!((log.first_kept(), log.last()), (11, 16));
        assert_eq!((log.term_at(14), log.term_at(15), log.term_at(17)), (Some(3), Some(4), None));
        assert_eq!(log.bytes(), 6 * (100 + ENTRY_OVERHEAD));
    }

    #[test]
    fn lets_only_applied_entries_go() {
        let mut log = log();
        log.keep_applied(18, 5, u64::MAX);
        assert_eq!((log.first_kept(), log.term_at(13)), (14, Some(3)));
        log.keep_applied(18, 5, 0);
        assert_eq!((log.first_kept(), log.last()), (19, 20));
        assert!(matches!(log.term(12), Err(raft::Error::Store(StorageError::Compacted))));
        assert!(matches!(log.term(21), Err(raft::Error::Store(StorageError::Unavailable))));
    }

    #[test]
    fn gives_at_least_one_entry_and_no_more_than_the_limit() {
        let log = log();
        let read = |limit: u64| log.entries(12, 21, limit, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(read(0).len(), 1);
        assert_eq!(read(3 * (100 + ENTRY_OVERHEAD)).len(), 3);
        assert_eq!(read(u64::MAX).last().unwrap().index, 20);
    }
}
