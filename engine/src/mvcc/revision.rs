//! Revisions and their two encodings: ours in the tree, etcd's in hashes.

/// A point in the store's history: the request (`main`) and the change inside it (`sub`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// One for each applied request that changed something.
    pub main: i64,
    /// The change's position within the request, from 0.
    pub sub: i64,
}

/// Bytes of a revision as a key of the bucket `revisions`.
pub(crate) const REVISION_KEY_BYTES: usize = 16;

impl Revision {
    /// Behind every revision.
    pub(crate) const END: Revision = Revision { main: i64::MAX, sub: i64::MAX };

    /// The revision `(main, sub)`.
    pub const fn new(main: i64, sub: i64) -> Revision {
        Revision { main, sub }
    }

    /// Big endian, so that the tree's order is the order of history. Revisions are never negative.
    pub(crate) fn to_key(self) -> [u8; REVISION_KEY_BYTES] {
        debug_assert!(self.main >= 0 && self.sub >= 0, "negative revision {self:?}");
        let mut key = [0; REVISION_KEY_BYTES];
        key[..8].copy_from_slice(&self.main.to_be_bytes());
        key[8..].copy_from_slice(&self.sub.to_be_bytes());
        key
    }

    /// The revision of a key of the bucket `revisions`; `None` when these are not such bytes.
    pub(crate) fn from_key(key: &[u8]) -> Option<Revision> {
        let key: &[u8; REVISION_KEY_BYTES] = key.try_into().ok()?;
        let (main, sub) = key.split_at(8);
        let main = i64::from_be_bytes(main.try_into().expect("half of sixteen bytes"));
        let sub = i64::from_be_bytes(sub.try_into().expect("half of sixteen bytes"));
        (main >= 0 && sub >= 0).then_some(Revision { main, sub })
    }

    /// The number that [`Revision::to_key`] spells.
    #[inline]
    pub(crate) fn to_number(self) -> u128 {
        debug_assert!(self.main >= 0 && self.sub >= 0, "negative revision {self:?}");
        u128::from(self.main as u64) << 64 | u128::from(self.sub as u64)
    }

    /// The revision of a key that is this number; `None` when it is none.
    #[inline]
    pub(crate) fn from_number(number: u128) -> Option<Revision> {
        let (main, sub) = ((number >> 64) as i64, number as i64);
        (main >= 0 && sub >= 0).then_some(Revision { main, sub })
    }

    /// The key etcd stores this revision under: `main _ sub`, and a `t` behind a tombstone.
    pub(crate) fn to_etcd_key(self, tombstone: bool) -> ([u8; 18], usize) {
        let mut key = [0; 18];
        key[..8].copy_from_slice(&self.main.to_be_bytes());
        key[8] = b'_';
        key[9..17].copy_from_slice(&self.sub.to_be_bytes());
        key[17] = b't';
        (key, if tombstone { 18 } else { 17 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_revisions_do_and_come_back() {
        let revisions = [(0, 0), (0, 1), (1, 0), (1, 255), (1, 256), (2, 0), (256, 3), (i64::MAX, i64::MAX)];
        for window in revisions.windows(2) {
            let [lower, upper] = [window[0], window[1]].map(|(main, sub)| Revision::new(main, sub));
            assert!(lower.to_key() < upper.to_key());
            assert_eq!(Revision::from_key(&upper.to_key()), Some(upper));
            assert_eq!(u128::from_be_bytes(upper.to_key()), upper.to_number());
            assert_eq!(Revision::from_number(upper.to_number()), Some(upper));
        }
        assert_eq!(Revision::from_key(&[0; 15]), None);
        assert_eq!(Revision::from_key(&[0xff; 16]), None);
        assert_eq!(Revision::from_number(u128::MAX), None);
    }

    #[test]
    fn etcd_keys_have_seventeen_or_eighteen_bytes() {
        let (key, length) = Revision::new(2, 1).to_etcd_key(false);
        assert_eq!(&key[..length], b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\x01");
        let (key, length) = Revision::new(2, 1).to_etcd_key(true);
        assert_eq!(&key[..length], b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\x01t");
    }
}
