//! A look at a store that nobody has open: for tools, and for people with a damaged one. Writes nothing.

use std::cell::Cell;
use std::sync::Arc;

use super::check::{self, History};
use super::state::State;
use super::{Applied, Options, Store};
use crate::btree::{self, Meta, Report};
use crate::error::Error;
use crate::file::File;
use crate::limits::PAGE_BYTES;

/// What a meta page says: one state the file has been in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaPage {
    /// Checkpoints so far.
    pub generation: u64,
    /// Pages of this state, free ones included.
    pub pages: u64,
    /// The current revision.
    pub revision: i64,
    /// The oldest revision that can be read; -1 when nothing was ever compacted.
    pub compact_revision: i64,
    /// Whether records are left that the compact revision has made useless.
    pub compaction_pending: bool,
    /// Bytes of records that compaction has dropped and whose extents are still there.
    pub dropped_bytes: u64,
    /// How far the log had been applied.
    pub applied: Applied,
}

/// Everything found in a file.
#[derive(Debug)]
pub struct Inspection {
    /// Length of the file. What is behind the pages of the newest state was never part of one.
    pub file_bytes: u64,
    /// The meta pages in the order of the file, or why one can't be read.
    pub metas: [Result<MetaPage, Error>; 2],
    /// What a walk over the newest state found, or why opening would refuse it.
    pub verdict: Result<Report, Error>,
    /// How its history is kept, as far as the walk came.
    pub history: History,
}

impl Inspection {
    /// The state that opening would start from.
    pub fn newest(&self) -> Option<&MetaPage> {
        self.metas.iter().flatten().max_by_key(|meta| meta.generation)
    }
}

/// Reads both meta pages and walks over every page of the newest state. Fails only if the file can't be read.
pub fn inspect(file: &dyn File) -> Result<Inspection, Error> {
    let file_bytes = file.len().map_err(|e| Error::io("length", 0, e))?;
    let map = file.map(file_bytes.max(PAGE_BYTES as u64)).map_err(|e| Error::io("map", 0, e))?;
    let metas = btree::meta_pages(file_bytes, |slot| *map.page(slot))
        .map(|meta| meta.and_then(|meta| MetaPage::of(&meta)));
    drop(map);
    let history = Cell::default();
    let verdict = check::walk(file, &history);
    Ok(Inspection { file_bytes, metas, verdict, history: history.get() })
}

/// Whether heads, records and leases agree with each other: opens the store, reads every one of them and says what
/// contradicts what. A file in which nothing was ever stored is not opened.
pub fn audit(file: Arc<dyn File>) -> Result<Vec<String>, Error> {
    let never_written = inspect_generation(&*file)? == 0;
    if never_written {
        return Ok(Vec::new());
    }
    Store::open(file, Options::default())?.contents().audit()
}

fn inspect_generation(file: &dyn File) -> Result<u64, Error> {
    let len = file.len().map_err(|e| Error::io("length", 0, e))?;
    let map = file.map(len.max(PAGE_BYTES as u64)).map_err(|e| Error::io("map", 0, e))?;
    let metas = btree::meta_pages(len, |slot| *map.page(slot));
    Ok(metas.iter().flatten().map(|meta| meta.generation).max().unwrap_or(0))
}

impl MetaPage {
    fn of(meta: &Meta) -> Result<MetaPage, Error> {
        let state = State::decode(&meta.user)?;
        Ok(MetaPage {
            generation: meta.generation,
            pages: meta.pages,
            revision: state.revision,
            compact_revision: state.compact,
            compaction_pending: state.compaction_pending(),
            dropped_bytes: state.dropped_bytes,
            applied: state.applied,
        })
    }
}
