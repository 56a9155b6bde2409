//! Reads the log's bytes again, from the device, and verifies them, a piece at a time, beside the appends.
//!
//! Every frame that was durable before a piece was read must hold ([`Watch`] says how far that is), from the oldest segment
//! to the newest, one linked to the next. What comes after may be under way. Segments released meanwhile are passed over: their
//! files may hold anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Damage, Error, Evidence};
use crate::io::{Access, AlignedBuffer, File, Io};
use crate::recovery::Recovery;
use crate::segment::frame::{self, FrameHeader, FrameSum};
use crate::segment::header::SegmentHeader;
use crate::segment::sector::{BLOCK, LANE, Mark, SECTOR, judge, offset_of};
use crate::watch::Watch;

/// One read takes at most this much, so that no append waits long behind it.
const PIECE: usize = 256 << 10;

/// A walk over a log that is open elsewhere, round after round. Changes nothing, and waits for nobody.
pub struct Scrub {
    dir: PathBuf,
    io: Arc<dyn Io>,
    watch: Watch,
    buffer: AlignedBuffer,
    walk: Option<Walk>,
}

/// How far a slice came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Bytes read in this slice.
    pub bytes: u64,
    /// Everything that was durable has been verified; the next slice begins a new round.
    pub round_done: bool,
}

/// Within one segment.
struct Walk {
    path: PathBuf,
    file: Box<dyn File>,
    header: SegmentHeader,
    /// File offset to read on from.
    offset: u64,
    /// Of the last frame that holds, here or before this segment; `end` is the lane position after it.
    end: u64,
    sequence: u64,
    checksum: u32,
    /// The frame after it, of which a part was read.
    begun: Option<Begun>,
}

struct Begun {
    header: FrameHeader,
    sum: FrameSum,
}

/// What a walk found in a piece.
enum Found {
    /// Sound frames up to the end of the piece.
    Sound,
    /// The last frame that had to be there.
    Durable,
    /// Something else than a sound frame, at a file offset.
    Strange { offset: u64, expected: String, found: &'static str },
}

impl Scrub {
    /// `watch` is what the log was given in its options.
    pub fn new(dir: &Path, io: Arc<dyn Io>, watch: Watch) -> Self {
        Self { dir: dir.to_path_buf(), io, watch, buffer: AlignedBuffer::new(PIECE), walk: None }
    }

