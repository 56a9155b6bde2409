//! Who may still see a page: views, their epochs, and pages that wait to become free.
//!
//! The writer builds *epoch* T while views of earlier epochs are being read. A page that leaves the working state
//! was seen by the views from its birth to T - 1. It is parked with the youngest of those that is still held, and
//! looked at again when that one goes: so a page moves at most once per view that holds it up, and a view that is
//! older than the page does not. A page of the file waits first for a checkpoint that no longer contains it.
//!
//! Whatever becomes of many pages at once (a view goes that held them, a checkpoint ends) queues up and is looked at
//! a part at a time, so that no publish has to do much more than the batch before it did.

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
    /// Those of them that the checkpoint under way does not contain.
    leaving: Vec<Garbage>,
    /// Pages whose last known obstacle is gone.
    settling: Vec<Vec<Garbage>>,
    /// Pages that left the working state since the last sweep: it settles more than came in.
    came_in: usize,
    /// Where the next sweep goes on.
    sweep_at: usize,
    /// Free pages of the file; a running checkpoint has it.
    space: Option<Space>,
    /// Pages that are not free, or were not when the free ones were lent.
    taken_pages: u64,
    /// Pages freed meanwhile.
    freed: Vec<(u32, u32)>,
    /// Pages of the file that left the working state in a published epoch and are not free yet: whoever opens the
    /// next checkpoint finds them free.
    unseen: Space,
    /// Those that left it in the epoch being built.
    unseen_soon: Vec<(u32, u32)>,
    /// What contradicts itself in the file: a page was given back that nobody can have had.
    damage: Option<u32>,
    /// From which epoch on the pages of a generation are referred to.
    generations: Vec<(u64, u64)>,
    #[cfg(test)]
    planted: super::Planted,
}

/// Slots by which the arena grows.
const SLOTS_STEP: u32 = 1024;
/// Free slots that keep their memory for the next puts.
const WARM_SLOTS: u64 = 4096;
/// Slots whose memory is given back in one step, and in one publish: 25 us and 6 us.
pub(crate) const RELEASE_SLOTS: u32 = 256;
pub(crate) const RELEASE_SLOTS_AT_PUBLISH: u32 = 64;
/// Views a sweep looks at, and pages it settles beyond twice those that came in.
const SWEEP_VIEWS: usize = 256;
const SETTLE_PAGES: usize = 1024;

