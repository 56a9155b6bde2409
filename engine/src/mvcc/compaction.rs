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

use super::contents::{decode_head, inconsistent};
use super::planted::{Fault, planted};
use super::{Revision, Store};
use crate::btree::Weight;
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

/// An extent is packed anew when more than this part of it was dropped: then no more is copied than was dropped.
pub(super) const DEAD_PERCENT: u8 = 50;
/// Looking at a record costs about as much as copying so many bytes.
const RECORD_BYTES: usize = 256;
/// Copied in one slice at most, and one extent more: some 100 us.
const MOST_BYTES: usize = 256 << 10;

/// What looking at a slice of records has found, so that the tree can be changed.
#[derive(Default)]
struct Found {
    visited: usize,
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
        // It begins anew when the scan has ended.
        self.state.sweep = Revision::END;
        self.state.compact = revision;
        self.warm.scan.begin_anew();
        self.warm.sweep.begin_anew();
        Ok(())
    }

    /// True while records are left that the compact revision has made useless.
    pub fn compaction_pending(&self) -> bool {
        self.state.compaction_pending()
    }

    /// Looks at up to `max_records` records and drops what compaction has made useless; when there are none left to
    /// look at, packs extents anew that are more than half empty.
    pub fn compact_slice(&mut self, max_records: usize) -> Result<Slice, Error> {
        let (mut removed, mut left) = (0, max_records);
        if self.state.scan_pending() {
            let mut found = Found::default();
            let scan = self.visit(max_records, &mut found)?;
            left -= found.visited;
            removed = self.drop_records(found)?;
            // Only now: a scan that failed half-way has not been there.
            self.state.scan = scan;
            if !self.state.scan_pending() {
                self.state.sweep = Revision::default();
            }
        }
        if left > 0 && !self.state.scan_pending() && self.state.sweep != Revision::END {
            let (bytes, to) = ((left * RECORD_BYTES).min(MOST_BYTES), self.warm.sweep.end());
            (self.state.sweep, _) = self.repack_from(self.state.sweep, to, DEAD_PERCENT, bytes)?;
        }
        Ok(Slice { removed, done: !self.compaction_pending() })
    }

    /// Looks at the next records of the scan; returns where it stands afterwards.
    fn visit(&self, max_records: usize, found: &mut Found) -> Result<Revision, Error> {
        let compact = self.state.compact;
        let mut records = self.contents().records(self.state.scan);
        let mut scan = self.state.scan;
        let to = self.warm.scan.end();
        for _ in 0..max_records {
            if scan >= to {
                break;
            }
            let Some(record) = records.try_next()?.filter(|record| record.revision.main <= compact) else {
                return Ok(Revision::new(compact + 1, 0));
            };
            let revision = record.revision;
            let garbled = || inconsistent(format_args!("the record of revision {revision:?} is garbled"));
            found.predecessors.extend(record.previous().transpose().map_err(|_| garbled())?);
            let useless = revision.main < compact || planted(Fault::TombstoneAtCompact);
            if record.is_tombstone() && useless {
                found.tombstones.push((revision, record.key().ok_or_else(garbled)?.to_vec()));
            }
            found.visited += 1;
            scan = Revision::new(revision.main, revision.sub + 1);
        }
        Ok(scan)
    }

    fn drop_records(&mut self, found: Found) -> Result<usize, Error> {
        let mut useless = found.predecessors;
        useless.extend(found.tombstones.iter().map(|(revision, _)| *revision));
        // In the order of the extents they are in.
        useless.sort_unstable();
        if let (Some(last), Some(tail)) = (useless.last(), self.tail)
            && *last >= tail.first
        {
            self.close_tail()?;
        }
        let (mut removed, mut rest) = (0, &useless[..]);
        while let Some(next) = rest.first() {
            let (dropped, done) = self.drop_in_extent(*next, rest)?;
            removed += dropped;
            rest = &rest[done..];
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

    /// Drops those of `useless` that are in the same extent as `next`, the first of them. Returns how many records
    /// that were, and how many of `useless` are done with.
    fn drop_in_extent(&mut self, next: Revision, useless: &[Revision]) -> Result<(usize, usize), Error> {
        let contents = self.contents();
        let Some(extent) = contents.extent_of(next)? else { return Ok((0, 1)) };
        let first = extent.first;
        let last = extent.last().ok_or_else(|| inconsistent(format_args!("{first:?} is garbled")))?;
        let here = useless.partition_point(|revision| *revision <= last).max(1);
        let mut dropped = contents.dropped(first)?.unwrap_or_default();
        let before = dropped.clone();
        for revision in &useless[..here] {
            if let Some(index) = extent.find(*revision) {
                dropped.add(index, extent.record_bytes(index));
            }
        }
        let (removed, all) = (dropped.records - before.records, dropped.records as usize == extent.len());
        if removed == 0 {
            return Ok((0, here));
        }
        if all {
            self.state.redrop(first, before.bytes, 0)?;
            // The run is given back as it is: nobody looks at its records.
            self.tree.delete(schema::REVISIONS, &first.to_key())?;
            self.tree.delete(schema::DROPPED, &first.to_key())?;
        } else if !planted(Fault::BitmapLost) {
            self.state.redrop(first, before.bytes, dropped.bytes)?;
            self.tree.put(schema::DROPPED, &first.to_key(), &dropped.encode(), Weight::Live)?;
        }
        Ok((removed as usize, here))
    }
}
