//! Where new records go: to the end of the open extent.

use super::contents::inconsistent;
use super::extent::{self, AS_APPENDED, HEAD_BYTES, PLACE_BYTES, Spot};
use super::planted::{Fault, planted};
use super::{Revision, Store, records};
use crate::error::Error;
use crate::limits::{EXTENT_LEAST_BYTES, EXTENT_MOST_BYTES, EXTENT_MOST_RECORDS, PAGE_BYTES};
use crate::schema;

/// Pages of a run in which an extent grows: room for it, for its directory once more, and for rounding up. Only
/// pages that are written take memory.
const TAIL_PAGES: usize =
    EXTENT_MOST_BYTES / PAGE_BYTES + (EXTENT_MOST_RECORDS * PLACE_BYTES).div_ceil(PAGE_BYTES) + 1;

/// What the writer knows of the open extent. Its bytes are the tree's open value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) first: Revision,
    last: Revision,
    count: usize,
    bytes: usize,
}

impl Tail {
    /// Whether one more record is put here. Its place could always be said when it is.
    fn takes(&self, revision: Revision, bytes: usize) -> bool {
        !extent::closes_before(self.count, self.bytes, bytes)
            && extent::place(self.first, revision, self.bytes).is_some()
    }
}

impl Store {
    /// Adds a record to history; `revision` is beyond every other. Returns where in its extent it is now.
    pub(crate) fn append_record(&mut self, revision: Revision, bytes: &[u8]) -> Result<Spot, Error> {
        if self.tail.is_some_and(|tail| !tail.takes(revision, bytes.len())) {
            self.close_tail()?;
        }
        let mut tail = match self.tail {
            Some(tail) => tail,
            None => self.open_tail(revision, bytes.len())?,
        };
        let place = extent::place(tail.first, revision, tail.bytes).expect("the extent takes the record");
        self.tree.extend_open(bytes, &place.to_le_bytes())?;
        let offset = u16::try_from(tail.bytes).expect("the record's place was said");
        let len = u32::try_from(bytes.len()).expect("records are below 4 GiB");
        tail.count += 1;
        tail.bytes += bytes.len();
        tail.last = revision;
        self.tail = Some(tail);
        Ok(Spot { offset, len })
    }

    /// Puts the open extent into the tree, where it replaces the shorter one it continued.
    pub(super) fn close_tail(&mut self) -> Result<(), Error> {
        let Some(tail) = self.tail.take() else { return Ok(()) };
        let span = u32::try_from(tail.last.main - tail.first.main).expect("the last record's place was said");
        self.tree.close_open(schema::REVISIONS, &extent::head(tail.count, span))
    }

    /// Begins an extent for a record, or continues the last one in a copy.
    fn open_tail(&mut self, revision: Revision, bytes: usize) -> Result<Tail, Error> {
        if let Some(tail) = self.continue_last(revision, bytes)? {
            return Ok(tail);
        }
        // Room for the record alone, its place twice, and rounding up.
        let alone = extent::run_bytes(1, bytes) + PLACE_BYTES + PAGE_BYTES;
        let pages =
            u32::try_from(alone.div_ceil(PAGE_BYTES).max(TAIL_PAGES)).expect("records are below 4 GiB");
        self.tree.open_at(revision.to_key(), pages, HEAD_BYTES, AS_APPENDED)?;
        Ok(Tail { first: revision, last: revision, count: 0, bytes: 0 })
    }

    fn continue_last(&mut self, revision: Revision, bytes: usize) -> Result<Option<Tail>, Error> {
        let bucket = self.tree.bucket(schema::REVISIONS);
        let Some(found) = bucket.floor(revision.to_number())? else { return Ok(None) };
        if found.value().len() >= EXTENT_LEAST_BYTES {
            return Ok(None);
        }
        let (extent, weight) = (records::extent(bucket, found)?, found.weight());
        let first = extent.first;
        let garbled = || inconsistent(format_args!("the extent of {first:?} is garbled"));
        let last = extent.last().ok_or_else(garbled)?;
        if last >= revision {
            return Err(inconsistent(format_args!("{last:?} is in the way of {revision:?}")));
        }
        let (records, directory) = extent.parts();
        let tail = Tail { first, last, count: extent.len(), bytes: records.len() };
        // What compaction knows of an extent would not fit its continuation.
        let known = self.tree.get(schema::DROPPED, &first.to_key())?.is_some();
        if known || !tail.takes(revision, bytes) {
            return Ok(None);
        }
        let (records, directory) = (records.to_vec(), directory.to_vec());
        let weight = if planted(Fault::ContinuedAsAppended) { AS_APPENDED } else { weight };
        // The old records stay where they were, and so does what is known of their places.
        self.tree.open_at(first.to_key(), TAIL_PAGES as u32, HEAD_BYTES, weight)?;
        self.tree.extend_open(&records, &directory)?;
        Ok(Some(tail))
    }
}
