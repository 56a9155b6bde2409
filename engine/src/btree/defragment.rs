//! Making the file shorter while it is in use.
//!
//! What lies beyond the *target* length is made dirty, and the next checkpoint writes it anew, into the lowest free
//! pages there are. When everything beyond is free, the free map is told that the file ends earlier, and when both meta
//! pages say so, the file is cut. A round goes like this:
//!
//! 1. *Plan*: the target is what is in use and a little more, for the next changes to be written to.
//! 2. *Move*: a walk by key over all buckets, which resumes at a key and so is indifferent to what happens between two
//!    slices (`swap` has the argument). A page beyond the target is copied to memory with the branches above it, a
//!    run as a whole. Only so much at a time, then a checkpoint has to come. What finds no hole stays where it is.
//! 3. *Settle*: a checkpoint that contains the last move completes, and views of before go. What a view goes on seeing
//!    is not waited for long: the file keeps what it sees.
//! 4. *Cut*: the free map ends behind the last page in use. The checkpoint after that leaves one meta page that knows of
//!    a longer file, the second none, and having written it, cuts the file.
//!
//! Moving makes room: the branches above a moved page were in the way of something else. So there are rounds until
//! another one would change little.
//!
//! # Why a crash at any point is harmless
//!
//! Up to the cut nothing is done that changes do not do, too. The file is cut only to what is the end of the states in
//! *both* meta pages, so that either can be opened, and nobody can see pages beyond: those were in the free map,
//! where a page gets when no durable state and no view contains it. Where the end comes between the free map and the cut,
//! the file is longer than the free map knows: the next *plan* sees that, and begins with the cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::schema::Bucket;

use super::Tree;
use super::edit::{entry, set_run};
use super::page::{Page, Ref, RunRef, Value};
use super::read::BucketView;
use super::space::{Search, Space};
use super::warm::{MoveAhead, Warm};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defragment {
    More,
    NeedsCheckpoint,
    Done,
}

/// Pages made dirty between two checkpoints: 16 MiB.
const MOST_MOVED: usize = 4096;
/// Looking at a page, or moving it, takes as long as looking at so many holes.
const LOOKS_PER_PAGE: usize = 64;
/// Checkpoints to wait for views that hold the end of the file.
const MOST_HELD: u32 = 16;
const MOST_ROUNDS: u32 = 8;
/// A file that is longer than it could be by less than this part of it is left alone; so it is by less pages.
const WORTH: u64 = 32;
const WORTH_PAGES: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Plan,
    Move,
    Settle,
    /// The generation that did not know of the cut yet.
    Cut(u64),
}

/// A defragmentation under way.
pub(crate) struct Defragmenter {
    step: Step,
    /// Pages the file is to have.
    target: u64,
    /// Free pages when the last checkpoint ended, less those that what was moved since will take.
    holes: Space,
    /// Nothing of so many pages, or of more, finds a hole.
    no_hole: u32,
    /// By length: no hole of so many pages begins below.
    lowest: BTreeMap<u32, u32>,
    /// Holes that this slice may still look at.
    looks: usize,
    /// Those that were looked at.
    pub(super) looked: usize,
    bucket: usize,
    /// Keys below are done in this bucket.
    position: Vec<u8>,
    /// Pages made dirty since the last checkpoint.
    moved: usize,
    /// The epoch of the last move.
    last_move: u64,
    /// More holes are known when a checkpoint of this generation has completed.
    holes_with: Option<u64>,
    held: u32,
    rounds: u32,
    /// Pages of the file before this round.
    before: u64,
    /// What was read beforehand, if slices wait for that.
    warm: Option<Warm>,
}

/// A hole for what may be moved.
#[derive(Clone, Copy)]
enum Hole {
    At(u32),
    /// It stays where it is.
    None,
    /// So many were looked at that the slice is over.
    Later,
}

/// Where a walk has come.
enum Walked {
    /// Under this key something lies beyond the target.
    Beyond(Vec<u8>),
    /// The slice is over, or nothing further was read beforehand; it goes on here.
    Stopped(Vec<u8>),
    End,
}

impl Defragmenter {
    /// Whether the file is to be cut behind the next checkpoint and the one before it.
    pub(super) fn cuts(&self) -> bool {
        matches!(self.step, Step::Cut(_))
    }

