//! Reading everything again, from the device.
//!
//! A page is verified on its first visit and then trusted, and the page cache may have it for months. The scrub reads
//! through [`crate::File::read_device_at`]: with O_DIRECT where the file has that, so that what is looked at has come
//! from the device just now; through the page cache otherwise; and through the map for files that have nothing else.
//! It looks at every page and run of the file that a view can reach, and at the meta pages.
//!
//! A round goes by key, as a swap does, and may go on in another view than it began in: what was written anew
//! meanwhile is looked at, or left to the next round, if it landed behind the cursor.

use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::limits::PAGE_BYTES;
use crate::mmap::{PageBuffer, PageBytes};
use crate::schema::Bucket;

use super::edit::entry;
use super::meta;
use super::page::{self, Page, RunRef, u32_at};
use super::read::ReadTxn;
use super::shared::{Expect, Shared};

/// Where a scrub has come; a new one is at the beginning, and so is one whose round is done.
#[derive(Clone, Debug, Default)]
pub struct ScrubCursor {
    begun: bool,
    bucket: usize,
    /// Keys below have been visited in this bucket.
    position: Vec<u8>,
}

/// What a slice of a scrub has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Pages, those on the way to where the last slice ended included.
    pub pages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything that the view can reach has been visited since the round began.
    pub done: bool,
}

struct Scrub<'t> {
    shared: &'t Shared,
    buffer: PageBuffer,
    pages: u64,
    most_pages: u64,
}

impl ReadTxn {
    /// Verifies about `max_bytes` bytes of the file, and at least one page or run.
    pub(crate) fn scrub_slice(
        &self,
        cursor: &mut ScrubCursor,
        max_bytes: usize,
    ) -> Result<ScrubProgress, Error> {
        let shared = &*self.view.shared;
        let most_pages = (max_bytes / PAGE_BYTES).max(1) as u64;
        let buffer = buffer(PAGE_BYTES).map_err(|e| e.of_file(shared.name()))?;
        let mut scrub = Scrub { shared, buffer, pages: 0, most_pages };
        if !cursor.begun {
            scrub.metas()?;
            cursor.begun = true;
        }
        while cursor.bucket < self.view.roots.len() && scrub.pages < most_pages {
            let root = self.view.roots[cursor.bucket];
            let bucket = Bucket(u8::try_from(cursor.bucket).expect("few buckets"));
            let expect =
                Expect { page: root.page, checksum: root.checksum, bucket: bucket.0, level: root.level };
            let stopped_at =
                if root.page.is_none() { None } else { scrub.tree(expect, &cursor.position, true)? };
            cursor.bucket += usize::from(stopped_at.is_none());
            cursor.position = stopped_at.unwrap_or_default();
        }
        let done = cursor.bucket == self.view.roots.len();
        if done {
            *cursor = ScrubCursor::default();
        }
        Ok(ScrubProgress { pages: scrub.pages, bytes: scrub.pages * PAGE_BYTES as u64, done })
    }
}

fn buffer(bytes: usize) -> Result<PageBuffer, Error> {
    PageBuffer::new(bytes).map_err(|e| Error::io("reserve memory", 0, e))
}

impl Scrub<'_> {
    /// Reads pages of the file into the buffer.
    fn read(&mut self, first: u32, pages: u32) -> Result<&[u8], Error> {
        let bytes = pages as usize * PAGE_BYTES;
        if self.buffer.capacity() < bytes {
            self.buffer = buffer(bytes)?;
        }
        self.shared.read_device(first, self.buffer.fill(bytes))?;
        self.pages += u64::from(pages);
        Ok(self.buffer.filled())
    }

    /// A meta page is what the last checkpoint that wrote it left there, unless one is writing it now.
    fn metas(&mut self) -> Result<(), Error> {
        for slot in [0, 1] {
            let generation = self.shared.metas[slot as usize].load(Ordering::Acquire);
            if generation == 0 {
                continue;
            }
            let bytes: PageBytes = *self.read(slot, 1)?.first_chunk().expect("asked for a page's bytes");
            let found = match meta::Meta::decode(&bytes, slot) {
                Ok(meta) if meta.generation + 1 == generation => continue,
                Ok(meta) => format!(
                    "meta page of generation {} where {} was written",
                    meta.generation,
                    generation - 1
                ),
                Err(Error::Damaged { reason, .. }) => reason,
                Err(other) => other.to_string(),
            };
            if self.shared.metas[slot as usize].load(Ordering::Acquire) == generation {
                return Err(self.shared.damaged(slot.into(), found));
            }
        }
        Ok(())
    }

    /// Verifies a page and what is below from the key `from` on, which lies in it if `inside`. Where to go on, if the
    /// slice ended in there. Levels fall by one with each step, so every descent ends.
    fn tree(&mut self, expect: Expect, from: &[u8], inside: bool) -> Result<Option<Vec<u8>>, Error> {
        let shared = self.shared;
        let copy: PageBytes;
        let page = if expect.page.slot().is_some() {
            // Newer than the file; below may be pages that are not.
            shared.page(expect)?
        } else {
            let number = expect.page.0;
            let bytes = self.read(number, 1)?;
            copy = *bytes.first_chunk().expect("asked for a page's bytes");
            shared.verify_page(&copy, expect)?
        };
        if page.is_leaf() {
            return self.runs(page, from, inside);
        }
        let first = if inside { page.child_for(from) } else { 0 };
        for index in first..page.len() {
            let inside = inside && index == first;
            let low = if inside || index == 0 { from.to_vec() } else { entry(page, index).key() };
            let child = page.child(index);
            let level = expect.level - 1;
            let expect = Expect { page: child.page, checksum: child.checksum, bucket: expect.bucket, level };
            let stopped_at = self.tree(expect, &low, inside)?;
            if stopped_at.is_some() {
                return Ok(stopped_at);
            }
            if self.pages >= self.most_pages && index + 1 < page.len() {
                return Ok(Some(entry(page, index + 1).key()));
            }
        }
        Ok(None)
    }

    fn runs(&mut self, page: Page<'_>, from: &[u8], inside: bool) -> Result<Option<Vec<u8>>, Error> {
        let first = if inside { page.search(from).unwrap_or_else(|at| at) } else { 0 };
        for index in first..page.len() {
            let Some(run) = page.run(index).filter(|run| run.page.slot().is_none()) else { continue };
            self.run(run)?;
            if self.pages >= self.most_pages && index + 1 < page.len() {
                return Ok(Some(entry(page, index + 1).key()));
            }
        }
        Ok(None)
    }

    fn run(&mut self, run: RunRef) -> Result<(), Error> {
        let shared = self.shared;
        shared.check_len(run)?;
        let bytes = self.read(run.page.0, run.pages())?;
        let (sum, stored) = (page::checksum(bytes, run.page.0), u32_at(bytes, 0));
        let len = u32_at(bytes, 4);
        if stored != run.checksum || sum != stored || len != run.len {
            let pages = run.pages();
            let reason = format!(
                "value in {pages} pages from here on: expected {:08x} over {} bytes, found {stored:08x}, {sum:08x} over {len}",
                run.checksum, run.len
            );
            return Err(shared.damaged(run.page.0.into(), reason));
        }
        Ok(())
    }
}
