//! What the bucket `revisions` holds: records that follow each other in history, packed together.
//!
//! ```text
//! count u32       records in here
//! span u32        main revision of the last record - that of the first
//! records         one behind the other (record.rs)
//! directory       for every record 8 bytes, the last record's first: one number, little endian, of
//!                 main revision - the first record's   32 bits
//!                 sub revision                         16 bits; of the first main revision: - the first record's
//!                 offset of the record                 16 bits, from the first record's first byte
//! ```
//!
//! The extent's key is the revision of its first record. The directory stands backwards so that it can grow from
//! the end of the open extent while records grow from its beginning (`btree::tail`); closed, it moves behind the
//! records as it is. Its numbers ascend with the record, so that a search compares numbers; main revisions are
//! nearly dense, so that it begins where the record would be if they were evenly spread, which is mostly the place.
//!
//! An extent is closed where it fills its pages best: from 16 KiB on as soon as the next record would begin another
//! page and less than a hundredth is left empty, at the latest before it has 64 KiB. A record that is larger is an
//! extent of its own. What is closed by a checkpoint, and is smaller than 16 KiB, is continued in a copy.
//!
//! Worked example: records of 5, 7 and 6 bytes at revisions 10.3, 10.4 and 12.0. The key is that of 10.3:
//!
//! ```text
//!  0  03 00 00 00 | 02 00 00 00                  three records, 12 - 10
//!  8  5 bytes, 7 bytes, 6 bytes                  the records, at offsets 0, 5 and 12
//! 26  0c 00 | 00 00 | 02 00 00 00                12.0 at 12
//! 34  05 00 | 01 00 | 00 00 00 00                10.4 at 5
//! 42  00 00 | 00 00 | 00 00 00 00                10.3 at 0
//! ```
//!
//! A head says where its record was appended ([`Spot`]), so that whoever has the head need not look at the extent's
//! first bytes and its directory. Good in an extent that is as it was appended, or is a continuation of such a one: its
//! entry in the bucket counts. Records of one that was packed anew are elsewhere: its entry does not count, which says
//! so in the same view.
//!
//! What compaction has dropped stays where it is until the extent is freed or packed anew. The bucket `dropped` has,
//! under the same key, if anything was dropped at all:
//!
//! ```text
//! records u32     how many were dropped
//! bytes u32       how long they are together, their places in the directory included
//! bits            bit i % 8 of byte i / 8 is set when record i was dropped
//! ```

use std::ops::Range;

use super::Revision;
use super::planted::{Fault, planted};
use crate::btree::Weight;
use crate::limits::{EXTENT_LEAST_BYTES, EXTENT_MOST_BYTES, EXTENT_MOST_RECORDS, PAGE_BYTES};

/// Bytes of an extent before its records.
pub(crate) const HEAD_BYTES: usize = 8;
/// Bytes of a record's place in the directory.
pub(crate) const PLACE_BYTES: usize = 8;
/// Bytes that the tree puts before a value in a run.
const RUN_HEADER_BYTES: usize = 16;

/// The weight of an extent whose records are where they were appended.
pub(crate) const AS_APPENDED: Weight = Weight::Live;
/// The weight of an extent whose records come from others.
pub(crate) const PACKED_ANEW: Weight = Weight::Dead;

/// Where in its extent a record was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// From the first record's first byte.
    pub(crate) offset: u16,
    pub(crate) len: u32,
}

impl Spot {
    /// Its bytes among the extent's records.
    #[inline]
    pub(crate) fn in_records(self) -> Range<usize> {
        usize::from(self.offset)..usize::from(self.offset) + self.len as usize
    }

    /// Its bytes in the extent.
    #[inline]
    pub(crate) fn in_extent(self) -> Range<usize> {
        let Range { start, end } = self.in_records();
        HEAD_BYTES + start..HEAD_BYTES + end
    }
}

/// An extent as a reader sees it.
#[derive(Clone, Copy)]
pub(crate) struct Extent<'v> {
    pub(crate) first: Revision,
    /// Main revision of the last record less that of the first.
    span: u32,
    records: &'v [u8],
    directory: &'v [u8],
}

impl<'v> Extent<'v> {
    /// `None` when the bytes are no extent. Says nothing of the directory's contents.
    #[inline]
    pub(crate) fn parse(first: Revision, bytes: &'v [u8]) -> Option<Extent<'v>> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(*head[at..].first_chunk().expect("two words"));
        let directory = (word(0) as usize).checked_mul(PLACE_BYTES).filter(|bytes| *bytes > 0)?;
        let (records, directory) = rest.split_at_checked(rest.len().checked_sub(directory)?)?;
        Some(Extent { first, span: word(4), records, directory })
    }

