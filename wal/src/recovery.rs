//! From a directory of files to the log they hold.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, Scope};

use crate::batch::{Entry, HardState, Metadata, Position};
use crate::error::{Damage, Error, Evidence};
use crate::io::{Access, AlignedBuffer, File, Io, Method};
use crate::log::TornTail;
use crate::planted::{Fault, planted};
use crate::reading::{Ahead, ReadSegment, Wanted};
use crate::scan::{Frame, Scanned, Successor, Tail, refute, scan};
use crate::segment::header::{NotAHeader, SegmentHeader, VERSION};
use crate::segment::lanes::{Foreign, Lanes};
use crate::segment::name::Name;
use crate::segment::sector::{BLOCK, LANE, LaneWriter, Mark, SECTOR, offset_of};
use crate::terms::Terms;

/// What the log remembers of a live segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) id: u64,
    /// Highest index of any entry in it, replaced or not, or of the entry before it.
    pub(crate) highest: u64,
    /// The position before the lowest entry in it.
    pub(crate) floor: Position,
}

impl SegmentInfo {
    pub(crate) fn new(id: u64, start: Position) -> Self {
        Self { id, highest: start.index, floor: start }
    }

    /// Takes note of a frame with entries.
    pub(crate) fn extend(&mut self, before: Position, last: u64) {
        self.highest = self.highest.max(last);
        if before.index < self.floor.index {
            self.floor = before;
        }
    }
}

/// The file after the newest segment.
pub(crate) struct Blank {
    pub(crate) id: u64,
    /// Whether it can be used as it is: whole, and free of a first write that was cut short.
    pub(crate) usable: bool,
    /// Whether it holds anything but zeros.
    pub(crate) recycled: bool,
}

/// Everything that a directory holds.
pub(crate) struct Image {
    pub(crate) metadata: Metadata,
    pub(crate) start: Position,
    /// Empty unless they were to be kept.
    pub(crate) entries: Vec<Entry>,
    /// The position of the last entry.
    pub(crate) last: Position,
    /// The terms of all entries.
    pub(crate) terms: Terms,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) segments: Vec<SegmentInfo>,
    pub(crate) newest: Scanned,
    pub(crate) torn_tail: Option<TornTail>,
    pub(crate) blank: Option<Blank>,
    /// Segments that were released, but not yet renamed when the process ended.
    pub(crate) released: Vec<u64>,
    pub(crate) spares: Vec<u64>,
    /// Files that were being made ready.
    pub(crate) strays: Vec<u64>,
}

/// The files of a directory by their names.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) segments: Vec<u64>,
    pub(crate) spares: Vec<u64>,
    pub(crate) strays: Vec<u64>,
}

/// What of the entries is wanted in an [`Image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Entries,
    /// Their terms only, so that memory does not grow with the log.
    Terms,
}

/// Reads a directory. Writing is never needed; `Access::Write` makes what is read durable first.
pub(crate) struct Recovery<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) io: &'a Arc<dyn Io>,
    pub(crate) access: Access,
}

struct Head {
    id: u64,
    header: Option<SegmentHeader>,
}

