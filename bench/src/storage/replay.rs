//! What the log has beyond the last checkpoint, applied while the log is still being read.

use std::time::{Duration, Instant};

use engine::{Applied, Store};
use wal::{Entry, Passage};

use super::entry::{self, Change};
use crate::error::Result;

/// Applies one entry; how many changes it held.
pub(super) fn apply(store: &mut Store, entry: &Entry) -> Result<usize> {
    let count = entry::for_each(entry.data.clone(), |change| {
        let mut write = store.begin();
        match change {
            Change::Put { key, value } => drop(write.put(&key, &value, 0)?),
            Change::Delete { key } => drop(write.delete(&key)?),
        }
        write.finish()?;
        Ok(())
    })?;
    store.set_applied(Applied { index: entry.index, term: entry.term });
    Ok(count)
}

/// A replay under way. Changes nothing but memory, so that a log that is refused in the end has changed nothing.
pub(super) struct Replay<'a> {
    store: &'a mut Store,
    changes: u64,
    busy: Duration,
    failed: Result<()>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(store: &'a mut Store) -> Self {
        Self { store, changes: 0, busy: Duration::ZERO, failed: Ok(()) }
    }

    /// Takes in what is certain so far. There is one member, so that nothing of it is ever replaced.
    pub(super) fn follow(&mut self, passage: &Passage) {
        if self.failed.is_ok() {
            self.failed = self.entries(&passage.entries);
        }
    }

    /// Takes in all that the opened log holds. How many changes that made, and how long applying took.
    pub(super) fn finish(mut self, entries: &[Entry]) -> Result<(u64, Duration)> {
        std::mem::replace(&mut self.failed, Ok(()))?;
        self.entries(entries)?;
        self.store.publish();
        Ok((self.changes, self.busy))
    }

    fn entries(&mut self, entries: &[Entry]) -> Result<()> {
        let begun = Instant::now();
        for entry in entries {
            if entry.index == self.store.applied().index + 1 {
                self.changes += apply(self.store, entry)? as u64;
            }
        }
        self.busy += begun.elapsed();
        Ok(())
    }
}
