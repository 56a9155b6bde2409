//! The reading side: an immutable view, and the place where the newest one is found.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::contents::{Contents, Item, RevisionError};
use super::state::State;
use super::{Applied, Changes, HashKv, HashProgress, HashWalk, KeyRange, Range, SystemBucket};
use crate::btree::{ReadTxn, ScrubCursor, ScrubProgress};
use crate::error::Error;

/// The store as it was when the writer last published. Cheap to clone; nothing the writer does later changes
/// what it shows, and it keeps the pages it can see from being reused until it is dropped.
///
/// Its methods are those of [`Contents`]. Every `at` is a revision that [`View::check`] accepted, or 0.
#[derive(Clone)]
pub struct View {
    published: Arc<Published>,
}

struct Published {
    txn: ReadTxn,
    state: State,
}

impl View {
    pub(crate) fn new(txn: ReadTxn, state: State) -> View {
        View { published: Arc::new(Published { txn, state }) }
    }

    /// The tree as this view sees it.
    pub(super) fn txn(&self) -> &ReadTxn {
        &self.published.txn
    }

    /// What this view sees, in the form that a running write offers too.
    pub fn contents(&self) -> Contents<'_> {
        let Published { txn, state } = &*self.published;
        Contents::published(txn, state)
    }

    /// The newest revision in this view.
    pub fn revision(&self) -> i64 {
        self.published.state.revision
    }

    /// The oldest revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.published.state.compact
    }

    /// How far the log had been applied.
    pub fn applied(&self) -> Applied {
        self.published.state.applied
    }

    /// Reads about `max_bytes` of what this view can reach in the file again, from the device where that can be done,
    /// and verifies every checksum and every page's structure. Goes on where `cursor` stands, which may have come there
    /// in another view. Reads block: this belongs on a thread that has time.
    pub fn scrub_slice(&self, cursor: &mut ScrubCursor, max_bytes: usize) -> Result<ScrubProgress, Error> {
        self.published.txn.scrub_slice(cursor, max_bytes)
    }

    /// See [`Contents::check`].
    pub fn check(&self, at: i64) -> Result<i64, RevisionError> {
        self.contents().check(at)
    }

    /// See [`Contents::get`].
    pub fn get<'k>(&self, key: &'k [u8], at: i64) -> Result<Option<Item<'k, '_>>, Error> {
        self.contents().get(key, at)
    }

    /// See [`Contents::range`].
    pub fn range(&self, range: &KeyRange, at: i64) -> Range<'_> {
        self.contents().range(range, at)
    }

    /// See [`Contents::count`].
    pub fn count(&self, range: &KeyRange, at: i64) -> Result<u64, Error> {
        self.contents().count(range, at)
    }

    /// See [`Contents::changes`].
    pub fn changes(&self, from: i64) -> Changes<'_> {
        self.contents().changes(from)
    }

    /// See [`Contents::hash_kv`].
    pub fn hash_kv(&self, at: i64) -> Result<HashKv, Error> {
        self.contents().hash_kv(at)
    }

    /// See [`Contents::hash_begin`].
    pub fn hash_begin(&self, at: i64) -> Result<HashWalk, Error> {
        self.contents().hash_begin(at)
    }

    /// See [`Contents::hash_begin_at_compaction`].
    pub fn hash_begin_at_compaction(&self, at: i64) -> Result<HashWalk, Error> {
        self.contents().hash_begin_at_compaction(at)
    }

    /// See [`Contents::hash_slice`].
    pub fn hash_slice(&self, walk: &mut HashWalk, max_records: usize) -> Result<HashProgress, Error> {
        self.contents().hash_slice(walk, max_records)
    }

    /// See [`Contents::hash_at_compaction`].
    pub fn hash_at_compaction(&self, at: i64) -> Result<HashKv, Error> {
        self.contents().hash_at_compaction(at)
    }

    /// See [`Contents::audit`].
    pub fn audit(&self) -> Result<Vec<String>, Error> {
        self.contents().audit()
    }

    /// See [`Contents::hash_all`].
    pub fn hash_all(&self) -> Result<u32, Error> {
        self.contents().hash_all()
    }

    /// See [`Contents::lease_keys`].
    pub fn lease_keys(&self, lease: i64) -> Result<Vec<Bytes>, Error> {
        self.contents().lease_keys(lease)
    }

    /// See [`Contents::system_get`].
    pub fn system_get(&self, bucket: SystemBucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.contents().system_get(bucket, key)
    }

    /// See [`Contents::system_range`].
    pub fn system_range(&self, bucket: SystemBucket) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.contents().system_range(bucket)
    }
}

/// Where readers find the newest published view. Cheap to clone; never waits for the writer.
#[derive(Clone)]
pub struct Reader {
    newest: Arc<ArcSwap<Published>>,
}

impl Reader {
    pub(crate) fn new(view: View) -> Reader {
        Reader { newest: Arc::new(ArcSwap::new(view.published)) }
    }

    /// The newest published view.
    pub fn view(&self) -> View {
        View { published: self.newest.load_full() }
    }

    pub(crate) fn publish(&self, view: View) {
        self.newest.store(view.published);
    }
}
