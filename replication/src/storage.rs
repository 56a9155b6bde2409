//! From raft's values to the write-ahead log's and back, and the order in which they become durable.

use crate::Error;
use crate::ready::{HardState, Persist};
use crate::transport::{Entry, EntryKind};

pub(crate) fn to_wal(entry: &Entry) -> wal::Entry {
    wal::Entry { index: entry.index, term: entry.term, kind: entry.kind as u8, data: entry.data.clone() }
}

pub(crate) fn from_wal(entry: wal::Entry) -> Result<Entry, Error> {
    let kind = match entry.kind {
        kind if kind == EntryKind::Proposals as u8 => EntryKind::Proposals,
        kind if kind == EntryKind::Membership as u8 => EntryKind::Membership,
        other => {
            let why = format!("entry {} is of unknown kind {other}", entry.index);
            return Err(Error::Malformed { what: "log", why });
        }
    };
    Ok(Entry { index: entry.index, term: entry.term, kind, data: entry.data })
}

pub(crate) fn hard_state_to_wal(hard_state: HardState) -> wal::HardState {
    wal::HardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit }
}

/// The log with what need not be written at once: a commit index that waits for the next batch.
pub(crate) struct Storage {
    wal: wal::Wal,
    /// Most bytes of entries in one append; the rest goes into the next.
    append_bytes: usize,
    unwritten: Option<HardState>,
    wal_entries: Vec<wal::Entry>,
    written_since_tick: bool,
    released: u64,
}

impl Storage {
    pub(crate) fn new(wal: wal::Wal, append_bytes: usize) -> Storage {
        Storage {
            wal,
            append_bytes,
            unwritten: None,
            wal_entries: Vec::new(),
            written_since_tick: true,
            released: 0,
        }
    }

    /// Durable when it returns, but for a commit index alone.
    pub(crate) fn persist(&mut self, persist: Persist) -> Result<(), Error> {
        let before = self.unwritten;
        if persist.hard_state.is_some() {
            self.unwritten = persist.hard_state;
        }
        if persist.can_wait {
            return Ok(());
        }
        self.wal_entries.clear();
        let mut bytes = 0;
        for entry in &persist.entries {
            if bytes + entry.data.len() > self.append_bytes && !self.wal_entries.is_empty() {
                // Term and vote are never behind the entries, the commit index never ahead of them.
                let commit = before.map_or(0, |before| before.commit);
                self.append(self.unwritten.map(|hard_state| HardState { commit, ..hard_state }))?;
                bytes = 0;
            }
            bytes += entry.data.len();
            self.wal_entries.push(to_wal(entry));
        }
        let hard_state = self.unwritten.take();
        self.append(hard_state)
    }

    fn append(&mut self, hard_state: Option<HardState>) -> Result<(), Error> {
        let hard_state = hard_state.map(hard_state_to_wal);
        self.written_since_tick = true;
        self.wal.append(&wal::Batch { entries: &self.wal_entries, hard_state })?;
        self.wal_entries.clear();
        Ok(())
    }

    /// After a tick without writes, what is left is written and the log sealed.
    pub(crate) fn tick(&mut self) -> Result<(), Error> {
        if !self.written_since_tick {
            self.seal()?;
        }
        self.written_since_tick = false;
        Ok(())
    }

    pub(crate) fn seal(&mut self) -> Result<(), Error> {
        if let Some(hard_state) = self.unwritten.take() {
            self.append(Some(hard_state))?;
        }
        Ok(self.wal.seal()?)
    }

    pub(crate) fn release_before(&mut self, index: u64) -> Result<(), Error> {
        if index > self.released {
            self.released = index;
            self.wal.release_before(index)?;
        }
        Ok(())
    }

    /// Index of the last entry in the log.
    pub(crate) fn last_index(&self) -> u64 {
        self.wal.last_index()
    }

    /// Gives up all that was written, and goes on in a segment of its own. False if there is no space for that now.
    pub(crate) fn release_all(&mut self) -> Result<bool, Error> {
        self.seal()?;
        match self.wal.release_all() {
            Ok(()) => Ok(true),
            Err(wal::Error::NoSegment { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that can be appended for sure.
    pub(crate) fn headroom(&self) -> u64 {
        self.wal.headroom()
    }

    /// Most bytes of entries in one append.
    pub(crate) fn append_bytes(&self) -> u64 {
        self.append_bytes as u64
    }

    /// Whether there will be no more room for the time being.
    pub(crate) fn is_refused_space(&self) -> bool {
        matches!(self.wal.next_segment(), wal::NextSegment::Refused { .. })
    }

    /// Whether there is no room for another reason than space: nothing to wait for.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.wal.next_segment(), wal::NextSegment::Failed { .. })
    }

    /// Why there is no more room, if it is known: what failed, with the path and the system's error.
    pub(crate) fn why_no_room(&self) -> Option<String> {
        match self.wal.next_segment() {
            wal::NextSegment::Refused { reason, .. } | wal::NextSegment::Failed { reason, .. } => {
                Some(reason)
            }
            wal::NextSegment::Preparing | wal::NextSegment::Ready => None,
        }
    }

    /// Waits for more room. False if there is no space for the time being; whatever else is in the way is an error.
    pub(crate) fn await_space(&mut self) -> Result<bool, Error> {
        match self.wal.await_segment() {
            Ok(()) => Ok(true),
            Err(wal::Error::NoSegment { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn stats(&self) -> wal::Stats {
        self.wal.stats()
    }
}
