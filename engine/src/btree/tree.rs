//! The single writer.

use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::Error;
use crate::file::File;
use crate::limits::{
    MAX_INLINE_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, MERGE_BELOW_BYTES, MERGE_SLACK_BYTES, PAGE_BYTES,
};
use crate::mmap::{Arena, PageBuffer, PageBytes};
use crate::planted::{Fault, planted};
use crate::schema::{BUCKETS, Bucket};

use super::checkpoint::{Checkpoint, CheckpointDone, Home, Lent};
use super::cursor::Cursor;
use super::defragment::Defragmenter;
use super::edit::{
    self, Entry, Shape, build, child_bytes, common, entries, entry, put_u32, run_bytes, set_child,
};
use super::epochs::{Epochs, RELEASE_SLOTS, RELEASE_SLOTS_AT_PUBLISH};
use super::meta::{self, Found, Meta, Root, Roots};
use super::page::{Child, Page, RUN_HEADER_BYTES, Ref, RunRef, VALUE_DEAD, VALUE_IN_RUN, run_pages};
use super::read::{BucketView, ReadTxn, View};
use super::shared::{Expect, Shared};
use super::space::{Space, read_map};
use super::swap::Swap;
use super::tail::OpenValue;
use super::way::Way;
use super::{TreeOptions, UserMeta, Weight};

/// The single writer's working state.
pub(crate) struct Tree {
    pub(super) shared: Arc<Shared>,
    file: Arc<dyn File>,
    pub(super) options: TreeOptions,
    pub(super) pages: Epochs,
    pub(super) roots: Roots,
    meta: UserMeta,
    pub(super) durable: Meta,
    /// The pages the free map of the last completed checkpoint is kept in.
    pub(super) durable_map: Vec<u32>,
    /// The epoch of the last completed checkpoint.
    pub(super) durable_epoch: u64,
    /// The epoch in which references were last swapped. Older views refer to memory where the working state refers
    /// to the file: a checkpoint of one would write those pages again.
    pub(super) swapped_epoch: u64,
    /// From the beginning of a checkpoint to the end of its swap, or until it was given up.
    pub(super) checkpoint_runs: bool,
    /// Where a checkpoint that comes to nothing leaves the free pages.
    home: Home,
    pub(super) swap: Option<Swap>,
    pub(super) defragmenter: Option<Defragmenter>,
    /// Slices of defragmentation look at nothing that was not read beforehand.
    pub(super) stays_warm: bool,
    /// Counts what is read beforehand for: what was read for something earlier says nothing.
    pub(super) warm_rounds: u64,
    /// A checkpoint is to be taken though nothing is new.
    pub(super) checkpoint_wanted: bool,
    /// What was wrong with the other meta page when the tree was opened.
    other_meta: Option<String>,
    /// The value that is still growing.
    pub(super) open: Option<OpenValue>,
    /// Branches from the root to the leaf in hand; kept between calls for its memory.
    path: Vec<Step>,
    /// Counts what was set and removed, by bucket.
    pub(super) changes: [u64; BUCKETS],
}

/// A private branch and the child that was taken.
#[derive(Clone, Copy)]
struct Step {
    slot: u32,
    index: usize,
}

/// The right half of a page that was split.
struct Split {
    separator: Vec<u8>,
    right: u32,
    left_count: u64,
    right_count: u64,
}

impl Tree {
    /// Opens the newest durable state, or creates an empty one in an empty file. Writes nothing to a file that
    /// holds a state, but syncs it: whoever wrote it may have been killed between a meta page and its sync, and pages
    /// that the state of that page does not contain are overwritten from here on.
    pub(crate) fn open(file: Arc<dyn File>, options: TreeOptions) -> Result<Tree, Error> {
        let name = file.describe();
        Tree::open_named(file, options).map_err(|e| e.of_file(&name))
    }

