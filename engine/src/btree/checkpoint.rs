//! Bringing a published state to disk while the writer goes on.
//!
//! Pages go out in pieces of at most [`WRITE_BYTES`], and after each the caller is asked to wait as long as it likes:
//! the log's durable writes go to the same device. The file grows before anything is written there, with its space
//! allocated; when the file system has none, the checkpoint is given up, and nothing it did counts.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::file::File;
use crate::limits::{CUT_BYTES, PAGE_BYTES, WRITE_BYTES};
use crate::mmap::{PageBuffer, PageBytes};
use crate::planted::{Fault, planted};

use super::edit::{put_u32, put_u64, seal, set_child, set_run};
use super::meta::{Meta, Root, Roots};
use super::page::{Child, Page, RUN_HEADER_BYTES, Ref, RunRef, checksum};
use super::read::ReadTxn;
use super::shared::Shared;
use super::space::{Space, map_pages, write_map};

/// The file grows by no more than this at a time: 64 MiB.
const MOST_GROWTH_PAGES: u64 = (64 << 20) / PAGE_BYTES as u64;

/// Pages between two others are read with them when there are no more than so many: 16 KiB.
const READ_GAP_PAGES: u32 = 4;

/// Called with the bytes just written, after each piece: the place to wait in.
pub(crate) type Pace<'p> = &'p mut dyn FnMut(u64);

/// A published state on its way to disk. `run` belongs on a background thread; dropped before it has run, or when it
/// found no space, it never was.
#[must_use]
pub(crate) struct Checkpoint {
    pub(crate) txn: ReadTxn,
    pub(crate) file: Arc<dyn File>,
    /// Free pages: in no durable state and seen by no view.
    pub(crate) lent: Lent,
    /// Pages that only an older state or a view holds: free for whoever opens this state.
    pub(crate) unseen: Space,
    /// Pages of the last free map.
    pub(crate) old_map: Vec<u32>,
    pub(crate) generation: u64,
    pub(crate) grow_pages: u64,
    /// Cut the file behind the last page of this state and of one of so many pages, the one before.
    pub(crate) cut_behind: Option<u64>,
    #[cfg(test)]
    pub(crate) planted: super::Planted,
}

/// Where free pages go when nobody hands them over.
pub(crate) type Home = Arc<Mutex<Option<Space>>>;

/// Free pages out of the writer's hands. They go home with whoever drops them.
pub(crate) struct Lent {
    space: Option<Space>,
    home: Home,
}

impl Lent {
    pub(crate) fn new(space: Space, home: &Home) -> Lent {
        Lent { space: Some(space), home: Arc::clone(home) }
    }

    fn space(&mut self) -> &mut Space {
        self.space.as_mut().expect("pages are lent until they are kept")
    }

    fn keep(mut self) -> Space {
        self.space.take().expect("pages are lent until they are kept")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(space) = self.space.take() {
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(space);
        }
    }
}

/// What [`super::Tree::swap_begin`] needs to know.
#[must_use = "until it is taken over, no other checkpoint begins"]
pub(crate) struct CheckpointDone {
    pub(crate) txn: ReadTxn,
    pub(crate) space: Space,
    pub(crate) meta: Meta,
    pub(crate) map: Vec<u32>,
    pub(crate) placed: Vec<Placed>,
    /// Where each slot went, by slot: page (0: nowhere) and checksum.
    pub(crate) places: Vec<(u32, u32)>,
}

/// A page, or the first page of a run, that is in the file now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) slot: u32,
    pub(crate) pages: u32,
    pub(crate) page: u32,
    pub(crate) checksum: u32,
}

impl Checkpoint {
    /// Writes the frozen state: pages in file order, one sync, the meta page, its sync. After an error the tree is
    /// poisoned, unless all that failed was to find room for the file.
    pub(crate) fn run(self, pace: Pace<'_>) -> Result<CheckpointDone, Error> {
        let shared = Arc::clone(&self.txn.view.shared);
        let done = shared.check_poison().and_then(|()| self.write(pace));
        let fatal = |e: &Error| !matches!(e, Error::NoSpace { .. } | Error::Limit { .. });
        if done.as_ref().is_err_and(fatal) && !planted(Fault::PoisonForgotten) {
            shared.poison();
        }
        done.map_err(|e| e.of_file(shared.name()))
    }

