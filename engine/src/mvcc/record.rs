//! What the bucket `revisions` holds for a revision.
//!
//! ```text
//! flags u8        bit 0 tombstone, bit 1 begins a generation, bit 2 has a previous record,
//!                 bits 3..6 number of skip pointers
//! previous        varint (own main - its main), varint its sub, if flagged
//! skip pointers   the same, level 1 first: the previous record of the same key on that level
//! event           the event's mvccpb.KeyValue: key, create, mod, version, value, lease for a put,
//!                 key and mod for a tombstone
//! ```
//!
//! For a put the event is exactly what etcd stores. For a tombstone etcd stores the key alone, which is the
//! event's first field: its stored form is a prefix of the event.
//!
//! The n-th record of a key (its ordinal) is on level l when 16^l divides n. The chain of previous records
//! is level 0. Whoever looks for an old revision goes down the highest level that does not overshoot, then
//! the next lower one: at most 15 steps on each.

use bytes::{BufMut, BytesMut};

use super::head::{Head, SKIP_LEVELS, Skips};
use super::{Revision, varint};

const TOMBSTONE: u8 = 1;
const CREATES: u8 = 2;
const HAS_PREVIOUS: u8 = 4;
const LEVELS_SHIFT: u8 = 3;

// Field tags of mvccpb.KeyValue.
const KEY: u8 = 0x0a;
const CREATE: u8 = 0x10;
const MOD: u8 = 0x18;
const VERSION: u8 = 0x20;
const VALUE: u8 = 0x2a;
const LEASE: u8 = 0x30;

/// The most bytes a record has besides key and value: flags, eight pointers, six tags, lengths and numbers.
pub(crate) const OVERHEAD_BYTES: usize = 1 + (1 + SKIP_LEVELS) * 20 + 6 + 6 * 10;

/// Where a new record stands in its key's history.
pub(crate) struct Links<'a> {
    pub(crate) previous: Option<Revision>,
    pub(crate) skips: &'a Skips,
}

/// Appends the record of a put; returns how many bytes stand before the event.
pub(crate) fn encode_put(
    out: &mut BytesMut,
    links: &Links<'_>,
    head: &Head,
    key: &[u8],
    value: &[u8],
) -> usize {
    let start = out.len();
    encode_links(out, links, head, if head.version == 1 { CREATES } else { 0 });
    let event = out.len() - start;
    put_bytes(out, KEY, key);
    put_number(out, CREATE, head.create);
    put_number(out, MOD, head.modified);
    put_number(out, VERSION, head.version);
    put_bytes(out, VALUE, value);
    put_number(out, LEASE, head.lease);
    event
}

/// Appends the record of a deletion; returns how many bytes stand before the event.
pub(crate) fn encode_tombstone(out: &mut BytesMut, links: &Links<'_>, head: &Head, key: &[u8]) -> usize {
    let start = out.len();
    encode_links(out, links, head, TOMBSTONE);
    let event = out.len() - start;
    put_bytes(out, KEY, key);
    put_number(out, MOD, head.modified);
    event
}

fn encode_links(out: &mut BytesMut, links: &Links<'_>, head: &Head, flags: u8) {
    let skips = links.skips.as_slice();
    let previous = if links.previous.is_some() { HAS_PREVIOUS } else { 0 };
    out.put_u8(flags | previous | (skips.len() as u8) << LEVELS_SHIFT);
    for pointer in links.previous.iter().chain(skips) {
        varint::put(out, (head.modified - pointer.main) as u64);
        varint::put(out, pointer.sub as u64);
    }
}

/// Zero fields are left out, as proto3 has it.
fn put_bytes(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.put_u8(tag);
        varint::put(out, bytes.len() as u64);
        out.put_slice(bytes);
    }
}

fn put_number(out: &mut BytesMut, tag: u8, number: i64) {
    if number != 0 {
        out.put_u8(tag);
        varint::put(out, number as u64);
    }
}

/// A stored record, taken apart as far as every reader needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'v> {
    pub(crate) revision: Revision,
    flags: u8,
    links: &'v [u8],
    event: &'v [u8],
}

