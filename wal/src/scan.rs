//! Reads one segment and judges how it ends.
//!
//! The judgement is the heart of recovery. A frame that does not hold is either the last write, cut short before it was
//! acknowledged, or damage to something that was. One write is in flight at a time, so anything written later proves
//! that it was durable: a later frame, a later segment. Where nothing came later, the sectors decide: a write that was
//! cut short lacks at least one, and its stamp shows it (`segment/sector.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{Entry, HardState};
use crate::error::{Damage, Error, Evidence};
use crate::planted::{Fault, planted};
use crate::segment::frame::{self, Copies, FrameHeader};
use crate::segment::header::SegmentHeader;
use crate::segment::lanes::Lanes;
use crate::segment::sector::{LANE, Mark, SECTOR, offset_of};

/// A frame whose checksum holds.
pub(crate) struct Frame {
    pub(crate) position: u64,
    pub(crate) header: FrameHeader,
    pub(crate) checksum: u32,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) entries: Vec<Entry>,
}

/// How the frames of the newest segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing was begun after the last frame.
    Clean,
    /// Something was, and was cut short. The rest of this segment is not used again.
    Torn { bytes: u64 },
}

/// What is known to come after the segment.
pub(crate) enum Successor<'a> {
    Nothing,
    /// A file that was made ready after this segment's first frame was durable.
    Prepared(u64),
    /// A segment that says where this one ends.
    Begun(&'a SegmentHeader),
}

/// A segment that was read whole.
pub(crate) struct Scanned {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) frames: Vec<Frame>,
    pub(crate) lanes: Arc<Lanes>,
    copies: Copies,
    /// Position after the last frame.
    pub(crate) end: u64,
    /// Of the last frame, here or before this segment.
    pub(crate) sequence: u64,
    pub(crate) checksum: u32,
    pub(crate) oldest: u64,
    pub(crate) tail: Tail,
}

/// Why there is no frame at a place.
struct NoFrame {
    reason: &'static str,
    /// The header, where it holds.
    header: Option<FrameHeader>,
    contradiction: bool,
}

/// Reads the frames of a segment whose header holds, and shows each as soon as it is known to be sound. `file_bytes` is the file's
/// real length.
pub(crate) fn scan(
    path: &Path,
    header: SegmentHeader,
    lanes: Arc<Lanes>,
    file_bytes: u64,
    successor: &Successor<'_>,
    sound: &mut dyn FnMut(&Frame),
) -> Result<Scanned, Error> {
    let mut scanned = unscanned(path, header, lanes);
    if file_bytes > scanned.header.file_bytes {
        return Err(scanned.damage(
            scanned.header.file_bytes,
            format!("the file to end after {} bytes", scanned.header.file_bytes),
            format!("{} more", file_bytes - scanned.header.file_bytes),
            Evidence::WholeOnDisk,
        ));
    }
    if file_bytes < scanned.header.file_bytes {
        // A segment gets its name, and so its header, at its full length: no write that was cut short ends a file.
        return Err(scanned.damage(
            file_bytes,
            format!("the file to end after {} bytes", scanned.header.file_bytes),
            format!("the end after {file_bytes}"),
            Evidence::Named,
        ));
    }
    let stop = loop {
        if let Successor::Begun(next) = successor
            && scanned.end >= next.previous_end
        {
            scanned.check_link(next)?;
            scanned.check_marks(Some(next.id))?;
            return Ok(scanned);
        }
        match scanned.frame_at(frame::start_at(scanned.end)) {
            Ok(frame) => {
                sound(&frame);
                scanned.accept(frame);
            }
            Err(no_frame) => break no_frame,
        }
    };
    if let Successor::Begun(next) = successor {
        return Err(scanned.no_frame(&stop, Evidence::LaterSegment { id: next.id }));
    }
    scanned.tail = scanned.judge_tail(&stop, successor)?;
    let vouched = scanned.vouched_first(successor) && scanned.frames.len() == 1;
    if scanned.tail == Tail::Clean && !vouched {
        scanned.cut_unstamped();
    }
    if scanned.check_marks(None)? == Mark::Foreign && scanned.tail == Tail::Clean {
        scanned.tail = Tail::Torn { bytes: 0 };
    }
    Ok(scanned)
}

/// Makes sure that a file without a header was never begun. What a first write that was cut short leaves is one frame
/// at most; a later one shows that the header had been durable. `header` is what the segment's header would be.
pub(crate) fn refute(path: &Path, header: SegmentHeader, lanes: Arc<Lanes>) -> Result<(), Error> {
    let scanned = unscanned(path, header, lanes);
    match scanned.later_frame(LANE as u64) {
        None => Ok(()),
        Some((offset, sequence)) => Err(scanned.damage(
            0,
            format!("the header of segment {}", scanned.header.id),
            "none".to_owned(),
            Evidence::LaterFrame { offset, sequence },
        )),
    }
}

