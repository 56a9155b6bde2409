//! A copy-on-write B+tree in one file.
//!
//! # What it promises
//!
//! - An ordered map of byte strings per *bucket* (`schema`), and an exact number of live entries in any key range
//!   in O(log n).
//! - One writer, any number of readers. A [`ReadTxn`] is one state of all buckets, for as long as it is held; no
//!   writer disturbs it and it delays no writer.
//! - The file always holds a whole state: the last completed checkpoint, or the one that was being written when the
//!   power went. `check` proves it.
//! - No byte of the file is used before a checksum has vouched for it. Damage is an error that names the page.
//! - After the first failed or short write or sync nothing is written any more ([`crate::Error::Poisoned`]). A file
//!   that can't grow is not that: the checkpoint never was ([`crate::Error::NoSpace`]).
//! - What follows a checkpoint (`swap`), the shortening of the file (`defragment`) and what becomes of pages that
//!   nobody sees any more (`epochs`) goes in slices between changes, each of bounded work.
//!
//! # What it assumes
//!
//! Durability of single changes is the business of the log (the `wal` crate): the tree is brought to disk from
//! time to time. A write may be torn at 512 bytes and writes between two syncs may reach the disk in any order; a
//! sync that returned means they are there. Nobody else writes the file (the caller locks it), or cuts it while it is
//! mapped; the tree itself cuts off only what nobody can reach.
//!
//! # Where a page is
//!
//! A page of the working state is in the *file* (read through the map) or newer than the file in the *arena*
//! (anonymous memory). A reference ([`page::Ref`]) is 32 bits; its top bit tells which. A change copies the pages
//! from the root to its leaf into arena slots, unless they were copied in this epoch already: between two publishes
//! a page is copied once. Publishing is remembering the roots; `epochs` tells when a page that was left behind may
//! be used again.
//!
//! ```text
//!    published view, epoch 7             working state, epoch 8: put("kiwi") and not yet published
//!
//!          root A (file 12)                     root A' (slot 5)
//!         /       |       \                    /       |       \
//!     leaf B   leaf C   leaf D             leaf B   leaf C'  leaf D
//!    (file 9) (slot 3) (file 11)          (file 9) (slot 6) (file 11)
//! ```
//!
//! Here C was changed in epoch 7 and is in the arena (slot 3); the put copied it to slot 6 and the root to slot 5.
//! Slot 3 is parked with the view of epoch 7, and free once nobody holds it. Page 12 waits for a checkpoint that
//! does not contain it, and for that view. A checkpoint of epoch 8 would write C', then A', never B or D: say to
//! pages 13 and 14, as generation n + 1. Afterwards the working state refers to pages 13 and 14, and slots 5 and 6
//! go the way of slot 3.
//!
//! # The file
//!
//! Pages of 4096 bytes; numbers are little endian. Pages 0 and 1 are meta pages, all others belong to a tree, to a
//! large value, to the free map, or are free.
//!
//! *Meta page* (checksum seeded with the page's number; generation g is in page g mod 2):
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic number |
//! | 8 | 4 | format version |
//! | 12 | 4 | checksum of all the rest |
//! | 16 | 8 | generation: how many checkpoints there were |
//! | 24 | 8 | pages of this state, the free ones included |
//! | 32 | 4 + 4 + 1 | free map: topmost page, its checksum, its level |
//! | 64 | 256 | the user's bytes (applied index, revision and the like) |
//! | 512 | 21 x 24 | root table by bucket: page 4, checksum 4, live entries 8, level 1, zeros 7 |
//! | 1020 | 4 | the same checksum |
//! | 1024 | 11 x 24 | the rest of the root table |
//! | 1532 | 4 | the same checksum |
//!
//! *Leaf and branch* (checksum seeded with the page's number, over the generation and everything else):
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 4 | checksum of bytes 4 to 4096 |
//! | 4 | 1 | kind: 1 leaf, 2 branch, 3 free map |
//! | 5 | 1 | bucket |
//! | 6 | 1 | level: 0 for a leaf, else one more than its children's |
//! | 7 | 1 | zero |
//! | 8 | 8 | generation of the checkpoint that wrote it |
//! | 16 | 2 | entries, n |
//! | 18 | 2 | length of the common prefix, p |
//! | 20 | 2 | where cells begin |
//! | 22 | 2 | bytes among the cells that belong to none |
//! | 24 | p | what all keys begin with |
//! | 24 + p | 6 n | slots in key order: offset of the cell 2, hint 4 |
//! | to the end | | cells in any order |
//!
//! A slot's hint is the first four bytes of the rest of its key, as a big-endian number: most comparisons of a
//! search end there. A leaf's cell is {key length 2, value word 2, rest of the key, value}; the value word has the
//! value's length, 0x4000 if the entry does not count, 0x8000 if the value is elsewhere: then {first page 4,
//! length 4, checksum 4} stands for it. A branch's cell is {key length 2, child 4, its checksum 4, its live entries
//! 8, rest of the separator}. The first separator is empty and stands for everything smaller.
//!
//! *Large value*: consecutive pages {checksum 4 of everything behind it, length 4, generation 8, the value, zeros}:
//! one slice of memory whatever its size.
//!
//! *Free map*: header as above (n counts bytes of the body), then a bitmap with a bit for every free page, or
//! {page 4, checksum 4} for each page of the level below. A map of one page tells about 127 MiB of file.
//!
//! Worked example: a leaf of bucket 0 with `pod-a` = `1` and `pod-b` = `22`, both live. The prefix is `pod-`, the
//! rests are `a` and `b`:
//!
//! ```text
//!    0  checksum . . . | 01 00 00 00 | generation . . . . . . .        kind 1, bucket 0, level 0
//!   16  02 00 | 04 00 | f3 0f | 00 00                                  2 entries, prefix 4, cells from 4083
//!   24  70 6f 64 2d                                                    "pod-"
//!   28  fa 0f 00 00 00 61 | f3 0f 00 00 00 62                          slots: cells at 4090 and 4083, hints "a", "b"
//! 4083  01 00 | 02 00 | 62 | 32 32                                     key 1, value 2: "b" "22"
//! 4090  01 00 | 01 00 | 61 | 31                                        key 1, value 1: "a" "1"
//! ```
//!
//! *Open value*: one value of the working state may still grow, in a run of the arena to which only the writer
//! appends (`tail`). Views carry how much of it they see. It is in no bucket and in no checkpoint before it is
//! closed, which makes it an ordinary large value.
//!
//! # Why a crash at any point is harmless
//!
//! A checkpoint of generation n + 1
//!
//! 1. writes pages that generation n does not contain: they come from the free map of n, or from beyond its end;
//! 2. grows the file before it writes there;
//! 3. syncs, and reads everything back: what a device lost or put elsewhere is noticed while memory has it;
//! 4. writes the meta page that generation n is *not* in;
//! 5. syncs again and reads that page back, and only then are the pages that n + 1 does not contain free for n + 2.
//!
//! A crash up to 3 leaves the meta page of n and all its pages untouched. A crash in 4 leaves a meta page that is
//! whole, and then everything it refers to is on disk, or one whose checksum fails, and then n is opened. The next
//! attempt at n + 1 overwrites pages of the first; a crash in *its* step 4 might leave the missing sectors of the
//! first attempt's meta page, if both wrote the same there: so each sector in use carries the checksum of the
//! whole, and sectors of two attempts never agree unless the attempts were the same. Opening writes nothing, so a
//! crash while opening changes nothing. The only exception is creation: an empty file, or one that holds nothing but the
//! beginnings of the first meta page, is created anew.
//!
//! A process that ends in 5, or whose sync fails there, leaves a meta page that the next process can read and a power cut
//! can take back. So opening syncs the file before it chooses, and reads the meta pages from the device: after a sync that
//! failed the page cache shows what was never stored. Where a file system takes no direct reads, that can't be told.
//!
//! A page that was lost (the old content is still there), or that landed elsewhere, has a sound checksum of its
//! own but not the one its parent expects, which is compared on every visit. A flipped bit in a meta page looks
//! like a torn one: the state before it is opened if it is still whole, and its pages' checksums tell if it is not.
//!
//! # Why a descent over damaged or forged pages ends
//!
//! The number of a page is compared with the length of the file before the page is touched. A page's offsets and
//! lengths are checked on its first visit, after its checksum (`page::validate`), its kind, bucket and level on
//! every visit; levels fall by one with each step. So a cycle is an error at once, and nothing is read outside of
//! a page.