    fn write(mut self, pace: Pace<'_>) -> Result<CheckpointDone, Error> {
        let view = Arc::clone(&self.txn.view);
        let no_memory = |e| Error::io("reserve memory", 0, e);
        let mut out = Out {
            file: &*self.file,
            shared: &view.shared,
            space: self.lent.space(),
            generation: self.generation,
            grow_pages: self.grow_pages,
            buffer: PageBuffer::new(WRITE_BYTES).map_err(no_memory)?,
            buffer_at: 0,
            taken: Vec::new(),
            placed: Vec::new(),
            pace,
        };
        let (roots, map) = match out.place(&view) {
            Ok(placed) => placed,
            Err(e) => {
                #[cfg(test)]
                if self.planted == super::Planted::LeakWithoutSpace {
                    out.taken.clear();
                }
                out.give_back();
                return Err(e);
            }
        };
        // What this state's successor finds free: also what only views and the last state hold.
        let twice = |page| Error::damaged(page, "page is free by the free map, and in use");
        let mut image = out.space.clone();
        if !planted(Fault::MapForgets) {
            image.try_free_all(&self.unseen).map_err(twice)?;
        }
        for page in &self.old_map {
            image.try_free(*page, 1).map_err(|page| twice(page.into()))?;
        }
        let mut written = write_map(&image, &map, self.generation, |page, bytes| out.put(page, bytes));
        if written.is_ok() {
            written = out.flush().and(written);
        }
        let free_map = match written {
            Ok(free_map) => free_map,
            Err(e) => {
                out.give_back();
                return Err(e);
            }
        };
        let placed = std::mem::take(&mut out.placed);
        #[cfg(test)]
        let skip_sync = self.planted == super::Planted::MetaBeforeData;
        #[cfg(not(test))]
        let skip_sync = false;
        if !skip_sync {
            self.file.sync().map_err(|e| Error::io("sync", 0, e))?;
        }
        out.read_back(&placed)?;
        for page in &map {
            view.shared.read_back_page(*page, self.generation)?;
        }
        let (generation, pages) = (self.generation, out.space.pages());
        let meta = Meta { generation, pages, free_map, roots, user: view.meta };
        let known = &view.shared.metas[meta.slot() as usize];
        known.store(0, Ordering::Release);
        out.put_pages(meta.slot(), &meta.encode())?;
        out.flush()?;
        let at = u64::from(meta.slot()) * PAGE_BYTES as u64;
        if !planted(Fault::NoMetaSync) {
            self.file.sync().map_err(|e| Error::io("sync", at, e))?;
        }
        out.read_back_meta(&meta)?;
        known.store(generation + 1, Ordering::Release);
        for page in &self.old_map {
            out.space.try_free(*page, 1).map_err(|page| twice(page.into()))?;
        }
        if let Some(before) = self.cut_behind {
            out.cut(before.max(meta.pages))?;
        }
        let slots = placed.iter().map(|placed| placed.slot as usize + 1).max().unwrap_or(0);
        let mut places = vec![(0, 0); slots];
        for placed in &placed {
            places[placed.slot as usize] = (placed.page, placed.checksum);
        }
        let space = self.lent.keep();
        Ok(CheckpointDone { txn: self.txn, space, meta, map, placed, places })
    }
}

/// The file as the checkpoint fills it.
struct Out<'a> {
    file: &'a dyn File,
    shared: &'a Shared,
    space: &'a mut Space,
    generation: u64,
    grow_pages: u64,
    /// Consecutive pages not yet handed to the file, and the first one's number.
    buffer: PageBuffer,
    buffer_at: u32,
    /// What was taken from the free pages.
    taken: Vec<(u32, u32)>,
    placed: Vec<Placed>,
    pace: Pace<'a>,
}