impl Recovery<'_> {
    pub(crate) fn run(&self, keep: Keep) -> Result<Image, Error> {
        thread::scope(|scope| self.run_in(scope, keep))
    }

    fn run_in<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, keep: Keep) -> Result<Image, Error> {
        let Listing { segments: ids, spares, strays } = self.list()?;
        if ids.is_empty() {
            return Err(Error::NotFound { dir: self.dir.to_path_buf() });
        }
        let mut heads = Vec::with_capacity(ids.len());
        for (at, &id) in ids.iter().enumerate() {
            heads.push(Head { id, header: self.head(id, ids.get(at + 1).copied())? });
        }
        let blank_id = heads.pop_if(|head| head.header.is_none()).map(|head| head.id);
        let Some(newest) = heads.last() else { return Err(self.no_segment_at_all(blank_id)) };
        let newest_header = newest.header.clone().expect("only the last file may be blank");
        let newest_id = newest.id;
        let successor = blank_id.map_or(Successor::Nothing, Successor::Prepared);
        let ahead = Ahead::start(self, self.order(&heads, blank_id), scope);
        let mut newest = self.segment(&ahead, newest_id, newest_header, &successor)?;
        let torn_tail = TornTail::of(&newest);
        let blank;
        if newest.frames.is_empty() && !newest.header.bare {
            // A header travels with its first frame: that write was cut short, and the segment was not begun. Its file is
            // made anew under the same id, so that a prepared successor always vouches for a first frame.
            heads.pop();
            blank = Some(Blank { id: newest_id, usable: false, recycled: true });
            newest = self.unbegun(&ahead, newest_id, heads.last())?;
        } else {
            blank = blank_id.map(|id| self.blank(&ahead, id, &newest)).transpose()?;
        }
        let blank_id = blank.as_ref().map(|blank| blank.id);

        let released = self.check_complete(&heads, &newest, blank_id)?;
        let mut replay = Replay::new(keep);
        for pair in heads.windows(2).skip(released.len()) {
            let header = pair[0].header.clone().expect("only the last file may be blank");
            let next = pair[1].header.as_ref().expect("only the last file may be blank");
            let mut scanned = self.segment(&ahead, pair[0].id, header, &Successor::Begun(next))?;
            replay.segment(&mut scanned)?;
        }
        replay.segment(&mut newest)?;
        Ok(Image {
            metadata: newest.header.metadata.clone(),
            start: replay.start,
            entries: replay.entries,
            last: replay.last,
            terms: replay.terms,
            hard_state: replay.hard_state,
            segments: replay.segments,
            newest,
            torn_tail,
            blank,
            released,
            spares,
            strays,
        })
    }

    /// The newest segment where the one after it was not begun, although its header is there.
    fn unbegun(&self, ahead: &Ahead<'_>, id: u64, before: Option<&Head>) -> Result<Scanned, Error> {
        let before = before.filter(|before| before.id + 1 == id).and_then(|before| before.header.clone());
        let header = before.ok_or_else(|| self.no_segment_at_all(Some(id)))?;
        self.segment(ahead, header.id, header, &Successor::Prepared(id))
    }

    /// Everything in ascending order.
    pub(crate) fn list(&self) -> Result<Listing, Error> {
        let names = self
            .io
            .list(self.dir)
            .map_err(|source| self.failed("list", self.dir.to_path_buf(), 0, source))?;
        let mut listing = Listing::default();
        for name in names {
            match Name::parse(&name) {
                Name::Segment(id) => listing.segments.push(id),
                Name::Spare(id) => listing.spares.push(id),
                Name::New(id) => listing.strays.push(id),
                Name::Other => {}
            }
        }
        listing.segments.sort_unstable();
        listing.spares.sort_unstable();
        listing.strays.sort_unstable();
        Ok(listing)
    }

    /// The header of a segment file; `None` for the last file where it was never begun.
    pub(crate) fn head(&self, id: u64, next: Option<u64>) -> Result<Option<SegmentHeader>, Error> {
        let (path, file) = self.open(id, Access::Read)?;
        let mut block = AlignedBuffer::new(BLOCK);
        let read =
            file.read_at(0, block.as_mut()).map_err(|source| self.failed("read", path.clone(), 0, source))?;
        let mut lanes = Lanes::new(BLOCK as u64);
        for mut part in lanes.parts() {
            part.fill(id, &block.as_ref()[..read], Foreign::Keep);
        }
        let damaged = |found: &str, evidence| -> Error {
            let expected = format!("the header of segment {id}");
            Box::new(Damage { path: path.clone(), offset: 0, expected, found: found.to_owned(), evidence })
                .into()
        };
        let unless_last = |found| match next {
            Some(next) => Err(damaged(found, Evidence::LaterSegment { id: next })),
            None => Ok(None),
        };
        let mark = lanes.mark_at(0);
        match SegmentHeader::decode(lanes.get(0, LANE as u64)) {
            Ok(header) if header.id != id => Err(Error::Misplaced { path, expected: id, found: header.id }),
            Ok(header) if mark == Mark::Ours => Ok(Some(header)),
            Ok(_) if mark == Mark::Near => {
                Err(damaged("its sector's stamp is another", Evidence::WholeOnDisk))
            }
            Ok(_) => unless_last("its sector's stamp is missing"),
            Err(NotAHeader::Newer(found)) => Err(Error::NewerVersion { path, found, supported: VERSION }),
            Err(NotAHeader::Blank) if mark == Mark::Foreign => unless_last("zeros"),
            Err(NotAHeader::Damaged(found)) if mark == Mark::Foreign => unless_last(found),
            Err(NotAHeader::Damaged(found)) => Err(damaged(found, Evidence::WholeOnDisk)),
            Err(NotAHeader::Blank) => Err(damaged("zeros under its stamp", Evidence::WholeOnDisk)),
        }
    }

    pub(crate) fn segment(
        &self,
        ahead: &Ahead<'_>,
        id: u64,
        header: SegmentHeader,
        successor: &Successor<'_>,
    ) -> Result<Scanned, Error> {
        let newest = !matches!(successor, Successor::Begun(_));
        let mut wanted = self.wanted(id, &header, newest);
        loop {
            let ReadSegment { path, file_bytes, lanes } = ahead.take(wanted)?;
            let lanes = Rc::new(lanes);
            let scanned = scan(&path, header.clone(), Rc::clone(&lanes), file_bytes, successor);
            if !lanes.missed() {
                return scanned;
            }
            wanted.foreign = Foreign::Keep;
        }
    }

    /// How a segment that was begun is read.
    fn wanted(&self, id: u64, header: &SegmentHeader, newest: bool) -> Wanted {
        Wanted {
            id,
            file_bytes: header.file_bytes,
            access: if newest { self.access } else { Access::Read },
            // In a file that was new, content without a stamp says something.
            foreign: if header.recycled { Foreign::LeaveOut } else { Foreign::Keep },
        }
    }

    /// The prepared file only has to be free of stamps of ours.
    fn wanted_blank(id: u64, newest: &SegmentHeader) -> Wanted {
        Wanted { id, file_bytes: newest.file_bytes, access: Access::Read, foreign: Foreign::LeaveOut }
    }

    /// What will be read, in this order, unless the newest segment turns out to be another one.
    fn order(&self, heads: &[Head], blank: Option<u64>) -> Vec<Wanted> {
        let begun =
            |head: &Head, newest| head.header.as_ref().map(|header| self.wanted(head.id, header, newest));
        let Some((newest, older)) = heads.split_last() else { return Vec::new() };
        let Some(header) = &newest.header else { return Vec::new() };
        let older = older.iter().filter(|head| head.id >= header.oldest);
        begun(newest, true)
            .into_iter()
            .chain(blank.map(|id| Self::wanted_blank(id, header)))
            .chain(older.filter_map(|head| begun(head, false)))
            .collect()
    }

    /// Looks at the file that was made ready after the newest segment. Frames in it are those of a first write that was cut short:
    /// one at most, and without the header. A second one shows that the header had been there.
    fn blank(&self, ahead: &Ahead<'_>, id: u64, newest: &Scanned) -> Result<Blank, Error> {
        let usual = newest.header.file_bytes;
        let ReadSegment { path, file_bytes: bytes, lanes } =
            ahead.take(Self::wanted_blank(id, &newest.header))?;
        let usable = bytes == usual && lanes.marks.iter().all(|&mark| mark == Mark::Foreign);
        let recycled = !lanes.is_blank();
        if !usable {
            let header = SegmentHeader {
                id,
                file_bytes: bytes.max(usual),
                start: Position::default(),
                sequence: newest.sequence + 1,
                oldest: 0,
                previous_end: newest.end,
                previous_checksum: newest.checksum,
                hard_state: None,
                metadata: newest.header.metadata.clone(),
                bare: true,
                recycled: true,
            };
            refute(&path, header, Rc::new(lanes))?;
        }
        Ok(Blank { id, usable, recycled })
    }

    /// Every segment from the oldest that is needed to the newest is there, and the prepared one is the next. Returns those below,
    /// which were released.
    fn check_complete(
        &self,
        heads: &[Head],
        newest: &Scanned,
        blank: Option<u64>,
    ) -> Result<Vec<u64>, Error> {
        let needed = heads.iter().map(|head| head.id).chain(blank).filter(|&id| id >= newest.oldest);
        for (expected, id) in (newest.oldest..).zip(needed) {
            if id != expected {
                let evidence = if expected == newest.oldest {
                    format!("frame {} names it as the oldest needed", newest.sequence)
                } else {
                    format!("segment {id} is there")
                };
                let path = Name::Segment(expected).in_dir(self.dir);
                return Err(Error::MissingSegment { id: expected, path, evidence });
            }
        }
        Ok(heads.iter().map(|head| head.id).filter(|&id| id < newest.oldest).collect())
    }

    fn no_segment_at_all(&self, blank: Option<u64>) -> Error {
        match blank {
            Some(id) if id > 1 => Error::MissingSegment {
                id: id - 1,
                path: Name::Segment(id - 1).in_dir(self.dir),
                evidence: format!("segment {id} was prepared to follow it"),
            },
            _ => Box::new(Damage {
                path: Name::Segment(1).in_dir(self.dir),
                offset: 0,
                expected: "the header of segment 1".to_owned(),
                found: "none".to_owned(),
                evidence: Evidence::Named,
            })
            .into(),
        }
    }

    pub(crate) fn open(&self, id: u64, access: Access) -> Result<(PathBuf, Box<dyn File>), Error> {
        let path = Name::Segment(id).in_dir(self.dir);
        // Directly, whatever the appends use: after a sync that failed, the page cache shows what the device never got.
        let method = if planted(Fault::ReadsCache) { Method::Dsync } else { Method::DirectDsync };
        match self.io.open(&path, access, method) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(self.failed("open", path, 0, source)),
        }
    }

    pub(crate) fn failed(
        &self,
        operation: &'static str,
        path: PathBuf,
        offset: u64,
        source: std::io::Error,
    ) -> Error {
        Error::Io { operation, path, offset, source }
    }
}

