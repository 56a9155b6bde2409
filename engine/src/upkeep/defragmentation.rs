//! A defragmentation from its first slice to its last.
//!
//! First records that compaction has left scattered are brought together; then pages are moved from the end of the file
//! into holes. Both is done by making them part of the next checkpoint, and one of these cuts the file when its end is
//! free. So a run is slices and checkpoints in turn, beside everything else.

use crate::error::Error;
use crate::limits::PAGE_BYTES;
use crate::mvcc::{Ahead, Defragment, Store};

/// Extents of records are packed anew when more than so much of them is gone. Compaction by itself does so above half.
const DEAD_PERCENT: u8 = 15;

/// Bytes packed anew between two checkpoints; moving is bounded by as much.
const MOST_PACKED_BYTES: usize = 16 << 20;

/// Bytes that are read beforehand in one go: as much as is moved between two checkpoints.
pub const WARM_BYTES: usize = 16 << 20;

/// A run.
#[derive(Debug, Default)]
pub struct Defragmentation {
    stage: Stage,
    needs_checkpoint: bool,
}

#[derive(Debug)]
enum Stage {
    /// Packing, with the bytes packed since the last checkpoint.
    Pack(usize),
    Move,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Pack(0)
    }
}

impl Defragmentation {
    /// Whether there is something to do for a slice.
    pub fn wants_slice(&self, store: &Store) -> bool {
        let cold = match self.stage {
            Stage::Pack(_) => store.repack_is_cold(),
            Stage::Move => store.defragment_is_cold(),
        };
        !self.needs_checkpoint && !cold
    }

    /// What is to be read before there is more to do, or soon.
    pub fn ahead(&self, store: &Store) -> Option<Ahead> {
        match self.stage {
            Stage::Pack(_) => store.repack_ahead(DEAD_PERCENT),
            Stage::Move => store.defragment_ahead(),
        }
    }

    /// Whether it goes on after a checkpoint only.
    pub fn wants_checkpoint(&self) -> bool {
        self.needs_checkpoint
    }

    /// One is on disk and taken over.
    pub fn checkpoint_completed(&mut self) {
        self.needs_checkpoint = false;
        if let Stage::Pack(packed) = &mut self.stage {
            *packed = 0;
        }
    }

    /// Packs or moves at most about so many pages, and publishes: what was changed goes to disk with the next checkpoint
    /// only then.
    pub fn slice(&mut self, store: &mut Store, pages: usize) -> Result<Defragment, Error> {
        let moved = match &mut self.stage {
            Stage::Pack(packed) => {
                let bytes = pages * PAGE_BYTES;
                *packed += bytes;
                if store.repack_slice(DEAD_PERCENT, bytes)?.done {
                    store.defragment_begin()?;
                    self.stage = Stage::Move;
                    Defragment::More
                } else if *packed >= MOST_PACKED_BYTES {
                    Defragment::NeedsCheckpoint
                } else {
                    Defragment::More
                }
            }
            Stage::Move => store.defragment_slice(pages)?,
        };
        store.publish();
        self.needs_checkpoint = moved == Defragment::NeedsCheckpoint;
        Ok(moved)
    }
}