    /// An extent that is still open, and is not empty.
    #[inline]
    pub(crate) fn open(first: Revision, records: &'v [u8], directory: &'v [u8]) -> Extent<'v> {
        let last = directory.first_chunk().map_or(0, |place| u64::from_le_bytes(*place));
        Extent { first, span: (last >> 32) as u32, records, directory }
    }

    /// How many records there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.directory.len() / PLACE_BYTES
    }

    /// The records one behind the other, and the directory.
    pub(crate) fn parts(&self) -> (&'v [u8], &'v [u8]) {
        (self.records, self.directory)
    }

    /// Bytes of the extent, without those before its records.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len() + self.directory.len()
    }

    /// Bytes of one record, its place in the directory included; 0 when the directory is garbled.
    pub(crate) fn record_bytes(&self, index: usize) -> usize {
        self.record(index).map_or(0, |(_, bytes)| bytes.len() + PLACE_BYTES)
    }

    #[inline]
    fn place(&self, index: usize) -> u64 {
        let at = self.directory.len() - PLACE_BYTES * (index + 1);
        u64::from_le_bytes(*self.directory[at..].first_chunk().expect("eight bytes"))
    }

    /// The record at `index`, which is below [`Extent::len`]. `None` when the directory is garbled.
    #[inline]
    pub(crate) fn record(&self, index: usize) -> Option<(Revision, &'v [u8])> {
        let place = self.place(index);
        let offset = |place: u64| usize::from(place as u16);
        let end = if index + 1 < self.len() { offset(self.place(index + 1)) } else { self.records.len() };
        let bytes = self.records.get(offset(place)..end)?;
        Some((self.revision(place)?, bytes))
    }

    /// The last record's revision. `None` when the directory is garbled.
    pub(crate) fn last(&self) -> Option<Revision> {
        self.revision(self.place(self.len() - 1))
    }

    fn revision(&self, place: u64) -> Option<Revision> {
        let (delta, sub) = ((place >> 32) as i64, i64::from((place >> 16) as u16));
        let base = if delta == 0 { self.first.sub } else { 0 };
        Some(Revision::new(self.first.main.checked_add(delta)?, base.checked_add(sub)?))
    }

    /// Where the record of `revision` is, if it is here.
    #[inline]
    pub(crate) fn find(&self, revision: Revision) -> Option<usize> {
        let wanted = place(self.first, revision, 0)?;
        let guess = self.guess(wanted);
        if self.place(guess) >> 16 == wanted >> 16 {
            return Some(guess);
        }
        let index = self.lower_bound(wanted);
        (index < self.len() && self.place(index) >> 16 == wanted >> 16).then_some(index)
    }

    /// The first record at or after `revision`; [`Extent::len`] when there is none.
    pub(crate) fn at_or_after(&self, revision: Revision) -> usize {
        if revision <= self.first {
            return 0;
        }
        match place(self.first, revision, 0) {
            Some(wanted) => self.lower_bound(wanted),
            // Sub revisions beyond what a place can say: none of this main revision can be.
            None => match place(self.first, Revision::new(revision.main, 0).max(self.first), 0) {
                Some(main) => self.lower_bound(main.saturating_add(1 << 32) >> 32 << 32),
                None => self.len(),
            },
        }
    }

    /// Where a search for `revision` begins: close to where it ends when main revisions are evenly spread.
    #[inline]
    fn guess(&self, wanted: u64) -> usize {
        let (delta, most) = (wanted >> 32, self.len() as u64 - 1);
        let guess =
            if most == u64::from(self.span) { delta } else { delta * most / u64::from(self.span).max(1) };
        guess.min(most) as usize
    }

    /// The first record whose place is not below `wanted`.
    #[inline]
    fn lower_bound(&self, wanted: u64) -> usize {
        let below = |index: usize| self.place(index) < wanted;
        let guess = self.guess(wanted);
        // Doubling steps away from the guess, then halving ones.
        let (mut low, mut high) = (guess, guess);
        let mut step = 1;
        if below(guess) {
            loop {
                low = high + 1;
                high = (high + step).min(self.len());
                if high == self.len() || !below(high) {
                    break;
                }
                step *= 2;
            }
        } else {
            loop {
                if low == 0 || below(low - 1) {
                    high = low;
                    break;
                }
                high = low - 1;
                low = low.saturating_sub(step);
                if below(low) {
                    low += 1;
                    break;
                }
                step *= 2;
            }
        }
        while low < high {
            let middle = low.midpoint(high);
            if below(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - usize::from(low > guess && planted(Fault::SearchOffByOne))
    }

    /// The bytes that [`Extent::find`] reads first, to be asked for ahead of time.
    #[inline]
    pub(crate) fn first_look(&self, revision: Revision) -> &'v [u8] {
        let guess = place(self.first, revision, 0).map_or(0, |wanted| self.guess(wanted));
        let end = self.directory.len() - PLACE_BYTES * guess;
        &self.directory[end.saturating_sub(2 * PLACE_BYTES)..end]
    }

    /// What contradicts itself in here; for a check that must not trust anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut before = None;
        for index in 0..self.len() {
            let Some((revision, bytes)) = self.record(index) else {
                return Err(format!("record {index} of the extent lies outside of it"));
            };
            if before.is_some_and(|before| before >= revision) || (index == 0 && revision != self.first) {
                return Err(format!("record {index} of the extent of {:?} is {revision:?}", self.first));
            }
            if super::record::Record::parse(revision, bytes).is_none() {
                return Err(format!("the record of revision {revision:?} is garbled"));
            }
            before = Some(revision);
        }
        if self.span as usize != (self.place(self.len() - 1) >> 32) as usize || self.place(0) as u16 != 0 {
            return Err(format!("the extent of {:?} does not say where it ends", self.first));
        }
        Ok(())
    }
}

