//! What one view, or the write under way, can see: single keys, at the latest or an older revision.

use std::ops::Bound;

use bytes::Bytes;

use super::extent::Spot;
use super::head::{Newest, StoredHead};
use super::planted::{Fault, planted};
use super::record::{KeyValue, Record};
use super::records::{Finder, Lead, missing, parse_extent, record_in, record_of};
use super::state::State;
use super::{Head, Revision, SystemBucket};
use crate::btree::{BucketView, Cursor, OpenBytes, ReadTxn, Tree, Value};
use crate::error::Error;
use crate::schema::{self, Bucket};

/// Why a revision can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Below the compact revision: history is gone.
    #[error("required revision has been compacted (compact revision {compact_revision})")]
    Compacted {
        /// The oldest revision that can still be read.
        compact_revision: i64,
    },
    /// Beyond the current revision.
    #[error("required revision is a future revision (current revision {current_revision})")]
    Future {
        /// The newest revision that can be read.
        current_revision: i64,
    },
}

/// The contents of the store as a [`View`](super::View) or a running [`Write`](super::Write) sees them.
///
/// Every `at` is a revision between the compact and the current one (see [`Contents::check`]), or 0 or
/// less for the latest.
#[derive(Clone, Copy)]
pub struct Contents<'v> {
    source: Source<'v>,
    revision: i64,
    compact: i64,
    dropped_bytes: u64,
}

