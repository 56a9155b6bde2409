//! The storage engine: a copy-on-write B+tree in one file, and MVCC on top of it.

mod btree;
mod error;
mod file;
mod limits;
mod mmap;
mod mvcc;
mod planted;
#[cfg(test)]
mod proof;
mod schema;
mod upkeep;

#[cfg(test)]
extern crate self as engine;

pub use btree::{BucketReport, Finding, Holes, Report, ScrubCursor, ScrubProgress};
pub use error::Error;
pub use file::{File, OsFile};
pub use mmap::Map;
pub use mvcc::{
    Ahead, Applied, Change, ChangeKind, Changes, Checkpoint, CheckpointDone, CompactError, Contents,
    Defragment, End, Finished, HashKv, HashProgress, HashWalk, Head, HeldView, History, Inspection, Item,
    KeyRange, MAX_KEY_BYTES, MetaPage, Opened, Options, Pressure, Range, Reader, Revision, RevisionError,
    Sizes, Slice, Store, StoredChange, SystemBucket, View, Write, applied, audit, check, inspect,
};
pub use upkeep::{
    AUTO_DEFRAGMENT_RATE, AutoDefragment, CHECKPOINT_RATE, CheckpointPolicy, Defragmentation, Load, Pace,
    Schedule, Slices, WARM_BYTES, Wish, Work,
};
