//! Who may still see a page: views, their epochs, and pages that wait to become free.
//!
//! The writer builds *epoch* T while views of earlier epochs are being read. A page that leaves the working state
//! was seen by the views from its birth to T - 1. It is parked with the youngest of those that is still held, and
//! looked at again when that one goes: so a page moves at most once per view that holds it up, and a view that is
//! older than the page does not. A page of the file waits first for a checkpoint that no longer contains it.

use std::sync::Arc;

use crate::error::Error;
use crate::mmap::{ArenaWriter, PageBytes};

use super::page::Ref;
use super::read::View;
use super::space::Space;

/// Pages that left the working state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Garbage {
    pub(crate) page: Ref,
    pub(crate) pages: u32,
    /// The first epoch that saw it, or an earlier one.
    birth: u64,
    /// The first epoch that does not see it.
    retired: u64,
}

struct Pin {
    view: Arc<View>,
    garbage: Vec<Garbage>,
}

/// The writer's pages: arena slots, pages of the file, and everything in between.
pub(crate) struct Epochs {
    arena: ArenaWriter,
    /// Free slots of the arena.
    slots: Space,
    /// Those of them that still hold memory of the system.
    warm: Space,
    most_slots: u32,
    /// By slot: whether the working state has let go of it.
    retired: Vec<bool>,
    /// Pages of the arena that the working state can reach.
    dirty: usize,
    /// Published views by epoch; the last one is the newest and stays even when nobody holds it.
    pins: Vec<Pin>,
    /// Pages of the file that the last completed checkpoint still contains.
    awaiting: Vec<Garbage>,
    /// Free pages of the file; a running checkpoint has it.
    space: Option<Space>,
    /// Pages freed meanwhile.
    freed: Vec<(u32, u32)>,
    /// From which epoch on the pages of a generation are referred to.
    generations: Vec<(u64, u64)>,
    #[cfg(test)]
    planted: super::Planted,
}

/// Slots by which the arena grows.
const SLOTS_STEP: u32 = 1024;
/// Free slots that keep their memory for the next puts.
const WARM_SLOTS: u64 = 4096;
/// Slots whose memory is given back in one step.
const RELEASE_SLOTS: u32 = 1024;

impl Epochs {
    /// `view` is the state found on disk.
    pub(crate) fn new(arena: ArenaWriter, most_slots: u32, view: Arc<View>, space: Space) -> Self {
        Epochs {
            arena,
            slots: Space::new(0),
            warm: Space::new(0),
            most_slots,
            retired: Vec::new(),
            dirty: 0,
            pins: vec![Pin { view, garbage: Vec::new() }],
            awaiting: Vec::new(),
            space: Some(space),
            freed: Vec::new(),
            generations: Vec::new(),
            #[cfg(test)]
            planted: super::Planted::Nothing,
        }
    }

    #[cfg(test)]
    pub(crate) fn plant(mut self, planted: super::Planted) -> Self {
        self.planted = planted;
        self
    }

    /// The epoch being built.
    pub(crate) fn epoch(&self) -> u64 {
        self.arena.epoch()
    }

