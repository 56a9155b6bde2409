//! One applied request: its changes share a main revision and are seen by nobody else until published.

use bytes::{Bytes, BytesMut};

use super::contents::{Contents, decode_head};
use super::head::StoredHead;
use super::planted::{Fault, planted};
use super::record::{self, Links};
use super::store::Store;
use super::{Head, Revision};
use crate::btree::{Way, Weight};
use crate::error::Error;
use crate::{limits, schema};

/// A list of changes longer than this is not kept for the next write.
const MOST_KEPT_CHANGES: usize = 1024;

/// Records of this many bytes together share one allocation on their way to the watchers.
const ARENA_BYTES: usize = 64 << 10;

/// The longest key that can be put. Longer ones can be asked for; they are never there. Whoever takes keys
/// from clients refuses longer ones before the write begins: here they are a contradiction.
pub const MAX_KEY_BYTES: usize = limits::MAX_KEY_BYTES - LEASE_BYTES;
/// A lease's id before the key in the bucket `lease_keys`.
const LEASE_BYTES: usize = 8;

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The key was set.
    Put,
    /// The key was deleted.
    Delete,
}

/// One change of a finished write, for the watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub revision: Revision,
    /// What.
    pub kind: ChangeKind,
    /// Which key.
    pub key: Bytes,
    /// The `mvccpb.KeyValue` of the event, encoded: the stored one for a put, key and mod revision for a
    /// deletion.
    pub record: Bytes,
    /// The lease the key is attached to now, or 0.
    pub lease: i64,
    /// The key as it was before, if it existed.
    pub prev: Option<Head>,
}

/// What a finished write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The revision for the answer's header: that of the changes, or the current one if there were none.
    pub revision: i64,
    /// The changes in order of their sub revisions.
    pub changes: Vec<Change>,
}

/// The write under way. Everything put and deleted gets the same main revision, one above
/// [`Write::start_revision`]. An error means storage damage; a write that changed something and is not
/// finished, or failed while it changed something, leaves a store that refuses everything further.
pub struct Write<'s> {
    store: &'s mut Store,
    changes: Vec<Change>,
    /// A change of several places was begun and is not whole: stays so when one of its steps fails.
    half: bool,
}

impl<'s> Write<'s> {
    pub(crate) fn new(store: &'s mut Store) -> Write<'s> {
        let changes = std::mem::take(&mut store.changes);
        Write { store, changes, half: false }
    }

    /// The revision before this write.
    pub fn start_revision(&self) -> i64 {
        self.store.state.revision
    }

    /// The start revision, or one more as soon as something has changed.
    pub fn current_revision(&self) -> i64 {
        self.start_revision() + i64::from(!self.changes.is_empty())
    }

    /// The store's contents, this write's own changes included.
    pub fn view_current(&self) -> Contents<'_> {
        Contents::of_writer(&self.store.tree, self.current_revision(), &self.store.state)
    }

    /// Sets a key and attaches it to `lease` (0: to none); returns its new head. Nothing has changed when the
    /// key is longer than [`MAX_KEY_BYTES`].
    pub fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Result<Head, Error> {
        if key.len() > MAX_KEY_BYTES {
            let (found, limit) = (key.len() as u64, MAX_KEY_BYTES as u64);
            return Err(Error::Limit { what: "key length", found, limit });
        }
        let (stored, way) = self.stored(key)?;
        let prev = existing(&stored);
        let Revision { main: modified, sub } = self.next_revision();
        let head = match prev {
            Some(prev) => Head { create: prev.create, modified, sub, version: prev.version + 1, lease },
            None => Head { create: modified, modified, sub, version: 1, lease },
        };
        self.begin_change()?;
        let attached = prev.map_or(0, |prev| prev.lease);
        if attached != lease {
            self.detach(key, attached)?;
            self.attach(key, lease)?;
        }
        self.append(way, stored, head, Some(value))?;
        Ok(head)
    }

