//! A read-only walk over a log that nobody has open: for tools, and for people with a damaged one.
//!
//! It needs the memory of one segment at a time, however long the log is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{Entry, HardState, Metadata, Start};
use crate::error::Error;
use crate::io::{Access, Io};
use crate::log::TornTail;
use crate::reading::{ReadSegment, Wanted, read};
use crate::recovery::{Keep, Recovery};
use crate::scan::{Frame, Successor, sound_frames};
use crate::segment::lanes::Foreign;
use crate::segment::name::Name;
use crate::segment::sector::offset_of;
use crate::terms::Terms;

/// Everything found, and the verdict that opening would give.
#[derive(Debug)]
pub struct Inspection {
    /// Files named as segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Everything else.
    pub rest: Walk,
}

/// What a walk over a log leaves when every segment was shown.
#[derive(Debug)]
pub struct Walk {
    /// Released segments kept for reuse.
    pub spares: Vec<PathBuf>,
    /// Files that were being made ready; worthless.
    pub unfinished: Vec<PathBuf>,
    /// Names that are no business of the log's.
    pub others: Vec<PathBuf>,
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
    /// The lowest segment that is needed; those below were released.
    pub oldest: u64,
    terms: Terms,
}

impl Summary {
    /// The term of an index of the log, or of the one before its first; `None` for any other.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        (self.start.index..=self.last_index).contains(&index).then(|| self.terms.at(index))
    }
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
        /// Length of the file by its header.
        file_bytes: u64,
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
    let mut segments = Vec::new();
    let rest = walk(dir, io, &mut |segment| segments.push(segment))?;
    Ok(Inspection { segments, rest })
}

/// As [`inspect`], but shows one segment after the other and keeps none of them.
pub fn walk(dir: &Path, io: Arc<dyn Io>, each: &mut dyn FnMut(SegmentReport)) -> Result<Walk, Error> {
    let recovery = Recovery { dir, io: &io, access: Access::Read };
    let names = io.list(dir).map_err(|source| recovery.failed("list", dir.to_path_buf(), 0, source))?;
    let (mut ids, mut spares, mut unfinished, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match Name::parse(&name) {
            Name::Segment(id) => ids.push(id),
            Name::Spare(_) => spares.push(dir.join(name)),
            Name::New(_) => unfinished.push(dir.join(name)),
            Name::Other => others.push(dir.join(name)),
        }
    }
    ids.sort_unstable();
    for (at, &id) in ids.iter().enumerate() {
        let content =
            content(&recovery, id, ids.get(at + 1).copied()).unwrap_or_else(SegmentContent::Unreadable);
        each(SegmentReport { file: Name::Segment(id).in_dir(dir), id, content });
    }
    for files in [&mut spares, &mut unfinished, &mut others] {
        files.sort_unstable();
    }
    let verdict = recovery.run(Keep::Terms).map(|image| Summary {
        metadata: image.metadata,
        start: image.start,
        last_index: image.last.index,
        hard_state: image.hard_state,
        torn_tail: image.torn_tail,
        oldest: image.newest.oldest,
        terms: image.terms,
    });
    Ok(Walk { spares, unfinished, others, verdict })
}

/// One segment alone, as if it were the newest of its log: what is in it, and whether it ends as a segment may.
/// `None` if it has no segment's name.
pub fn inspect_segment(path: &Path, io: Arc<dyn Io>) -> Option<(SegmentReport, Result<(), Error>)> {
    let name = path.file_name()?.to_str()?;
    let Name::Segment(id) = Name::parse(name) else { return None };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let recovery = Recovery { dir, io: &io, access: Access::Read };
    let verdict = recovery.head(id, None).and_then(|header| match header {
        Some(header) => recovery.segment(&header, &Successor::Nothing, &mut |_| {}).map(drop),
        None => Ok(()),
    });
    let content = content(&recovery, id, None).unwrap_or_else(SegmentContent::Unreadable);
    Some((SegmentReport { file: path.to_path_buf(), id, content }, verdict))
}

fn content(recovery: &Recovery<'_>, id: u64, next: Option<u64>) -> Result<SegmentContent, Error> {
    let Some(header) = recovery.head(id, next)? else { return Ok(SegmentContent::Unused) };
    let wanted = Wanted { id, file_bytes: header.file_bytes, access: Access::Read, foreign: Foreign::Keep };
    let ReadSegment { path, lanes, .. } = read(recovery, wanted)?;
    let (start, oldest, hard_state, file_bytes) =
        (header.start, header.oldest, header.hard_state, header.file_bytes);
    let scanned = sound_frames(&path, header, lanes);
    let end = offset_of(scanned.end);
    let frames = scanned.frames.into_iter().map(FrameReport::from).collect();
    Ok(SegmentContent::Frames { start, file_bytes, oldest, hard_state, frames, end })
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