mod check;
mod checkpoint;
mod cursor;
mod defragment;
mod edit;
mod epochs;
mod meta;
mod page;
mod read;
mod scrub;
mod shared;
mod space;
mod swap;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod warm;
mod way;

use crate::limits::USER_META_BYTES;

#[cfg(test)]
pub(crate) use check::check;
pub(crate) use check::check_with;
pub use check::{BucketReport, Finding, Holes, Report};
pub(crate) use checkpoint::{Checkpoint, CheckpointDone};
pub(crate) use cursor::{Cursor, Skip};
pub(crate) use defragment::Defragment;
pub(crate) use meta::{Meta, both as meta_pages, mapped_bytes, newest as newest_meta};
pub(crate) use page::{Page, Value};
pub(crate) use read::{BucketView, Floor, ReadTxn};
pub use scrub::{ScrubCursor, ScrubProgress};
pub(crate) use shared::Shared;
pub(crate) use tail::OpenBytes;
pub(crate) use tree::Tree;
pub(crate) use warm::MoveAhead;
pub(crate) use way::Way;

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
            planted: Planted::here(),
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
    /// A view sees bytes of the open value that are written after its publication.
    OpenBeyondPublished,
    /// A swap goes on behind the page it stopped in.
    SwapSkips,
    /// A checkpoint that found no space keeps the pages it had taken.
    LeakWithoutSpace,
    /// The file is cut while one meta page still knows of what is cut off.
    CutTooEarly,
}

#[cfg(test)]
impl Planted {
    /// The one planted in this thread.
    fn here() -> Planted {
        match crate::planted::here() {
            Some(crate::planted::Fault::Tree(planted)) => planted,
            _ => Planted::Nothing,
        }
    }
}
