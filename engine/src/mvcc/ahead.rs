//! Records asked for before they are needed: a range knows its next keys long before anyone looks at their values.
//!
//! A record that is not in the processor's caches costs a wait, and where its extent was packed anew three of them
//! one after the other: the extent's first bytes, its directory, the record. A batch of keys goes through these steps
//! together, so that each wait is one for all of them.

use super::contents::{Contents, Found, Item, Stored};
use super::extent::Extent;
use super::record::Record;
use super::records::{Finder, Lead};
use super::{Head, Revision};
use crate::btree::{Page, Value};
use crate::mmap::prefetch;

/// Keys that are looked up together.
pub(crate) const BATCH: usize = 64;
/// Bytes of a record that are asked for: what is longer comes by itself once it is being read.
const RECORD_BYTES: usize = 1024;

/// The next keys of a range.
#[derive(Default)]
pub(crate) struct Ahead<'v> {
    keys: Vec<Ready<'v>>,
    next: usize,
    /// The key last taken out, where it had to be put together.
    key: Vec<u8>,
    /// Bytes to be asked for in the step under way.
    asked: Vec<&'v [u8]>,
    /// Keys whose extent was not looked at yet.
    searches: Vec<Search<'v>>,
    /// Keys and their extents.
    extents: Vec<(usize, Revision, Extent<'v>)>,
}

/// A key that exists, by its place in a leaf.
struct Ready<'v> {
    leaf: Page<'v>,
    index: usize,
    head: Head,
    stored: Stored<'v>,
    /// The record as it is in its extent, once found.
    record: Option<&'v [u8]>,
}

/// How far the search for a record has come, and for which key.
struct Search<'v> {
    ready: usize,
    wanted: Revision,
    first: Revision,
    value: Value<'v>,
}

impl<'v> Ahead<'v> {
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.next = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether everything was taken out.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.keys.len()
    }

    /// Adds a key as it was at some revision.
    #[inline]
    pub(crate) fn push(&mut self, leaf: Page<'v>, index: usize, found: Found<'v>) {
        let Found { head, stored } = found;
        self.keys.push(Ready { leaf, index, head, stored, record: None });
    }

    /// Takes the next key out. What could not be read of it is left to whoever asks for its record.
    #[inline]
    pub(crate) fn take(&mut self, contents: Contents<'v>) -> Option<Item<'_, 'v>> {
        let Ready { leaf, index, head, stored, record } = self.keys.get(self.next)?;
        self.next += 1;
        // A record says its key, and must say this one.
        if let Some((event, key)) = record.and_then(|bytes| Record::event_of(bytes, head.modified))
            && key.strip_prefix(leaf.prefix()) == Some(leaf.suffix(*index))
        {
            return Some(Item::new(key, *head, contents, Stored::Event(event)));
        }
        leaf.key(*index, &mut self.key);
        Some(Item::new(&self.key, *head, contents, *stored))
    }

    /// Finds the records of all keys and asks for their bytes.
    pub(crate) fn find_records(&mut self, contents: &Contents<'v>) {
        let Ok(finder) = Finder::for_many(contents) else { return };
        let (mut searches, mut extents) =
            (std::mem::take(&mut self.searches), std::mem::take(&mut self.extents));
        for (at, ready) in self.keys.iter_mut().enumerate() {
            let Stored::At(spot) = ready.stored else { continue };
            let wanted = Revision::new(ready.head.modified, ready.head.sub);
            match finder.lead(wanted, spot) {
                Ok(Lead::Record(bytes)) => {
                    self.asked.push(bytes.get(..RECORD_BYTES).unwrap_or(bytes));
                    ready.record = Some(bytes);
                }
                Ok(Lead::Open(open)) => {
                    self.asked.push(open.first_look(wanted));
                    extents.push((at, wanted, open));
                }
                Ok(Lead::Extent(first, value)) => {
                    self.asked.push(finder.shared().first_bytes(value));
                    searches.push(Search { ready: at, wanted, first, value });
                }
                Err(_) => {}
            }
        }
        self.ask();
        if searches.is_empty() && extents.is_empty() {
            (self.searches, self.extents) = (searches, extents);
            return;
        }
        for Search { ready, wanted, first, value } in searches.drain(..) {
            if let Ok(bytes) = finder.shared().value(value)
                && let Some(extent) = Extent::parse(first, bytes)
            {
                self.asked.push(extent.first_look(wanted));
                extents.push((ready, wanted, extent));
            }
        }
        self.ask();
        for (ready, wanted, extent) in extents.drain(..) {
            if let Some(index) = extent.find(wanted)
                && let Some((_, bytes)) = extent.record(index)
            {
                self.asked.push(bytes.get(..RECORD_BYTES).unwrap_or(bytes));
                self.keys[ready].record = Some(bytes);
            }
        }
        self.ask();
        (self.searches, self.extents) = (searches, extents);
    }

    /// One request close behind the other: where the processor must look up an address first, it waits for many at
    /// once, and not for each before it finds out the next.
    fn ask(&mut self) {
        self.asked.drain(..).for_each(prefetch);
    }
}
