//! The write-ahead log: the only place where something becomes durable on its own.
//!
//! It keeps numbered entries, each with a term, and a small hard state beside them. It knows nothing of consensus, of what
//! is in an entry, of tasks or of time; its caller is one thread.
//!
//! # What it promises
//!
//! * [`Wal::append`] makes a batch durable with one write, whole or not at all. When it returns `Ok`, the batch survives
//!   `kill -9` and a power cut.
//! * What was acknowledged comes back from [`Wal::open`] unchanged, or opening fails with an error that names file, offset and
//!   what was expected. Nothing acknowledged is ever dropped silently.
//! * A write that power cut short is cut off and reported ([`Recovered::torn_tail`]); it had not been acknowledged.
//! * The first failed or short write ends it: every later call returns [`Error::Poisoned`]. A sync is never repeated.
//! * Opening writes nothing into the log's files; opening twice gives the same.
//! * Rotation, allocation and reuse of segments happen beside the appends. An append waits for them only when it
//!   needs a segment that is not ready, and is refused with [`Error::NoSegment`] if there is no space for one.
//!
//! # What it assumes
//!
//! * A device writes a sector of 512 bytes or does not; it does not invent content. Sectors of one write may land in any order.
//! * A write that the device reported durable is.
//! * The file system applies renames atomically and in order, and has them durable after a sync of the directory.
//! * The caller holds the lock on the directory, and the directory exists.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use wal::{Batch, Entry, HardState, Metadata, Options, OsIo, Start, Wal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let io = Arc::new(OsIo::new());
//! let options = Options { segment_bytes: 1 << 20, ..Options::default() };
//!
//! let metadata = Metadata("member 1 of cluster 7".into());
//! let mut wal = Wal::create(dir.path(), io.clone(), metadata, Start::default(), options.clone())?;
//! let entry = |index, term, data: &'static str| Entry { index, term, kind: 0, data: data.into() };
//! let hard_state = Some(HardState { term: 1, vote: 1, commit: 0 });
//! wal.append(&Batch { entries: &[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")], hard_state })?;
//! // A new leader had another entry 2: it replaces 2 and 3.
//! wal.append(&Batch { entries: &[entry(2, 2, "B")], hard_state: None })?;
//! wal.close()?;
//!
//! let (wal, recovered) = Wal::open(dir.path(), io, options)?;
//! assert_eq!(recovered.entries, [entry(1, 1, "a"), entry(2, 2, "B")]);
//! assert_eq!(recovered.hard_state, hard_state);
//! assert_eq!(wal.last_index(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # How it is laid out
//!
//! ```text
//! 0000000000000004.wal   segment 4: header, frame 97, frame 98 ...
//! 0000000000000005.wal   segment 5, the newest: header, frame 131, frame 132, then nothing of ours
//! 0000000000000006.wal   made ready: its header is zeros
//! 0000000000000003.spare released, to become segment 7
//! ```
//!
//! One append is one frame. A frame has a header with its own checksum, and a checksum over all of it; each holds the
//! checksum of the frame before it, also across segments. Every sector ends with a stamp that depends on the segment's id
//! and the sector's place. The formats stand at their code: `segment/sector.rs`, `segment/header.rs`, `segment/frame.rs`.
//!
//! # How damage is told from a torn write
//!
//! One write is in flight at a time, so whatever was written later proves that everything before it was durable. The end of the
//! newest segment is judged in this order (`scan.rs`):
//!
//! | found where the next frame should be | verdict |
//! |---|---|
//! | anything but a sound frame, and a later frame, a later write or a later segment | damaged |
//! | a frame header, and a sector of its frame bears no stamp of ours | torn: cut, reported |
//! | a frame header, and every sector of its frame is there | damaged |
//! | bytes other than zero in a sector we stamped | damaged: a frame header lies within one sector, it cannot be torn |
//! | a stamp that is ours but for a few bits | damaged |
//! | a frame that holds although a sector within it bears no stamp (it would have held zeros) | torn: cut, reported |
//! | zeros, or a sector of a former life | the end |
//! | that, and sectors of ours, or junk in a fresh file, behind it | torn: cut, reported |
//!
//! So even in the last frame, with nothing after it, every flipped bit is noticed and no torn write is refused. What
//! cannot be told from a torn write is the loss of *whole sectors*, replaced by zeros or by older content, at the very end:
//! the last frame's, or the one in which it begins, with what else begins there. Nothing that was written later remains
//! to vouch for them. [`Wal::seal`] closes that gap. It writes a
//! frame that holds nothing and reaches into a further sector; from then on the loss of any sector of the last
//! batch is noticed. Call it when the log is idle and before closing. Beyond any log's own knowledge are: the loss of
//! everything since some instant (an older image of the disk; the newest segment, all its frames and the prepared file
//! gone together). The caller's own record of what it applied is the witness for that.
//!
//! [`Wal::open_following`] shows appends before this verdict is complete. It is the same code that decides in the same order
//! afterwards, so that following changes nothing about what is refused, and why.
//!
//! Between files: ids are consecutive; a header says which id it is, where the previous segment ends and with which checksum;
//! every frame names the oldest segment still needed. A missing, swapped, copied or foreign segment contradicts one
//! of these. Stale frames of a recycled file fail by stamp, segment id, place and sequence. A file that is shorter or longer
//! than its header says is damaged: it had its full length before it got its name; junk over unwritten parts of a recycled file looks like its former life and is not looked at.
//!
//! # Why a crash at any point is harmless
//!
//! * *During an append:* the frame is whole, or it is torn and cut. After a cut the rest of that segment is never used
//!   again: the next append begins the next segment, whose header says where this one ended. Nothing needs to be
//!   wiped, so that a crash during recovery changes nothing.
//! * *During rotation:* the header of a segment travels in the same write as its first frame. If either did not make it,
//!   the segment was not begun, and its file is put aside and made anew: what one opening prepares must not be taken for a
//!   witness at the next.
//! * *While a segment is made ready:* it has another name until it is whole and durable, and its header is zeros before it
//!   gets its name.
//! * *During a release:* the next frame records what is no longer needed, and only then files are renamed. The rename is durable before
//!   the content is touched. What a crash leaves is released again at the next opening.
//! * *During creation:* the first segment gets its name after its header is durable. Before, there is no log.

mod ahead;
mod batch;
mod error;
mod inspect;
mod io;
mod log;
mod options;
mod planted;
mod probe;
mod reading;
mod recovery;
mod scan;
mod scrub;
mod segment;
mod stats;
mod sync;
mod tail;
mod terms;
mod upkeep;
mod watch;

pub use ahead::Passage;
pub use batch::{Batch, Entry, HardState, Metadata, Position, Start};
pub use error::{Damage, Error, Evidence};
pub use inspect::{
    FrameReport, Inspection, SegmentContent, SegmentReport, Summary, Walk, inspect, inspect_segment, walk,
};
pub use io::{Access, Chosen, File, Io, Method, OsIo, RingSync, RingWriter};
pub use log::{Recovered, TornTail, Wal, exists, metadata};
pub use options::{Fill, Options, Upkeep};
pub use probe::{Probe, ProbeRow, Timing, probe};
pub use scrub::{Scrub, ScrubProgress};
pub use stats::{Histogram, NextSegment, Stats};
pub use watch::Watch;