    fn open_named(file: Arc<dyn File>, options: TreeOptions) -> Result<Tree, Error> {
        let len = file.len().map_err(|e| Error::io("length", 0, e))?;
        if len > 0 && !planted(Fault::OpensUnsynced) {
            file.sync().map_err(|e| Error::io("sync", 0, e))?;
        }
        let map = file.map(options.reserve_bytes.max(len)).map_err(|e| Error::io("map", 0, e))?;
        let metas = meta::on_device(&*file, &map, len)?;
        let found = meta::find(len, |slot| metas[slot as usize])?;
        let (arena, writer) =
            Arena::reserve(options.memory_bytes).map_err(|e| Error::io("reserve memory", 0, e))?;
        let shared = Shared::new(map, arena, len / PAGE_BYTES as u64, file.describe());
        let shared = Arc::new(shared.with_device(&file));
        let (durable, other_meta) = match found {
            Found::New => (create(&*file, &shared)?, None),
            Found::State(meta, other) => (*meta, other.map(|e| e.of_file(shared.name()).to_string())),
        };
        // Of the other page it is known what it holds, if it could be read.
        let known = [(0, true), (1, other_meta.is_none() && durable.generation > 0)];
        for (back, _) in known.into_iter().filter(|(_, known)| *known) {
            let generation = durable.generation - back;
            shared.metas[generation as usize % 2].store(generation + 1, Ordering::Release);
        }
        let (space, durable_map) = match durable.generation {
            0 => (Space::new(2), Vec::new()),
            _ => read_map(&shared, durable.free_map, durable.pages)?,
        };
        let (roots, meta) = (durable.roots, durable.user);
        let view = Arc::new(View { shared: Arc::clone(&shared), epoch: 0, roots, meta, open: None });
        let pages = Epochs::new(writer, shared.arena().slots(), view, space);
        #[cfg(test)]
        let pages = pages.plant(options.planted);
        Ok(Tree {
            shared,
            file,
            options,
            pages,
            roots,
            meta,
            durable,
            durable_map,
            durable_epoch: 0,
            swapped_epoch: 0,
            checkpoint_runs: false,
            home: Home::default(),
            swap: None,
            defragmenter: None,
            stays_warm: false,
            warm_rounds: 0,
            checkpoint_wanted: false,
            other_meta,
            open: None,
            path: Vec::new(),
            changes: [0; BUCKETS],
        })
    }