/// A record's place in the directory of the extent that begins at `first`. `None` when it can't be said in there.
#[inline]
pub(crate) fn place(first: Revision, revision: Revision, offset: usize) -> Option<u64> {
    let delta = u64::from(u32::try_from(revision.main - first.main).ok()?);
    let base = if delta == 0 { first.sub } else { 0 };
    let sub = u64::from(u16::try_from(revision.sub - base).ok()?);
    let offset = u64::from(u16::try_from(offset).ok()?);
    Some(delta << 32 | sub << 16 | offset)
}

/// What stands before the records of an extent.
pub(crate) fn head(count: usize, span: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&u32::try_from(count).expect("extents have few records").to_le_bytes());
    head[4..].copy_from_slice(&span.to_le_bytes());
    head
}

/// Bytes of the run that so many records of so many bytes take.
pub(crate) fn run_bytes(count: usize, records: usize) -> usize {
    RUN_HEADER_BYTES + HEAD_BYTES + records + count * PLACE_BYTES
}

/// Whether an extent of `count` records with `bytes` bytes is closed before one of `next` bytes.
pub(crate) fn closes_before(count: usize, bytes: usize, next: usize) -> bool {
    let (before, after) = (run_bytes(count, bytes), run_bytes(count + 1, bytes + next));
    if after > EXTENT_MOST_BYTES || count == EXTENT_MOST_RECORDS {
        return true;
    }
    let pages = |bytes: usize| bytes.div_ceil(PAGE_BYTES);
    let empty = pages(before) * PAGE_BYTES - before;
    before >= EXTENT_LEAST_BYTES && pages(after) > pages(before) && empty * 100 <= before
}

/// An extent that is put together in memory.
#[derive(Default)]
pub(crate) struct Packed {
    pub(crate) first: Revision,
    records: Vec<u8>,
    places: Vec<u64>,
}

impl Packed {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the record belongs here: there is room, and its place can be said.
    pub(crate) fn takes(&self, revision: Revision, bytes: &[u8]) -> bool {
        self.places.is_empty()
            || (!closes_before(self.places.len(), self.records.len(), bytes.len())
                && place(self.first, revision, self.records.len()).is_some())
    }

    /// Whether what is left of an extent of so many records and bytes can come in here, too.
    pub(crate) fn has_room_for(&self, count: usize, bytes: usize, dropped: Option<&Dropped>) -> bool {
        let (gone, freed) = dropped.map_or((0, 0), |dropped| (dropped.records, dropped.bytes));
        let count = count.saturating_sub(gone as usize);
        let records = bytes.saturating_sub(freed as usize).saturating_sub(count * PLACE_BYTES);
        let (count, records) = (self.places.len() + count, self.records.len() + records);
        count <= EXTENT_MOST_RECORDS && run_bytes(count, records) <= EXTENT_MOST_BYTES
    }

    /// Adds a record that [`Packed::takes`].
    pub(crate) fn push(&mut self, revision: Revision, bytes: &[u8]) {
        if self.places.is_empty() {
            self.first = revision;
        }
        let place = place(self.first, revision, self.records.len());
        self.places.push(place.expect("the caller has asked whether it fits"));
        self.records.extend_from_slice(bytes);
    }

    /// The extent's bytes; empty again afterwards.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let last = self.places.last().copied().unwrap_or(0);
        let mut bytes = head(self.places.len(), (last >> 32) as u32).to_vec();
        bytes.append(&mut self.records);
        for place in self.places.drain(..).rev() {
            bytes.extend_from_slice(&place.to_le_bytes());
        }
        bytes
    }
}

