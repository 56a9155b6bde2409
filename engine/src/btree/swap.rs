//! Taking over what a checkpoint wrote, a slice at a time while the writer goes on.
//!
//! A checkpoint has put copies of arena pages into the file. The swap walks the working state by key, bucket after
//! bucket, and makes references to such pages lead into the file. Between two slices anything may happen to the
//! tree; what holds is
//!
//! > every reference to a placed page covers keys that end beyond the position.
//!
//! It holds behind the walk, because a reference is swapped when the walk passes it, or because it was looked at and
//! leads elsewhere. It goes on holding, because no change moves the end of what a reference covers to the left, and
//! none makes a new reference to a placed page but by moving one with its separator: a split moves references to a
//! new page, a merge into an older one, and the removal of a neighbor only widens what is left. So the walk goes on at
//! the position's key, whatever page that is in by now, looks at what is on the way down, too, and at everything to
//! the right.
//!
//! A placed branch goes as a whole: its copy in the file refers to the copies of what is below.
//!
//! When the walk is through, nobody but views refers to a placed slot. Those that the writer had let go of on its own
//! were changed meanwhile: their copies in the file belong to the durable state alone. Until then the checkpoint's
//! view stays pinned, so that no placed slot is used for something else.

use crate::error::Error;

use super::Tree;
use super::checkpoint::{CheckpointDone, Placed};
use super::edit::{entry, set_child, set_run};
use super::meta::Root;
use super::page::{Child, Ref, RunRef};
use super::read::ReadTxn;
use super::shared::Expect;

/// What is left of a checkpoint to take over.
pub(crate) struct Swap {
    /// The checkpoint's view: keeps placed slots from being taken for something else.
    txn: ReadTxn,
    /// Where each slot went, by slot: page (0: nowhere) and checksum.
    places: Vec<(u32, u32)>,
    /// What has not been let go of yet.
    placed: Vec<Placed>,
    bucket: usize,
    /// Keys below are done in this bucket.
    position: Option<Vec<u8>>,
}

impl Swap {
    fn place_of(&self, slot: u32) -> Option<(Ref, u32)> {
        let (page, checksum) = self.places.get(slot as usize).copied()?;
        (page != 0).then_some((Ref(page), checksum))
    }
}

/// A reference after a visit, and where to go on if the slice ended in there.
struct Visited {
    page: Ref,
    checksum: u32,
    stopped_at: Option<Vec<u8>>,
}

impl Tree {
    /// Takes over what a checkpoint wrote; [`Tree::swap_slice`] does the rest. Its state is durable, pages that are in
    /// no newer one become free, and the next checkpoint begins when the last slice is done.
    pub(crate) fn swap_begin(&mut self, done: CheckpointDone) {
        let CheckpointDone { txn, space, meta, map, placed, places } = done;
        assert!(self.swap.is_none() && self.checkpoint_runs, "one checkpoint at a time");
        self.pages.return_space(space, meta.generation);
        self.durable_epoch = txn.view.epoch;
        self.durable = meta;
        self.checkpoint_wanted = false;
        self.durable_map = map;
        self.swap = Some(Swap { txn, places, placed, bucket: 0, position: None });
    }

    /// Looks at up to `max_pages` pages for references to swap, or lets go of as many that were; whether there is
    /// more. Whoever publishes afterwards shows readers the same contents.
    pub(crate) fn swap_slice(&mut self, max_pages: usize) -> Result<bool, Error> {
        let Some(mut swap) = self.swap.take() else { return Ok(false) };
        let mut budget = max_pages.max(1);
        while budget > 0 && swap.bucket < self.roots.len() {
            self.swap_bucket(&mut swap, &mut budget)?;
        }
        if swap.bucket == self.roots.len() {
            self.let_go(&mut swap, budget);
        }
        if swap.bucket < self.roots.len() || !swap.placed.is_empty() {
            self.swap = Some(swap);
            return Ok(true);
        }
        self.swapped_epoch = self.pages.epoch();
        self.checkpoint_runs = false;
        drop(swap);
        self.pages.sweep();
        self.pages.release(super::epochs::RELEASE_SLOTS_AT_PUBLISH);
        Ok(false)
    }

