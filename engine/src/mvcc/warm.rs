//! Reading beforehand what slices of compaction, packing and defragmentation are going to look at.
//!
//! Such a slice goes through history that nobody may have asked for in weeks: its pages have to come from the device
//! and to be verified, between two requests. Once [`Store::stay_warm`] was called, a slice goes no further than
//! another thread has gone before it:
//!
//! ```text
//!  the writer's thread                        a thread that has time
//!  compaction_ahead() -> Ahead  ------------> Ahead::read(newest view)
//!  warmed(Ahead)  <--------------------------
//!  compact_slice() ... until compaction_is_cold()
//! ```
//!
//! The reading follows the same rules as the slices, on a view of about the same state: what it misses takes a slice
//! longer, and what it reads in vain harms nothing. Two stretches may be read that no slice has come to.

use super::compaction::DEAD_PERCENT;
use super::{Revision, Store, View};
use crate::btree::MoveAhead;
use crate::error::Error;
use crate::limits::PAGE_BYTES;
use crate::schema;

/// What slices are going to look at, from a place on.
#[derive(Clone, Debug)]
pub struct Ahead {
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Scan { round: u64, compact: i64, next: Revision },
    Sweep { round: u64, next: Revision },
    Pack { round: u64, percent: u8, next: Revision },
    Move(MoveAhead),
}

/// How far it was read for each kind of slice that goes by revisions.
#[derive(Debug, Default)]
pub(super) struct WarmTo {
    pub(super) scan: Reach,
    pub(super) sweep: Reach,
    pub(super) pack: Reach,
}

/// The last two stretches that were read.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Nothing but what was read is looked at.
    bounded: bool,
    /// Counts the times it began anew: what was read for something earlier says nothing.
    round: u64,
    /// Where the last stretch begins, and where it ends.
    from: Revision,
    to: Revision,
}

impl Reach {
    /// Where slices have to stop.
    pub(super) fn end(&self) -> Revision {
        if self.bounded { self.to } else { Revision::END }
    }

    pub(super) fn begin_anew(&mut self) {
        *self = Reach { bounded: self.bounded, round: self.round + 1, ..Reach::default() };
    }

    /// Where the next stretch begins, if slices that stand at `at` have come to the last one.
    fn ahead(&self, at: Revision) -> Option<(u64, Revision)> {
        (self.bounded && at >= self.from && self.to != Revision::END).then(|| (self.round, self.to.max(at)))
    }

    fn extend(&mut self, round: u64, to: Revision) {
        if self.bounded && round == self.round && to > self.to {
            self.from = std::mem::replace(&mut self.to, to);
        }
    }
}

impl Store {
    /// From now on slices of compaction, packing and defragmentation go no further than what was read beforehand: see
    /// [`Ahead`].
    pub fn stay_warm(&mut self) {
        for reach in [&mut self.warm.scan, &mut self.warm.sweep, &mut self.warm.pack] {
            reach.bounded = true;
        }
        self.tree.defragment_stays_warm();
    }

    /// What [`Store::compact_slice`] is going to look at and was not read yet.
    pub fn compaction_ahead(&self) -> Option<Ahead> {
        let state = &self.state;
        let what = if state.scan_pending() {
            let (round, next) = self.warm.scan.ahead(state.scan)?;
            What::Scan { round, compact: state.compact, next }
        } else {
            let (round, next) =
                self.warm.sweep.ahead(state.sweep).filter(|_| state.sweep != Revision::END)?;
            What::Sweep { round, next }
        };
        Some(Ahead { what })
    }

    /// Whether compaction has nothing to do before more was read.
    pub fn compaction_is_cold(&self) -> bool {
        match self.state.scan_pending() {
            true => self.state.scan >= self.warm.scan.end(),
            false => self.state.sweep != Revision::END && self.state.sweep >= self.warm.sweep.end(),
        }
    }

    /// What [`Store::repack_slice`] is going to look at and was not read yet.
    pub fn repack_ahead(&self, min_dead_percent: u8) -> Option<Ahead> {
        let (round, next) = self.warm.pack.ahead(self.repack_at)?;
        Some(Ahead { what: What::Pack { round, percent: min_dead_percent, next } })
    }

