//! The single writer.

use std::sync::Arc;

use bytes::BytesMut;

use super::append::Tail;
use super::contents::{Contents, inconsistent};
use super::planted::{Fault, planted};
use super::state::State;
use super::view::{Reader, View};
use super::warm::WarmTo;
use super::{Applied, Change, Revision, SystemBucket, Write, records};
use crate::btree::{self, Tree, TreeOptions, Weight};
use crate::error::Error;
use crate::file::File;
use crate::schema;

/// Values that shape a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address space reserved for the file, in bytes; the file can't grow beyond.
    pub reserve_bytes: u64,
    /// The file grows in steps of this many bytes.
    pub grow_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        let TreeOptions { reserve_bytes, grow_bytes, .. } = TreeOptions::default();
        Options { reserve_bytes, grow_bytes }
    }
}

/// How much has gathered since the last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of changes in memory that the next checkpoint will write.
    pub dirty_bytes: usize,
    /// Log entries that a restart would have to apply again.
    pub entries: u64,
}

/// What opening a store has found, and how often it was brought to disk since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'s> {
    /// Checkpoints completed so far, in all the file's life.
    pub generation: u64,
    /// Why the other of the two states in the file could not be read, if there was one. Mostly a checkpoint that was
    /// cut short, which is harmless; if it was damage to the newest state, then the one before has been opened, and a
    /// log that was released up to the newest does not reach back to this one's applied index.
    pub fell_back: Option<&'s str>,
}

/// How large the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Length of the file.
    pub file_bytes: u64,
    /// Bytes of the file that hold something.
    pub in_use_bytes: u64,
    /// Those of them that are not of records which compaction has dropped.
    pub live_bytes: u64,
}

/// A view other than the newest that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// Counts up with every published view.
    pub number: u64,
    /// Its newest revision.
    pub revision: i64,
}

/// A frozen state on its way to disk; [`Checkpoint::run`] belongs on a background thread. Dropped before, it never
/// was.
pub struct Checkpoint {
    tree: btree::Checkpoint,
    applied: Applied,
}

/// What a finished checkpoint hands back to [`Store::swap_begin`].
pub struct CheckpointDone {
    tree: btree::CheckpointDone,
    applied: Applied,
}

impl Checkpoint {
    /// Writes the state and makes it durable. After each piece of at most 256 KiB `pace` is called with its bytes: it
    /// waits as long as the device is wanted by others. After [`Error::NoSpace`], and [`Error::Limit`] where the file
    /// can't grow further, the checkpoint never was and another one may be begun; any other error is fatal to the
    /// store.
    pub fn run(self, pace: &mut dyn FnMut(u64)) -> Result<CheckpointDone, Error> {
        Ok(CheckpointDone { tree: self.tree.run(pace)?, applied: self.applied })
    }
}

/// The store's single writer. Readers get their views from [`Store::reader`].
pub struct Store {
    pub(crate) tree: Tree,
    pub(crate) state: State,
    /// The extent that new records go to.
    pub(super) tail: Option<Tail>,
    /// The next extent that [`Store::repack_slice`] looks at.
    pub(super) repack_at: Revision,
    /// How far slices may go, if they wait for what they look at to be read beforehand.
    pub(super) warm: WarmTo,
    published: State,
    durable: Applied,
    reader: Reader,
    /// Records are built in here and shared with the watchers.
    pub(crate) arena: BytesMut,
    /// Heads and lease entries are built in here.
    pub(crate) scratch: Vec<u8>,
    /// Empty, with memory for the changes of the next write.
    pub(crate) changes: Vec<Change>,
    /// A write that changed something was dropped unfinished: the tree holds half a request.
    pub(crate) abandoned: bool,
}

impl Store {
    /// Opens the newest durable state, or creates an empty store in an empty file. Reads the meta page and
    /// no keys.
    pub fn open(file: Arc<dyn File>, options: Options) -> Result<Store, Error> {
        let Options { reserve_bytes, grow_bytes } = options;
        let options = TreeOptions { reserve_bytes, grow_bytes, ..TreeOptions::default() };
        #[cfg(test)]
        let options = match planted(Fault::TailGrowsInView) {
            true => TreeOptions { planted: btree::Planted::OpenBeyondPublished, ..options },
            false => options,
        };
        let mut tree = Tree::open(file, options)?;
        let state = State::decode(tree.meta())?;
        let newest = newest_revision(&tree)?;
        if newest > state.revision {
            return Err(inconsistent(format_args!(
                "there is a record of revision {newest}, but the store's revision is {}",
                state.revision
            )));
        }
        let reader = Reader::new(View::new(tree.publish(), state));
        Ok(Store {
            tree,
            state,
            tail: None,
            repack_at: Revision::default(),
            warm: WarmTo::default(),
            published: state,
            durable: state.applied,
            reader,
            arena: BytesMut::new(),
            scratch: Vec::new(),
            changes: Vec::new(),
            abandoned: false,
        })
    }