    fn swap_bucket(&mut self, swap: &mut Swap, budget: &mut usize) -> Result<(), Error> {
        let root = self.roots[swap.bucket];
        let mut stopped_at = None;
        if let Some(slot) = root.page.slot() {
            let from = swap.position.take();
            let visited = self.swap_below(slot, swap, from.as_deref(), budget)?;
            let Visited { page, checksum, .. } = visited;
            self.roots[swap.bucket] = Root { page, checksum, ..root };
            stopped_at = visited.stopped_at;
        } else {
            *budget -= 1;
        }
        if stopped_at.is_none() {
            swap.bucket += 1;
        }
        swap.position = stopped_at;
        Ok(())
    }

    /// The file's place of what is in `slot`, or `slot` itself (or its private copy) with references to placed pages
    /// swapped, from the one that covers `from` on. The depth is the tree's.
    fn swap_below(
        &mut self,
        slot: u32,
        swap: &Swap,
        from: Option<&[u8]>,
        budget: &mut usize,
    ) -> Result<Visited, Error> {
        if let Some((page, checksum)) = swap.place_of(slot) {
            return Ok(Visited { page, checksum, stopped_at: None });
        }
        *budget = budget.saturating_sub(1);
        let mut slot = slot;
        let page = self.arena_page(slot);
        if page.is_leaf() {
            for index in 0..page.len() {
                let Some(run) = self.arena_page(slot).run(index) else { continue };
                let Some((page, checksum)) = run.page.slot().and_then(|slot| swap.place_of(slot)) else {
                    continue;
                };
                slot = self.private_copy(slot)?;
                set_run(self.pages.page_mut(slot), index, RunRef { page, checksum, len: run.len });
            }
            return Ok(Visited { page: Ref::arena(slot), checksum: 0, stopped_at: None });
        }
        let first = from.map_or(0, |key| page.child_for(key));
        #[cfg(test)]
        let first = if self.options.planted == super::Planted::SwapSkips && from.is_some() {
            (first + 1).min(page.len() - 1)
        } else {
            first
        };
        for index in first..page.len() {
            let child = self.arena_page(slot).child(index);
            let mut stopped_at = None;
            if let Some(below) = child.page.slot() {
                // Only the first one can be behind the position in part.
                let from = from.filter(|_| index == first);
                let visited = self.swap_below(below, swap, from, budget)?;
                let Visited { page, checksum, .. } = visited;
                if page != child.page {
                    slot = self.private_copy(slot)?;
                    set_child(self.pages.page_mut(slot), index, Child { page, checksum, count: child.count });
                }
                stopped_at = visited.stopped_at;
            }
            let page = self.arena_page(slot);
            if stopped_at.is_none() && *budget == 0 && index + 1 < page.len() {
                stopped_at = Some(entry(page, index + 1).key());
            }
            if stopped_at.is_some() {
                return Ok(Visited { page: Ref::arena(slot), checksum: 0, stopped_at });
            }
        }
        Ok(Visited { page: Ref::arena(slot), checksum: 0, stopped_at: None })
    }

    fn let_go(&mut self, swap: &mut Swap, most: usize) {
        let epoch = swap.txn.view.epoch;
        // Cheaper than looking at a page.
        let from = swap.placed.len().saturating_sub(most.saturating_mul(8));
        for placed in swap.placed.drain(from..) {
            if self.pages.is_retired(placed.slot) {
                // Changed meanwhile: the file's copy belongs to the durable state alone.
                self.pages.retire_unseen(placed.page, placed.pages, epoch);
            } else {
                self.pages.retire_slots(placed.slot, placed.pages);
            }
        }
    }

    fn private_copy(&mut self, slot: u32) -> Result<u32, Error> {
        // Neither checksum nor level is looked at for a page of the arena that is only copied.
        self.privately(Expect { page: Ref::arena(slot), checksum: 0, bucket: 0, level: 0 })
    }
}
