//! From the look at a key to its change in one descent.
//!
//! Who sets a key mostly has looked at it a moment before, and both go through the same pages. The look notes
//! which child it took in each of them and where it ended, and the change follows without searching again. A way
//! belongs to its key, and leads there as long as nothing else in its bucket was set or removed: after that the change
//! searches as any other does. Where pages are plays no part: to copy one, or to swap it with that of the file, changes no
//! place in it.

use super::Weight;
use super::page::{Page, Value};
use super::read::SEARCHED_BYTES;
use super::tree::Tree;
use crate::error::Error;
use crate::limits::{MAX_LEVEL, PAGE_BYTES};
use crate::planted::{Fault, planted};
use crate::schema::Bucket;

/// Where a key is, or would be.
pub(crate) struct Way<'k> {
    pub(super) bucket: Bucket,
    pub(super) key: &'k [u8],
    known: Option<Known>,
}

/// What a look has noted.
struct Known {
    /// How often the bucket had been changed.
    changes: u64,
    /// The child taken in the branch above each level.
    children: [u16; MAX_LEVEL as usize],
    /// The place in the leaf.
    found: Result<usize, usize>,
}

impl<'k> Way<'k> {
    /// That is still to be found.
    pub(super) fn unknown(bucket: Bucket, key: &'k [u8]) -> Way<'k> {
        Way { bucket, key, known: None }
    }

    /// The key it leads to.
    pub(crate) fn key(&self) -> &'k [u8] {
        self.key
    }

    /// Which child of `branch` comes next.
    pub(super) fn child_of(&self, branch: Page<'_>) -> usize {
        match &self.known {
            Some(known) => usize::from(known.children[usize::from(branch.level()) - 1]),
            None => branch.child_for(self.key),
        }
    }

    /// The key's place in its leaf, or where it would go.
    pub(super) fn place_in(&self, leaf: Page<'_>) -> Result<usize, usize> {
        match &self.known {
            Some(known) => known.found,
            None => leaf.search(self.key),
        }
    }
}

impl Tree {
    /// The value of `key`, own unpublished changes included, and the way to it for [`Tree::put_at`].
    pub(crate) fn find<'t, 'k>(
        &'t self,
        bucket: Bucket,
        key: &'k [u8],
    ) -> Result<(Option<&'t [u8]>, Way<'k>), Error> {
        let view = self.bucket(bucket);
        let mut children = [0; MAX_LEVEL as usize];
        let (mut found, mut value) = (Err(0), None);
        if let Some(mut page) = view.top()? {
            while !page.is_leaf() {
                let (index, below) = (page.child_for(key), usize::from(page.level()) - 1);
                children[below] = u16::try_from(index).expect("a page has few children");
                // The leaf is going to be copied: all of it is asked for.
                let bytes = if below == 0 { PAGE_BYTES } else { SEARCHED_BYTES };
                page = view.child_asking(page, index, bytes)?;
            }
            found = page.search(key);
            value = found.ok().map(|index| page.value(index));
        }
        let value = value.map(|value: Value<'t>| view.shared.value(value)).transpose()?;
        let changes = self.changes[usize::from(bucket.0)];
        Ok((value, Way { bucket, key, known: Some(Known { changes, children, found }) }))
    }

    /// Sets the key that `way` leads to. Seen by nobody else before [`Tree::publish`].
    pub(crate) fn put_at(&mut self, mut way: Way<'_>, value: &[u8], weight: Weight) -> Result<(), Error> {
        let changes = self.changes[usize::from(way.bucket.0)];
        way.known = way.known.filter(|known| known.changes == changes || planted(Fault::StaleWay));
        self.put_on(&way, value, weight)
    }
}