/// A published state, or the writer's own.
#[derive(Clone, Copy)]
enum Source<'v> {
    Published(&'v ReadTxn),
    Writer(&'v Tree),
}

impl<'v> Contents<'v> {
    pub(crate) fn published(txn: &'v ReadTxn, state: &State) -> Self {
        Contents::of(Source::Published(txn), state.revision, state)
    }

    /// `revision` is that of the running write, or the state's.
    pub(crate) fn of_writer(tree: &'v Tree, revision: i64, state: &State) -> Self {
        Contents::of(Source::Writer(tree), revision, state)
    }

    fn of(source: Source<'v>, revision: i64, state: &State) -> Self {
        Contents { source, revision, compact: state.compact, dropped_bytes: state.dropped_bytes }
    }

    /// The newest revision in here.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.compact
    }

    /// The revision that a request for `at` reads (0 or less: the current one), or why it can't.
    pub fn check(&self, at: i64) -> Result<i64, RevisionError> {
        match at {
            ..=0 => Ok(self.revision),
            _ if at > self.revision => Err(RevisionError::Future { current_revision: self.revision }),
            _ if at < self.compact => Err(RevisionError::Compacted { compact_revision: self.compact }),
            _ => Ok(at),
        }
    }

    /// The key at a revision; `None` when it does not exist there.
    pub fn get<'k>(&self, key: &'k [u8], at: i64) -> Result<Option<Item<'k, 'v>>, Error> {
        match self.lookup(schema::KEYS, key)? {
            Some(bytes) => Ok(self.resolve(key, bytes, at)?.map(|found| found.item(key, *self))),
            None => Ok(None),
        }
    }

    /// The keys attached to a lease, ascending.
    pub fn lease_keys(&self, lease: i64) -> Result<Vec<Bytes>, Error> {
        let prefix = lease.to_be_bytes();
        let mut cursor = self.cursor(schema::LEASE_KEYS);
        let mut keys = Vec::new();
        let mut found = cursor.seek(&prefix)?;
        while found {
            let Some(key) = cursor.key().strip_prefix(&prefix[..]) else { break };
            keys.push(Bytes::copy_from_slice(key));
            found = cursor.next()?;
        }
        Ok(keys)
    }

    /// The value of a key in a system bucket.
    pub fn system_get(&self, bucket: SystemBucket, key: &[u8]) -> Result<Option<&'v [u8]>, Error> {
        self.lookup(bucket.bucket(), key)
    }

    /// Every entry of a system bucket in key order.
    pub fn system_range(&self, bucket: SystemBucket) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut cursor = self.cursor(bucket.bucket());
        let mut entries = Vec::new();
        let mut found = cursor.first()?;
        while found {
            entries.push((Bytes::copy_from_slice(cursor.key()), Bytes::copy_from_slice(cursor.value()?)));
            found = cursor.next()?;
        }
        Ok(entries)
    }

    /// Bytes of records that were dropped and are still in their extents.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    pub(crate) fn lookup(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&'v [u8]>, Error> {
        match self.source {
            Source::Published(txn) => txn.get(bucket, key),
            Source::Writer(tree) => tree.get(bucket, key),
        }
    }

    pub(crate) fn cursor(&self, bucket: Bucket) -> Cursor<'v> {
        match self.source {
            Source::Published(txn) => txn.cursor(bucket),
            Source::Writer(tree) => tree.cursor(bucket),
        }
    }

    pub(crate) fn bucket(&self, bucket: Bucket) -> BucketView<'v> {
        match self.source {
            Source::Published(txn) => txn.bucket(bucket),
            Source::Writer(tree) => tree.bucket(bucket),
        }
    }

    pub(crate) fn open_value(&self) -> Option<OpenBytes<'v>> {
        match self.source {
            Source::Published(txn) => txn.open_value(),
            Source::Writer(tree) => tree.open_value(),
        }
    }

    /// The bytes of a value of a leaf.
    #[inline]
    pub(crate) fn value(&self, value: Value<'v>) -> Result<&'v [u8], Error> {
        match value {
            Value::Inline(bytes) => Ok(bytes),
            Value::Run(_) => self.bucket(schema::KEYS).shared.value(value),
        }
    }

    pub(crate) fn live(&self, bucket: Bucket, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64, Error> {
        match self.source {
            Source::Published(txn) => txn.count(bucket, from, to),
            Source::Writer(tree) => tree.count(bucket, from, to),
        }
    }

    /// True when `at` means the newest state, in which a dead key is simply absent.
    pub(crate) fn is_latest(&self, at: i64) -> bool {
        at <= 0 || at >= self.revision
    }

    /// What the head stored in `bytes` means at a revision.
    #[inline]
    pub(crate) fn resolve(&self, key: &[u8], bytes: &[u8], at: i64) -> Result<Option<Found<'v>>, Error> {
        match Found::newest(bytes, at) {
            Some(found) => Ok(found),
            None => self.resolve_older(key, bytes, at),
        }
    }

    fn resolve_older(&self, key: &[u8], bytes: &[u8], at: i64) -> Result<Option<Found<'v>>, Error> {
        let stored = decode_head(key, bytes)?;
        let Some(record) = self.record_at(&stored, at)? else { return Ok(None) };
        if record.is_tombstone() {
            return Ok(None);
        }
        let revision = record.revision;
        let kv = KeyValue::parse(record.event())
            .filter(|kv| kv.key == key && kv.modified == revision.main)
            .ok_or_else(|| {
            inconsistent(format_args!("the record of revision {revision:?} is garbled"))
        })?;
        let head = Head {
            create: kv.create,
            modified: kv.modified,
            sub: revision.sub,
            version: kv.version,
            lease: kv.lease,
        };
        Ok(Some(Found { head, stored: Stored::Event(record.event()) }))
    }

    /// The key's newest record at or below `at`, for a head that is newer. `None` when there is none, or
    /// when it was a tombstone that compaction has dropped.
    pub(crate) fn record_at(&self, stored: &StoredHead, at: i64) -> Result<Option<Record<'v>>, Error> {
        // The head knows the newest record of every level, and is itself the newest of level 0. Start at the
        // highest level whose newest record does not overshoot, and leave a level when its next one would.
        let beyond = |pointer: Revision| pointer.main + i64::from(planted(Fault::WalkTooFar)) > at;
        let skips = stored.skips.as_slice();
        let (mut level, mut place) = match skips.iter().rposition(|pointer| beyond(*pointer)) {
            Some(highest) => (highest + 1, skips[highest]),
            None => (0, stored.revision()),
        };
        let mut record = self.record(place)?;
        loop {
            match record.pointer(level).transpose() {
                Ok(Some(pointer)) if beyond(pointer) => {
                    place = pointer;
                    record = self.record(place)?;
                }
                Ok(Some(pointer)) if level == 0 => return self.record_if_kept(pointer),
                Ok(None) if level == 0 => return Ok(None),
                Ok(_) => level -= 1,
                Err(_) => {
                    return Err(inconsistent(format_args!(
                        "revision {place:?} has a link that leads nowhere"
                    )));
                }
            }
        }
    }

    /// A record that must be there.
    pub(crate) fn record(&self, revision: Revision) -> Result<Record<'v>, Error> {
        self.find_record(revision)?.ok_or_else(|| missing(revision))
    }

    /// The event of a key's newest record, by what its head says.
    fn event(&self, key: &[u8], head: &Head, spot: Spot) -> Result<&'v [u8], Error> {
        let revision = Revision::new(head.modified, head.sub);
        let finder = Finder::new(self);
        let bytes = match finder.lead(revision, spot)? {
            Lead::Record(bytes) => bytes,
            Lead::Open(open) => return Ok(record_of(&open, revision)?.event()),
            Lead::Extent(first, value) => {
                let extent = parse_extent(first, finder.shared().value(value)?)?;
                return Ok(record_of(&extent, revision)?.event());
            }
        };
        match Record::event_of(bytes, head.modified) {
            Some((event, found)) if found == key => Ok(event),
            _ => Err(inconsistent(format_args!(
                "the record of revision {revision:?} is not where its head says"
            ))),
        }
    }

    /// A record that compaction may have dropped.
    fn record_if_kept(&self, revision: Revision) -> Result<Option<Record<'v>>, Error> {
        match self.find_record(revision)? {
            None if revision.main > self.compact => Err(missing(revision)),
            found => Ok(found),
        }
    }

    pub(crate) fn find_record(&self, revision: Revision) -> Result<Option<Record<'v>>, Error> {
        let Some(extent) = self.extent_of(revision)? else { return Ok(None) };
        match extent.find(revision) {
            Some(index) => record_in(&extent, index).map(Some),
            None => Ok(None),
        }
    }
}

