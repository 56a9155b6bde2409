//! A read-only walk over a log that nobody has open: for tools, and for people with a damaged one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{Entry, HardState, Metadata, Start};
use crate::error::Error;
use crate::io::{Access, Io};
use crate::log::TornTail;
use crate::recovery::{Listing, Recovery};
use crate::scan::{Frame, sound_frames};
use crate::segment::sector::offset_of;

/// Everything found, and the verdict that opening would give.
#[derive(Debug)]
pub struct Inspection {
    /// Files named as segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Released segments kept for reuse.
    pub spares: usize,
    /// What opening would recover, or why it would refuse.
    pub verdict: Result<Summary, Error>,
}

/// What a sound log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// As given when the log was created.
    pub metadata: Metadata,
    /// The position before the first entry.
    pub start: Start,
    /// Index of the last entry.
    pub last_index: u64,
    /// The newest hard state.
    pub hard_state: Option<HardState>,
    /// A last write that was cut short.
    pub torn_tail: Option<TornTail>,
}

/// One file.
#[derive(Debug)]
pub struct SegmentReport {
    /// Its path.
    pub file: PathBuf,
    /// Id by its name.
    pub id: u64,
    /// What it is.
    pub content: SegmentContent,
}

/// What a file that is named as a segment holds.
#[derive(Debug)]
pub enum SegmentContent {
    /// Made ready for use, not begun.
    Unused,
    /// A sound header, and frames up to the first that does not hold.
    Frames {
        /// The position before its first entry.
        start: Start,
        /// Lowest segment that was needed when it was begun.
        oldest: u64,
        /// The hard state carried over from before.
        hard_state: Option<HardState>,
        /// Its sound frames, in order.
        frames: Vec<FrameReport>,
        /// File offset after the last of them.
        end: u64,
    },
    /// The header does not hold, or the file cannot be read.
    Unreadable(Error),
}

/// One sound frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameReport {
    /// File offset.
    pub offset: u64,
    /// Bytes without stamps.
    pub bytes: u64,
    /// One higher than the frame before, across segments.
    pub sequence: u64,
    /// Highest sequence known durable when it was written.
    pub watermark: u64,
    /// Lowest segment needed.
    pub oldest: u64,
    /// The position before its first entry.
    pub before: Start,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// The hard state it sets.
    pub hard_state: Option<HardState>,
    /// Whether it only vouches for what is before it.
    pub seal: bool,
    /// Its checksum, the next frame's seed.
    pub checksum: u32,
}

/// Walks over a log without changing anything. Fails only if the directory cannot be listed.
pub fn inspect(dir: &Path, io: Arc<dyn Io>) -> Result<Inspection, Error> {
    let recovery = Recovery { dir, io: &io, access: Access::Read };
    let Listing { segments: ids, spares, .. } = recovery.list()?;
    let mut segments = Vec::with_capacity(ids.len());
    for (at, &id) in ids.iter().enumerate() {
        let content =
            content(&recovery, id, ids.get(at + 1).copied()).unwrap_or_else(SegmentContent::Unreadable);
        segments.push(SegmentReport {
            file: crate::segment::name::Name::Segment(id).in_dir(dir),
            id,
            content,
        });
    }
    let verdict = recovery.run().map(|image| Summary {
        metadata: image.metadata,
        start: image.start,
        last_index: image.entries.last().map_or(image.start.index, |entry| entry.index),
        hard_state: image.hard_state,
        torn_tail: image.torn_tail,
    });
    Ok(Inspection { segments, spares: spares.len(), verdict })
}

fn content(recovery: &Recovery<'_>, id: u64, next: Option<u64>) -> Result<SegmentContent, Error> {
    let Some(header) = recovery.head(id, next)? else { return Ok(SegmentContent::Unused) };
    let (path, file) = recovery.open(id, Access::Read)?;
    let bytes = file.length().map_err(|source| recovery.failed("measure", path.clone(), 0, source))?;
    let lanes = recovery.read(&path, &*file, id, bytes.min(header.file_bytes))?;
    let (start, oldest, hard_state) = (header.start, header.oldest, header.hard_state);
    let scanned = sound_frames(&path, header, lanes);
    let end = offset_of(scanned.end);
    let frames = scanned.frames.into_iter().map(FrameReport::from).collect();
    Ok(SegmentContent::Frames { start, oldest, hard_state, frames, end })
}

impl From<Frame> for FrameReport {
    fn from(frame: Frame) -> Self {
        Self {
            offset: offset_of(frame.position),
            bytes: frame.header.frame_bytes(),
            sequence: frame.header.sequence,
            watermark: frame.header.watermark,
            oldest: frame.header.oldest,
            before: frame.header.before,
            entries: frame.entries,
            hard_state: frame.hard_state,
            seal: frame.header.seal,
            checksum: frame.checksum,
        }
    }
}