    /// The hole these pages are to be moved to: the lowest one that is long enough, if they lie beyond the target and
    /// it is below, or lower than they are.
    fn hole_for(&mut self, page: Ref, pages: u32) -> Hole {
        let end = u64::from(page.0) + u64::from(pages);
        if page.slot().is_some() || page.is_none() || end <= self.target || pages >= self.no_hole {
            return Hole::None;
        }
        match self.lowest_hole(pages) {
            Hole::At(hole) if u64::from(hole) + u64::from(pages) > self.target.max(u64::from(page.0)) => {
                Hole::None
            }
            hole => hole,
        }
    }

    /// Holes only get fewer until there are new ones: a search goes on where one for as many pages, or less, ended.
    fn lowest_hole(&mut self, pages: u32) -> Hole {
        let known = self.lowest.range(..=pages).map(|(_, from)| *from).max().unwrap_or(0);
        let before = self.looks;
        let (from, hole) = match self.holes.lowest_run(pages, known, &mut self.looks) {
            Search::Found(hole) => (hole, Hole::At(hole)),
            Search::Until(from) => (from, Hole::Later),
            Search::None => {
                self.no_hole = pages;
                (known, Hole::None)
            }
        };
        self.looked += before - self.looks;
        self.lowest.insert(pages, from);
        hole
    }

    /// Whether what lies at a key was not read beforehand, though it should have been.
    fn is_cold(&self, key: &[u8]) -> bool {
        self.warm.as_ref().is_some_and(|warm| !warm.covers(self.bucket, key))
    }

    fn new_holes(&mut self, space: &Space) {
        self.holes = space.clone();
        self.no_hole = u32::MAX;
        self.lowest.clear();
        self.holes_with = None;
        self.moved = 0;
    }

    /// Takes the lowest page that is free, if it is below the target.
    fn take_page(&mut self) -> Option<u32> {
        let page = self.holes.alloc().filter(|page| u64::from(*page) < self.target);
        if page.is_none() {
            self.no_hole = 1;
        }
        page
    }

    /// Goes on at `position`, or with the next bucket.
    fn go_on(&mut self, position: Option<Vec<u8>>) {
        self.bucket += usize::from(position.is_none());
        self.position = position.unwrap_or_default();
    }
}

impl Tree {
    /// Begins to make the file shorter, from the start if that was under way.
    pub(crate) fn defragment_begin(&mut self) {
        self.defragmenter = Some(Defragmenter {
            step: Step::Plan,
            target: 0,
            holes: Space::new(0),
            no_hole: u32::MAX,
            lowest: BTreeMap::new(),
            looks: 0,
            looked: 0,
            bucket: 0,
            position: Vec::new(),
            moved: 0,
            last_move: 0,
            holes_with: None,
            held: 0,
            rounds: 0,
            before: u64::MAX,
            warm: None,
        });
    }

    /// From now on slices look at nothing that was not read beforehand: see `warm`.
    pub(crate) fn defragment_stays_warm(&mut self) {
        self.stays_warm = true;
    }

    /// Whether the next slice has nothing to do before more has been read.
    pub(crate) fn defragment_is_cold(&self) -> bool {
        self.defragmenter.as_ref().is_some_and(|run| run.step == Step::Move && run.is_cold(&run.position))
    }

    /// What is to be read next, on another thread and through a view of now or later.
    pub(crate) fn defragment_ahead(&self) -> Option<MoveAhead> {
        let run = self.defragmenter.as_ref().filter(|run| run.step == Step::Move)?;
        let begun = |warm: &&Warm| warm.is_begun(run.bucket, &run.position, self.roots.len());
        let warm = run.warm.as_ref().filter(begun)?;
        Some(warm.ahead(run.target, run.no_hole))
    }

    /// That has been read.
    pub(crate) fn defragment_warmed(&mut self, ahead: MoveAhead) {
        if let Some(warm) = self.defragmenter.as_mut().and_then(|run| run.warm.as_mut()) {
            warm.extend(ahead);
        }
    }

    /// Looks at up to `max_pages` pages, or moves as many (and one run, whatever its length), and looks at 64 times as
    /// many holes. After
    /// [`Defragment::NeedsCheckpoint`] one has to begin, and end, before there is more to do; it begins though nothing
    /// is new, if what was moved is published.
    pub(crate) fn defragment_slice(&mut self, max_pages: usize) -> Result<Defragment, Error> {
        self.check()?;
        let Some(mut run) = self.defragmenter.take() else { return Ok(Defragment::Done) };
        let next = match run.step {
            Step::Plan => self.plan(&mut run),
            Step::Move => self.move_slice(&mut run, max_pages.max(1))?,
            Step::Settle => self.settle(&mut run),
            Step::Cut(before) if self.durable.generation >= before + 2 => {
                run.step = Step::Plan;
                Defragment::More
            }
            Step::Cut(_) => Defragment::NeedsCheckpoint,
        };
        self.checkpoint_wanted |= next == Defragment::NeedsCheckpoint;
        if next != Defragment::Done {
            self.defragmenter = Some(run);
        }
        Ok(next)
    }

