//! Ranges of keys as etcd's requests write them.

use std::ops::Bound;

use bytes::Bytes;

/// Where a [`KeyRange`] ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The range is exactly its start key.
    Single,
    /// Every key from the start up to, not including, this one.
    Before(Bytes),
    /// Every key from the start on.
    Unbounded,
}

/// A set of adjacent keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key that can be in the range.
    pub start: Bytes,
    /// Where the range stops.
    pub end: End,
}

impl KeyRange {
    /// The range that etcd's pair `key`, `range_end` means: no end is the key alone, an end of one zero
    /// byte is everything from `key` on, any other end is exclusive.
    pub fn from_etcd(key: Bytes, range_end: Bytes) -> KeyRange {
        let end = match &range_end[..] {
            b"" => End::Single,
            b"\0" => End::Unbounded,
            _ => End::Before(range_end),
        };
        KeyRange { start: key, end }
    }

    /// Exactly `key`.
    pub fn single(key: impl Into<Bytes>) -> KeyRange {
        KeyRange { start: key.into(), end: End::Single }
    }

    /// Every key there is.
    pub fn all() -> KeyRange {
        KeyRange { start: Bytes::new(), end: End::Unbounded }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        let end = match prefix.iter().rposition(|&byte| byte != 0xff) {
            None => End::Unbounded,
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                End::Before(end.into())
            }
        };
        KeyRange { start: Bytes::copy_from_slice(prefix), end }
    }

    /// True when no key can be in the range.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }

    /// True when `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && self.ends_after(key)
    }

    /// True when a key at or above the start is still inside.
    pub(crate) fn ends_after(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => self.start == key,
            End::Before(end) => key < *end,
            End::Unbounded => true,
        }
    }

    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = match &self.end {
            End::Single => Bound::Included(&self.start[..]),
            End::Before(end) => Bound::Excluded(&end[..]),
            End::Unbounded => Bound::Unbounded,
        };
        (Bound::Included(&self.start[..]), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::from_etcd(Bytes::from_static(key), Bytes::from_static(end))
    }

    #[test]
    fn the_table_of_etcd() {
        assert!(range(b"k", b"").contains(b"k") && !range(b"k", b"").contains(b"k\0"));
        assert!(range(b"k", b"\0").contains(b"zz") && !range(b"k", b"\0").contains(b"j"));
        assert!(range(b"\0", b"\0").contains(b"\0") && range(b"\0", b"\0").contains(b"\xff\xff"));
        assert!(range(b"a", b"c").contains(b"a") && range(b"a", b"c").contains(b"bzz"));
        assert!(!range(b"a", b"c").contains(b"c"));
        assert!(range(b"c", b"a").is_empty() && range(b"c", b"c").is_empty());
        assert!(!range(b"c", b"").is_empty() && !range(b"c", b"\0").is_empty());
    }

    #[test]
    fn prefixes_end_at_their_successor() {
        assert_eq!(KeyRange::prefix(b"ab").end, End::Before(Bytes::from_static(b"ac")));
        assert_eq!(KeyRange::prefix(b"a\xff\xff").end, End::Before(Bytes::from_static(b"b")));
        assert_eq!(KeyRange::prefix(b"\xff").end, End::Unbounded);
        assert_eq!(KeyRange::prefix(b"").end, End::Unbounded);
    }
}
