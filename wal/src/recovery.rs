//! From a directory of files to the log they hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::ahead::{Ahead, Follower, Job};
use crate::batch::{Entry, HardState, Metadata, Position};
use crate::error::{Damage, Error, Evidence};
use crate::io::{Access, AlignedBuffer, File, Io, Method};
use crate::log::TornTail;
use crate::planted::{Fault, planted};
use crate::reading::{ReadSegment, Wanted, read_while};
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

/// Headers and names, all that is known before content is read.
struct Heads {
    /// Of the segments that were begun, in ascending order.
    headers: Vec<SegmentHeader>,
    /// The last file, where it was not begun.
    blank: Option<u64>,
    spares: Vec<u64>,
    strays: Vec<u64>,
}

impl Recovery<'_> {
    pub(crate) fn run(&self, keep: Keep) -> Result<Image, Error> {
        let heads = self.heads()?;
        let jobs = self.jobs(&heads, None);
        thread::scope(|scope| self.image(&heads, Ahead::start(self, &jobs, scope), keep))
    }

    /// As `run`, with all entries; shows frames as they are found sound, from the first on that is needed. The verdict is the
    /// same, in the same order.
    pub(crate) fn run_following(&self, follower: Follower<'_>) -> Result<Image, Error> {
        let heads = self.heads()?;
        let jobs = self.jobs(&heads, Some(follower.after));
        thread::scope(|scope| {
            let ahead = Ahead::follow(self, &jobs, scope, follower.show);
            self.image(&heads, ahead, Keep::Entries)
        })
    }

    /// Whose log it is, from the headers alone: nothing else of it was looked at.
    pub(crate) fn metadata(&self) -> Result<Metadata, Error> {
        Ok(self.heads()?.newest().metadata.clone())
    }

    fn heads(&self) -> Result<Heads, Error> {
        let Listing { segments: ids, spares, strays } = self.list()?;
        if ids.is_empty() {
            return Err(Error::NotFound { dir: self.dir.to_path_buf() });
        }
        let mut headers = Vec::with_capacity(ids.len());
        let mut blank = None;
        for (at, &id) in ids.iter().enumerate() {
            match self.head(id, ids.get(at + 1).copied())? {
                Some(header) => headers.push(header),
                None => blank = Some(id),
            }
        }
        if headers.is_empty() {
            return Err(self.no_segment_at_all(blank));
        }
        Ok(Heads { headers, blank, spares, strays })
    }

    /// What has to be read, the needed first. Without `after`, the newest segment: it says what else is. With it, the segments that
    /// hold what follows this index, so that it can be shown at once; nobody has released them, since nobody releases what is
    /// still needed.
    fn jobs<'a>(&self, heads: &'a Heads, after: Option<u64>) -> Vec<Job<'a>> {
        let headers = &heads.headers;
        let newest = heads.newest();
        let job = move |at: usize| {
            let successor = match headers.get(at + 1) {
                Some(next) => Successor::Begun(next),
                None => heads.blank.map_or(Successor::Nothing, Successor::Prepared),
            };
            Job::Segment(&headers[at], successor)
        };
        let last = headers.len() - 1;
        let needed = headers.iter().position(|header| header.id >= newest.oldest).unwrap_or(last);
        let first = match after {
            None => last,
            Some(after) => {
                let holds = headers.iter().rposition(|header| header.start.index <= after);
                let gap = headers.windows(2).rposition(|pair| pair[0].id + 1 != pair[1].id);
                holds.unwrap_or(0).max(gap.map_or(0, |at| at + 1))
            }
        };
        let blank = heads.blank.map(|id| Job::Blank(Self::wanted_blank(id, newest)));
        (first..=last).map(job).chain(blank).chain((needed..first).map(job)).collect()
    }

    fn image(&self, heads: &Heads, mut ahead: Ahead<'_>, keep: Keep) -> Result<Image, Error> {
        let mut headers = &heads.headers[..];
        let successor = heads.blank.map_or(Successor::Nothing, Successor::Prepared);
        let mut newest = ahead.segment(heads.newest(), &successor)?;
        let torn_tail = TornTail::of(&newest);
        let blank;
        if newest.frames.is_empty() && !newest.header.bare {
            // A header travels with its first frame: that write was cut short, and the segment was not begun. Its file is
            // made anew under the same id, so that a prepared successor always vouches for a first frame.
            let id = newest.header.id;
            headers = &headers[..headers.len() - 1];
            blank = Some(Blank { id, usable: false, recycled: true });
            newest = self.unbegun(id, headers.last())?;
        } else {
            blank = heads.blank.map(|id| self.blank(&mut ahead, id, &newest)).transpose()?;
        }
        let blank_id = blank.as_ref().map(|blank| blank.id);

        let released = self.check_complete(headers, &newest, blank_id)?;
        let mut replay = Replay::new(keep);
        for pair in headers.windows(2).skip(released.len()) {
            let mut scanned = ahead.segment(&pair[0], &Successor::Begun(&pair[1]))?;
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
            spares: heads.spares.clone(),
            strays: heads.strays.clone(),
        })
    }

    /// The newest segment where the one after it was not begun, although its header is there.
    fn unbegun(&self, id: u64, before: Option<&SegmentHeader>) -> Result<Scanned, Error> {
        let header = before.filter(|before| before.id + 1 == id);
        let header = header.ok_or_else(|| self.no_segment_at_all(Some(id)))?;
        self.segment(header, &Successor::Prepared(id), &mut |_| {})
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
        let lanes = Lanes::new(BLOCK as u64);
        lanes.fill(0, id, &block.as_ref()[..read], Foreign::Keep);
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
        match SegmentHeader::decode(&lanes.get(0, LANE as u64)) {
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

    /// Reads a segment that was begun, and shows its frames as they are found sound; from the first on again, where more of the file
    /// turns out to be needed than was kept. Its content is kept in memory if nothing was begun after it.
    pub(crate) fn segment(
        &self,
        header: &SegmentHeader,
        successor: &Successor<'_>,
        sound: &mut dyn FnMut(&Frame),
    ) -> Result<Scanned, Error> {
        let newest = !matches!(successor, Successor::Begun(_));
        let mut wanted = self.wanted(header, newest);
        loop {
            let (scanned, missed) = read_while(self, wanted, |ReadSegment { path, file_bytes, lanes }| {
                let kept = Arc::clone(&lanes);
                (scan(&path, header.clone(), kept, file_bytes, successor, sound), lanes.missed())
            })?;
            if !missed {
                let mut scanned = scanned?;
                if !newest {
                    scanned.forget_lanes();
                }
                return Ok(scanned);
            }
            wanted.foreign = Foreign::Keep;
        }
    }

    /// How a segment that was begun is read.
    fn wanted(&self, header: &SegmentHeader, newest: bool) -> Wanted {
        Wanted {
            id: header.id,
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

    /// Looks at the file that was made ready after the newest segment. Frames in it are those of a first write that was cut short:
    /// one at most, and without the header. A second one shows that the header had been there.
    fn blank(&self, ahead: &mut Ahead<'_>, id: u64, newest: &Scanned) -> Result<Blank, Error> {
        let usual = newest.header.file_bytes;
        let ReadSegment { path, file_bytes: bytes, lanes } =
            ahead.blank(Self::wanted_blank(id, &newest.header))?;
        let usable = bytes == usual && lanes.written() == 0;
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
            refute(&path, header, lanes)?;
        }
        Ok(Blank { id, usable, recycled })
    }

    /// Every segment from the oldest that is needed to the newest is there, and the prepared one is the next. Returns those below,
    /// which were released.
    fn check_complete(
        &self,
        headers: &[SegmentHeader],
        newest: &Scanned,
        blank: Option<u64>,
    ) -> Result<Vec<u64>, Error> {
        let ids = headers.iter().map(|header| header.id);
        let needed = ids.clone().chain(blank).filter(|&id| id >= newest.oldest);
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
        Ok(ids.filter(|&id| id < newest.oldest).collect())
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

impl Heads {
    fn newest(&self) -> &SegmentHeader {
        self.headers.last().expect("a log without any is refused before")
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
    writer.put(&newest.lanes.get(from, newest.end - from));
    if newest.end > from {
        writer.finish(from);
    }
    base
}

/// Whether a segment's tail can be appended to.
pub(crate) fn is_open(newest: &Scanned) -> bool {
    newest.tail == Tail::Clean
}
