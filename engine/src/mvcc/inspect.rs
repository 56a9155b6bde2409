//! A look at a store that nobody has open: for tools, and for people with a damaged one. Writes nothing.

use std::cell::Cell;
use std::sync::Arc;

use super::check::{self, History};
use super::state::State;
use super::{Applied, Options, Store};
use crate::btree::{self, Meta, Report};
use crate::error::Error;
use crate::file::File;

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
    let map = file.map(btree::mapped_bytes(file_bytes)).map_err(|e| Error::io("map", 0, e))?;
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
    match btree::newest_meta(&*file)? {
        None => Ok(Vec::new()),
        Some(_) => Store::open(file, Options::default())?.contents().audit(),
    }
}

/// How far the log had been applied in the newest state of a file, which is not opened and not changed; nothing in
/// a file in which nothing was ever stored.
pub fn applied(file: &dyn File) -> Result<Applied, Error> {
    let named = |e: Error| e.of_file(&file.describe());
    match btree::newest_meta(file).map_err(named)? {
        None => Ok(Applied::default()),
        Some(meta) => Ok(State::decode(&meta.user).map_err(named)?.applied),
    }
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
