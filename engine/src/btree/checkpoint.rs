//! Bringing a published state to disk while the writer goes on.

use std::sync::Arc;

use crate::error::Error;
use crate::file::File;
use crate::limits::{PAGE_BYTES, WRITE_BYTES};
use crate::mmap::PageBytes;

use super::edit::{put_u32, put_u64, seal, set_child, set_run};
use super::meta::{Meta, Root};
use super::page::{Child, Page, RUN_HEADER_BYTES, Ref, RunRef, checksum};
use super::read::ReadTxn;
use super::shared::Shared;
use super::space::{Space, map_pages, write_map};

/// A published state on its way to disk. `run` belongs on a background thread.
pub(crate) struct Checkpoint {
    pub(crate) txn: ReadTxn,
    pub(crate) file: Arc<dyn File>,
    /// Free pages: in no durable state and seen by no view.
    pub(crate) space: Space,
    /// Pages that only an older state or a view holds: free for whoever opens this state.
    pub(crate) unseen: Vec<(u32, u32)>,
    /// Pages of the last free map.
    pub(crate) old_map: Vec<u32>,
    pub(crate) generation: u64,
    pub(crate) grow_pages: u64,
    #[cfg(test)]
    pub(crate) planted: super::Planted,
}

/// What [`super::Tree::end_checkpoint`] needs to know.
pub(crate) struct CheckpointDone {
    pub(crate) txn: ReadTxn,
    pub(crate) space: Space,
    pub(crate) meta: Meta,
    pub(crate) map: Vec<u32>,
    /// Where each slot went, by slot.
    pub(crate) placed: Vec<Placed>,
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
    /// Writes the frozen state: pages in file order, one sync, the meta page, its sync. An error poisons the tree.
    pub(crate) fn run(self) -> Result<CheckpointDone, Error> {
        let shared = Arc::clone(&self.txn.view.shared);
        let done = shared.check_poison().and_then(|()| self.write());
        if done.is_err() {
            shared.poison();
        }
        done
    }

    fn write(mut self) -> Result<CheckpointDone, Error> {
        let view = Arc::clone(&self.txn.view);
        let mut out = Out {
            file: &*self.file,
            shared: &view.shared,
            space: &mut self.space,
            generation: self.generation,
            grow_pages: self.grow_pages,
            buffer: Vec::with_capacity(WRITE_BYTES),
            buffer_at: 0,
            placed: Vec::new(),
        };
        let mut roots = view.roots;
        for root in &mut roots {
            if let Some(slot) = root.page.slot() {
                let (page, checksum) = out.place_page(slot)?;
                *root = Root { page, checksum, ..*root };
            }
        }
        let map = out.place_map()?;
        // What this state's successor finds free: also what only views and the last state hold.
        let mut image = out.space.clone();
        for (page, pages) in &self.unseen {
            image.free(*page, *pages);
        }
        for page in &self.old_map {
            image.free(*page, 1);
        }
        let free_map = write_map(&image, &map, self.generation, |page, bytes| out.put(page, bytes))?;
        let mut placed = out.finish()?;
        placed.sort_unstable_by_key(|placed| placed.slot);
        #[cfg(test)]
        let skip_sync = self.planted == super::Planted::MetaBeforeData;
        #[cfg(not(test))]
        let skip_sync = false;
        if !skip_sync {
            self.file.sync().map_err(|e| Error::io("sync", 0, e))?;
        }
        let (generation, pages) = (self.generation, self.space.pages());
        let meta = Meta { generation, pages, free_map, roots, user: view.meta };
        let at = u64::from(meta.slot()) * PAGE_BYTES as u64;
        self.file.write_at(at, &meta.encode()).map_err(|e| Error::io("write", at, e))?;
        self.file.sync().map_err(|e| Error::io("sync", at, e))?;
        for page in &self.old_map {
            self.space.free(*page, 1);
        }
        Ok(CheckpointDone { txn: self.txn, space: self.space, meta, map, placed })
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
    buffer: Vec<u8>,
    buffer_at: u32,
    placed: Vec<Placed>,
}

impl Out<'_> {
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
        self.put_rest(page + 1, &bytes[PAGE_BYTES..])?;
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
        let space = &mut *self.space;
        let found = if pages == 1 { space.alloc() } else { space.alloc_run(pages) };
        if let Some(page) = found {
            return Ok(page);
        }
        let old = space.pages();
        let limit = self.shared.most_pages();
        let wanted = old + u64::from(pages).max(self.grow_pages).max((old / 16).min(16_384));
        let end = wanted.min(limit);
        if end < old + u64::from(pages) {
            return Err(Error::Limit { what: "pages of the database", found: old + u64::from(pages), limit });
        }
        if end > self.shared.file_pages() {
            let bytes = end * PAGE_BYTES as u64;
            self.file.set_len(bytes).map_err(|e| Error::io("set length", bytes, e))?;
            self.shared.set_file_pages(end);
        }
        space.extend(end);
        space.free(old as u32, (end - old) as u32);
        let page = if pages == 1 { space.alloc() } else { space.alloc_run(pages) };
        Ok(page.expect("the file has just grown by enough"))
    }

    fn put(&mut self, page: u32, bytes: &PageBytes) -> Result<(), Error> {
        self.put_rest(page, bytes)
    }

    fn put_rest(&mut self, first: u32, bytes: &[u8]) -> Result<(), Error> {
        for (page, bytes) in (first..).zip(bytes.chunks(PAGE_BYTES)) {
            self.shared.rearm(page);
            let next = self.buffer_at as usize + self.buffer.len() / PAGE_BYTES;
            if next != page as usize || self.buffer.len() >= WRITE_BYTES {
                self.flush()?;
                self.buffer_at = page;
            }
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let at = u64::from(self.buffer_at) * PAGE_BYTES as u64;
        self.file.write_at(at, &self.buffer).map_err(|e| Error::io("write", at, e))?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Placed>, Error> {
        self.flush()?;
        Ok(self.placed)
    }
}
