//! Reading a state: points and counts. Cursors are next door.

use std::ops::Bound;
use std::sync::Arc;

use crate::error::Error;
use crate::schema::Bucket;

use super::cursor::Cursor;
use super::meta::{Root, Roots};
use super::page::{Page, Value};
use super::shared::{Expect, Shared};
use super::tail::{OpenBytes, OpenView};
use super::{UserMeta, Weight};

/// A published state.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) shared: Arc<Shared>,
    pub(crate) epoch: u64,
    pub(crate) roots: Roots,
    pub(crate) meta: UserMeta,
    pub(crate) open: Option<OpenView>,
}

/// An immutable state of the tree. Cheap to clone; pins the pages it can see until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct ReadTxn {
    pub(crate) view: Arc<View>,
}

impl ReadTxn {
    /// The value of `key`. Borrows from this transaction, not from a page buffer of its own.
    pub(crate) fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.bucket(bucket).get(key)
    }

    /// A cursor over one bucket.
    pub(crate) fn cursor(&self, bucket: Bucket) -> Cursor<'_> {
        Cursor::new(self.bucket(bucket))
    }

    /// Entries of weight [`Weight::Live`] in a key range, in O(log n).
    pub(crate) fn count(&self, bucket: Bucket, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64, Error> {
        self.bucket(bucket).count(from, to)
    }

    /// The opaque bytes of this state.
    #[allow(dead_code, reason = "part of the tree's face")]
    pub(crate) fn meta(&self) -> &UserMeta {
        &self.view.meta
    }

    /// What this state sees of the value that is still growing.
    pub(crate) fn open_value(&self) -> Option<OpenBytes<'_>> {
        self.view.open.map(|open| open.bytes(&self.view.shared))
    }

    pub(crate) fn bucket(&self, bucket: Bucket) -> BucketView<'_> {
        let view = &*self.view;
        BucketView { shared: &view.shared, bucket, root: view.roots[usize::from(bucket.0)] }
    }
}

/// An entry that was found.
#[derive(Clone, Copy)]
pub(crate) struct Floor<'t> {
    page: Page<'t>,
    index: usize,
}

impl<'t> Floor<'t> {
    /// The entry's key, if it has 16 bytes.
    #[inline]
    pub(crate) fn number(&self) -> Option<u128> {
        self.page.number(self.index)
    }

    /// The entry's weight.
    #[inline]
    pub(crate) fn weight(&self) -> Weight {
        self.page.weight(self.index)
    }

    /// The entry's value, not looked at yet.
    pub(crate) fn value(&self) -> Value<'t> {
        self.page.value(self.index)
    }
}

/// Bytes at the beginning of a page that a search goes back and forth in: its header, and most of its slots.
pub(super) const SEARCHED_BYTES: usize = 640;

/// One bucket of a state.
#[derive(Clone, Copy)]
pub(crate) struct BucketView<'t> {
    pub(crate) shared: &'t Shared,
    pub(crate) bucket: Bucket,
    pub(crate) root: Root,
}

