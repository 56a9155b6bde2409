//! Packing extents anew without the records that compaction has dropped.
//!
//! An extent that has lost everything is freed when it loses its last record. One that has lost much is read,
//! and what is left of it goes into a new extent, together with what is left of the extents behind it while they
//! have lost much, too, or are small. The new extent begins at the first record that is left, so extents never
//! overlap. Its records are not where their heads say: its weight tells. Each step is a few ordinary changes of the
//! tree within one slice: a crash finds them all or none.

use super::compaction::Slice;
use super::contents::{Contents, inconsistent};
use super::extent::{AS_APPENDED, Dropped, HEAD_BYTES, PACKED_ANEW, Packed};
use super::planted::{Fault, planted};
use super::{Revision, Store, records};
use crate::error::Error;
use crate::limits::EXTENT_LEAST_BYTES;
use crate::schema;

/// Extents behind a sparse one are packed with it when more than this part of them was dropped.
const NEIGHBOR_DEAD_PERCENT: u64 = 25;
/// Looking at what was dropped of an extent, and taking an extent out, cost as much as copying so many bytes.
const LOOK_BYTES: usize = 256;
const EXTENT_COST_BYTES: usize = 4096;
/// Extents that are packed together at most: of each there may be a single record left.
const MOST_EXTENTS: usize = 32;

/// Extents that are packed together.
#[derive(Default)]
pub(super) struct Group {
    /// Those that go, with what was dropped of them.
    old: Vec<(Revision, Option<Dropped>)>,
    packed: Packed,
    new: Vec<(Revision, Vec<u8>)>,
}

impl Group {
    /// Takes what is left of an extent; false, and nothing, when there is no room for all of it.
    fn take(&mut self, extent: &super::extent::Extent<'_>, dropped: Option<Dropped>) -> Result<bool, Error> {
        let first = extent.first;
        let bytes = |index| {
            extent
                .record(index)
                .ok_or_else(|| inconsistent(format_args!("the extent of {first:?} is garbled")))
        };
        let has = |index| dropped.as_ref().is_some_and(|dropped| dropped.has(index));
        let alone = self.old.is_empty();
        if !alone && !self.packed.has_room_for(extent.len(), extent.bytes(), dropped.as_ref()) {
            return Ok(false);
        }
        let mut lose = planted(Fault::RepackLosesRecord) && dropped.is_some();
        for index in (0..extent.len()).filter(|index| !has(*index)) {
            if std::mem::take(&mut lose) {
                continue;
            }
            let (revision, bytes) = bytes(index)?;
            if !self.packed.takes(revision, bytes) {
                self.flush();
            }
            self.packed.push(revision, bytes);
        }
        self.old.push((first, dropped));
        Ok(true)
    }

    /// The first extent that does not belong to it.
    pub(super) fn behind(&self) -> Revision {
        let last = self.old.last().map_or(Revision::default(), |(last, _)| *last);
        Revision::new(last.main, last.sub + 1)
    }

    /// In bytes copied.
    pub(super) fn cost(&self) -> usize {
        self.new.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + self.old.len() * EXTENT_COST_BYTES
    }

    fn flush(&mut self) {
        if self.packed.len() > 0 {
            let first = self.packed.first;
            self.new.push((first, self.packed.take()));
        }
    }
}

impl Store {
    /// Packs extents anew of which more than `min_dead_percent` was dropped, and their sparse neighbors, until about
    /// `max_bytes` were copied. The next call goes on behind; after `done` it begins again.
    pub fn repack_slice(&mut self, min_dead_percent: u8, max_bytes: usize) -> Result<Slice, Error> {
        let to = self.warm.pack.end();
        let (next, removed) = self.repack_from(self.repack_at, to, min_dead_percent, max_bytes)?;
        let done = next == Revision::END;
        self.repack_at = if done { Revision::default() } else { next };
        if done {
            self.warm.pack.begin_anew();
        }
        Ok(Slice { removed, done })
    }

