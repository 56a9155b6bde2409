//! What the key index holds for a key.
//!
//! ```text
//! flags u8        bit 0 deleted, bit 1 has a lease, bits 2..5 number of skip pointers
//! modified        varint main, varint sub: the newest record of the key
//! age, version    varints, absent when deleted; create = modified main - age
//! lease           8 bytes, little endian, if flagged
//! spot            offset 2 bytes, little endian, varint length: where in its extent the record was appended
//! ordinal         varint: how many records the key has had since its head was made
//! skip pointers   for each level: varint (modified main - pointer main), varint pointer sub
//! ```
//!
//! About 19 bytes for a key with a short history. The spot is good as long as the extent was not packed anew
//! (`extent.rs`). The skip pointers are the newest record of every level (see `record.rs`), so that a put finds here
//! all it must write into the new record.

use bytes::BufMut;

use super::extent::Spot;
use super::{Revision, varint};

/// A record whose ordinal is a multiple of `SKIP_WIDTH ^ level` belongs to that level.
pub(crate) const SKIP_WIDTH: u64 = 16;
/// Levels above the plain chain. `16 ^ 7` records of one key are further than anything goes.
pub(crate) const SKIP_LEVELS: usize = 7;

const DELETED: u8 = 1;
const LEASED: u8 = 2;
const LEVELS_SHIFT: u8 = 2;

/// A key's state at one revision: everything in its `KeyValue` but key and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Main revision of the put that began this generation.
    pub create: i64,
    /// Main revision of the last change.
    pub modified: i64,
    /// Sub revision of the last change.
    pub sub: i64,
    /// Puts in this generation.
    pub version: i64,
    /// The lease the key is attached to, or 0.
    pub lease: i64,
}

/// The newest record of each skip level, lowest level first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skips {
    count: u8,
    pointers: [Revision; SKIP_LEVELS],
}

impl Skips {
    pub(crate) fn as_slice(&self) -> &[Revision] {
        &self.pointers[..usize::from(self.count)]
    }

    pub(crate) fn push(&mut self, pointer: Revision) {
        self.pointers[usize::from(self.count)] = pointer;
        self.count += 1;
    }

    /// Makes `revision` the newest record of levels 1 to `level`.
    fn raise(&mut self, level: usize, revision: Revision) {
        self.pointers[..level].fill(revision);
        self.count = self.count.max(level as u8);
    }
}

/// The levels a record belongs to above the plain chain.
pub(crate) fn level_of(ordinal: u64) -> usize {
    debug_assert!(ordinal > 0, "ordinals begin at 1");
    ((ordinal.trailing_zeros() / SKIP_WIDTH.trailing_zeros()) as usize).min(SKIP_LEVELS)
}

/// A key's entry in the bucket `keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredHead {
    pub(crate) head: Head,
    /// The newest record is a tombstone; create, version and lease are 0.
    pub(crate) deleted: bool,
    /// Where in its extent the newest record was appended.
    pub(crate) spot: Spot,
    pub(crate) ordinal: u64,
    pub(crate) skips: Skips,
}

impl StoredHead {
    /// The entry after one more record, and the skip pointers that record must carry. It is not appended yet: where,
    /// the caller says afterwards.
    pub(crate) fn succeed(previous: Option<&StoredHead>, head: Head, deleted: bool) -> (StoredHead, Skips) {
        let ordinal = previous.map_or(0, |previous| previous.ordinal) + 1;
        let mut skips = previous.map_or(Skips::default(), |previous| previous.skips);
        let level = level_of(ordinal);
        let mut carried = skips;
        carried.count = carried.count.min(level as u8);
        skips.raise(level, Revision::new(head.modified, head.sub));
        (StoredHead { head, deleted, spot: Spot::default(), ordinal, skips }, carried)
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision::new(self.head.modified, self.head.sub)
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        let head = &self.head;
        let leased = head.lease != 0;
        let flags = if self.deleted { DELETED } else { 0 } | if leased { LEASED } else { 0 };
        out.put_u8(flags | self.skips.count << LEVELS_SHIFT);
        varint::put(out, head.modified as u64);
        varint::put(out, head.sub as u64);
        if !self.deleted {
            varint::put(out, (head.modified - head.create) as u64);
            varint::put(out, head.version as u64);
        }
        if leased {
            out.put_i64_le(head.lease);
        }
        out.put_u16_le(self.spot.offset);
        varint::put(out, self.spot.len.into());
        varint::put(out, self.ordinal);
        for pointer in self.skips.as_slice() {
            varint::put(out, (head.modified - pointer.main) as u64);
            varint::put(out, pointer.sub as u64);
        }
    }