/// A key's state at a revision.
pub(crate) struct Found<'v> {
    pub(crate) head: Head,
    pub(crate) stored: Stored<'v>,
}

/// What is known of a key's record.
#[derive(Clone, Copy)]
pub(crate) enum Stored<'v> {
    /// Where it was appended, says the head.
    At(Spot),
    /// Its event: finding the state meant reading it.
    Event(&'v [u8]),
}

impl<'v> Found<'v> {
    /// What a stored head means at a revision, if it says so without a look at history.
    #[inline]
    pub(crate) fn newest(bytes: &[u8], at: i64) -> Option<Option<Found<'v>>> {
        let (Newest { head, deleted, spot }, _) = Newest::decode(bytes)?;
        let stored = Stored::At(spot);
        (at <= 0 || head.modified <= at).then(|| (!deleted).then_some(Found { head, stored }))
    }

    pub(crate) fn item<'k>(self, key: &'k [u8], contents: Contents<'v>) -> Item<'k, 'v> {
        Item::new(key, self.head, contents, self.stored)
    }
}

/// A key at a revision. The key is borrowed from whoever asked, the record from the view.
#[derive(Clone, Copy)]
pub struct Item<'k, 'v> {
    /// The key.
    pub key: &'k [u8],
    /// Everything about it but its value.
    pub head: Head,
    contents: Contents<'v>,
    stored: Stored<'v>,
}

impl<'k, 'v> Item<'k, 'v> {
    #[inline]
    pub(crate) fn new(key: &'k [u8], head: Head, contents: Contents<'v>, stored: Stored<'v>) -> Item<'k, 'v> {
        Item { key, head, contents, stored }
    }

    /// The stored `mvccpb.KeyValue`, encoded.
    #[inline]
    pub fn record(&self) -> Result<&'v [u8], Error> {
        match self.stored {
            Stored::Event(event) => Ok(event),
            Stored::At(spot) => self.contents.event(self.key, &self.head, spot),
        }
    }

    /// The value alone.
    pub fn value(&self) -> Result<&'v [u8], Error> {
        let kv = KeyValue::parse(self.record()?).filter(|kv| kv.key == self.key);
        let revision = self.head.modified;
        kv.map(|kv| kv.value)
            .ok_or_else(|| inconsistent(format_args!("the record of revision {revision} is garbled")))
    }
}

pub(crate) fn decode_head(key: &[u8], bytes: &[u8]) -> Result<StoredHead, Error> {
    StoredHead::decode(bytes).ok_or_else(|| garbled_head(key))
}

fn garbled_head(key: &[u8]) -> Error {
    inconsistent(format_args!("the head of key \"{}\" is garbled", key.escape_ascii()))
}

pub(crate) fn parse_record(revision: Revision, bytes: &[u8]) -> Result<Record<'_>, Error> {
    Record::parse(revision, bytes)
        .ok_or_else(|| inconsistent(format_args!("the record of revision {revision:?} is garbled")))
}

