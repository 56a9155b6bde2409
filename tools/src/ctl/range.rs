//! Ranges of keys as commands are given them.

use bytes::Bytes;

/// No upper end, and the first of all keys.
pub(crate) const ZERO: Bytes = Bytes::from_static(b"\0");

/// The end of the range of all keys that begin with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|&byte| byte < 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => ZERO,
    }
}

/// Which keys, from the first one given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent<'a> {
    One,
    Until(&'a [u8]),
    Prefix,
    From,
}

/// `key` and `range_end` of a request. Where everything is asked for, an empty key is as good as the first.
pub(crate) fn bounds(key: &[u8], extent: Extent<'_>) -> (Bytes, Bytes) {
    let first = || if key.is_empty() { ZERO } else { Bytes::copy_from_slice(key) };
    match extent {
        Extent::One => (Bytes::copy_from_slice(key), Bytes::new()),
        Extent::Until(end) => (Bytes::copy_from_slice(key), Bytes::copy_from_slice(end)),
        Extent::Prefix => (first(), prefix_end(key)),
        Extent::From => (first(), ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"a\xff", b"b"),
            (b"ab", b"ac"),
            (b"\xff\xff", b"\0"),
            (b"", b"\0"),
            (b"a\0", b"a\x01"),
        ] {
            assert_eq!(prefix_end(prefix), end);
        }
    }

    #[test]
    fn an_empty_key_is_the_first_where_a_range_begins() {
        assert_eq!(bounds(b"", Extent::Prefix), (ZERO, ZERO));
        assert_eq!(bounds(b"", Extent::From), (ZERO, ZERO));
        assert_eq!(bounds(b"", Extent::One), (Bytes::new(), Bytes::new()));
        assert_eq!(bounds(b"a", Extent::Until(b"")), (Bytes::from_static(b"a"), Bytes::new()));
    }
}