    /// As [`Store::repack_slice`], from an extent on, up to those that begin at `to`. Returns where to go on,
    /// [`Revision::END`] at the end, and how many dropped records are gone.
    pub(super) fn repack_from(
        &mut self,
        from: Revision,
        to: Revision,
        min_dead_percent: u8,
        max_bytes: usize,
    ) -> Result<(Revision, usize), Error> {
        let (mut next, mut removed, mut spent) = (from, 0, 0);
        while spent < max_bytes && next < to {
            let Some((first, sparse)) = self.contents().next_dropped(next, min_dead_percent)? else {
                return Ok((Revision::END, removed));
            };
            if first >= to {
                return Ok((to, removed));
            }
            spent += LOOK_BYTES;
            next = Revision::new(first.main, first.sub + 1);
            if !sparse {
                continue;
            }
            let group = self.contents().gather(first)?;
            next = group.behind();
            spent += group.cost();
            removed += self.replace(group)?;
        }
        Ok((next, removed))
    }

    /// Puts the new extents in the place of the old ones; returns how many records are gone.
    fn replace(&mut self, group: Group) -> Result<usize, Error> {
        let mut removed = 0;
        for (first, dropped) in group.old {
            if let Some(dropped) = &dropped {
                self.state.redrop(first, dropped.bytes, 0)?;
            }
            self.tree.delete(schema::REVISIONS, &first.to_key())?;
            if let Some(dropped) = dropped {
                self.tree.delete(schema::DROPPED, &first.to_key())?;
                removed += dropped.records as usize;
            }
        }
        let weight = if planted(Fault::PackedAsAppended) { AS_APPENDED } else { PACKED_ANEW };
        for (first, bytes) in group.new {
            self.tree.put(schema::REVISIONS, &first.to_key(), &bytes, weight)?;
        }
        Ok(removed)
    }
}

impl Contents<'_> {
    /// The next extent that has lost records, and whether they are that many.
    pub(super) fn next_dropped(
        &self,
        from: Revision,
        percent: u8,
    ) -> Result<Option<(Revision, bool)>, Error> {
        let mut cursor = self.cursor(schema::DROPPED);
        if !cursor.seek(&from.to_key())? {
            return Ok(None);
        }
        let first = records::revision_of(cursor.key())?;
        let dropped = records::decode_dropped(first, cursor.value()?)?;
        let found = self.bucket(schema::REVISIONS).floor(first.to_number())?;
        let found = found.filter(|found| found.number() == Some(first.to_number()));
        let found = found.ok_or_else(|| inconsistent(format_args!("the extent of {first:?} is missing")))?;
        let bytes = found.value().len().saturating_sub(HEAD_BYTES) as u64;
        Ok(Some((first, u64::from(dropped.bytes) * 100 > bytes * u64::from(percent))))
    }

    /// What is left of the extent of `first` and of those behind it that go with it.
    pub(super) fn gather(&self, first: Revision) -> Result<Group, Error> {
        let open = self.open_extent();
        let mut group = Group::default();
        let mut cursor = self.cursor(schema::REVISIONS);
        let mut found = cursor.seek(&first.to_key())?;
        while found && group.old.len() < MOST_EXTENTS {
            let at = records::revision_of(cursor.key())?;
            if open.is_some_and(|open| open.first <= at) {
                break;
            }
            let dropped = self.dropped(at)?;
            let dead = dropped.as_ref().map_or(0, |dropped| u64::from(dropped.bytes));
            let extent = {
                // The length is known without looking at the value.
                let bytes = cursor.value_len();
                let sparse = dead * 100 > bytes as u64 * NEIGHBOR_DEAD_PERCENT;
                if at != first && !sparse && bytes >= EXTENT_LEAST_BYTES {
                    break;
                }
                records::parse_extent(at, cursor.value()?)?
            };
            if !group.take(&extent, dropped)? {
                break;
            }
            found = cursor.next()?;
        }
        group.flush();
        Ok(group)
    }
}
