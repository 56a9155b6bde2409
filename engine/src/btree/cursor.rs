//! Walking a bucket both ways.

use crate::error::Error;
use crate::limits::PAGE_BYTES;

use super::Weight;
use super::page::Page;
use super::read::BucketView;

/// A place in one bucket. Starts nowhere: `seek`, `first` or `last` come first. After an error it is nowhere.
pub(crate) struct Cursor<'t> {
    bucket: BucketView<'t>,
    /// From the root to a leaf; empty when nowhere.
    frames: Vec<Frame<'t>>,
    key: Vec<u8>,
    /// Taken within the leaf.
    steps: u32,
}

/// Steps within a leaf after which the next one is asked for: who wants a few entries does not pay for it.
const STEPS_BEFORE_ASKING: u32 = 8;

#[derive(Clone, Copy)]
struct Frame<'t> {
    page: Page<'t>,
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    Nothing,
    /// Entries that don't count.
    Dead,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(bucket: BucketView<'t>) -> Self {
        Cursor { bucket, frames: Vec::new(), key: Vec::new(), steps: 0 }
    }

    /// Goes to the first key >= `key`. False, and nowhere, when there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool, Error> {
        let found = self.try_seek(key);
        self.settle(found)
    }

    /// Goes to the first key.
    pub(crate) fn first(&mut self) -> Result<bool, Error> {
        let found = self.try_end(Way::Forward);
        self.settle(found)
    }

    /// Goes to the last key.
    #[allow(dead_code, reason = "part of the tree's face")]
    pub(crate) fn last(&mut self) -> Result<bool, Error> {
        let found = self.try_end(Way::Back);
        self.settle(found)
    }

    /// Goes to the next key; after the last one the cursor is nowhere. From nowhere: stays nowhere.
    pub(crate) fn next(&mut self) -> Result<bool, Error> {
        self.step(Way::Forward, Skip::Nothing)
    }

    /// Goes to the previous key; before the first one the cursor is nowhere.
    #[allow(dead_code, reason = "part of the tree's face")]
    pub(crate) fn prev(&mut self) -> Result<bool, Error> {
        self.step(Way::Back, Skip::Nothing)
    }

    /// As `prev`, skipping entries of weight Dead (whole subtrees of them at a time).
    #[allow(dead_code, reason = "part of the tree's face")]
    pub(crate) fn prev_live(&mut self) -> Result<bool, Error> {
        self.step(Way::Back, Skip::Dead)
    }

    /// The leaf here and the place in it; none when the cursor is nowhere.
    pub(crate) fn leaf(&self) -> Option<(Page<'t>, usize)> {
        self.frames.last().map(|leaf| (leaf.page, leaf.index))
    }

    /// Goes to the next key that is not in this leaf.
    pub(crate) fn next_leaf(&mut self, skip: Skip) -> Result<bool, Error> {
        if let Some(leaf) = self.frames.last_mut() {
            leaf.index = leaf.page.len() - 1;
        }
        let found = self.try_step(Way::Forward, skip);
        self.settle(found)
    }

    /// The key here; empty when the cursor is nowhere. Valid until the cursor moves.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value here, valid as long as the transaction; empty when the cursor is nowhere.
    pub(crate) fn value(&self) -> Result<&'t [u8], Error> {
        match self.frames.last() {
            Some(leaf) => self.bucket.shared.value(leaf.page.value(leaf.index)),
            None => Ok(&[]),
        }
    }

    /// Bytes of the value here, which is not looked at; 0 when the cursor is nowhere.
    pub(crate) fn value_len(&self) -> usize {
        self.frames.last().map_or(0, |leaf| leaf.page.value(leaf.index).len())
    }

    /// The weight of the entry here; dead when the cursor is nowhere.
    pub(crate) fn weight(&self) -> Weight {
        self.frames.last().map_or(Weight::Dead, |leaf| leaf.page.weight(leaf.index))
    }

    fn try_seek(&mut self, key: &[u8]) -> Result<bool, Error> {
        self.frames.clear();
        let Some(mut page) = self.bucket.top()? else { return Ok(false) };
        while !page.is_leaf() {
            let index = page.child_for(key);
            self.frames.push(Frame { page, index });
            page = self.bucket.child(page, index)?;
        }
        let (Ok(index) | Err(index)) = page.search(key);
        if index < page.len() {
            self.frames.push(Frame { page, index });
            return Ok(true);
        }
        self.frames.push(Frame { page, index: page.len() - 1 });
        self.try_step(Way::Forward, Skip::Nothing)
    }

    fn try_end(&mut self, way: Way) -> Result<bool, Error> {
        self.frames.clear();
        let Some(top) = self.bucket.top()? else { return Ok(false) };
        self.descend(top, way, Skip::Nothing)?;
        Ok(true)
    }

    fn step(&mut self, way: Way, skip: Skip) -> Result<bool, Error> {
        let before = self.frames.last().map(|leaf| leaf.page.bytes().as_ptr());
        let found = self.try_step(way, skip);
        if let (Ok(true), Some(leaf)) = (&found, self.frames.last())
            && before == Some(leaf.page.bytes().as_ptr())
        {
            self.key.truncate(leaf.page.prefix_len());
            self.key.extend_from_slice(leaf.page.suffix(leaf.index));
            self.steps += 1;
            if self.steps == STEPS_BEFORE_ASKING && way == Way::Forward {
                self.ask_for_next_leaf();
            }
            return Ok(true);
        }
        self.steps = 0;
        self.settle(found)
    }

    /// For those that have come so far in this leaf that they will go on to the next one.
    pub(crate) fn ask_for_next_leaf(&self) {
        if let [.., branch, _] = &self.frames[..]
            && branch.index + 1 < branch.page.len()
        {
            self.bucket.shared.ask_for(branch.page.child(branch.index + 1).page, PAGE_BYTES);
        }
    }

    fn try_step(&mut self, way: Way, skip: Skip) -> Result<bool, Error> {
        while let Some(frame) = self.frames.last_mut() {
            let next = match way {
                Way::Forward => {
                    (frame.index + 1..frame.page.len()).find(|index| wanted(frame.page, *index, skip))
                }
                Way::Back => (0..frame.index).rev().find(|index| wanted(frame.page, *index, skip)),
            };
            let Some(next) = next else {
                self.frames.pop();
                continue;
            };
            frame.index = next;
            if frame.page.is_leaf() {
                return Ok(true);
            }
            let child = self.bucket.child(frame.page, next)?;
            if self.descend(child, way, skip)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Pushes the path from `page` to its outermost leaf entry on the side that comes first. False when counts
    /// promised a live entry that is not there; the walk goes on from where it got to.
    fn descend(&mut self, mut page: Page<'t>, way: Way, skip: Skip) -> Result<bool, Error> {
        loop {
            let index = match way {
                Way::Forward => (0..page.len()).find(|index| wanted(page, *index, skip)),
                Way::Back => (0..page.len()).rev().find(|index| wanted(page, *index, skip)),
            };
            let Some(index) = index else { return Ok(false) };
            self.frames.push(Frame { page, index });
            if page.is_leaf() {
                return Ok(true);
            }
            page = self.bucket.child(page, index)?;
        }
    }

    /// Makes the key fit the place.
    fn settle(&mut self, found: Result<bool, Error>) -> Result<bool, Error> {
        self.key.clear();
        match (&found, self.frames.last()) {
            (Ok(true), Some(leaf)) => {
                self.key.extend_from_slice(leaf.page.prefix());
                self.key.extend_from_slice(leaf.page.suffix(leaf.index));
            }
            _ => self.frames.clear(),
        }
        found
    }
}

fn wanted(page: Page<'_>, index: usize, skip: Skip) -> bool {
    match skip {
        Skip::Nothing => true,
        Skip::Dead if page.is_leaf() => page.weight(index) == Weight::Live,
        Skip::Dead => page.child(index).count > 0,
    }
}