    fn plan(&mut self, run: &mut Defragmenter) -> Defragment {
        if self.pages.sweep() {
            return Defragment::More;
        }
        let dirty = self.pages.dirty() as u64;
        let Some(space) = self.pages.space() else { return Defragment::NeedsCheckpoint };
        let pages = space.pages();
        let worth = |shorter: u64, longer: u64| shorter + (longer / WORTH).max(WORTH_PAGES) <= longer;
        // The process ended, or this was begun anew, after the free map had been told and before the file was cut.
        if worth(pages, self.shared.file_pages()) {
            run.step = Step::Cut(self.durable.generation);
            return Defragment::NeedsCheckpoint;
        }
        let in_use = self.pages.pages_in_use() + dirty;
        let target = in_use + (in_use / 16).max(dirty) + WORTH_PAGES;
        if !worth(target, pages) || !worth(pages, run.before) || run.rounds == MOST_ROUNDS {
            return Defragment::Done;
        }
        run.new_holes(space);
        run.step = Step::Move;
        run.target = target;
        (run.bucket, run.position) = (0, Vec::new());
        (run.held, run.rounds, run.before) = (0, run.rounds + 1, pages);
        self.warm_rounds += 1;
        run.warm = self.stays_warm.then(|| Warm::new(self.warm_rounds));
        Defragment::More
    }

    fn move_slice(&mut self, run: &mut Defragmenter, max_pages: usize) -> Result<Defragment, Error> {
        let mut budget = max_pages;
        run.looks = max_pages.saturating_mul(LOOKS_PER_PAGE);
        while budget > 0 && run.looks > 0 {
            if let Some(generation) = run.holes_with {
                if self.durable.generation < generation || !self.moves_are_durable(run) {
                    return Ok(Defragment::NeedsCheckpoint);
                }
                if self.pages.sweep() {
                    return Ok(Defragment::More);
                }
                let Some(space) = self.pages.space() else { return Ok(Defragment::NeedsCheckpoint) };
                run.new_holes(space);
            }
            let full = run.no_hole <= 1 && self.pages.waits_beyond(0) && run.held < MOST_HELD;
            if run.moved >= MOST_MOVED || full {
                run.held += u32::from(full);
                run.holes_with = Some(self.durable.generation + 1);
                continue;
            }
            if run.bucket == self.roots.len() || run.no_hole <= 1 {
                run.step = Step::Settle;
                return Ok(Defragment::More);
            }
            if run.is_cold(&run.position) {
                return Ok(Defragment::More);
            }
            match self.walk(run, &mut budget)? {
                Walked::Beyond(key) => self.move_at(run, &key, &mut budget)?,
                Walked::Stopped(key) => run.position = key,
                Walked::End => run.go_on(None),
            }
        }
        Ok(Defragment::More)
    }

    fn moves_are_durable(&self, run: &Defragmenter) -> bool {
        self.durable_epoch >= run.last_move && !self.checkpoint_runs
    }

    fn settle(&mut self, run: &mut Defragmenter) -> Defragment {
        if !self.moves_are_durable(run) {
            return Defragment::NeedsCheckpoint;
        }
        if self.pages.sweep() {
            return Defragment::More;
        }
        let target = u32::try_from(run.target).expect("pages have 31 bits");
        if self.pages.waits_beyond(target) && run.held < MOST_HELD {
            run.held += 1;
            return Defragment::NeedsCheckpoint;
        }
        let generation = self.durable.generation;
        let Some(shorter) = self.pages.shorten_space(run.target) else { return Defragment::NeedsCheckpoint };
        if !shorter {
            return Defragment::Done;
        }
        run.step = Step::Cut(generation);
        Defragment::NeedsCheckpoint
    }

    /// Looks for something beyond the target.
    fn walk(&self, run: &mut Defragmenter, budget: &mut usize) -> Result<Walked, Error> {
        let root = self.roots[run.bucket];
        let bucket = Bucket(u8::try_from(run.bucket).expect("few buckets"));
        let view = BucketView { shared: &self.shared, bucket, root };
        match run.hole_for(root.page, 1) {
            Hole::At(_) => return Ok(Walked::Beyond(run.position.clone())),
            Hole::Later => return Ok(Walked::Stopped(run.position.clone())),
            Hole::None => {}
        }
        match view.top()? {
            Some(top) => walk_below(run, &view, top, &run.position.clone(), true, budget),
            None => Ok(Walked::End),
        }
    }