impl<'v> Record<'v> {
    /// `None` when `bytes` are no record of `revision`.
    #[inline]
    pub(crate) fn parse(revision: Revision, bytes: &'v [u8]) -> Option<Record<'v>> {
        let (&flags, links) = bytes.split_first()?;
        let count = usize::from(flags >> LEVELS_SHIFT) + usize::from(flags & HAS_PREVIOUS != 0);
        let mut event = links;
        for _ in 0..2 * count {
            varint::take(&mut event)?;
        }
        let links = &links[..links.len() - event.len()];
        Some(Record { revision, flags, links, event })
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.flags & TOMBSTONE != 0
    }

    /// True for a put that began a generation.
    pub(crate) fn creates(&self) -> bool {
        self.flags & CREATES != 0
    }

    /// The event of a record of the main revision `modified`, and its key; `None` when the bytes are no such record, or
    /// are not all of it and nothing else.
    #[inline]
    pub(crate) fn event_of(bytes: &'v [u8], modified: i64) -> Option<(&'v [u8], &'v [u8])> {
        let (&flags, mut event) = bytes.split_first()?;
        let count = usize::from(flags >> LEVELS_SHIFT) + usize::from(flags & HAS_PREVIOUS != 0);
        for _ in 0..2 * count {
            varint::take(&mut event)?;
        }
        let mut rest = event;
        let key = take_bytes(&mut rest, KEY)?;
        take_number(&mut rest, CREATE)?;
        let found = take_number(&mut rest, MOD)?;
        take_number(&mut rest, VERSION)?;
        take_bytes(&mut rest, VALUE)?;
        take_number(&mut rest, LEASE)?;
        (found == modified && rest.is_empty()).then_some((event, key))
    }

    /// The `KeyValue` of the watch event: the stored one for a put, key and mod revision for a tombstone.
    pub(crate) fn event(&self) -> &'v [u8] {
        self.event
    }

    /// The `KeyValue` as etcd stores it.
    pub(crate) fn stored(&self) -> Option<&'v [u8]> {
        if !self.is_tombstone() {
            return Some(self.event);
        }
        let mut rest = self.event;
        take_bytes(&mut rest, KEY)?;
        Some(&self.event[..self.event.len() - rest.len()])
    }

    pub(crate) fn key(&self) -> Option<&'v [u8]> {
        let mut rest = self.event;
        take_bytes(&mut rest, KEY)
    }

    /// The previous record of the same key, if it ever had one.
    pub(crate) fn previous(&self) -> Option<Result<Revision, BadLink>> {
        (self.flags & HAS_PREVIOUS != 0).then(|| self.link(0))
    }

    /// The previous record on `level` (0: the plain chain), if this record has such a pointer.
    pub(crate) fn pointer(&self, level: usize) -> Option<Result<Revision, BadLink>> {
        if level == 0 {
            return self.previous();
        }
        // Whoever has a skip pointer has a predecessor: the plain link stands before the skips.
        (level <= usize::from(self.flags >> LEVELS_SHIFT)).then(|| self.link(level))
    }

    fn link(&self, position: usize) -> Result<Revision, BadLink> {
        let mut rest = self.links;
        let mut pair = || Some((varint::take_i64(&mut rest)?, varint::take_i64(&mut rest)?));
        for _ in 0..position {
            pair().ok_or(BadLink)?;
        }
        let (back, sub) = pair().ok_or(BadLink)?;
        let target = Revision::new(self.revision.main.checked_sub(back).ok_or(BadLink)?, sub);
        // Strictly backwards, so that following links always ends.
        if target.main >= 0 && target < self.revision { Ok(target) } else { Err(BadLink) }
    }
}

/// A link that does not lead backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLink;

/// The fields of a stored `KeyValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue<'v> {
    pub(crate) key: &'v [u8],
    pub(crate) create: i64,
    pub(crate) modified: i64,
    pub(crate) version: i64,
    pub(crate) value: &'v [u8],
    pub(crate) lease: i64,
}