    /// Whether packing has nothing to do before more was read.
    pub fn repack_is_cold(&self) -> bool {
        self.repack_at >= self.warm.pack.end()
    }

    /// What [`Store::defragment_slice`] is going to look at and was not read yet.
    pub fn defragment_ahead(&self) -> Option<Ahead> {
        self.tree.defragment_ahead().map(|ahead| Ahead { what: What::Move(ahead) })
    }

    /// Whether moving pages has nothing to do before more was read.
    pub fn defragment_is_cold(&self) -> bool {
        self.tree.defragment_is_cold()
    }

    /// It was read. What it was to be read for may be over.
    pub fn warmed(&mut self, ahead: Ahead) {
        match ahead.what {
            What::Scan { round, next, .. } => self.warm.scan.extend(round, next),
            What::Sweep { round, next } => self.warm.sweep.extend(round, next),
            What::Pack { round, next, .. } => self.warm.pack.extend(round, next),
            What::Move(ahead) => self.tree.defragment_warmed(ahead),
        }
    }
}

impl Ahead {
    /// Reads and verifies about `max_bytes` bytes of it through a view no older than the writer was when it asked. What
    /// comes back is for [`Store::warmed`]. Reads block: this belongs on a thread that has time.
    pub fn read(mut self, view: &View, max_bytes: usize) -> Result<Ahead, Error> {
        match &mut self.what {
            What::Scan { compact, next, .. } => *next = view.warm_scan(*next, *compact, max_bytes)?,
            What::Sweep { next, .. } => *next = view.warm_sparse(*next, DEAD_PERCENT, max_bytes)?,
            What::Pack { percent, next, .. } => *next = view.warm_sparse(*next, *percent, max_bytes)?,
            What::Move(ahead) => view.txn().warm_moves(ahead, max_bytes)?,
        }
        Ok(self)
    }
}

impl View {
    /// What a compaction looks at from `from` on: records, and the extents and entries in which they make something
    /// useless. Where the next stretch begins.
    fn warm_scan(&self, from: Revision, compact: i64, max_bytes: usize) -> Result<Revision, Error> {
        let contents = self.contents();
        let mut records = contents.records(from);
        let (mut bytes, mut next, mut last) = (0, from, None);
        while bytes < max_bytes {
            let Some(record) = records.try_next()?.filter(|record| record.revision.main <= compact) else {
                return Ok(Revision::END);
            };
            bytes += record.event().len();
            next = Revision::new(record.revision.main, record.revision.sub + 1);
            // A link that leads nowhere is the slice's to tell.
            let before = record.previous().and_then(Result::ok);
            for revision in before.into_iter().chain(record.is_tombstone().then_some(record.revision)) {
                let Some(extent) = contents.extent_of(revision)? else { continue };
                extent.find(revision);
                contents.dropped(extent.first)?;
                bytes += if last.replace(extent.first) == Some(extent.first) { 0 } else { PAGE_BYTES };
            }
            if record.is_tombstone() {
                contents.lookup(schema::KEYS, record.key().unwrap_or_default())?;
                bytes += PAGE_BYTES;
            }
        }
        Ok(next)
    }

    /// What packing looks at from `from` on: extents of which more than so many percent are gone, and those that are
    /// packed with them. Where the next stretch begins.
    fn warm_sparse(&self, from: Revision, percent: u8, max_bytes: usize) -> Result<Revision, Error> {
        let contents = self.contents();
        let (mut bytes, mut next) = (0, from);
        while bytes < max_bytes {
            let Some((first, sparse)) = contents.next_dropped(next, percent)? else {
                return Ok(Revision::END);
            };
            bytes += PAGE_BYTES / 8;
            next = Revision::new(first.main, first.sub + 1);
            if sparse {
                let group = contents.gather(first)?;
                (bytes, next) = (bytes + group.cost(), group.behind());
            }
        }
        Ok(next)
    }
}