/// Runs the frames of consecutive segments into one log.
struct Replay {
    keep: Keep,
    start: Position,
    entries: Vec<Entry>,
    last: Position,
    terms: Terms,
    hard_state: Option<HardState>,
    segments: Vec<SegmentInfo>,
}

impl Replay {
    fn new(keep: Keep) -> Self {
        let nowhere = Position::default();
        Self {
            keep,
            start: nowhere,
            entries: Vec::new(),
            last: nowhere,
            terms: Terms::new(nowhere),
            hard_state: None,
            segments: Vec::new(),
        }
    }

    /// Takes the entries out of the frames if they are to be kept.
    fn segment(&mut self, scanned: &mut Scanned) -> Result<(), Error> {
        let header = &scanned.header;
        if self.segments.is_empty() {
            self.begin_at(header.start);
            self.hard_state = header.hard_state;
        } else if header.start != self.last || header.hard_state != self.hard_state {
            return Err(Error::Foreign {
                path: scanned.path.clone(),
                expected: format!("a segment after {:?} with {:?}", self.last, self.hard_state),
                found: format!("{:?} with {:?}", header.start, header.hard_state),
            });
        }
        let mut info = SegmentInfo::new(header.id, header.start);
        for at in 0..scanned.frames.len() {
            let frame = &mut scanned.frames[at];
            if let Some(last) = frame.entries.last() {
                info.extend(frame.header.before, last.index);
            }
            if let Err(found) = self.frame(frame) {
                let offset = offset_of(frame.position);
                let expected = format!("a frame that continues the log at index {}", self.last.index + 1);
                return Err(scanned.damage(offset, expected, found, Evidence::Contradiction));
            }
        }
        self.segments.push(info);
        Ok(())
    }