    /// Where readers find the newest published view.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The current revision, published or not; 1 in a new store.
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// The oldest revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.state.compact
    }

    /// The store's contents, finished writes included whether published or not.
    pub fn contents(&self) -> Contents<'_> {
        Contents::of_writer(&self.tree, self.state.revision, &self.state)
    }

    /// Begins a write: one applied request.
    pub fn begin(&mut self) -> Write<'_> {
        self.assert_whole();
        Write::new(self)
    }

    /// Shows readers everything finished so far. Once per batch.
    pub fn publish(&mut self) {
        self.assert_whole();
        self.tree.set_meta(self.state.encode());
        self.published = self.state;
        self.reader.publish(View::new(self.tree.publish(), self.state));
    }

    /// Sets a key of a system bucket.
    pub fn system_put(&mut self, bucket: SystemBucket, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.tree.put(bucket.bucket(), key, value, Weight::Live)
    }

    /// Removes a key of a system bucket; whether it was there.
    pub fn system_delete(&mut self, bucket: SystemBucket, key: &[u8]) -> Result<bool, Error> {
        self.tree.delete(bucket.bucket(), key)
    }

    /// The value of a key in a system bucket, published or not.
    pub fn system_get(&self, bucket: SystemBucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.tree.get(bucket.bucket(), key)
    }

    /// Notes how far the log has been applied. Becomes durable together with what was applied.
    pub fn set_applied(&mut self, applied: Applied) {
        debug_assert!(applied >= self.state.applied, "the applied index never goes back");
        self.state.applied = applied;
    }

    /// How far the log has been applied.
    pub fn applied(&self) -> Applied {
        self.state.applied
    }

    /// How far the log had been applied in the last completed checkpoint.
    pub fn durable_applied(&self) -> Applied {
        self.durable
    }

    /// What would be in a checkpoint taken now.
    pub fn checkpoint_due(&self) -> Pressure {
        Pressure {
            dirty_bytes: self.tree.dirty_bytes(),
            entries: self.state.applied.index.saturating_sub(self.durable.index),
        }
    }

    /// Whether the last completed checkpoint has everything, so that there is nothing for another one to do. Not after a
    /// failure, and not while something is unpublished or one is under way.
    pub fn is_stored(&self) -> bool {
        self.tail.is_none() && self.state == self.published && self.tree.is_stored()
    }

    /// Freezes the published state for a checkpoint; `None` while one is under way, when nothing has changed, and
    /// while something is not published: then it is to be tried again after [`Store::publish`].
    pub fn begin_checkpoint(&mut self) -> Option<Checkpoint> {
        self.assert_whole();
        if !self.tree.may_checkpoint() || self.state != self.published || !self.tree.is_published() {
            return None;
        }
        if self.tail.is_some() && !planted(Fault::TailNotInCheckpoint) {
            // What is on disk is found in the tree. An error is one of a poisoned tree, or makes it one.
            self.close_tail().inspect_err(|_| self.tree.poison()).ok()?;
            self.publish();
        }
        let tree = self.tree.begin_checkpoint()?;
        Some(Checkpoint { tree, applied: self.published.applied })
    }

    /// Takes over what a checkpoint has written, all at once. What is in memory only for readers of older views is
    /// let go after the next [`Store::publish`].
    pub fn end_checkpoint(&mut self, done: CheckpointDone) -> Result<(), Error> {
        self.durable = done.applied;
        self.tree.end_checkpoint(done.tree)
    }

    /// Begins to take over what a checkpoint has written: it is durable, and [`Store::durable_applied`] says so. The
    /// memory it was kept in goes with [`Store::swap_slice`], to be called until there is no more.
    pub fn swap_begin(&mut self, done: CheckpointDone) {
        self.durable = done.applied;
        self.tree.swap_begin(done.tree);
    }

    /// Looks at up to `max_pages` pages that may refer to memory where the file has the same by now; whether there is
    /// more. Between two slices anything may be done to the store, only the next checkpoint begins after the last.
    /// Publish afterwards: views from before hold the memory.
    pub fn swap_slice(&mut self, max_pages: usize) -> Result<bool, Error> {
        self.tree.swap_slice(max_pages)
    }

    /// Gives memory of changes that are on disk back to the system, a slice at a time; whether there is more.
    pub fn release_memory(&mut self) -> bool {
        self.tree.release_memory()
    }

    /// Bytes of pages in memory: changes, and what views and a running checkpoint still see of older ones.
    pub fn memory_bytes(&self) -> u64 {
        self.tree.memory_bytes()
    }

    /// The older views that somebody holds, oldest first: what they see can't be used again. The engine knows no clock:
    /// how long one has been held is for the caller to find out by asking again.
    pub fn held_views(&self) -> impl Iterator<Item = HeldView> {
        self.tree.held_views().map(|(number, meta)| {
            let state = State::decode(meta).expect("published states are whole");
            HeldView { number, revision: state.revision }
        })
    }

    /// What opening the file has found.
    pub fn opened(&self) -> Opened<'_> {
        Opened { generation: self.tree.generation(), fell_back: self.tree.other_meta() }
    }

    /// How large the store is. Cheap.
    pub fn sizes(&self) -> Sizes {
        let file_bytes = self.tree.file_bytes();
        let in_use_bytes = self.tree.in_use_bytes().min(file_bytes);
        Sizes { file_bytes, in_use_bytes, live_bytes: in_use_bytes.saturating_sub(self.state.dropped_bytes) }
    }

    pub(super) fn assert_whole(&self) {
        assert!(!self.abandoned, "a write was dropped unfinished: the store holds half a request");
    }
}

fn newest_revision(tree: &Tree) -> Result<i64, Error> {
    let bucket = tree.bucket(schema::REVISIONS);
    let Some(found) = bucket.floor(Revision::END.to_number())? else { return Ok(0) };
    let extent = records::extent(bucket, found)?;
    let first = extent.first;
    let last =
        extent.last().ok_or_else(|| inconsistent(format_args!("the extent of {first:?} is garbled")))?;
    Ok(last.main)
}