/// The frames from a segment's start up to the first that does not hold, whatever the reason.
pub(crate) fn sound_frames(path: &Path, header: SegmentHeader, lanes: Arc<Lanes>) -> Scanned {
    let mut scanned = unscanned(path, header, lanes);
    while let Ok(frame) = scanned.frame_at(frame::start_at(scanned.end)) {
        scanned.accept(frame);
    }
    scanned
}

fn unscanned(path: &Path, header: SegmentHeader, lanes: Arc<Lanes>) -> Scanned {
    Scanned {
        path: path.to_path_buf(),
        frames: Vec::new(),
        lanes,
        copies: Copies::default(),
        end: LANE as u64,
        sequence: header.sequence - 1,
        checksum: header.previous_checksum,
        oldest: header.oldest,
        tail: Tail::Clean,
        header,
    }
}

impl Scanned {
    /// Gives the memory of its content back. What is left can be replayed, but not appended to.
    pub(crate) fn forget_lanes(&mut self) {
        self.lanes = Arc::new(Lanes::new(0));
    }

    fn accept(&mut self, frame: Frame) {
        self.end = frame.position + frame.header.frame_bytes();
        self.sequence = frame.header.sequence;
        self.oldest = self.oldest.max(frame.header.oldest);
        self.checksum = frame.checksum;
        self.frames.push(frame);
    }

    /// The next frame of the chain, if it is at this position.
    fn frame_at(&mut self, position: u64) -> Result<Frame, NoFrame> {
        let fail = |reason, header, contradiction| NoFrame { reason, header, contradiction };
        let lanes = Arc::clone(&self.lanes);
        let bytes = lanes.get(position, frame::HEADER as u64);
        let header =
            FrameHeader::decode(&bytes, self.header.id, position).map_err(|why| fail(why, None, false))?;
        if header.sequence != self.sequence + 1 {
            return Err(fail("a frame of another sequence", Some(header), true));
        }
        if header.previous != self.checksum && !planted(Fault::IgnoresChain) {
            return Err(fail("a frame that follows another one", Some(header), true));
        }
        if !lanes.is_zero(self.end, position) {
            return Err(fail("bytes other than zero before the frame", Some(header), true));
        }
        let bytes = lanes.get(position, header.frame_bytes());
        let checksum = header.checksum_of(&bytes).map_err(|why| fail(why, Some(header), false))?;
        let (hard_state, entries) =
            header.decode_payload(&bytes, &mut self.copies).map_err(|why| fail(why, Some(header), true))?;
        Ok(Frame { position, header, checksum, hard_state, entries })
    }

    /// Whether the next file shows that this segment's first frame was durable.
    fn vouched_first(&self, successor: &Successor<'_>) -> bool {
        matches!(successor, Successor::Prepared(_)) && !self.header.bare
    }

    /// A write that was cut short may lack sectors that would have held only zeros: in a fresh file the frame looks whole but for
    /// their stamps. Nothing came after it, so that it was never acknowledged, and goes.
    fn cut_unstamped(&mut self) {
        let Some(last) = self.frames.last() else { return };
        let sectors = last.position / LANE as u64 + 1..(self.end - 1) / LANE as u64;
        if sectors.into_iter().all(|sector| self.lanes.mark_at(sector * LANE as u64) != Mark::Foreign) {
            return;
        }
        self.tail = Tail::Torn { bytes: last.header.frame_bytes() };
        self.checksum = last.header.previous;
        self.sequence -= 1;
        self.frames.pop();
        self.end =
            self.frames.last().map_or(LANE as u64, |frame| frame.position + frame.header.frame_bytes());
        let oldest = self.frames.iter().map(|frame| frame.header.oldest);
        self.oldest = oldest.fold(self.header.oldest, u64::max);
    }

    /// The next segment says how this one ends; both must agree.
    fn check_link(&self, next: &SegmentHeader) -> Result<(), Error> {
        let found = (self.end, self.sequence, self.checksum);
        let expected = (next.previous_end, next.sequence - 1, next.previous_checksum);
        if found == expected && self.header.metadata == next.metadata {
            return Ok(());
        }
        let words = |(end, sequence, checksum): (u64, u64, u32)| {
            format!(
                "a segment that ends at {} with frame {sequence}, checksum {checksum:08x}",
                offset_of(end)
            )
        };
        Err(Error::Foreign { path: self.path.clone(), expected: words(expected), found: words(found) })
    }

    /// Every sector of an accepted frame bears our stamp. Only the last may lack it altogether, where the file was
    /// cut behind the frame; its mark is returned.
    fn check_marks(&self, next: Option<u64>) -> Result<Mark, Error> {
        let last = (self.end - 1) / LANE as u64;
        for sector in 0..=last {
            let mark = self.lanes.mark(sector as usize);
            if mark == Mark::Ours {
                continue;
            }
            if sector == last && mark == Mark::Foreign {
                return Ok(mark);
            }
            let evidence = next.map_or(Evidence::WholeOnDisk, |id| Evidence::LaterSegment { id });
            return Err(self.damage(
                sector * SECTOR as u64 + LANE as u64,
                "the sector's stamp".to_owned(),
                "another one under a sound frame".to_owned(),
                evidence,
            ));
        }
        Ok(Mark::Ours)
    }