    fn begin_at(&mut self, start: Position) {
        self.entries.clear();
        (self.start, self.last, self.terms) = (start, start, Terms::new(start));
    }

    fn frame(&mut self, frame: &mut Frame) -> Result<(), String> {
        let before = frame.header.before;
        if before.index > self.last.index {
            return Err(format!("entries from index {}", before.index + 1));
        }
        if frame.entries.is_empty() && before != self.last {
            return Err(format!("an empty frame after {before:?}"));
        }
        if let Some(last) = frame.entries.last() {
            if before.index < self.start.index {
                // Replaced entries that are in segments released since.
                self.begin_at(before);
            }
            self.terms.truncate(before.index);
            if self.terms.at(before.index) != before.term {
                return Err(format!("entries after {before:?}"));
            }
            self.terms.append(&frame.entries);
            self.last = Position { index: last.index, term: last.term };
            if self.keep == Keep::Entries {
                self.entries.truncate((before.index - self.start.index) as usize);
                self.entries.append(&mut frame.entries);
            }
        }
        if frame.hard_state.is_some() {
            self.hard_state = frame.hard_state;
        }
        Ok(())
    }
}

/// Reads the content of the newest segment's last, partial block back into a buffer.
pub(crate) fn restore_block(newest: &Scanned, buffer: &mut AlignedBuffer) -> u64 {
    let base = offset_of(newest.end) / BLOCK as u64 * BLOCK as u64;
    let from = base / SECTOR as u64 * LANE as u64;
    let mut writer = LaneWriter::new(buffer.as_mut(), newest.header.id, base, from);
    writer.put(newest.lanes.get(from, newest.end - from));
    if newest.end > from {
        writer.finish(from);
    }
    base
}

/// Whether a segment's tail can be appended to.
pub(crate) fn is_open(newest: &Scanned) -> bool {
    newest.tail == Tail::Clean
}
