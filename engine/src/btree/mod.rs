//! A copy-on-write B+tree in one file.

mod check;
mod checkpoint;
mod cursor;
mod edit;
mod epochs;
mod meta;
mod page;
mod read;
mod shared;
mod space;
#[cfg(test)]
mod tests;
mod tree;

use crate::limits::USER_META_BYTES;

pub use check::{BucketReport, Finding, Report, check};
pub(crate) use checkpoint::{Checkpoint, CheckpointDone};
pub(crate) use cursor::Cursor;
pub(crate) use read::ReadTxn;
pub(crate) use tree::Tree;

/// Opaque bytes of the user that become durable together with the data.
pub(crate) type UserMeta = [u8; USER_META_BYTES];

/// Whether an entry counts in [`ReadTxn::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Counts 1.
    Live,
    /// Counts 0.
    Dead,
}

/// Values that shape a tree.
#[derive(Clone, Debug)]
pub(crate) struct TreeOptions {
    /// Address space reserved for the file, in bytes; the file cannot grow beyond.
    pub(crate) reserve_bytes: u64,
    /// The file grows in steps of this many bytes, and of a sixteenth of its length.
    pub(crate) grow_bytes: u64,
    /// Address space reserved for pages that are newer than the file.
    pub(crate) memory_bytes: usize,
    /// A fault for the tests to find.
    #[cfg(test)]
    pub(crate) planted: Planted,
}

impl Default for TreeOptions {
    fn default() -> Self {
        TreeOptions {
            reserve_bytes: 256 << 30,
            grow_bytes: 1 << 20,
            memory_bytes: 64 << 30,
            #[cfg(test)]
            planted: Planted::Nothing,
        }
    }
}

/// Faults that the tests must find.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Planted {
    /// None.
    #[default]
    Nothing,
    /// The meta page is written without syncing the pages first.
    MetaBeforeData,
    /// Pages of the last checkpoint are overwritten before the next one is complete.
    ReuseBeforeDurable,
    /// Pages are reused while a view can see them.
    ReuseUnderReader,
}