    fn judge_tail(&self, stop: &NoFrame, successor: &Successor<'_>) -> Result<Tail, Error> {
        let at = frame::start_at(self.end);
        if planted(Fault::CutsTooMuch) {
            return Ok(Tail::Torn { bytes: self.bytes_after(at) });
        }
        if stop.contradiction {
            return Err(self.no_frame(stop, Evidence::Contradiction));
        }
        let beyond = at + stop.header.map_or(8, |header| header.frame_bytes());
        if let Some((offset, sequence)) = self.later_frame(beyond) {
            return Err(self.no_frame(stop, Evidence::LaterFrame { offset, sequence }));
        }
        if let Successor::Prepared(id) = successor
            && self.frames.is_empty()
            && self.vouched_first(successor)
        {
            return Err(self.no_frame(stop, Evidence::LaterSegment { id: *id }));
        }
        if let Some(header) = stop.header {
            return self.judge_frame(stop, at, &header);
        }
        self.judge_end(stop, at)
    }

    /// A frame header without its frame: cut short if a sector of the frame is not there, and nothing was written
    /// behind it.
    fn judge_frame(&self, stop: &NoFrame, at: u64, header: &FrameHeader) -> Result<Tail, Error> {
        let first = (at / LANE as u64) as usize;
        let behind = (at + header.frame_bytes()).div_ceil(LANE as u64) as usize;
        if let Some(sector) = self.lanes.written_from(behind).next() {
            return Err(self.no_frame(stop, Evidence::LaterWrite { offset: (sector * SECTOR) as u64 }));
        }
        if (first..behind).any(|sector| self.lanes.mark(sector) == Mark::Foreign) {
            return Ok(Tail::Torn { bytes: header.frame_bytes() });
        }
        Err(self.no_frame(stop, Evidence::WholeOnDisk))
    }

    /// No frame header: the end of the log, if nothing was written there that should not be.
    fn judge_end(&self, stop: &NoFrame, at: u64) -> Result<Tail, Error> {
        let sector = at / LANE as u64;
        let sector_end = (sector + 1) * LANE as u64;
        let before_is_ours = self.lanes.mark_at(self.end.min(at)) == Mark::Ours;
        if at > self.end && before_is_ours && !self.lanes.is_zero(self.end, at) {
            return Err(self.no_frame(stop, Evidence::WholeOnDisk));
        }
        let mut unwritten_from = sector_end;
        match self.lanes.mark_at(at) {
            Mark::Ours if self.lanes.is_zero(at, sector_end) => {}
            Mark::Ours | Mark::Near => return Err(self.no_frame(stop, Evidence::WholeOnDisk)),
            Mark::Foreign if !at.is_multiple_of(LANE as u64) => {
                return Ok(Tail::Torn { bytes: self.bytes_after(at) });
            }
            Mark::Foreign => unwritten_from = at,
        }
        let first = (unwritten_from / LANE as u64) as usize;
        let begun = self.lanes.written_from(first).next().is_some();
        let junk = !self.header.recycled && !self.lanes.is_zero(unwritten_from, u64::MAX);
        if begun || junk {
            return Ok(Tail::Torn { bytes: self.bytes_after(at) });
        }
        Ok(Tail::Clean)
    }

    /// A frame after `from` that was begun once the one expected was durable.
    fn later_frame(&self, from: u64) -> Option<(u64, u64)> {
        let first = (from / LANE as u64) as usize;
        for sector in self.lanes.written_from(first) {
            let start = (sector * LANE) as u64;
            for position in (start..=start + (LANE - frame::HEADER) as u64).step_by(8) {
                let bytes = self.lanes.get(position, frame::HEADER as u64);
                if position < from || !FrameHeader::resembles(&bytes) {
                    continue;
                }
                match FrameHeader::decode(&bytes, self.header.id, position) {
                    Ok(header) if header.sequence > self.sequence + 1 => {
                        return Some((offset_of(position), header.sequence));
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// Bytes of the file after a position that were written in this segment's life.
    fn bytes_after(&self, position: u64) -> u64 {
        let written = self.lanes.written();
        (written as u64 * SECTOR as u64).saturating_sub(offset_of(position))
    }

    fn no_frame(&self, stop: &NoFrame, evidence: Evidence) -> Error {
        let expected = format!("frame {} of segment {}", self.sequence + 1, self.header.id);
        self.damage(offset_of(frame::start_at(self.end)), expected, stop.reason.to_owned(), evidence)
    }

    pub(crate) fn damage(&self, offset: u64, expected: String, found: String, evidence: Evidence) -> Error {
        Box::new(Damage { path: self.path.clone(), offset, expected, found, evidence }).into()
    }
}