impl<'t> BucketView<'t> {
    /// The topmost page; None when the bucket is empty.
    pub(crate) fn top(&self) -> Result<Option<Page<'t>>, Error> {
        let Root { page, checksum, level, .. } = self.root;
        if page.is_none() {
            return Ok(None);
        }
        self.shared.page(Expect { page, checksum, bucket: self.bucket.0, level }).map(Some)
    }

    /// The child at `index`. Levels fall by one with each step, so every descent ends.
    pub(crate) fn child(&self, branch: Page<'t>, index: usize) -> Result<Page<'t>, Error> {
        self.child_asking(branch, index, SEARCHED_BYTES)
    }

    /// The child at `index`, whose first bytes are all asked for at once.
    pub(super) fn child_asking(
        &self,
        branch: Page<'t>,
        index: usize,
        bytes: usize,
    ) -> Result<Page<'t>, Error> {
        self.shared.ask_for(branch.child(index).page, bytes);
        self.child_known(branch, index)
    }

    /// The child at `index`, which is not asked for: few bytes of it will be looked at, or all are at hand.
    #[inline]
    fn child_known(&self, branch: Page<'t>, index: usize) -> Result<Page<'t>, Error> {
        let child = branch.child(index);
        self.shared.page(Expect {
            page: child.page,
            checksum: child.checksum,
            bucket: self.bucket.0,
            level: branch.level() - 1,
        })
    }

    fn leaf_for(&self, key: &[u8]) -> Result<Option<Page<'t>>, Error> {
        let Some(mut page) = self.top()? else { return Ok(None) };
        while !page.is_leaf() {
            page = self.child(page, page.child_for(key))?;
        }
        Ok(Some(page))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>, Error> {
        let Some(leaf) = self.leaf_for(key)? else { return Ok(None) };
        match leaf.search(key) {
            Ok(index) => self.shared.value(leaf.value(index)).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The entry with the greatest key that is not above `key`, in a bucket whose keys are numbers of 16 bytes.
    #[inline]
    pub(crate) fn floor(&self, key: u128) -> Result<Option<Floor<'t>>, Error> {
        match self.top()? {
            Some(top) => self.floor_below(top, key),
            None => Ok(None),
        }
    }

    /// As [`BucketView::floor`], with [`BucketView::top`] at hand.
    #[inline]
    pub(crate) fn floor_below(&self, top: Page<'t>, key: u128) -> Result<Option<Floor<'t>>, Error> {
        let mut page = top;
        // The lowest branch in which the way went past a smaller child, and that child.
        let mut smaller = None;
        while !page.is_leaf() {
            let index = page.floor_number(key, 1).unwrap_or(0);
            if index > 0 {
                smaller = Some((page, index - 1));
            }
            page = self.child_known(page, index)?;
        }
        if let Some(index) = page.floor_number(key, 0) {
            return Ok(Some(Floor { page, index }));
        }
        // A separator may be below the first key behind it: the entry is the last one of the leaf before.
        let Some((branch, index)) = smaller else { return Ok(None) };
        page = self.child(branch, index)?;
        while !page.is_leaf() {
            page = self.child(page, page.len() - 1)?;
        }
        Ok(Some(Floor { page, index: page.len() - 1 }))
    }

    /// The weight of `key`, without touching its value.
    pub(crate) fn weight(&self, key: &[u8]) -> Result<Option<Weight>, Error> {
        let Some(leaf) = self.leaf_for(key)? else { return Ok(None) };
        Ok(leaf.search(key).ok().map(|index| leaf.weight(index)))
    }

    pub(crate) fn count(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64, Error> {
        let below_end = match to {
            Bound::Unbounded => self.root.count,
            Bound::Included(key) => self.rank(key, Weight::Live)?,
            Bound::Excluded(key) => self.rank(key, Weight::Dead)?,
        };
        let below_start = match from {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.rank(key, Weight::Dead)?,
            Bound::Excluded(key) => self.rank(key, Weight::Live)?,
        };
        Ok(below_end.saturating_sub(below_start))
    }

    /// Live entries below `key`; the entry of `key` itself is taken for live if it is and `own` says so.
    fn rank(&self, key: &[u8], own: Weight) -> Result<u64, Error> {
        let Some(mut page) = self.top()? else { return Ok(0) };
        let mut rank: u64 = 0;
        while !page.is_leaf() {
            let index = page.child_for(key);
            rank = rank.wrapping_add(page.count_before(index));
            page = self.child(page, index)?;
        }
        let end = match (page.search(key), own) {
            (Ok(index), Weight::Live) => index + 1,
            (Ok(index), Weight::Dead) | (Err(index), _) => index,
        };
        Ok(rank.wrapping_add(page.count_before(end)))
    }
}