impl Out<'_> {
    /// Whatever was written went to free pages, and they are free again.
    fn give_back(&mut self) {
        for (page, pages) in std::mem::take(&mut self.taken) {
            self.space.free(page, pages);
        }
    }

    /// Writes everything that is in memory only, and finds places for the free map.
    fn place(&mut self, view: &super::read::View) -> Result<(Roots, Vec<u32>), Error> {
        let mut roots = view.roots;
        for root in &mut roots {
            if let Some(slot) = root.page.slot() {
                let (page, checksum) = self.place_page(slot)?;
                *root = Root { page, checksum, ..*root };
            }
        }
        Ok((roots, self.place_map()?))
    }

    /// Writes what is in `slot` after everything below it. The depth is the tree's.
    fn place_page(&mut self, slot: u32) -> Result<(Ref, u32), Error> {
        let shared = self.shared;
        let mut bytes = *shared.arena().page(slot);
        let page = Page::new(shared.arena().page(slot));
        for index in 0..page.len() {
            if page.is_leaf() {
                let Some(run) = page.run(index) else { continue };
                let Some(slot) = run.page.slot() else { continue };
                let (page, checksum) = self.place_run(slot, run)?;
                set_run(&mut bytes, index, RunRef { page, checksum, len: run.len });
            } else {
                let child = page.child(index);
                let Some(slot) = child.page.slot() else { continue };
                let (page, checksum) = self.place_page(slot)?;
                set_child(&mut bytes, index, Child { page, checksum, count: child.count });
            }
        }
        let page = self.alloc(1)?;
        let checksum = seal(&mut bytes, page, self.generation);
        self.put(page, &bytes)?;
        self.placed.push(Placed { slot, pages: 1, page, checksum });
        Ok((Ref(page), checksum))
    }

    fn place_run(&mut self, slot: u32, run: RunRef) -> Result<(Ref, u32), Error> {
        let pages = run.pages();
        let page = self.alloc(pages)?;
        let bytes = self.shared.arena().run(slot, pages);
        let mut header = [0; RUN_HEADER_BYTES];
        put_u32(&mut header, 4, run.len);
        put_u64(&mut header, 8, self.generation);
        let body = &bytes[RUN_HEADER_BYTES..];
        // The same sum as over the run in one piece.
        let checksum = {
            let seed = checksum(&header, page);
            let mut hasher = crc32fast::Hasher::new_with_initial(seed);
            hasher.update(body);
            hasher.finalize()
        };
        put_u32(&mut header, 0, checksum);
        let mut first = [0; PAGE_BYTES];
        first[..RUN_HEADER_BYTES].copy_from_slice(&header);
        first[RUN_HEADER_BYTES..].copy_from_slice(&bytes[RUN_HEADER_BYTES..PAGE_BYTES]);
        self.put(page, &first)?;
        self.put_pages(page + 1, &bytes[PAGE_BYTES..])?;
        self.placed.push(Placed { slot, pages, page, checksum });
        Ok((Ref(page), checksum))
    }

    fn place_map(&mut self) -> Result<Vec<u32>, Error> {
        let mut map = Vec::new();
        // Taking a page may grow the file, and with it the map.
        while (map.len() as u64) < map_pages(self.space.pages()) {
            map.push(self.alloc(1)?);
        }
        Ok(map)
    }

    fn alloc(&mut self, pages: u32) -> Result<u32, Error> {
        let page = match self.take(pages) {
            Some(page) => page,
            None => {
                self.grow(pages)?;
                self.take(pages).expect("the file has just grown by enough")
            }
        };
        self.taken.push((page, pages));
        Ok(page)
    }

    fn take(&mut self, pages: u32) -> Option<u32> {
        if pages == 1 { self.space.alloc() } else { self.space.alloc_run(pages) }
    }

    /// Adds at least `pages` free pages at the end.
    fn grow(&mut self, pages: u32) -> Result<(), Error> {
        let old = self.space.pages();
        let limit = self.shared.most_pages();
        let least = old + u64::from(pages);
        if least > limit {
            return Err(Error::Limit { what: "pages of the database", found: least, limit });
        }
        let step = u64::from(pages).max(self.grow_pages).max((old / 16).min(MOST_GROWTH_PAGES));
        let wanted = (old + step).min(limit);
        let end = match self.lengthen(wanted) {
            // A file system that is nearly full may have room for less.
            Err(Error::NoSpace { .. }) if wanted > least => self.lengthen(least)?,
            result => result?,
        };
        self.space.extend(end);
        self.space.free(old as u32, (end - old) as u32);
        Ok(())
    }

    fn lengthen(&self, end: u64) -> Result<u64, Error> {
        let has = self.shared.file_pages();
        if end > has {
            let bytes = end * PAGE_BYTES as u64;
            let wanted = (end - has) * PAGE_BYTES as u64;
            let refused = |e| Error::growing(self.shared.name(), bytes, wanted, e);
            self.file.set_len(bytes).map_err(refused)?;
            self.shared.set_file_pages(end);
        }
        Ok(end)
    }

    /// Looks at what was just written, through the map, before anything relies on it: a write that got lost or went
    /// elsewhere is found while memory still has the pages. It also brings them into the page cache, which direct
    /// writes leave empty: otherwise the writer would wait for the device at its next change of each.
    fn read_back(&mut self, placed: &[Placed]) -> Result<(), Error> {
        let mut by_page: Vec<Placed> = placed.to_vec();
        by_page.sort_unstable_by_key(|placed| placed.page);
        let mut rest = &by_page[..];
        while let Some(first) = rest.first() {
            let mut end = first.page;
            let pieces = rest
                .iter()
                .take_while(|placed| {
                    let near = placed.page - end <= READ_GAP_PAGES
                        && (placed.page - first.page) as usize * PAGE_BYTES < WRITE_BYTES;
                    end = placed.page + placed.pages;
                    near
                })
                .count();
            let (now, later) = rest.split_at(pieces);
            let last = now[pieces - 1];
            let pages = last.page + last.pages - first.page;
            self.shared.populate(first.page, pages);
            for placed in now {
                self.shared.read_back(placed.page, placed.pages, placed.checksum)?;
            }
            // As slowly as it was written: four times as fast, commits of half the peak waited 10 ms in every 20.
            (self.pace)(u64::from(pages) * PAGE_BYTES as u64);
            rest = later;
        }
        Ok(())
    }

    /// The log is released on the word of this page.
    fn read_back_meta(&mut self, meta: &Meta) -> Result<(), Error> {
        let mut found = PageBuffer::new(PAGE_BYTES).map_err(|e| Error::io("reserve memory", 0, e))?;
        self.shared.read_device(meta.slot(), found.fill(PAGE_BYTES))?;
        if found.filled() != meta.encode() {
            return Err(self
                .shared
                .damaged(meta.slot().into(), "meta page read back is not the one written"));
        }
        Ok(())
    }

    /// Cuts the file down to `pages` pages, in steps: a device may take long to take back gigabytes at once.
    fn cut(&mut self, pages: u64) -> Result<(), Error> {
        let mut has = self.shared.file_pages();
        while has > pages {
            let next = pages.max(has.saturating_sub((CUT_BYTES / PAGE_BYTES) as u64));
            // No state and no view refers to what is beyond: it is free in both meta pages' eyes, and in ours.
            self.shared.set_file_pages(next);
            let bytes = next * PAGE_BYTES as u64;
            self.file.set_len(bytes).map_err(|e| Error::io("set length", bytes, e))?;
            (self.pace)((has - next) * PAGE_BYTES as u64);
            has = next;
        }
        Ok(())
    }

    fn put(&mut self, page: u32, bytes: &PageBytes) -> Result<(), Error> {
        self.put_pages(page, bytes)
    }

    fn put_pages(&mut self, first: u32, mut bytes: &[u8]) -> Result<(), Error> {
        let mut page = first;
        while !bytes.is_empty() {
            let next = self.buffer_at as usize + self.buffer.filled().len() / PAGE_BYTES;
            if next != page as usize || self.buffer.room() == 0 {
                self.flush()?;
                self.buffer_at = page;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.buffer.room()));
            self.buffer.push(now);
            for _ in 0..now.len() / PAGE_BYTES {
                self.shared.rearm(page);
                page += 1;
            }
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let bytes = self.buffer.filled();
        if bytes.is_empty() {
            return Ok(());
        }
        let at = u64::from(self.buffer_at) * PAGE_BYTES as u64;
        let refused = |e| match self.buffer_at {
            0 | 1 => Error::io("write", at, e),
            // Of a page that nothing refers to yet: a file system that never overwrites in place, or that could not set space
            // aside, may find out only now that there is none.
            _ => Error::writing(self.shared.name(), at, bytes.len() as u64, e),
        };
        self.file.write_at(at, bytes).map_err(refused)?;
        (self.pace)(bytes.len() as u64);
        self.buffer.clear();
        Ok(())
    }
}