/// Pages are sound, but what they hold contradicts itself.
pub(crate) fn inconsistent(what: std::fmt::Arguments<'_>) -> Error {
    Error::inconsistent(what.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::extent::Spot;
    use super::super::head::StoredHead;
    use super::{Finder, Lead, Revision, Stored};
    use crate::btree::Weight;
    use crate::limits::EXTENT_LEAST_BYTES;
    use crate::{Error, KeyRange, Options, OsFile, Store, schema};

    fn put(store: &mut Store, key: &[u8], value: &[u8]) -> StoredHead {
        let mut write = store.begin();
        write.put(key, value, 0).unwrap();
        write.finish().unwrap();
        StoredHead::decode(store.tree.get(schema::KEYS, key).unwrap().unwrap()).unwrap()
    }

    fn checkpoint(store: &mut Store) {
        store.publish();
        let done = store.begin_checkpoint().unwrap().run(&mut |_| ()).unwrap();
        store.end_checkpoint(done).unwrap();
        store.publish();
    }

    /// `a` is there twice, with `b` between and `c` behind, and its head leads to wherever it must not: nobody gets
    /// another record, or more or less than the record.
    fn no_false_lead_is_followed(store: &mut Store, heads: [StoredHead; 3]) {
        let [before, other, newest] = heads;
        assert_eq!(store.contents().audit().unwrap(), [""; 0]);
        let Spot { offset, len } = newest.spot;
        let spots = [
            before.spot,
            other.spot,
            Spot { offset: offset + 1, len },
            Spot { offset: offset + 1, len: len - 1 },
            Spot { offset, len: len - 1 },
            Spot { offset, len: len + 1 },
            Spot { offset, len: 1 << 30 },
            Spot { offset: u16::MAX, len },
            Spot::default(),
        ];
        for spot in spots {
            let mut bytes = Vec::new();
            StoredHead { spot, ..newest }.encode(&mut bytes);
            store.tree.put(schema::KEYS, b"a", &bytes, Weight::Live).unwrap();
            let contents = store.contents();
            let alone = contents.get(b"a", 0).unwrap().unwrap().record();
            assert!(matches!(alone, Err(Error::Inconsistent { .. })), "{spot:?}: {alone:?}");
            let mut range = contents.range(&KeyRange::prefix(b""), 0);
            let item = range.try_next().unwrap().unwrap();
            assert_eq!(item.key, b"a");
            assert!(matches!(item.record(), Err(Error::Inconsistent { .. })), "{spot:?} in a range");
            let item = range.try_next().unwrap().unwrap();
            assert!(item.key == b"b" && item.value().unwrap() == b"2", "the next key is what it was");
            assert_eq!(contents.audit().unwrap().len(), 1, "{spot:?}");
        }
        let mut bytes = Vec::new();
        newest.encode(&mut bytes);
        store.tree.put(schema::KEYS, b"a", &bytes, Weight::Live).unwrap();
        assert_eq!(store.contents().audit().unwrap(), [""; 0]);
    }

    #[test]
    fn a_head_that_leads_to_another_record_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let open =
            |name| Store::open(Arc::new(OsFile::open(&dir.path().join(name)).unwrap()), Options::default());
        // A small extent stands in its leaf; a large one has pages of its own.
        for (name, bytes) in [("small", 1), ("large", EXTENT_LEAST_BYTES)] {
            let mut store = open(name).unwrap();
            let value = vec![b'v'; bytes];
            let heads =
                [put(&mut store, b"a", b"1"), put(&mut store, b"b", b"2"), put(&mut store, b"a", &value)];
            put(&mut store, b"c", b"4");
            // In the open extent; closed, and taken over from memory; from the file.
            no_false_lead_is_followed(&mut store, heads);
            checkpoint(&mut store);
            no_false_lead_is_followed(&mut store, heads);
            checkpoint(&mut store);
            drop(store);
            no_false_lead_is_followed(&mut open(name).unwrap(), heads);
        }
    }

    #[test]
    fn a_record_that_was_packed_anew_is_found_where_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsFile::open(&dir.path().join("db")).unwrap();
        let mut store = Store::open(Arc::new(file), Options::default()).unwrap();
        let value = vec![b'v'; 300];
        for round in 0..40 {
            for key in 0..30_u8 {
                put(&mut store, &[b'k', key], if (key + round) % 3 == 0 { &value } else { b"small" });
            }
        }
        checkpoint(&mut store);
        store.compact(store.revision()).unwrap();
        while store.compaction_pending() {
            store.compact_slice(64).unwrap();
        }
        checkpoint(&mut store);
        let contents = store.contents();
        let mut anew = 0;
        for key in 0..30_u8 {
            let name = [b'k', key];
            let item = contents.get(&name, 0).unwrap().unwrap();
            let expected: &[u8] = if (key + 39) % 3 == 0 { &value } else { b"small" };
            assert_eq!(item.value().unwrap(), expected);
            let Stored::At(spot) = item.stored else { panic!("the newest one") };
            let lead = Finder::new(&contents).lead(Revision::new(item.head.modified, item.head.sub), spot);
            anew += usize::from(matches!(lead.unwrap(), Lead::Extent(..)));
        }
        assert!(anew > 0, "nothing was packed anew");
        assert_eq!(contents.audit().unwrap(), [""; 0]);
    }
}
