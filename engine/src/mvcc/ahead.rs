//! Records asked for before they are needed: a range knows its next keys long before anyone looks at their values.
//!
//! A record that is not in the processor's caches costs several waits one after the other: the extent's first
//! bytes, its directory, the record. A batch of keys goes through these steps together, so that each wait is one for
//! all of them.

use super::contents::{Contents, parse_record};
use super::extent::Extent;
use super::record::Record;
use super::records::extent_at;
use super::{Head, Revision};
use crate::btree::Value;
use crate::mmap::prefetch;
use crate::schema;

/// Keys that are looked up together.
pub(crate) const BATCH: usize = 32;
/// Bytes of a record that are asked for: what is longer comes by itself once it is being read.
const RECORD_BYTES: usize = 1024;

/// The next keys of a range.
#[derive(Default)]
pub(crate) struct Ahead<'v> {
    /// The keys one behind the other.
    keys: Vec<u8>,
    heads: Vec<Ready<'v>>,
    next: usize,
    /// Bytes to be asked for in the step under way.
    asked: Vec<&'v [u8]>,
}

struct Ready<'v> {
    key_end: usize,
    head: Head,
    record: Option<Record<'v>>,
    /// Where the record's bytes are, once found.
    bytes: Option<(Revision, &'v [u8])>,
    step: Step<'v>,
}

/// How far a search has come.
#[derive(Clone, Copy)]
enum Step<'v> {
    Nowhere,
    Leaf(Revision, Value<'v>),
    Extent(Extent<'v>),
}

impl<'v> Ahead<'v> {
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.heads.clear();
        self.next = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether everything was taken out.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.heads.len()
    }

    /// Adds a key as it was at some revision, and its record if that is known.
    pub(crate) fn push(&mut self, key: &[u8], head: Head, record: Option<Record<'v>>) {
        self.keys.extend_from_slice(key);
        let key_end = self.keys.len();
        self.heads.push(Ready { key_end, head, record, bytes: None, step: Step::Nowhere });
    }

    /// Takes the next key out. What could not be read is left to whoever asks for the record.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<(&[u8], Head, Option<Record<'v>>)> {
        let ready = self.heads.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |before| self.heads[before].key_end);
        self.next += 1;
        let found = ready.bytes.and_then(|(revision, bytes)| parse_record(revision, bytes).ok());
        Some((&self.keys[start..ready.key_end], ready.head, ready.record.or(found)))
    }

    /// Finds the records of all keys and asks for their bytes.
    pub(crate) fn find_records(&mut self, contents: &Contents<'v>) {
        let bucket = contents.bucket(schema::REVISIONS);
        let open = contents.open_extent();
        let wanted = |ready: &Ready<'_>| Revision::new(ready.head.modified, ready.head.sub);
        self.asked.clear();
        for ready in self.heads.iter_mut().filter(|ready| ready.record.is_none()) {
            let revision = wanted(ready);
            if let Some(open) = open.filter(|open| open.first <= revision) {
                self.asked.push(open.first_look(revision));
                ready.step = Step::Extent(open);
            } else if let Ok(Some((first, found))) = extent_at(bucket, revision) {
                self.asked.push(bucket.shared.first_bytes(found.value()));
                ready.step = Step::Leaf(first, found.value());
            }
        }
        self.ask();
        for ready in &mut self.heads {
            if let Step::Leaf(first, value) = ready.step
                && let Ok(bytes) = bucket.shared.value(value)
                && let Some(extent) = Extent::parse(first, bytes)
            {
                self.asked.push(extent.first_look(wanted(ready)));
                ready.step = Step::Extent(extent);
            }
        }
        self.ask();
        for ready in &mut self.heads {
            if let Step::Extent(extent) = ready.step
                && let Some(index) = extent.find(wanted(ready))
            {
                ready.bytes = extent.record(index);
                let bytes = ready.bytes.map_or(&[][..], |(_, bytes)| bytes);
                self.asked.push(bytes.get(..RECORD_BYTES).unwrap_or(bytes));
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
