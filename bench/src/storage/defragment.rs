//! Defragmentation as the server drives it (`server/src/upkeep/defragment.rs`): records are packed, then pages moved to
//! the front, a slice at a time and with a checkpoint whenever the engine asks for one, until the file is as short as it
//! gets.

use engine::{Defragment, Store};

use crate::error::Result;

/// Extents of records are packed anew when more than so much of them is gone.
const DEAD_PERCENT: u8 = 15;
/// Bytes packed between two checkpoints.
const MOST_PACKED_BYTES: usize = 16 << 20;
const PAGE_BYTES: usize = 4096;

enum Stage {
    /// With the bytes packed since the last checkpoint.
    Pack(usize),
    Move,
}

/// A run, if there is one.
#[derive(Default)]
pub(crate) struct Defragmenter {
    stage: Option<Stage>,
    needs_checkpoint: bool,
}

impl Defragmenter {
    pub(crate) fn begin(&mut self) {
        *self = Defragmenter { stage: Some(Stage::Pack(0)), needs_checkpoint: false };
    }

    pub(crate) fn is_running(&self) -> bool {
        self.stage.is_some()
    }

    pub(crate) fn wants_slice(&self) -> bool {
        self.is_running() && !self.needs_checkpoint
    }

    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.is_running() && self.needs_checkpoint
    }

    /// One is on disk and taken over.
    pub(crate) fn checkpoint_completed(&mut self) {
        self.needs_checkpoint = false;
        if let Some(Stage::Pack(packed)) = &mut self.stage {
            *packed = 0;
        }
    }

    /// Packs or moves at most so many pages; whether there is more to do at once.
    pub(crate) fn slice(&mut self, store: &mut Store, pages: usize) -> Result<bool> {
        let Some(stage) = &mut self.stage else { return Ok(false) };
        let moved = match stage {
            Stage::Pack(packed) => {
                let bytes = pages * PAGE_BYTES;
                *packed += bytes;
                if store.repack_slice(DEAD_PERCENT, bytes)?.done {
                    store.defragment_begin()?;
                    *stage = Stage::Move;
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
        match moved {
            Defragment::More => {}
            Defragment::NeedsCheckpoint => self.needs_checkpoint = true,
            Defragment::Done { .. } => self.stage = None,
        }
        Ok(self.wants_slice())
    }
}
