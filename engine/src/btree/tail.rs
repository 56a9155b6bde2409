//! The open value: a run of the arena that grows in place while views see what was there before.
//!
//! A value that is put into a leaf is copied once and never changes. History does not arrive in such pieces: it
//! grows by a record at a time. So one value of the tree may be open. The writer adds bytes to its front, which
//! ends with the newest byte, and to its back, which begins with the newest; a published state knows how far both
//! had come. Closed, the value is head, front and back in one piece, an ordinary large value of the tree.
//!
//! ```text
//!  slot        slot + 1              slot + pages - 1
//!  | header, head | front ->        ...        <- back |     open, as the newest state sees it
//!  | header, head | front ->   ...          <- back    |     an older state sees less of both
//!  | header, head | front | back | 0 |                       closed; the pages behind are given back
//! ```

use crate::error::Error;
use crate::limits::PAGE_BYTES;
use crate::mmap::OpenRun;
use crate::schema::Bucket;

use super::edit::put_u32;
use super::page::{RUN_HEADER_BYTES, Ref, RunRef};
use super::shared::Shared;
use super::{Tree, Weight};

/// Bytes of the key of an open value.
pub(crate) const OPEN_KEY_BYTES: usize = 16;

/// The writer's side.
#[derive(Debug)]
pub(crate) struct OpenValue {
    key: [u8; OPEN_KEY_BYTES],
    weight: Weight,
    /// Bytes of the value before its front.
    head: usize,
    run: OpenRun,
}

impl OpenValue {
    pub(crate) fn view(&self) -> OpenView {
        let gap = self.run.gap();
        let (start, end) = (RUN_HEADER_BYTES + self.head, self.run.pages() as usize * PAGE_BYTES);
        let place = |at: usize| u32::try_from(at).expect("a run is shorter than 4 GiB");
        let places = [start, gap.start, gap.end, end].map(place);
        OpenView { key: self.key, weight: self.weight, slot: self.run.slot(), places }
    }
}

/// What a state sees of the open value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenView {
    key: [u8; OPEN_KEY_BYTES],
    weight: Weight,
    slot: u32,
    /// Offsets in the run: where the front begins and ends, where the back begins and ends.
    places: [u32; 4],
}

impl OpenView {
    /// What was not written yet, too: a fault for the tests to find.
    #[cfg(test)]
    pub(crate) fn beyond(mut self, front: u32, back: u32) -> OpenView {
        self.places[1] += front;
        self.places[2] -= back;
        self
    }

    pub(crate) fn bytes(self, shared: &Shared) -> OpenBytes<'_> {
        let [start, front, back, end] = self.places.map(|place| place as usize);
        let part = |bytes| shared.arena().part(self.slot, bytes);
        let (front, back) = (part(start..front), part(back..end));
        OpenBytes { key: self.key, weight: self.weight, front, back }
    }
}

/// The bytes of the open value that a state sees.
#[derive(Clone, Copy)]
pub(crate) struct OpenBytes<'t> {
    pub(crate) key: [u8; OPEN_KEY_BYTES],
    /// That it will have in its bucket.
    pub(crate) weight: Weight,
    /// Added at the end.
    pub(crate) front: &'t [u8],
    /// Added at the beginning.
    pub(crate) back: &'t [u8],
}

impl Tree {
    /// The open value, own unpublished changes included.
    pub(crate) fn open_value(&self) -> Option<OpenBytes<'_>> {
        self.open.as_ref().map(|open| open.view().bytes(&self.shared))
    }

    /// Opens a value that can grow within `pages`; there must be none. `head` bytes are given at its close.
    pub(crate) fn open_at(
        &mut self,
        key: [u8; OPEN_KEY_BYTES],
        pages: u32,
        head: usize,
        weight: Weight,
    ) -> Result<(), Error> {
        assert!(self.open.is_none(), "one value is open at a time");
        self.check()?;
        let slot = self.pages.alloc(pages)?;
        let run = self.pages.arena().open(slot, pages, RUN_HEADER_BYTES + head);
        self.open = Some(OpenValue { key, weight, head, run });
        Ok(())
    }

    /// Adds to the front and to the back of the open value. Seen by nobody else before [`Tree::publish`].
    pub(crate) fn extend_open(&mut self, front: &[u8], back: &[u8]) -> Result<(), Error> {
        self.check()?;
        let open = self.open.as_mut().expect("a value is open");
        self.pages.arena().append(&mut open.run, front);
        self.pages.arena().prepend(&mut open.run, back);
        Ok(())
    }

    /// Closes the open value and puts it under its key: `head`, then the front, then the back.
    pub(crate) fn close_open(&mut self, bucket: Bucket, head: &[u8]) -> Result<(), Error> {
        self.check()?;
        let Some(OpenValue { key, weight, head: reserved, mut run }) = self.open.take() else {
            return Ok(());
        };
        assert_eq!(head.len(), reserved, "the head's room was reserved");
        let (slot, pages) = (run.slot(), run.pages());
        let back = self.shared.arena().part(slot, run.gap().end..pages as usize * PAGE_BYTES);
        self.pages.arena().append(&mut run, back);
        let len = u32::try_from(run.gap().start - RUN_HEADER_BYTES).expect("a run is shorter than 4 GiB");
        let mut start = vec![0; RUN_HEADER_BYTES];
        put_u32(&mut start, 4, len);
        start.extend_from_slice(head);
        let used = self.pages.arena().close(run, &start);
        if used < pages {
            self.pages.retire_slots(slot + used, pages - used);
        }
        self.put_run(bucket, &key, RunRef { page: Ref::arena(slot), len, checksum: 0 }, weight)
    }
}