    /// The value of `key`, own unpublished changes included.
    pub(crate) fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.bucket(bucket).get(key)
    }

    /// A cursor over the working state.
    pub(crate) fn cursor(&self, bucket: Bucket) -> Cursor<'_> {
        Cursor::new(self.bucket(bucket))
    }

    /// Entries of weight [`Weight::Live`] in a key range of the working state.
    pub(crate) fn count(&self, bucket: Bucket, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64, Error> {
        self.bucket(bucket).count(from, to)
    }

    /// Sets `key`. Seen by nobody else before [`Tree::publish`].
    pub(crate) fn put(
        &mut self,
        bucket: Bucket,
        key: &[u8],
        value: &[u8],
        weight: Weight,
    ) -> Result<(), Error> {
        self.put_on(&Way::unknown(bucket, key), value, weight)
    }

    pub(super) fn put_on(&mut self, way: &Way<'_>, value: &[u8], weight: Weight) -> Result<(), Error> {
        self.check()?;
        check_limit("key length", way.key.len(), MAX_KEY_BYTES)?;
        check_limit("value length", value.len(), MAX_VALUE_BYTES)?;
        if way.key.len() + value.len() > MAX_INLINE_BYTES {
            let run = self.write_run(value)?;
            return self.put_cell(way, VALUE_IN_RUN, &run_bytes(run), weight);
        }
        let word = u16::try_from(value.len()).expect("inline values are short");
        self.put_cell(way, word, value, weight)
    }

    /// Sets `key` to a run of the arena that belongs to nothing yet.
    pub(super) fn put_run(
        &mut self,
        bucket: Bucket,
        key: &[u8],
        run: RunRef,
        weight: Weight,
    ) -> Result<(), Error> {
        self.put_cell(&Way::unknown(bucket, key), VALUE_IN_RUN, &run_bytes(run), weight)
    }

    /// Sets a key to a leaf cell's value word and the bytes that go with it.
    fn put_cell(&mut self, way: &Way<'_>, mut word: u16, value: &[u8], weight: Weight) -> Result<(), Error> {
        if weight == Weight::Dead {
            word |= VALUE_DEAD;
        }
        let fixed = word.to_le_bytes();
        let leaf = self.descend_on(way)?;
        let Way { bucket, key, .. } = *way;
        self.changes[usize::from(bucket.0)] += 1;
        let page = self.arena_page(leaf);
        let (found, last) = (way.place_in(page), page.len());
        let added = i64::from(weight == Weight::Live);
        let (index, fitted, delta) = match found {
            Ok(index) => {
                let delta = added - i64::from(page.weight(index) == Weight::Live);
                let old = page.run(index);
                if let Some(old) = old {
                    self.retire_run(old)?;
                }
                (index, edit::replace(self.pages.page_mut(leaf), index, key, &fixed, value), delta)
            }
            Err(index) => (index, edit::insert(self.pages.page_mut(leaf), index, key, &fixed, value), added),
        };
        self.add_to_counts(bucket, delta);
        if fitted {
            return Ok(());
        }
        // Append-only buckets grow at the right edge: the page left behind stays full.
        let ascending = found == Err(last) && self.at_right_edge();
        let new = Entry { prefix: &[], suffix: key, fixed: &fixed, value };
        let split = self.rebuild(leaf, index, found.is_ok(), new, ascending)?;
        self.grow(bucket, split, ascending)
    }

    /// Removes `key`; whether it was there.
    pub(crate) fn delete(&mut self, bucket: Bucket, key: &[u8]) -> Result<bool, Error> {
        self.check()?;
        if self.bucket(bucket).weight(key)?.is_none() {
            return Ok(false);
        }
        let leaf = self.descend(bucket, key)?;
        self.changes[usize::from(bucket.0)] += 1;
        let page = self.arena_page(leaf);
        let index = page.search(key).expect("the key was there a moment ago");
        let counts = page.weight(index) == Weight::Live && !planted(Fault::CountDrifts);
        let delta = -i64::from(counts);
        if let Some(run) = page.run(index) {
            self.retire_run(run)?;
        }
        edit::remove(self.pages.page_mut(leaf), index);
        self.add_to_counts(bucket, delta);
        self.shrink(bucket, leaf)?;
        Ok(true)
    }

    /// Makes everything so far visible to new readers and returns that state.
    pub(crate) fn publish(&mut self) -> ReadTxn {
        let newest = self.pages.newest();
        let outdated = newest.epoch < self.swapped_epoch;
        if outdated || !self.is_published() {
            let (shared, epoch) = (Arc::clone(&self.shared), self.pages.epoch());
            let open = self.open.as_ref().map(OpenValue::view);
            #[cfg(test)]
            let open = match self.options.planted {
                super::Planted::OpenBeyondPublished => open.map(|open| open.beyond(40, 8)),
                _ => open,
            };
            let view = View { shared, epoch, roots: self.roots, meta: self.meta, open };
            self.pages.publish(Arc::new(view));
        } else {
            self.pages.sweep();
        }
        self.pages.release(RELEASE_SLOTS_AT_PUBLISH);
        ReadTxn { view: Arc::clone(self.pages.newest()) }
    }

    /// Whether the working state is the one that readers see.
    pub(crate) fn is_published(&self) -> bool {
        let newest = self.pages.newest();
        let open = self.open.as_ref().map(OpenValue::view);
        newest.roots == self.roots && newest.meta == self.meta && newest.open == open
    }

    /// Opaque bytes that travel with the data: readers see them after publish, the disk with the checkpoint.
    pub(crate) fn set_meta(&mut self, meta: UserMeta) {
        self.meta = meta;
    }

    /// The working state's opaque bytes.
    pub(crate) fn meta(&self) -> &UserMeta {
        &self.meta
    }

    /// The opaque bytes of the last completed checkpoint (all zero in a new file).
    #[allow(dead_code, reason = "part of the tree's face")]
    pub(crate) fn durable_meta(&self) -> &UserMeta {
        &self.durable.user
    }

    /// Older views that somebody holds: their epochs and opaque bytes, oldest first.
    pub(crate) fn held_views(&self) -> impl Iterator<Item = (u64, &UserMeta)> {
        self.pages.held().map(|view| (view.epoch, &view.meta))
    }

    /// Nothing is written any more.
    pub(crate) fn poison(&self) {
        self.shared.poison();
    }

    /// Whether a checkpoint could begin if something had been published.
    pub(crate) fn may_checkpoint(&mut self) -> bool {
        self.take_back_lent();
        let outdated = self.pages.newest().epoch < self.swapped_epoch;
        !self.checkpoint_runs && !outdated && self.check().is_ok()
    }

    /// Freezes the published state for a checkpoint. None while one is under way or being taken over, when nothing has
    /// been published since, and after a failure.
    pub(crate) fn begin_checkpoint(&mut self) -> Option<Checkpoint> {
        self.take_back_lent();
        let view = self.pages.newest();
        if self.checkpoint_runs || self.has_nothing_new() || view.epoch < self.swapped_epoch {
            return None;
        }
        assert!(view.open.is_none(), "the open value is closed before a checkpoint");
        self.check().ok()?;
        let view = Arc::clone(view);
        let (space, unseen) = self.pages.lend_space()?;
        self.checkpoint_runs = true;
        let cuts = self.defragmenter.as_ref().is_some_and(Defragmenter::cuts);
        #[cfg(test)]
        if cuts && self.options.planted == super::Planted::CutTooEarly {
            self.durable.pages = 0;
        }
        Some(Checkpoint {
            txn: ReadTxn { view },
            file: Arc::clone(&self.file),
            lent: Lent::new(space, &self.home),
            unseen,
            old_map: self.durable_map.clone(),
            generation: self.durable.generation + 1,
            grow_pages: (self.options.grow_bytes / PAGE_BYTES as u64).max(1),
            cut_behind: cuts.then_some(self.durable.pages),
            #[cfg(test)]
            planted: self.options.planted,
        })
    }

    /// Whether a checkpoint would have nothing to do: everything, published or not, is in the last one.
    pub(crate) fn is_stored(&self) -> bool {
        self.check().is_ok() && self.is_published() && !self.checkpoint_runs && self.has_nothing_new()
    }

    /// Whether what is published is in the last checkpoint.
    fn has_nothing_new(&self) -> bool {
        let view = self.pages.newest();
        view.roots == self.durable.roots && view.meta == self.durable.user && !self.checkpoint_wanted
    }

    /// A checkpoint that was dropped, or found no space, has left the free pages at home.
    fn take_back_lent(&mut self) {
        let lent = self.home.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(space) = lent {
            self.pages.take_back(space);
            self.checkpoint_runs = false;
        }
    }

    /// Takes over what a checkpoint wrote, all at once.
    pub(crate) fn end_checkpoint(&mut self, done: CheckpointDone) -> Result<(), Error> {
        self.swap_begin(done);
        while self.swap_slice(usize::MAX)? {}
        Ok(())
    }

    /// Gives memory of changes that are on disk back to the system, a slice at a time; whether there is more.
    pub(crate) fn release_memory(&mut self) -> bool {
        self.pages.sweep() | self.pages.release(RELEASE_SLOTS)
    }

    /// Bytes of changes in memory that no completed checkpoint holds.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.pages.dirty() * PAGE_BYTES
    }

    /// Bytes of pages in memory: changes, and what views still see of older ones.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.pages.slots_in_use() * PAGE_BYTES as u64
    }

    /// Length of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.shared.file_pages() * PAGE_BYTES as u64
    }

    /// Bytes of the file that hold something of the working state. A running checkpoint takes more.
    pub(crate) fn in_use_bytes(&self) -> u64 {
        self.pages.pages_in_use() * PAGE_BYTES as u64
    }

    /// Why the other of the two meta pages could not be read when the tree was opened, if there was something in it. A
    /// checkpoint that was cut short leaves this, and it harms nothing; so does damage to the newest one, and then the
    /// state before it was opened. Which of both it was, only the log can tell.
    pub(crate) fn other_meta(&self) -> Option<&str> {
        self.other_meta.as_deref()
    }

    /// Counts completed checkpoints.
    pub(crate) fn generation(&self) -> u64 {
        self.durable.generation
    }

    /// Refuses to go on after a failure, and when the file has turned out to contradict itself.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.pages.damage() {
            None => self.shared.check_poison(),
            Some(page) => Err(self.shared.damaged(page.into(), "in use twice, or in use and free")),
        }
    }

    pub(crate) fn bucket(&self, bucket: Bucket) -> BucketView<'_> {
        BucketView { shared: &self.shared, bucket, root: self.roots[usize::from(bucket.0)] }
    }

    /// A page of the arena; borrowed from the whole tree, so that nothing is written meanwhile.
    pub(super) fn arena_page(&self, slot: u32) -> Page<'_> {
        Page::new(self.shared.arena().page(slot))
    }

    /// A copy of the page that only the writer knows of, unless it is one. The caller stores the reference.
    pub(super) fn privately(&mut self, expect: Expect) -> Result<u32, Error> {
        if let Some(slot) = expect.page.slot() {
            if self.pages.is_private(slot) {
                return Ok(slot);
            }
            let copy = self.pages.alloc(1)?;
            self.pages.page_mut(copy).copy_from_slice(self.shared.arena().page(slot));
            self.pages.retire_slots(slot, 1);
            return Ok(copy);
        }
        self.shared.ask_for(expect.page, PAGE_BYTES);
        let page = self.shared.page(expect)?;
        let copy = self.pages.alloc(1)?;
        self.pages.page_mut(copy).copy_from_slice(page.bytes());
        self.pages.retire_file(expect.page.0, 1, page.generation());
        Ok(copy)
    }

    /// Goes to the leaf for `key` and makes everything on the way private. Fills `path`.
    pub(super) fn descend(&mut self, bucket: Bucket, key: &[u8]) -> Result<u32, Error> {
        self.descend_on(&Way::unknown(bucket, key))
    }

    fn descend_on(&mut self, way: &Way<'_>) -> Result<u32, Error> {
        let bucket = way.bucket;
        self.path.clear();
        let root = self.roots[usize::from(bucket.0)];
        let mut slot = if root.page.is_none() {
            let slot = self.pages.alloc(1)?;
            let built = build(self.pages.page_mut(slot), Shape::at(bucket.0, 0), &[], 0);
            assert!(built, "nothing fits in a page");
            slot
        } else {
            let Root { page, checksum, level, .. } = root;
            self.privately(Expect { page, checksum, bucket: bucket.0, level })?
        };
        self.roots[usize::from(bucket.0)] = Root { page: Ref::arena(slot), checksum: 0, ..root };
        for level in (0..root.level).rev() {
            let page = self.arena_page(slot);
            let index = way.child_of(page);
            let Child { page, checksum, count } = page.child(index);
            let below = self.privately(Expect { page, checksum, bucket: bucket.0, level })?;
            let child = Child { page: Ref::arena(below), checksum: 0, count };
            if page != child.page {
                set_child(self.pages.page_mut(slot), index, child);
            }
            self.path.push(Step { slot, index });
            slot = below;
        }
        Ok(slot)
    }

    /// The first key behind the leaf that the last descent has led to; none behind the last one.
    pub(super) fn behind_path(&self) -> Option<Vec<u8>> {
        self.path.iter().rev().find_map(|step| {
            let page = self.arena_page(step.slot);
            (step.index + 1 < page.len()).then(|| entry(page, step.index + 1).key())
        })
    }

    fn at_right_edge(&self) -> bool {
        self.path.iter().all(|step| step.index + 1 == self.arena_page(step.slot).len())
    }

    fn add_to_counts(&mut self, bucket: Bucket, delta: i64) {
        if delta == 0 {
            return;
        }
        let root = &mut self.roots[usize::from(bucket.0)];
        root.count = root.count.wrapping_add_signed(delta);
        for step in &self.path {
            let bytes = self.pages.page_mut(step.slot);
            let child = Page::new(bytes).child(step.index);
            set_child(bytes, step.index, Child { count: child.count.wrapping_add_signed(delta), ..child });
        }
    }

    /// Writes a page anew with one more entry (or another one in its place), into two pages if need be.
    fn rebuild(
        &mut self,
        slot: u32,
        index: usize,
        replaces: bool,
        new: Entry<'_>,
        ascending: bool,
    ) -> Result<Option<Split>, Error> {
        let old: PageBytes = *self.shared.arena().page(slot);
        let page = Page::new(&old);
        let shape = Shape::at(page.bucket(), page.level());
        let mut all = Vec::with_capacity(page.len() + 1);
        entries(page, &mut all);
        if replaces {
            all[index] = new;
        } else {
            all.insert(index, new);
        }
        if build(self.pages.page_mut(slot), shape, &all, 0) {
            return Ok(None);
        }
        let cut = edit::split_at(shape, &all, ascending);
        let right = self.pages.alloc(1)?;
        let built = build(self.pages.page_mut(slot), shape, &all[..cut], 0)
            && build(self.pages.page_mut(right), shape, &all[cut..], 0);
        assert!(built, "the cut was measured");
        let mut separator = all[cut].key();
        if shape.level == 0 {
            // Enough of the key to tell it from its left neighbor.
            separator.truncate(common(&all[cut - 1], &all[cut]) + 1);
        }
        let counts = [slot, right].map(|slot| {
            let page = self.arena_page(slot);
            page.count_before(page.len())
        });
        Ok(Some(Split { separator, right, left_count: counts[0], right_count: counts[1] }))
    }

    /// Tells the branches above of a split, from the lowest up.
    fn grow(&mut self, bucket: Bucket, mut split: Option<Split>, ascending: bool) -> Result<(), Error> {
        while let Some(Split { separator, right, left_count, right_count }) = split {
            let right = Child { page: Ref::arena(right), checksum: 0, count: right_count };
            let fixed = child_bytes(right);
            let Some(Step { slot, index }) = self.path.pop() else {
                return self.new_root(bucket, &separator, left_count, &fixed);
            };
            let bytes = self.pages.page_mut(slot);
            let left = Page::new(bytes).child(index);
            set_child(bytes, index, Child { count: left_count, ..left });
            if edit::insert(bytes, index + 1, &separator, &fixed, &[]) {
                return Ok(());
            }
            let new = Entry { prefix: &[], suffix: &separator, fixed: &fixed, value: &[] };
            split = self.rebuild(slot, index + 1, false, new, ascending)?;
        }
        Ok(())
    }

    fn new_root(&mut self, bucket: Bucket, separator: &[u8], count: u64, right: &[u8]) -> Result<(), Error> {
        let root = self.roots[usize::from(bucket.0)];
        let left = child_bytes(Child { page: root.page, checksum: root.checksum, count });
        let slot = self.pages.alloc(1)?;
        let both = [
            Entry { prefix: &[], suffix: &[], fixed: &left, value: &[] },
            Entry { prefix: &[], suffix: separator, fixed: right, value: &[] },
        ];
        let built = build(self.pages.page_mut(slot), Shape::at(bucket.0, root.level + 1), &both, 0);
        assert!(built, "two children fit in a page");
        let (page, level) = (Ref::arena(slot), root.level + 1);
        self.roots[usize::from(bucket.0)] = Root { page, checksum: 0, level, count: root.count };
        Ok(())
    }

    /// After a removal: frees what is empty and merges what is nearly so, from the leaf up.
    fn shrink(&mut self, bucket: Bucket, leaf: u32) -> Result<(), Error> {
        let mut slot = leaf;
        while let Some(Step { slot: parent, index }) = self.path.pop() {
            let page = self.arena_page(slot);
            if page.len() == 0 {
                self.pages.retire_slots(slot, 1);
                edit::remove_child(self.pages.page_mut(parent), index);
            } else if page.used() >= MERGE_BELOW_BYTES || !self.merge(parent, index, slot)? {
                break;
            }
            slot = parent;
        }
        // The root: gone when empty, and no higher than it must be.
        loop {
            let root = self.roots[usize::from(bucket.0)];
            let Some(slot) = root.page.slot() else { return Ok(()) };
            let page = self.arena_page(slot);
            let below = match page.len() {
                0 => Root::EMPTY,
                1 if root.level > 0 => {
                    let Child { page, checksum, .. } = page.child(0);
                    Root { page, checksum, level: root.level - 1, count: root.count }
                }
                _ => return Ok(()),
            };
            self.pages.retire_slots(slot, 1);
            self.roots[usize::from(bucket.0)] = below;
        }
    }

    /// Takes a neighbor's entries into the page in `slot`, which is child `index` of `parent`, if they fit.
    fn merge(&mut self, parent: u32, index: usize, slot: u32) -> Result<bool, Error> {
        let children = self.arena_page(parent).len();
        let neighbors = [Some(index + 1), index.checked_sub(1)];
        for neighbor in neighbors.into_iter().flatten().filter(|neighbor| *neighbor < children) {
            let (above, own) = (self.arena_page(parent), self.arena_page(slot));
            let child = above.child(neighbor);
            let (bucket, level) = (own.bucket(), own.level());
            let other = self.page(Expect { page: child.page, checksum: child.checksum, bucket, level })?;
            let (left, right) = if neighbor > index { (own, other) } else { (other, own) };
            let mut all = Vec::with_capacity(left.len() + right.len());
            entries(left, &mut all);
            let middle = all.len();
            entries(right, &mut all);
            if level > 0 {
                // The first separator of the right page is known to its parent only.
                let Entry { prefix, suffix, .. } = entry(above, index.max(neighbor));
                all[middle] = Entry { prefix, suffix, ..all[middle] };
            }
            let mut merged = [0; PAGE_BYTES];
            if !build(&mut merged, Shape::at(bucket, level), &all, MERGE_SLACK_BYTES) {
                continue;
            }
            let (count, generation) =
                (child.count.wrapping_add(above.child(index).count), other.generation());
            self.pages.page_mut(slot).copy_from_slice(&merged);
            match child.page.slot() {
                Some(slot) => self.pages.retire_slots(slot, 1),
                None => self.pages.retire_file(child.page.0, 1, generation),
            }
            let bytes = self.pages.page_mut(parent);
            let merged = Child { page: Ref::arena(slot), checksum: 0, count };
            set_child(bytes, index.min(neighbor), merged);
            edit::remove_child(bytes, index.max(neighbor));
            return Ok(true);
        }
        Ok(false)
    }

    fn page(&self, expect: Expect) -> Result<Page<'_>, Error> {
        self.shared.page(expect)
    }

    pub(super) fn write_run(&mut self, value: &[u8]) -> Result<RunRef, Error> {
        let pages = run_pages(value.len());
        let slot = self.pages.alloc(pages)?;
        let (head, rest) = self.pages.run_mut(slot, pages).split_at_mut(RUN_HEADER_BYTES);
        head.fill(0);
        let len = u32::try_from(value.len()).expect("values are below 64 MiB");
        put_u32(head, 4, len);
        rest[..value.len()].copy_from_slice(value);
        rest[value.len()..].fill(0);
        Ok(RunRef { page: Ref::arena(slot), len, checksum: 0 })
    }

    pub(super) fn retire_run(&mut self, run: RunRef) -> Result<(), Error> {
        match run.page.slot() {
            Some(slot) => self.pages.retire_slots(slot, run.pages()),
            None => {
                let generation = self.shared.run_generation(run)?;
                self.pages.retire_file(run.page.0, run.pages(), generation);
            }
        }
        Ok(())
    }
}

fn create(file: &dyn File, shared: &Shared) -> Result<Meta, Error> {
    let meta = Meta::empty();
    let bytes = 2 * PAGE_BYTES as u64;
    file.set_len(bytes).map_err(|e| Error::growing(shared.name(), bytes, bytes, e))?;
    shared.set_file_pages(2);
    let mut first = PageBuffer::new(PAGE_BYTES).map_err(|e| Error::io("reserve memory", 0, e))?;
    first.push(&meta.encode());
    file.write_at(0, first.filled()).map_err(|e| Error::io("write", 0, e))?;
    file.sync().map_err(|e| Error::io("sync", 0, e))?;
    Ok(meta)
}

fn check_limit(what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found > limit {
        return Err(Error::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}