    /// Makes the way to `key` dirty, and what its leaf keeps in runs beyond the target; then the walk goes on behind.
    fn move_at(&mut self, run: &mut Defragmenter, key: &[u8], budget: &mut usize) -> Result<(), Error> {
        let bucket = Bucket(u8::try_from(run.bucket).expect("few buckets"));
        let way = usize::from(self.roots[run.bucket].level) + 1;
        let mut places: Vec<u32> = (0..way).map_while(|_| run.take_page()).collect();
        if places.len() < way {
            return Ok(());
        }
        let before = self.pages.dirty();
        let leaf = self.descend(bucket, key)?;
        for place in places.drain(self.pages.dirty() - before..) {
            run.holes.free(place, 1);
        }
        let shared = Arc::clone(&self.shared);
        if run.warm.is_none() {
            // Those that will be copied now are read in one go.
            let page = self.arena_page(leaf);
            let beyond = |found: &RunRef| u64::from(found.page.0) + u64::from(found.pages()) > run.target;
            let runs = (0..page.len()).filter_map(|index| page.run(index)).filter(beyond);
            let mut ahead = 0;
            for found in runs {
                if ahead > *budget {
                    break;
                }
                shared.prefetch(found);
                ahead += found.pages() as usize;
            }
        }
        let mut next = self.behind_path();
        let mut copied = 0;
        for index in 0..self.arena_page(leaf).len() {
            let Some(found) = self.arena_page(leaf).run(index) else { continue };
            let hole = match run.hole_for(found.page, found.pages()) {
                Hole::None => continue,
                hole => hole,
            };
            let here = entry(self.arena_page(leaf), index).key();
            let enough = copied > 0 && (copied >= *budget || run.moved + copied >= MOST_MOVED);
            let (Hole::At(hole), false) = (hole, enough || run.is_cold(&here)) else {
                next = Some(here);
                break;
            };
            run.holes.take(hole, found.pages());
            let moved = self.write_run(shared.value(Value::Run(found))?)?;
            self.retire_run(found)?;
            set_run(self.pages.page_mut(leaf), index, moved);
            copied += found.pages() as usize;
        }
        let dirtied = self.pages.dirty() - before;
        run.moved += dirtied;
        run.last_move = self.pages.epoch();
        *budget = budget.saturating_sub(dirtied.max(1));
        run.go_on(next);
        Ok(())
    }
}

/// Looks for something beyond the target from the key `from` on. `from` lies in this page if `inside`, or before it.
/// The depth is the tree's.
fn walk_below<'t>(
    run: &mut Defragmenter,
    view: &BucketView<'t>,
    page: Page<'t>,
    from: &[u8],
    inside: bool,
    budget: &mut usize,
) -> Result<Walked, Error> {
    *budget = budget.saturating_sub(1);
    if page.is_leaf() {
        let first = if inside { page.search(from).unwrap_or_else(|at| at) } else { 0 };
        for index in first..page.len() {
            let Some(found) = page.run(index) else { continue };
            let hole = match run.hole_for(found.page, found.pages()) {
                Hole::None => continue,
                hole => hole,
            };
            let key = entry(page, index).key();
            let now = matches!(hole, Hole::At(_)) && !run.is_cold(&key);
            return Ok(if now { Walked::Beyond(key) } else { Walked::Stopped(key) });
        }
        return Ok(Walked::End);
    }
    let first = if inside { page.child_for(from) } else { 0 };
    for index in first..page.len() {
        let inside = inside && index == first;
        // The first separator is empty: what is there begins where the page does.
        let low = if inside || index == 0 { from.to_vec() } else { entry(page, index).key() };
        if run.is_cold(&low) {
            return Ok(Walked::Stopped(low));
        }
        match run.hole_for(page.child(index).page, 1) {
            Hole::At(_) => return Ok(Walked::Beyond(low)),
            Hole::Later => return Ok(Walked::Stopped(low)),
            Hole::None => {}
        }
        match walk_below(run, view, view.child(page, index)?, &low, inside, budget)? {
            Walked::End => {}
            found => return Ok(found),
        }
        if *budget == 0 && index + 1 < page.len() {
            return Ok(Walked::Stopped(entry(page, index + 1).key()));
        }
    }
    Ok(Walked::End)
}