    /// Reads and verifies at most the next `max_bytes`, in whole blocks, one at least. Damage is an error that names file,
    /// offset and reason; the slice after it begins a new round.
    pub fn slice(&mut self, max_bytes: u64) -> Result<ScrubProgress, Error> {
        let mut progress = ScrubProgress::default();
        let blocks = (max_bytes / BLOCK as u64).max(1);
        while progress.bytes < blocks * BLOCK as u64 && !progress.round_done {
            let most = (blocks * BLOCK as u64 - progress.bytes).min(PIECE as u64) as usize;
            let segment = self.walk.as_ref().map_or(self.watch.oldest(), |walk| walk.header.id);
            match self.piece(segment, most, &mut progress.bytes) {
                Ok(done) => progress.round_done = done,
                Err(error) => {
                    self.walk = None;
                    // What was released while it was read may hold anything, and may be gone.
                    if segment >= self.watch.oldest() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(progress)
    }

    /// Bytes of the segments that a round walks, at most.
    pub fn log_bytes(&self) -> Result<u64, Error> {
        let recovery = self.recovery();
        let mut bytes = 0;
        for id in recovery.list()?.segments {
            if id < self.watch.oldest() {
                continue;
            }
            match recovery.open(id, Access::Read) {
                Ok((path, file)) => {
                    bytes += file.length().map_err(|source| recovery.failed("measure", path, 0, source))?;
                }
                // Released meanwhile.
                Err(_) if id < self.watch.oldest() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    fn recovery(&self) -> Recovery<'_> {
        Recovery { dir: &self.dir, io: &self.io, access: Access::Read }
    }

    /// Says whether the round is done.
    fn piece(&mut self, segment: u64, most: usize, bytes: &mut u64) -> Result<bool, Error> {
        let durable = self.watch.durable();
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => {
                *bytes += BLOCK as u64;
                self.enter(segment)?.ok_or_else(|| self.no_header(segment, durable))?
            }
        };
        if walk.sequence >= durable {
            return Ok(true);
        }
        let buffer = &mut self.buffer.as_mut()[..most];
        let read = walk.file.read_at(walk.offset, buffer);
        let read =
            read.map_err(|source| self.recovery().failed("read", walk.path.clone(), walk.offset, source))?;
        *bytes += read as u64;
        let found = if read < SECTOR {
            walk.strange("the file ends there")
        } else {
            walk.verify(&self.buffer.as_ref()[..read / SECTOR * SECTOR], durable)
        };
        match found {
            Found::Sound => self.walk = Some(walk),
            Found::Durable => return Ok(true),
            Found::Strange { offset, expected, found } => {
                // Either the segment ends here and the next one says so, or what was durable is not there any more.
                *bytes += BLOCK as u64;
                let next = self.enter(walk.header.id + 1)?;
                let evidence = match next {
                    Some(next) if next.follows(&walk) => {
                        self.walk = Some(next);
                        return Ok(false);
                    }
                    Some(next) => Evidence::LaterSegment { id: next.header.id },
                    None => Evidence::Acknowledged { sequence: durable },
                };
                let found = found.to_owned();
                return Err(Box::new(Damage { path: walk.path, offset, expected, found, evidence }).into());
            }
        }
        Ok(false)
    }

    /// The start of a segment; `None` if it was never begun.
    fn enter(&self, id: u64) -> Result<Option<Walk>, Error> {
        let recovery = self.recovery();
        let absent = |error: &Error| matches!(error, Error::Io { operation: "open", source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        let header = match recovery.head(id, None) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (path, file) = recovery.open(id, Access::Read)?;
        let (sequence, checksum) = (header.sequence - 1, header.previous_checksum);
        Ok(Some(Walk { path, file, header, offset: 0, end: LANE as u64, sequence, checksum, begun: None }))
    }

    fn no_header(&self, id: u64, durable: u64) -> Error {
        let path = crate::segment::name::Name::Segment(id).in_dir(&self.dir);
        let evidence = Evidence::Acknowledged { sequence: durable };
        let expected = format!("the header of segment {id}");
        Box::new(Damage { path, offset: 0, expected, found: "none".to_owned(), evidence }).into()
    }
}

impl Walk {
    /// Whether this segment, of which nothing was read, says that the other one ends where its walk stopped. A part of one
    /// more frame may be there: a write that was cut short, behind which a new segment was begun.
    fn follows(&self, other: &Self) -> bool {
        let ours = (self.header.previous_end, self.sequence, self.checksum, &self.header.metadata);
        ours == (other.end, other.sequence, other.checksum, &other.header.metadata)
    }

    /// Goes through whole sectors, read at the walk's offset.
    fn verify(&mut self, piece: &[u8], durable: u64) -> Found {
        for sector in piece.chunks_exact(SECTOR) {
            let number = self.offset / SECTOR as u64;
            let (lane, stamp) = sector.split_at(LANE);
            if number > 0 {
                let ours = judge(self.header.id, number, stamp) == Mark::Ours;
                match self.lane(number * LANE as u64, lane, ours, durable) {
                    Found::Sound => {}
                    other => return other,
                }
            }
            self.offset += SECTOR as u64;
        }
        Found::Sound
    }

    fn lane(&mut self, position: u64, lane: &[u8], ours: bool, durable: u64) -> Found {
        let mut at = 0;
        loop {
            let Some(begun) = &mut self.begun else {
                let next = frame::start_at(self.end);
                let within = next.saturating_sub(position) as usize;
                if lane[at..within.min(LANE)].iter().any(|&byte| byte != 0) {
                    return self.strange("bytes other than zero before the frame");
                }
                if within >= LANE {
                    return Found::Sound;
                }
                match FrameHeader::decode(&lane[within..], self.header.id, next) {
                    Ok(header)
                        if header.sequence == self.sequence + 1 && header.previous == self.checksum =>
                    {
                        self.begun = Some(Begun { header, sum: FrameSum::default() });
                        at = within;
                    }
                    Ok(_) => return self.strange("a frame that follows another one"),
                    Err(why) => return self.strange(why),
                }
                continue;
            };
            if !ours {
                return self.strange("a sector whose stamp is another");
            }
            at += begun.sum.take(&begun.header, &lane[at..]);
            let Some(checksum) = begun.sum.finish(&begun.header) else { return Found::Sound };
            let Ok(checksum) = checksum else { return self.strange("frame checksum does not hold") };
            self.end = frame::start_at(self.end) + begun.header.frame_bytes();
            self.checksum = checksum;
            self.sequence += 1;
            self.begun = None;
            if self.sequence >= durable {
                return Found::Durable;
            }
            if at == LANE {
                return Found::Sound;
            }
        }
    }

    fn strange(&self, found: &'static str) -> Found {
        let expected = format!("frame {} of segment {}", self.sequence + 1, self.header.id);
        Found::Strange { offset: offset_of(frame::start_at(self.end)), expected, found }
    }
}
