//! Making the file shorter, between requests.

use super::Store;
use crate::btree;
use crate::error::Error;

/// What a slice of defragmentation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defragment {
    /// There is more to do, at any time.
    More,
    /// What was moved has to be published and a checkpoint to complete, swap included, before there is more to do. It
    /// begins though nothing is new. More of the kind follow: they show which pages nobody needs any more, and one of
    /// them cuts the file.
    NeedsCheckpoint,
    /// The file is as short as it gets: views that are held for long, and runs that fit into no hole, are left alone.
    Done {
        /// Its length.
        file_bytes: u64,
    },
}

impl Store {
    /// Begins to make the file shorter, from the start if that was under way already.
    pub fn defragment_begin(&mut self) -> Result<(), Error> {
        self.assert_whole();
        self.tree.defragment_begin();
        Ok(())
    }

    /// Looks at up to `max_pages` pages and 64 times as many holes, moving what lies too far back by making it dirty: at most 16 MiB between two
    /// checkpoints, and one value at a time where values are larger than a slice. Publish afterwards. Done at once when
    /// nothing was begun.
    pub fn defragment_slice(&mut self, max_pages: usize) -> Result<Defragment, Error> {
        self.assert_whole();
        Ok(match self.tree.defragment_slice(max_pages)? {
            btree::Defragment::More => Defragment::More,
            btree::Defragment::NeedsCheckpoint => Defragment::NeedsCheckpoint,
            btree::Defragment::Done => Defragment::Done { file_bytes: self.tree.file_bytes() },
        })
    }
}
