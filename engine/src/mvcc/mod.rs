//! Many versions of every key, as etcd defines them, on the tree.
//!
//! # What it promises
//!
//! Every applied request that changes something takes one main revision; its changes are numbered by sub
//! revisions in the order they were made. A key's life from a put to a deletion is a generation: the put that
//! begins it fixes the create revision, every further put counts the version up, the deletion leaves a
//! tombstone. Any revision between the compact revision and the current one can be read at any time, without
//! a lock, and what is read never changes. The stored bytes are the ones etcd would store.
//!
//! # How it is laid out
//!
//! Two buckets of the tree carry it, and history is in only one of them:
//!
//! ```text
//! write 2:  put a 1            bucket keys                    bucket revisions
//! write 3:  put b 1; put a 2
//! write 4:  delete b           a -> mod 5.0 create 2 v3 #3     2.0  put a 1           <-.
//! write 5:  put a 3            b -> mod 4.0 deleted     #2     3.0  put b 1   <-.       |
//!                              (b counts as 0)                 3.1  put a 2   <-|-. ----'
//!                                                              4.0  delete b ---'  |
//!                                                              5.0  put a 3 -------'
//! ```
//!
//! Records are written once, in the order of history, and never moved but by compaction: the bucket holds them
//! packed together, some hundred to an extent, under the revision of the first (`extent.rs`). The newest extent is
//! still open: it grows in memory that only the writer appends to (`append.rs`), a view knows how much of it is its
//! own, and the checkpoint finds it closed. To find a record by its revision is one descent, or none when it is in
//! the open extent, and a search among numbers that nearly say where it is.
//!
//! A head holds all of the newest state but the value, and where in its extent the newest record was appended: no
//! search then, unless the extent was packed anew since, which its entry says. A record names the
//! record its key had before. So a put reads one head and appends one record, a read at the latest revision
//! is one descent for the head and one for the value, and nothing in `keys` grows with history. The head of
//! a deleted key stays, with a weight of 0, until compaction drops its tombstone: ranges at the latest
//! revision skip it by whole pages, counts do not see it.
//!
//! To read `a` at revision 4: its head says 5.0, which is too new; the record 5.0 says the one before is
//! 3.1, which is old enough: version 2. To read `b` at revision 2: 4.0, 3.0, nothing before: not there. Long
//! histories are crossed in strides: every 16th record of a key also names the one 16 before it, every 256th
//! the one 256 before, and the head knows the newest of each such level (`record.rs`).
//!
//! # Compaction
//!
//! Compaction at C is one number at first: reads below C are refused from then on. The records that can't be
//! asked for any more are dropped in slices between batches, each looking at a few records of the part of
//! history that the compaction before has not seen (`compaction.rs`). To drop a record is to set a bit for its
//! extent in the bucket `dropped`; an extent that has nothing else left is freed without being read, and one that
//! has less than half left is packed anew (`repack.rs`). Walks through history skip what was dropped. Reads at C
//! or above can't tell how far this has come: a walk back stops at the first record at or below its revision, and
//! that one is kept unless it is a tombstone, which says the same whether it is there or gone.
//!
//! # Who sees what
//!
//! One [`Store`] writes. A [`Write`] is one request and sees itself; [`Store::publish`] makes a batch of them
//! visible as a new [`View`] behind one pointer; a view never changes and never waits. A [`Write`] and a
//! [`View`] answer the same questions through [`Contents`].
//!
//! # Why a crash at any point is harmless
//!
//! The tree on disk is always one published state: the checkpoint writes it beside the old one and one meta
//! page switches over. Revision, compact revision, the place of the compaction's scan and the applied index
//! are in that same meta page (`state.rs`), so they agree with the data, and applying the log from that index
//! on gives what there was. A revision can't go back: it becomes durable with the records it belongs to, and
//! opening refuses a file that holds a newer record than its revision.

mod ahead;
mod append;
mod audit;
#[cfg(test)]
pub(crate) mod canaries;
mod changes;
mod check;
mod compaction;
mod contents;
mod defragment;
mod extent;
mod hash;
mod head;
mod inspect;
mod key_range;
mod range;
mod record;
mod records;
mod repack;
mod revision;
mod state;
mod store;
mod system;
mod varint;
mod view;
mod warm;
mod write;

use crate::planted;

pub use changes::{Changes, StoredChange};
pub use check::{History, check};
pub use compaction::{CompactError, Slice};
pub use contents::{Contents, Item, RevisionError};
pub use defragment::Defragment;
pub use hash::{HashKv, HashProgress, HashWalk};
pub use head::Head;
pub use inspect::{Inspection, MetaPage, applied, audit, inspect};
pub use key_range::{End, KeyRange};
pub use range::Range;
pub use revision::Revision;
pub use state::Applied;
pub use store::{Checkpoint, CheckpointDone, HeldView, Opened, Options, Pressure, Sizes, Store};
pub use system::SystemBucket;
pub use view::{Reader, View};
pub use warm::Ahead;
pub use write::{Change, ChangeKind, Finished, MAX_KEY_BYTES, Write};
