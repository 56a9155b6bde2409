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
use super::planted::{Fault, planted};
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

/// What looking at a slice of records has found, so that the tree can be changed.
#[derive(Default)]
struct Found {
    predecessors: Vec<Revision>,
    /// With their keys, whose heads may go with them.
    tombstones: Vec<(Revision, Vec<u8>)>,
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
        let spared = match self.state.compact {
            compact if planted(Fault::SparedTombstones) => Revision::new(compact + 1, 0),
            compact => Revision::new(compact.max(0), 0),
        };
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
        if !self.compaction_pending() {
            return Ok(Slice { removed: 0, done: true });
        }
        let mut found = Found::default();
        let scan = self.visit(max_records, &mut found)?;
        let removed = self.drop_records(found)?;
        // Only now: a scan that failed half-way has not been there.
        self.state.scan = scan;
        Ok(Slice { removed, done: !self.compaction_pending() })
    }

    /// Looks at the next records of the scan; returns where it stands afterwards.
    fn visit(&self, max_records: usize, found: &mut Found) -> Result<Revision, Error> {
        let compact = self.state.compact;
        let mut cursor = self.tree.cursor(schema::REVISIONS);
        let mut there = cursor.seek(&self.state.scan.to_key())?;
        let mut scan = self.state.scan;
        for _ in 0..max_records {
            let revision = if there { super::changes::revision_of(cursor.key())? } else { Revision::END };
            if revision.main > compact {
                return Ok(Revision::new(compact + 1, 0));
            }
            let record = parse_record(revision, cursor.value()?)?;
            let garbled = || inconsistent(format_args!("the record of revision {revision:?} is garbled"));
            found.predecessors.extend(record.previous().transpose().map_err(|_| garbled())?);
            let useless = revision.main < compact || planted(Fault::TombstoneAtCompact);
            if record.is_tombstone() && useless {
                found.tombstones.push((revision, record.key().ok_or_else(garbled)?.to_vec()));
            }
            scan = Revision::new(revision.main, revision.sub + 1);
            there = cursor.next()?;
        }
        Ok(scan)
    }

    fn drop_records(&mut self, found: Found) -> Result<usize, Error> {
        let mut useless = found.predecessors;
        useless.extend(found.tombstones.iter().map(|(revision, _)| *revision));
        // In the order of the pages they are on.
        useless.sort_unstable();
        let mut removed = 0;
        for revision in useless {
            removed += usize::from(self.tree.delete(schema::REVISIONS, &revision.to_key())?);
        }
        for (revision, key) in found.tombstones {
            let head = match self.tree.get(schema::KEYS, &key)? {
                Some(bytes) => Some(decode_head(&key, bytes)?),
                None => None,
            };
            if head.is_some_and(|head| head.revision() == revision) {
                self.tree.delete(schema::KEYS, &key)?;
            }
        }
        Ok(removed)
    }
}