impl Epochs {
    /// `view` is the state found on disk.
    pub(crate) fn new(arena: ArenaWriter, most_slots: u32, view: Arc<View>, space: Space) -> Self {
        let (taken_pages, unseen) = (space.pages() - space.free_pages(), Space::new(space.pages()));
        Epochs {
            arena,
            slots: Space::new(0),
            warm: Space::new(0),
            most_slots,
            retired: Vec::new(),
            dirty: 0,
            pins: vec![Pin { view, garbage: Vec::new() }],
            awaiting: Vec::new(),
            leaving: Vec::new(),
            settling: Vec::new(),
            came_in: 0,
            sweep_at: 0,
            space: Some(space),
            taken_pages,
            freed: Vec::new(),
            unseen,
            unseen_soon: Vec::new(),
            damage: None,
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

    /// Older views that somebody holds, oldest first.
    pub(crate) fn held(&self) -> impl Iterator<Item = &View> {
        let older = &self.pins[..self.pins.len() - 1];
        older.iter().filter(|pin| Arc::strong_count(&pin.view) > 1).map(|pin| &*pin.view)
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
        self.came_in += pages as usize;
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
        self.unseen_soon.push((page, pages));
        self.came_in += pages as usize;
        self.awaiting.push(garbage);
    }

    /// Pages that the checkpoint of `epoch` wrote and nobody will refer to: free after the next one.
    pub(crate) fn retire_unseen(&mut self, page: u32, pages: u32, epoch: u64) {
        let retired = epoch + 1;
        self.note_unseen(page, pages);
        self.awaiting.push(Garbage { page: Ref(page), pages, birth: retired, retired });
    }

    /// A file whose free map or references are forged gives the same page back twice: the first contradiction is
    /// kept for [`Epochs::damage`], and the page stays out of use.
    fn note_unseen(&mut self, page: u32, pages: u32) {
        self.unseen.extend(u64::from(page) + u64::from(pages));
        if let Err(page) = self.unseen.try_free(page, pages) {
            self.damage.get_or_insert(page);
        }
    }

    /// The page of the file that was found to be in use twice, or in use and free.
    pub(crate) fn damage(&self) -> Option<u32> {
        self.damage
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
            (None, Some(_)) => self.free_file(garbage.page.0, garbage.pages),
            (None, None) => self.freed.push((garbage.page.0, garbage.pages)),
        }
    }

    fn free_file(&mut self, page: u32, pages: u32) {
        let space = self.space.as_mut().expect("the free pages are here");
        // Pages of the free map were never anybody's.
        for page in page..page + pages {
            if self.unseen.is_free(page) {
                self.unseen.take(page, 1);
            }
        }
        if let Err(page) = space.try_free(page, pages) {
            self.damage.get_or_insert(page);
        }
        self.taken_pages = space.pages() - space.free_pages();
    }

    /// Pins a view of the epoch being built and begins the next one.
    pub(crate) fn publish(&mut self, view: Arc<View>) {
        assert_eq!(view.epoch, self.epoch(), "views are published in order");
        self.pins.push(Pin { view, garbage: Vec::new() });
        self.arena.publish();
        for (page, pages) in std::mem::take(&mut self.unseen_soon) {
            self.note_unseen(page, pages);
        }
        self.sweep();
    }

    /// Drops views that nobody holds, and frees what waited for them alone; not all at once where there are many.
    /// Whether there is more.
    pub(crate) fn sweep(&mut self) -> bool {
        let from = self.sweep_at.min(self.pins.len() - 1);
        let to = (from + SWEEP_VIEWS).min(self.pins.len() - 1);
        // `get_mut` answers only when this is the last holder, and after everything the others read.
        let unheld = |pin: &mut Pin| Arc::get_mut(&mut pin.view).is_some();
        let mut gone = Vec::new();
        let mut kept = 0;
        for at in from..to {
            if unheld(&mut self.pins[at]) {
                gone.push(std::mem::take(&mut self.pins[at].garbage));
            } else {
                self.pins.swap(from + kept, at);
                kept += 1;
            }
        }
        self.pins.drain(from + kept..to);
        // Behind the last one begins the next round: readers let go of the newest view with the next publish only.
        self.sweep_at = if from + kept + 1 < self.pins.len() { from + kept } else { 0 };
        self.settling.extend(gone.into_iter().filter(|garbage| !garbage.is_empty()));
        let budget = SETTLE_PAGES + 2 * std::mem::take(&mut self.came_in);
        self.settle(budget);
        let oldest = self.pins[0].view.epoch;
        let outdated = self.generations.partition_point(|(_, epoch)| *epoch <= oldest);
        // A generation that is forgotten counts as older than every view, and these are.
        self.generations.drain(..outdated);
        !self.settling.is_empty() || (self.space.is_some() && !self.freed.is_empty())
    }

    fn settle(&mut self, mut pages: usize) {
        while pages > 0 && self.space.is_some() {
            let Some((page, run)) = self.freed.pop() else { break };
            self.free_file(page, run);
            pages = pages.saturating_sub(run as usize);
        }
        while pages > 0 {
            let Some(garbage) = self.settling.last_mut() else { return };
            match garbage.pop() {
                Some(garbage) => {
                    pages = pages.saturating_sub(garbage.pages as usize);
                    self.park(garbage);
                }
                None => drop(self.settling.pop()),
            }
        }
    }

    /// Gives memory of free slots back to the system, at most so many; whether there is more. Where the system does
    /// not take it, it stays ours, and serves later puts.
    pub(crate) fn release(&mut self, most: u32) -> bool {
        let used = self.slots.pages() - self.slots.free_pages();
        let from = u32::try_from(used + WARM_SLOTS).expect("slots have 31 bits");
        let Some((slot, pages)) = self.warm.first_run(from, most) else { return false };
        self.warm.take(slot, pages);
        self.arena.release(slot, pages).is_ok()
    }

    /// Pages of the arena that hold something: changes since the last checkpoint, and what views still see.
    pub(crate) fn slots_in_use(&self) -> u64 {
        self.slots.pages() - self.slots.free_pages()
    }

    /// Pages of the file that the working state refers to, as far as is known: a running checkpoint takes more.
    pub(crate) fn pages_in_use(&self) -> u64 {
        self.taken_pages.saturating_sub(self.unseen.free_pages())
    }

    /// The free pages of the file; none while a checkpoint has them.
    pub(crate) fn space(&self) -> Option<&Space> {
        self.space.as_ref()
    }

    /// Has the file end behind its last page in use, but not before `least` pages; whether that is shorter. Nothing is
    /// known while a checkpoint has the free pages.
    pub(crate) fn shorten_space(&mut self, least: u64) -> Option<bool> {
        let space = self.space.as_mut()?;
        let end = space.used_end().max(least);
        let shorter = end < space.pages();
        if shorter {
            space.truncate(end);
        }
        Some(shorter)
    }

    /// Whether pages of the file at or beyond `page` wait for a view or a checkpoint to let go of them.
    pub(crate) fn waits_beyond(&self, page: u32) -> bool {
        self.unseen.first_run(page, 1).is_some() || self.unseen_soon.iter().any(|(first, _)| *first >= page)
    }

    /// Hands the free pages to a checkpoint of the newest view, with those that will be free in its eyes though a
    /// reader or the last checkpoint still holds them.
    pub(crate) fn lend_space(&mut self) -> Option<(Space, Space)> {
        let epoch = self.newest().epoch;
        let space = self.space.take()?;
        let stay = self.awaiting.iter().rposition(|garbage| garbage.retired <= epoch).map_or(0, |at| at + 1);
        let later = self.awaiting.split_off(stay);
        self.leaving = std::mem::replace(&mut self.awaiting, later);
        Some((space, self.unseen.clone()))
    }

    /// Takes the free pages of a checkpoint back that came to nothing.
    pub(crate) fn take_back(&mut self, space: Space) {
        self.taken_pages = space.pages() - space.free_pages();
        self.space = Some(space);
        let since = std::mem::replace(&mut self.awaiting, std::mem::take(&mut self.leaving));
        self.awaiting.extend(since);
    }

    /// Takes the free pages back. Their checkpoint is durable as `generation`; its pages are referred to from now on.
    pub(crate) fn return_space(&mut self, space: Space, generation: u64) {
        self.taken_pages = space.pages() - space.free_pages();
        self.space = Some(space);
        self.generations.push((generation, self.arena.epoch()));
        self.settling.push(std::mem::take(&mut self.leaving));
    }
}