impl<'v> KeyValue<'v> {
    /// `None` when the bytes are not what [`encode_put`] writes.
    pub(crate) fn parse(mut bytes: &'v [u8]) -> Option<KeyValue<'v>> {
        let rest = &mut bytes;
        let key = take_bytes(rest, KEY)?;
        let create = take_number(rest, CREATE)?;
        let modified = take_number(rest, MOD)?;
        let version = take_number(rest, VERSION)?;
        let value = take_bytes(rest, VALUE)?;
        let lease = take_number(rest, LEASE)?;
        rest.is_empty().then_some(KeyValue { key, create, modified, version, value, lease })
    }
}

fn take_bytes<'v>(rest: &mut &'v [u8], tag: u8) -> Option<&'v [u8]> {
    let Some((_, after)) = rest.split_first().filter(|(first, _)| **first == tag) else { return Some(&[]) };
    *rest = after;
    let length = usize::try_from(varint::take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_number(rest: &mut &[u8], tag: u8) -> Option<i64> {
    let Some((_, after)) = rest.split_first().filter(|(first, _)| **first == tag) else { return Some(0) };
    *rest = after;
    Some(varint::take(rest)? as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(modified: i64, version: i64, lease: i64) -> Head {
        Head { create: 2, modified, sub: 1, version, lease }
    }

    #[test]
    fn a_put_is_what_etcd_stores() {
        let mut out = BytesMut::new();
        let links = Links { previous: None, skips: &Skips::default() };
        let event = encode_put(&mut out, &links, &head(300, 1, -1), b"k", b"v");
        assert_eq!(
            &out[event..],
            b"\x0a\x01k\x10\x02\x18\xac\x02\x20\x01\x2a\x01v\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        );
        let record = Record::parse(Revision::new(300, 1), &out).unwrap();
        assert!(record.creates() && !record.is_tombstone() && record.previous().is_none());
        let kv = KeyValue::parse(record.stored().unwrap()).unwrap();
        assert_eq!((kv.key, kv.value, kv.lease), (&b"k"[..], &b"v"[..], -1));

        // Zero fields are absent: no value, no lease.
        let mut out = BytesMut::new();
        let event = encode_put(&mut out, &links, &head(3, 2, 0), b"k", b"");
        assert_eq!(&out[event..], b"\x0a\x01k\x10\x02\x18\x03\x20\x02");
    }

    #[test]
    fn a_tombstone_stores_the_key_and_tells_the_revision() {
        let mut out = BytesMut::new();
        let links = Links { previous: Some(Revision::new(4, 7)), skips: &Skips::default() };
        encode_tombstone(&mut out, &links, &head(9, 0, 0), b"key");
        let record = Record::parse(Revision::new(9, 1), &out).unwrap();
        assert!(record.is_tombstone() && !record.creates());
        assert_eq!(record.stored().unwrap(), b"\x0a\x03key");
        assert_eq!(record.event(), b"\x0a\x03key\x18\x09");
        assert_eq!(record.key(), Some(&b"key"[..]));
        assert_eq!(record.previous(), Some(Ok(Revision::new(4, 7))));
    }

    #[test]
    fn links_that_lead_forwards_are_refused() {
        let mut out = BytesMut::new();
        let mut skips = Skips::default();
        skips.push(Revision::new(3, 0));
        encode_tombstone(
            &mut out,
            &Links { previous: Some(Revision::new(4, 7)), skips: &skips },
            &head(9, 0, 0),
            b"k",
        );
        let record = Record::parse(Revision::new(9, 1), &out).unwrap();
        assert_eq!(record.pointer(1), Some(Ok(Revision::new(3, 0))));
        assert_eq!(record.pointer(2), None);
        // The same bytes under an earlier revision would point before the beginning, or to itself.
        assert_eq!(Record::parse(Revision::new(4, 1), &out).unwrap().previous(), Some(Err(BadLink)));
        for cut in 0..4 {
            assert!(Record::parse(Revision::new(9, 1), &out[..cut]).is_none(), "cut at {cut}");
        }
    }
}