/// What the bucket `dropped` says of an extent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) records: u32,
    pub(crate) bytes: u32,
    bits: Vec<u8>,
}

impl Dropped {
    /// `None` when the bytes are nothing the bucket holds.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Dropped> {
        let (records, rest) = bytes.split_first_chunk::<4>()?;
        let (bytes, bits) = rest.split_first_chunk::<4>()?;
        let (records, bytes) = (u32::from_le_bytes(*records), u32::from_le_bytes(*bytes));
        let set: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
        (set == records && set > 0).then(|| Dropped { records, bytes, bits: bits.to_vec() })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.records.to_le_bytes()[..], &self.bytes.to_le_bytes(), &self.bits].concat()
    }

    /// Whether a record was dropped.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Drops a record of `bytes` bytes; false when it was dropped before.
    pub(crate) fn add(&mut self, index: usize, bytes: usize) -> bool {
        if self.has(index) {
            return false;
        }
        if self.bits.len() <= index / 8 {
            self.bits.resize(index / 8 + 1, 0);
        }
        self.bits[index / 8] |= 1 << (index % 8);
        self.records += 1;
        // The sum before came from disk: what it may contradict is found where sums are compared.
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes).expect("records are below 4 GiB"));
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_example_of_the_text_is_true() {
        let mut packed = Packed::default();
        for (main, sub, bytes) in [(10, 3, &b"fiver"[..]), (10, 4, b"seven b"), (12, 0, b"six by")] {
            assert!(packed.takes(Revision::new(main, sub), bytes));
            packed.push(Revision::new(main, sub), bytes);
        }
        let bytes = packed.take();
        assert_eq!(bytes[..8], [3, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(&bytes[8..26], b"fiverseven bsix by");
        assert_eq!(bytes[26..34], [12, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[34..42], [5, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[42..], [0; 8]);
        let extent = Extent::parse(Revision::new(10, 3), &bytes).unwrap();
        assert_eq!(extent.record(1), Some((Revision::new(10, 4), &b"seven b"[..])));
        assert_eq!(extent.last(), Some(Revision::new(12, 0)));
    }

    #[test]
    fn every_revision_is_found_and_no_other() {
        for seed in 0..300 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut packed, mut all) = (Packed::default(), Vec::new());
            let mut at = Revision::new(rng.random_range(1..5), rng.random_range(0..3));
            let (gap, subs) =
                ([1, 2, 9, 1000][rng.random_range(0..4)], [0.0, 0.1, 0.9][rng.random_range(0..3)]);
            for _ in 0..rng.random_range(1..200) {
                packed.push(at, &[7; 3]);
                all.push(at);
                at = if rng.random_bool(subs) {
                    Revision::new(at.main, at.sub + rng.random_range(1..4))
                } else {
                    Revision::new(at.main + rng.random_range(1..=gap), rng.random_range(0..2))
                };
            }
            let bytes = packed.take();
            let extent = Extent::parse(all[0], &bytes).unwrap();
            for main in all[0].main..=at.main.min(all[0].main + 3000) {
                for sub in [0, 1, 2, 3, 70_000] {
                    let revision = Revision::new(main, sub);
                    assert_eq!(
                        extent.find(revision),
                        all.binary_search(&revision).ok(),
                        "seed {seed} {revision:?}"
                    );
                    let after = all.partition_point(|other| *other < revision);
                    assert_eq!(extent.at_or_after(revision), after, "seed {seed} {revision:?}");
                }
            }
            for (index, revision) in all.iter().enumerate() {
                assert_eq!(extent.find(*revision), Some(index), "seed {seed} {revision:?}");
            }
        }
    }

    #[test]
    fn pages_are_filled_to_a_hundredth() {
        for (seed, sizes) in [(1, 50..400), (2, 200..2000), (3, 0..9000), (4, 300..301)] {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut raw, mut pages, mut count, mut bytes) = (0, 0, 0, 0);
            for _ in 0..50_000 {
                let next = rng.random_range(sizes.clone());
                if count > 0 && closes_before(count, bytes, next) {
                    pages += run_bytes(count, bytes).div_ceil(PAGE_BYTES);
                    (count, bytes) = (0, 0);
                }
                raw += next + PLACE_BYTES;
                (count, bytes) = (count + 1, bytes + next);
            }
            let ratio = (pages * PAGE_BYTES) as f64 / raw as f64;
            assert!(ratio < 1.02, "sizes {sizes:?}: {ratio:.4}");
        }
    }
}
