//! Forgetting history: at once for readers, in slices for the disk.
//!
//! Compaction at C keeps of every key the newest record at or below C, and not even that when it is a
//! tombstone older than C. Everything else at or below C goes. With P the compaction before, what goes can
//! be found by looking at the records in (P, C] alone:
//!
//! - the predecessor of each of them is not the newest at C any more;
//! - a tombstone among them below C has no use, and neither has its key's head if nothing came after;
//! - a tombstone exactly at P was kept by the compaction before and is older than C now.
//!
//! Records are visited in order, so when one is visited, of its key's older records only the direct
//! predecessor can still be there. Where the scan stands is part of the state in the meta page: after a
//! crash it goes on from the last checkpoint, where the tree and the scan agree. Visiting a record twice
//! does nothing the second time.

use super::contents::{decode_head, inconsistent, parse_record};
use super::{Revision, Store};
use crate::error::Error;
use crate::schema;

/// Why a compaction is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// At or below the compact revision already.
    #[error("required revision has been compacted")]
    Compacted,
    /// Beyond the current revision.
    #[error("required revision is a future revision")]
    Future,
}

/// What one slice of physical compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Records dropped.
    pub removed: usize,
    /// Nothing is left to look at.
    pub done: bool,
}

/// What a visit decides, owned so that the tree can be changed.
struct Visit {
    revision: Revision,
    drop_predecessor: Option<Revision>,
    /// The record itself goes; this is its key.
    drop_tombstone: Option<Vec<u8>>,
}

impl Store {
    /// Makes `revision` the oldest that can be read. The records this makes useless go in slices.
    pub fn compact(&mut self, revision: i64) -> Result<(), CompactError> {
        if revision <= self.state.compact {
            return Err(CompactError::Compacted);
        }
        if revision > self.state.revision {
            return Err(CompactError::Future);
        }
        // Tombstones exactly at the old compact revision were spared and have to be looked at again.
        let spared = Revision::new(self.state.compact.max(0), 0);
        self.state.scan = self.state.scan.min(spared);
        self.state.compact = revision;
        Ok(())
    }

    /// True while records are left that the compact revision has made useless.
    pub fn compaction_pending(&self) -> bool {
        self.state.compaction_pending()
    }

    /// Looks at up to `max_records` records and drops what compaction has made useless.
    pub fn compact_slice(&mut self, max_records: usize) -> Result<Slice, Error> {
        let mut slice = Slice { removed: 0, done: !self.compaction_pending() };
        for _ in 0..max_records {
            if slice.done {
                break;
            }
            match self.visit()? {
                Some(visit) => {
                    self.state.scan = Revision::new(visit.revision.main, visit.revision.sub + 1);
                    slice.removed += self.drop_records(visit)?;
                }
                None => {
                    self.state.scan = Revision::new(self.state.compact + 1, 0);
                    slice.done = true;
                }
            }
        }
        Ok(slice)
    }

    /// The next record of the scan; `None` when it has passed the compact revision.
    fn visit(&self) -> Result<Option<Visit>, Error> {
        let mut cursor = self.tree.cursor(schema::REVISIONS);
        if !cursor.seek(&self.state.scan.to_key())? {
            return Ok(None);
        }
        let revision = super::changes::revision_of(cursor.key())?;
        if revision.main > self.state.compact {
            return Ok(None);
        }
        let record = parse_record(revision, cursor.value()?)?;
        let garbled = || inconsistent(format_args!("the record of revision {revision:?} is garbled"));
        let drop_predecessor = record.previous().transpose().map_err(|_| garbled())?;
        let drop_tombstone = if record.is_tombstone() && revision.main < self.state.compact {
            Some(record.key().ok_or_else(garbled)?.to_vec())
        } else {
            None
        };
        Ok(Some(Visit { revision, drop_predecessor, drop_tombstone }))
    }

    fn drop_records(&mut self, visit: Visit) -> Result<usize, Error> {
        let mut removed = 0;
        if let Some(predecessor) = visit.drop_predecessor {
            removed += usize::from(self.tree.delete(schema::REVISIONS, &predecessor.to_key())?);
        }
        if let Some(key) = visit.drop_tombstone {
            removed += usize::from(self.tree.delete(schema::REVISIONS, &visit.revision.to_key())?);
            let head = match self.tree.get(schema::KEYS, &key)? {
                Some(bytes) => Some(decode_head(&key, bytes)?),
                None => None,
            };
            if head.is_some_and(|head| head.revision() == visit.revision) {
                self.tree.delete(schema::KEYS, &key)?;
            }
        }
        Ok(removed)
    }
}