    /// `None` when these bytes are no head.
    pub(crate) fn decode(bytes: &[u8]) -> Option<StoredHead> {
        let (newest, mut rest) = Newest::decode(bytes)?;
        let Newest { head, deleted, spot } = newest;
        let ordinal = varint::take(&mut rest)?;
        let mut skips = Skips::default();
        for _ in 0..bytes[0] >> LEVELS_SHIFT {
            if usize::from(skips.count) == SKIP_LEVELS {
                return None;
            }
            let main = head.modified.checked_sub(varint::take_i64(&mut rest)?)?;
            skips.push(Revision::new(main, varint::take_i64(&mut rest)?));
        }
        (rest.is_empty() && ordinal > 0).then_some(StoredHead { head, deleted, spot, ordinal, skips })
    }
}

/// The part of an entry that a read at the latest revision needs.
pub(crate) struct Newest {
    pub(crate) head: Head,
    pub(crate) deleted: bool,
    pub(crate) spot: Spot,
}

impl Newest {
    /// The newest state and the bytes behind it; `None` when these bytes are no head.
    #[inline]
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Newest, &[u8])> {
        let (&flags, mut rest) = bytes.split_first()?;
        let deleted = flags & DELETED != 0;
        let modified = varint::take_i64(&mut rest)?;
        let sub = varint::take_i64(&mut rest)?;
        let (mut create, mut version) = (0, 0);
        if !deleted {
            create = modified.checked_sub(varint::take_i64(&mut rest)?)?;
            version = varint::take_i64(&mut rest)?;
        }
        let mut lease = 0;
        if flags & LEASED != 0 {
            let (bytes, after) = rest.split_first_chunk::<8>()?;
            lease = i64::from_le_bytes(*bytes);
            rest = after;
        }
        let (offset, mut rest) = rest.split_first_chunk::<2>()?;
        let spot =
            Spot { offset: u16::from_le_bytes(*offset), len: varint::take(&mut rest)?.try_into().ok()? };
        Some((Newest { head: Head { create, modified, sub, version, lease }, deleted, spot }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_carries_the_previous_record_of_each_of_its_levels() {
        let mut stored: Option<StoredHead> = None;
        for ordinal in 1..=5000u64 {
            let head =
                Head { create: 1, modified: ordinal as i64, sub: 3, version: ordinal as i64, lease: 0 };
            let (mut next, carried) = StoredHead::succeed(stored.as_ref(), head, false);
            next.spot = Spot { offset: ordinal as u16 * 13, len: ordinal as u32 * 7 };
            let expected: Vec<_> = (1..)
                .map(|level| SKIP_WIDTH.pow(level))
                .take_while(|width| ordinal.is_multiple_of(*width) && ordinal > *width)
                .map(|width| Revision::new((ordinal - width) as i64, 3))
                .collect();
            assert_eq!(carried.as_slice(), expected, "ordinal {ordinal}");
            let mut bytes = Vec::new();
            next.encode(&mut bytes);
            assert_eq!(StoredHead::decode(&bytes), Some(next));
            stored = Some(next);
        }
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        let head = Head { create: 5, modified: 900, sub: 2, version: 7, lease: -3 };
        let (stored, _) = StoredHead::succeed(None, head, false);
        let mut bytes = Vec::new();
        stored.encode(&mut bytes);
        assert_eq!(StoredHead::decode(&bytes), Some(stored));
        for cut in 0..bytes.len() {
            assert_eq!(StoredHead::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        bytes.push(0);
        assert_eq!(StoredHead::decode(&bytes), None);
    }
}