    /// Pages of the arena that the working state can reach.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty
    }

    /// The newest published view.
    pub(crate) fn newest(&self) -> &Arc<View> {
        &self.pins.last().expect("the newest view is never dropped").view
    }

    /// Whether only the writer has seen this slot.
    pub(crate) fn is_private(&self, slot: u32) -> bool {
        self.arena.birth(slot) == self.arena.epoch()
    }

    pub(crate) fn page_mut(&mut self, slot: u32) -> &mut PageBytes {
        self.arena.page_mut(slot)
    }

    pub(crate) fn run_mut(&mut self, slot: u32, pages: u32) -> &mut [u8] {
        self.arena.run_mut(slot, pages)
    }

    /// The arena's writer, for runs that grow in place.
    pub(crate) fn arena(&mut self) -> &mut ArenaWriter {
        &mut self.arena
    }

    /// Takes consecutive slots for the epoch being built.
    pub(crate) fn alloc(&mut self, pages: u32) -> Result<u32, Error> {
        loop {
            let slot = if pages == 1 { self.slots.alloc() } else { self.slots.alloc_run(pages) };
            if let Some(slot) = slot {
                for slot in slot..slot + pages {
                    if self.warm.is_free(slot) {
                        self.warm.take(slot, 1);
                    }
                    self.retired[slot as usize] = false;
                }
                self.arena.take(slot, pages);
                self.dirty += pages as usize;
                return Ok(slot);
            }
            let old = self.slots.pages() as u32;
            let more = SLOTS_STEP.max(pages).min(self.most_slots - old);
            if more == 0 || (more < pages) {
                let (found, limit) = (u64::from(old) + u64::from(pages), u64::from(self.most_slots));
                return Err(Error::Limit { what: "pages changed since the last checkpoint", found, limit });
            }
            self.slots.extend(u64::from(old + more));
            self.slots.free(old, more);
            self.warm.extend(u64::from(old + more));
            self.retired.resize((old + more) as usize, false);
        }
    }

    /// The working state no longer refers to these slots.
    pub(crate) fn retire_slots(&mut self, slot: u32, pages: u32) {
        if self.retired[slot as usize] {
            panic!("slot {slot} leaves the working state once");
        }
        self.retired[slot as usize] = true;
        self.dirty -= pages as usize;
        let (birth, retired) = (self.arena.birth(slot), self.arena.epoch());
        self.park(Garbage { page: Ref::arena(slot), pages, birth, retired });
    }

    /// Whether the working state has let go of a slot that a view still holds.
    pub(crate) fn is_retired(&self, slot: u32) -> bool {
        self.retired[slot as usize]
    }

    /// The working state no longer refers to these pages of the file, written in `generation`.
    pub(crate) fn retire_file(&mut self, page: u32, pages: u32, generation: u64) {
        let known = self.generations.iter().find(|(known, _)| *known == generation);
        let birth = known.map_or(0, |(_, epoch)| *epoch);
        let garbage = Garbage { page: Ref(page), pages, birth, retired: self.arena.epoch() };
        #[cfg(test)]
        if self.planted == super::Planted::ReuseBeforeDurable {
            return self.park(garbage);
        }
        self.awaiting.push(garbage);
    }

    /// Pages that the checkpoint of `epoch` wrote and nobody will refer to: free after the next one.
    pub(crate) fn retire_unseen(&mut self, page: u32, pages: u32, epoch: u64) {
        let retired = epoch + 1;
        self.awaiting.push(Garbage { page: Ref(page), pages, birth: retired, retired });
    }

    fn park(&mut self, garbage: Garbage) {
        #[cfg(test)]
        if self.planted == super::Planted::ReuseUnderReader {
            return self.free(garbage);
        }
        let seen_by = self.pins.partition_point(|pin| pin.view.epoch < garbage.retired);
        match self.pins[..seen_by].last_mut() {
            Some(pin) if pin.view.epoch >= garbage.birth => pin.garbage.push(garbage),
            _ => self.free(garbage),
        }
    }

    fn free(&mut self, garbage: Garbage) {
        match (garbage.page.slot(), &mut self.space) {
            (Some(slot), _) => {
                self.arena.free(slot, garbage.pages);
                self.slots.free(slot, garbage.pages);
                self.warm.free(slot, garbage.pages);
            }
            (None, Some(space)) => space.free(garbage.page.0, garbage.pages),
            (None, None) => self.freed.push((garbage.page.0, garbage.pages)),
        }
    }

    /// Pins a view of the epoch being built and begins the next one.
    pub(crate) fn publish(&mut self, view: Arc<View>) {
        assert_eq!(view.epoch, self.epoch(), "views are published in order");
        self.pins.push(Pin { view, garbage: Vec::new() });
        self.arena.publish();
        self.sweep();
    }

    /// Drops views that nobody holds, and frees what waited for them alone.
    pub(crate) fn sweep(&mut self) {
        let mut at = 0;
        while at + 1 < self.pins.len() {
            // `get_mut` answers only when this is the last holder, and after everything the others read.
            if Arc::get_mut(&mut self.pins[at].view).is_none() {
                at += 1;
                continue;
            }
            for garbage in self.pins.remove(at).garbage {
                self.park(garbage);
            }
        }
        let oldest = self.pins[0].view.epoch;
        let outdated = self.generations.partition_point(|(_, epoch)| *epoch <= oldest);
        // A generation that is forgotten counts as older than every view, and these are.
        self.generations.drain(..outdated);
    }

    /// Gives memory of free slots back to the system, a slice at a time; whether there is more. Where the system
    /// does not take it, it stays ours, and serves later puts.
    pub(crate) fn release(&mut self) -> bool {
        let used = self.slots.pages() - self.slots.free_pages();
        let from = u32::try_from(used + WARM_SLOTS).expect("slots have 31 bits");
        let Some((slot, pages)) = self.warm.runs(from).next() else { return false };
        let pages = pages.min(RELEASE_SLOTS);
        self.warm.take(slot, pages);
        self.arena.release(slot, pages).is_ok()
    }

    /// Pages of the file that are free now, or known to be no part of any state but older ones.
    pub(crate) fn free_pages(&self) -> Option<u64> {
        self.space.as_ref().map(Space::free_pages)
    }

    /// Hands the free pages to a checkpoint of the view of `epoch`, with those that will be free in its eyes though
    /// a reader or the last checkpoint still holds them.
    pub(crate) fn lend_space(&mut self, epoch: u64) -> Option<(Space, Vec<(u32, u32)>)> {
        let space = self.space.take()?;
        let parked = self.pins.iter().flat_map(|pin| &pin.garbage).chain(&self.awaiting);
        let unseen = parked.filter(|garbage| garbage.page.slot().is_none() && garbage.retired <= epoch);
        Some((space, unseen.map(|garbage| (garbage.page.0, garbage.pages)).collect()))
    }

    /// Takes the free pages back. State `epoch` is durable as `generation`; its pages are referred to from now on.
    pub(crate) fn return_space(&mut self, mut space: Space, epoch: u64, generation: u64) {
        for (page, pages) in self.freed.drain(..) {
            space.free(page, pages);
        }
        self.space = Some(space);
        self.generations.push((generation, self.arena.epoch()));
        let awaiting = std::mem::take(&mut self.awaiting);
        for garbage in awaiting {
            if garbage.retired <= epoch {
                self.park(garbage);
            } else {
                self.awaiting.push(garbage);
            }
        }
    }
}