    /// Deletes a key; false when it does not exist.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        let (stored, way) = self.stored(key)?;
        let Some(prev) = existing(&stored) else { return Ok(false) };
        let Revision { main: modified, sub } = self.next_revision();
        let head = Head { modified, sub, ..Head::default() };
        self.begin_change()?;
        if !planted(Fault::LeaseNotDetached) {
            self.detach(key, prev.lease)?;
        }
        self.append(way, stored, head, None)?;
        Ok(true)
    }

    /// Ends the write. Readers see it after [`Store::publish`].
    pub fn finish(mut self) -> Result<Finished, Error> {
        let revision = self.current_revision();
        self.store.state.revision = revision;
        Ok(Finished { revision, changes: std::mem::take(&mut self.changes) })
    }

    /// As [`Write::finish`], with the changes appended to a list that the caller keeps; returns the revision.
    pub fn finish_into(mut self, changes: &mut Vec<Change>) -> Result<i64, Error> {
        let revision = self.current_revision();
        self.store.state.revision = revision;
        changes.append(&mut self.changes);
        Ok(revision)
    }

    /// What comes next changes the tree in several places: all of them, or the store holds half a request. A store that
    /// takes no changes is left as it is.
    fn begin_change(&mut self) -> Result<(), Error> {
        self.store.tree.check()?;
        self.half = true;
        Ok(())
    }

    /// What a key has, and where that is.
    fn stored<'k>(&self, key: &'k [u8]) -> Result<(Option<StoredHead>, Way<'k>), Error> {
        let (bytes, way) = self.store.tree.find(schema::KEYS, key)?;
        Ok((bytes.map(|bytes| decode_head(key, bytes)).transpose()?, way))
    }

    fn next_revision(&self) -> Revision {
        Revision::new(self.start_revision() + 1, self.changes.len() as i64)
    }

    /// Writes the record and the head of one change: a put, or a deletion when there is no value.
    fn append(
        &mut self,
        way: Way<'_>,
        stored: Option<StoredHead>,
        head: Head,
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let key = way.key();
        let (kind, weight) = match value {
            Some(_) => (ChangeKind::Put, Weight::Live),
            None => (ChangeKind::Delete, Weight::Dead),
        };
        let (mut next, skips) = StoredHead::succeed(stored.as_ref(), head, value.is_none());
        let links = Links { previous: stored.as_ref().map(StoredHead::revision), skips: &skips };

        let store = &mut *self.store;
        reserve(&mut store.arena, record::OVERHEAD_BYTES + key.len() + value.map_or(0, <[u8]>::len));
        let event = match value {
            Some(value) => record::encode_put(&mut store.arena, &links, &head, key, value),
            None => record::encode_tombstone(&mut store.arena, &links, &head, key),
        };
        let bytes = store.arena.split().freeze();
        let revision = next.revision();
        next.spot = store.append_record(revision, &bytes)?;

        store.scratch.clear();
        next.encode(&mut store.scratch);
        store.tree.put_at(way, &store.scratch, weight)?;

        let record = bytes.slice(event..);
        // The key is the event's first field, behind its tag and its length.
        let prefix = 1 + super::varint::length(key.len() as u64);
        let key = if key.is_empty() { Bytes::new() } else { record.slice(prefix..prefix + key.len()) };
        let prev = existing(&stored);
        self.changes.push(Change { revision, kind, key, record, lease: head.lease, prev });
        self.half = false;
        Ok(())
    }

    fn attach(&mut self, key: &[u8], lease: i64) -> Result<(), Error> {
        if lease == 0 {
            return Ok(());
        }
        let entry = lease_entry(&mut self.store.scratch, key, lease);
        self.store.tree.put(schema::LEASE_KEYS, entry, b"", Weight::Live)
    }

    fn detach(&mut self, key: &[u8], lease: i64) -> Result<(), Error> {
        if lease == 0 {
            return Ok(());
        }
        let entry = lease_entry(&mut self.store.scratch, key, lease);
        self.store.tree.delete(schema::LEASE_KEYS, entry)?;
        Ok(())
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        // Half a request must never be published.
        if self.half || !self.changes.is_empty() {
            self.store.abandoned = true;
        }
        self.changes.clear();
        if self.changes.capacity() <= MOST_KEPT_CHANGES {
            self.store.changes = std::mem::take(&mut self.changes);
        }
    }
}

fn existing(stored: &Option<StoredHead>) -> Option<Head> {
    stored.as_ref().filter(|stored| !stored.deleted).map(|stored| stored.head)
}

fn lease_entry<'b>(scratch: &'b mut Vec<u8>, key: &[u8], lease: i64) -> &'b [u8] {
    scratch.clear();
    scratch.extend_from_slice(&lease.to_be_bytes());
    scratch.extend_from_slice(key);
    scratch
}

/// Makes room for a record of `bytes` in the arena, without ever copying what is in it.
fn reserve(arena: &mut BytesMut, bytes: usize) {
    if arena.capacity() - arena.len() < bytes {
        *arena = BytesMut::with_capacity(bytes.max(ARENA_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use crate::limits::PAGE_BYTES;
    use crate::{Error, Options, OsFile, Store, schema};

    /// The place of a page's bucket number in it.
    const BUCKET_AT: usize = 5;

    #[test]
    fn a_first_change_that_fails_half_way_leaves_half_a_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let open = || Store::open(Arc::new(OsFile::open(&path).unwrap()), Options::default()).unwrap();
        let mut store = open();
        let mut write = store.begin();
        write.put(b"k", b"v", 5).unwrap();
        write.finish().unwrap();
        store.publish();
        let done = store.begin_checkpoint().unwrap().run(&mut |_| ()).unwrap();
        store.end_checkpoint(done).unwrap();
        drop(store);
        let bytes = std::fs::read(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for (number, page) in bytes.chunks(PAGE_BYTES).enumerate().skip(2) {
            if page[BUCKET_AT] == schema::LEASE_KEYS.0 {
                file.write_all_at(&[0xff; 64], (number * PAGE_BYTES + 64) as u64).unwrap();
            }
        }
        let damaged = |result: Result<(), Error>| matches!(result, Err(Error::Damaged { .. }));

        let mut store = open();
        assert!(damaged(store.begin().put(b"k", b"w", 6).map(drop)));
        assert!(store.abandoned, "dropped after the failure");

        let mut store = open();
        let mut write = store.begin();
        assert!(damaged(write.delete(b"k").map(drop)));
        write.finish().unwrap();
        assert!(store.abandoned, "finished in spite of the failure");

        let mut store = open();
        store.begin().delete(b"none").unwrap();
        assert!(!store.abandoned, "nothing was begun");
        store.tree.poison();
        assert!(matches!(store.begin().put(b"k", b"w", 5), Err(Error::Poisoned)));
        assert!(!store.abandoned, "a store that takes no changes is whole");
    }
}
