//! Records asked for before they are needed: a range knows its next keys long before anyone looks at their values.
//!
//! A record that is not in the processor's caches costs several waits one after the other: the extent's first
//! bytes, its directory, the record. A batch of keys goes through these steps together, so that each wait is one for
//! all of them.

use super::contents::{Contents, Found, parse_record};
use super::extent::Extent;
use super::record::Record;
use super::records::Finder;
use super::{Head, Revision};
use crate::btree::{Page, Value};
use crate::mmap::prefetch;

/// Keys that are looked up together.
pub(crate) const BATCH: usize = 32;
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
}

/// A key that exists, by its place in a leaf.
struct Ready<'v> {
    leaf: Page<'v>,
    index: usize,
    head: Head,
    record: Step<'v>,
}

/// How far the search for a record has come.
#[derive(Clone, Copy)]
enum Step<'v> {
    Nowhere,
    Leaf(Revision, Value<'v>),
    Extent(Extent<'v>),
    Bytes(&'v [u8]),
    Found(Record<'v>),
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
        let (head, record) = found.parts();
        self.keys.push(Ready { leaf, index, head, record: record.map_or(Step::Nowhere, Step::Found) });
    }

    /// Takes the next key out. What could not be read is left to whoever asks for the record.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<(&[u8], Head, Option<Record<'v>>)> {
        let Ready { leaf, index, head, record } = self.keys.get(self.next)?;
        self.next += 1;
        let record = match *record {
            Step::Bytes(bytes) => parse_record(Revision::new(head.modified, head.sub), bytes).ok(),
            Step::Found(record) => Some(record),
            _ => None,
        };
        // A record begins with its key.
        if let Some(key) = record.and_then(|record| record.key()) {
            return Some((key, *head, record));
        }
        leaf.key(*index, &mut self.key);
        Some((&self.key, *head, record))
    }

    /// Finds the records of all keys and asks for their bytes.
    pub(crate) fn find_records(&mut self, contents: &Contents<'v>) {
        let Ok(finder) = Finder::new(contents) else { return };
        let wanted = |head: &Head| Revision::new(head.modified, head.sub);
        for ready in &mut self.keys {
            if !matches!(ready.record, Step::Nowhere) {
                continue;
            }
            let revision = wanted(&ready.head);
            if let Some(open) = finder.in_open(revision) {
                self.asked.push(open.first_look(revision));
                ready.record = Step::Extent(open);
            } else if let Ok(Some((first, value))) = finder.extent_at(revision) {
                self.asked.push(finder.shared().first_bytes(value));
                ready.record = Step::Leaf(first, value);
            }
        }
        self.ask();
        for ready in &mut self.keys {
            if let Step::Leaf(first, value) = ready.record {
                let value = finder.shared().value(value).ok();
                ready.record = match value.and_then(|bytes| Extent::parse(first, bytes)) {
                    Some(extent) => {
                        self.asked.push(extent.first_look(wanted(&ready.head)));
                        Step::Extent(extent)
                    }
                    None => Step::Nowhere,
                };
            }
        }
        self.ask();
        for ready in &mut self.keys {
            if let Step::Extent(extent) = ready.record {
                let index = extent.find(wanted(&ready.head));
                ready.record = match index.and_then(|index| extent.record(index)) {
                    Some((_, bytes)) => {
                        self.asked.push(bytes.get(..RECORD_BYTES).unwrap_or(bytes));
                        Step::Bytes(bytes)
                    }
                    None => Step::Nowhere,
                };
            }
        }
        self.ask();
    }

    /// One request close behind the other: where the processor must look up an address first, it waits for many at
    /// once, and not for each before it finds out the next.
    fn ask(&mut self) {
        self.asked.drain(..).for_each(prefetch);
    }
}
