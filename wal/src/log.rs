//! The log itself: append, release, seal.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ahead::{Follower, Passage};
use crate::batch::{Batch, Entry, HardState, Metadata, Position, Start};
use crate::error::Error;
use crate::io::{Access, Io};
use crate::options::Options;
use crate::planted::{Fault, planted};
use crate::recovery::{Image, Keep, Recovery, SegmentInfo, is_open, restore_block};
use crate::scan::{self, Scanned};
use crate::segment::frame::{self, FrameHeader};
use crate::segment::header::{MAX_METADATA, SegmentHeader};
use crate::segment::name::Name;
use crate::segment::sector::{BLOCK, offset_of};
use crate::stats::{Histogram, NextSegment, Stats};
use crate::tail::{Encoded, Tail};
use crate::terms::Terms;
use crate::upkeep::{Failure, Prepared, Upkeeper, Workshop};

/// A write-ahead log, open for appending. See the crate's documentation.
pub struct Wal {
    metadata: Metadata,
    options: Options,
    tail: Tail,
    /// The tail cannot take another frame: it ends with a write that was cut short.
    tail_closed: bool,
    /// The last frame is a seal, or there is nothing to seal.
    sealed: bool,
    /// Of the last frame; all up to it are durable.
    sequence: u64,
    checksum: u32,
    last: Position,
    terms: Terms,
    hard_state: Option<HardState>,
    /// Oldest first, the tail's last.
    segments: VecDeque<SegmentInfo>,
    /// Segments that are not needed any more. They are put aside once a durable frame says so.
    released: Vec<u64>,
    upkeep: Upkeeper,
    failed: Option<Failed>,
    counters: Counters,
}

/// What is repeated to every caller after a failure.
struct Failed {
    operation: &'static str,
    path: PathBuf,
    offset: u64,
    errno: Option<i32>,
    message: String,
}

#[derive(Default)]
struct Counters {
    batches: u64,
    entries: u64,
    bytes: u64,
    syncs: u64,
    rotations: u64,
    waits: u64,
    latency: Histogram,
}

/// What a log held when it was opened.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// As given when the log was created.
    pub metadata: Metadata,
    /// The newest hard state.
    pub hard_state: Option<HardState>,
    /// All entries that are still in the log, consecutive, the first right after `start`.
    pub entries: Vec<Entry>,
    /// The last write, if it was cut short. It had never been acknowledged.
    pub torn_tail: Option<TornTail>,
    /// The position before the first entry.
    pub start: Start,
}

/// A write that was cut short: not part of the log, never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// File offset at which it begins.
    pub offset: u64,
    /// Bytes of it, as far as they can be told.
    pub bytes: u64,
}

impl TornTail {
    pub(crate) fn of(newest: &Scanned) -> Option<Self> {
        match newest.tail {
            scan::Tail::Clean => None,
            scan::Tail::Torn { bytes } => {
                let offset = offset_of(frame::start_at(newest.end));
                Some(Self { file: newest.path.clone(), offset, bytes })
            }
        }
    }
}

/// Whether a directory holds a log, sound or not.
pub fn exists(dir: &Path, io: &dyn Io) -> io::Result<bool> {
    match io.list(dir) {
        Ok(names) => Ok(names.iter().any(|name| matches!(Name::parse(name), Name::Segment(_)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What was given when the log was created, without looking at more of it than its segments' headers.
pub fn metadata(dir: &Path, io: Arc<dyn Io>) -> Result<Metadata, Error> {
    Recovery { dir, io: &io, access: Access::Read }.metadata()
}

impl Wal {
    /// Creates a log in an existing directory. The first entry will be the one after `start`.
    /// A crash before this returns leaves either no log or an empty one.
    pub fn create(
        dir: &Path,
        io: Arc<dyn Io>,
        metadata: Metadata,
        start: Start,
        options: Options,
    ) -> Result<Self, Error> {
        check_options(&options);
        if metadata.0.len() > MAX_METADATA {
            return Err(Error::MetadataTooLong { bytes: metadata.0.len() });
        }
        if exists(dir, &*io).map_err(|source| failed_io("list", dir, source))? {
            return Err(Error::Exists { dir: dir.to_path_buf() });
        }
        let mut workshop = Workshop::new(dir, &io, &options, Vec::new(), Vec::new());
        let (temporary, file) = workshop.build_first().map_err(fatal)?;
        let mut tail = Tail::new(1, temporary, file, options.segment_bytes);
        let header = SegmentHeader {
            id: 1,
            file_bytes: options.segment_bytes,
            start,
            sequence: 1,
            oldest: 1,
            previous_end: 0,
            previous_checksum: 0,
            hard_state: None,
            metadata: metadata.clone(),
            bare: true,
            recycled: false,
        };
        let encoded = tail.begin(&header);
        write_whole(&mut tail, &encoded)?;
        tail.advance(&encoded);
        tail.path = workshop.publish(&tail.path, 1).map_err(fatal)?;
        let upkeep =
            Upkeeper::start(workshop, options.upkeep).map_err(|e| failed_io("spawn a thread for", dir, e))?;
        let mut wal = Self {
            metadata,
            options,
            tail,
            tail_closed: false,
            sealed: true,
            sequence: 0,
            checksum: 0,
            last: start,
            terms: Terms::new(start),
            hard_state: None,
            segments: VecDeque::from([SegmentInfo::new(1, start)]),
            released: Vec::new(),
            upkeep,
            failed: None,
            counters: Counters::default(),
        };
        wal.options.watch.set_oldest(1);
        wal.options.watch.set_durable(0);
        wal.upkeep.ask(2);
        Ok(wal)
    }

    /// Opens a log and returns what it holds. Files of the log are read, not written.
    pub fn open(dir: &Path, io: Arc<dyn Io>, options: Options) -> Result<(Self, Recovered), Error> {
        check_options(&options);
        let image = Recovery { dir, io: &io, access: Access::Write }.run(Keep::Entries)?;
        Self::with(image, dir, io, options)
    }

    /// As [`Wal::open`], with the same outcome, and shows what was appended while the rest is still being read: every
    /// append that has entries after index `after`, perhaps earlier ones, and never the last one; in order, on this
    /// thread. `show` must change nothing that outlives the process, since the log may still be refused; and an entry
    /// shown may be replaced by a later one, unless the caller knows better. [`Recovered`] holds all of it again.
    pub fn open_following(
        dir: &Path,
        io: Arc<dyn Io>,
        options: Options,
        after: u64,
        show: &mut dyn FnMut(Passage),
    ) -> Result<(Self, Recovered), Error> {
        check_options(&options);
        let recovery = Recovery { dir, io: &io, access: Access::Write };
        let image = recovery.run_following(Follower { after, show })?;
        Self::with(image, dir, io, options)
    }

    fn with(image: Image, dir: &Path, io: Arc<dyn Io>, options: Options) -> Result<(Self, Recovered), Error> {
        let newest = image.newest;
        let file = io
            .open(&newest.path, Access::Write, options.method)
            .map_err(|source| failed_io("open", &newest.path, source))?;
        let mut tail = Tail::new(newest.header.id, newest.path.clone(), file, newest.header.file_bytes);
        tail.resume(newest.end, |buffer| restore_block(&newest, buffer));
        let torn_tail = image.torn_tail;
        let (last, terms) = (image.last, image.terms);

        let mut workshop = Workshop::new(dir, &io, &options, image.spares, image.strays);
        let next = newest.header.id + 1;
        let mut unusable = None;
        let adopted = match image.blank {
            Some(blank) if blank.usable && newest.header.file_bytes == options.segment_bytes => {
                Some(workshop.adopt(blank.id, blank.recycled).map_err(fatal)?)
            }
            blank => {
                unusable = blank.map(|blank| blank.id);
                workshop.make_names_durable().map_err(fatal)?;
                None
            }
        };
        let mut upkeep =
            Upkeeper::start(workshop, options.upkeep).map_err(|e| failed_io("spawn a thread for", dir, e))?;
        options.watch.set_oldest(newest.oldest);
        options.watch.set_durable(newest.sequence);
        // A blank that cannot be used makes way first: renaming another one over it would unlink it at once.
        upkeep.release(image.released.into_iter().chain(unusable));
        match adopted {
            Some(prepared) => upkeep.put(prepared),
            None => upkeep.ask(next),
        }
        let wal = Self {
            metadata: image.metadata.clone(),
            options,
            tail,
            tail_closed: !is_open(&newest),
            sealed: newest.frames.last().is_none_or(|frame| frame.header.seal),
            sequence: newest.sequence,
            checksum: newest.checksum,
            last,
            terms,
            hard_state: image.hard_state,
            segments: image.segments.into(),
            released: Vec::new(),
            upkeep,
            failed: None,
            counters: Counters::default(),
        };
        let recovered = Recovered {
            metadata: image.metadata,
            hard_state: image.hard_state,
            entries: image.entries,
            torn_tail,
            start: image.start,
        };
        Ok((wal, recovered))
    }

    /// Makes a batch durable with one write. When it returns `Ok`, the batch survives a power cut; an empty batch
    /// writes nothing.
    ///
    /// After an error for which [`Error::is_fatal`] holds, whether the batch is durable is unknown, and the log takes
    /// nothing more. After any other error nothing happened.
    pub fn append(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        self.check_usable()?;
        if batch.entries.is_empty() && batch.hard_state.is_none() {
            return Ok(());
        }
        let before = self.check_order(batch.entries)?;
        self.write(before, batch.entries, batch.hard_state, false)?;
        self.counters.batches += 1;
        self.counters.entries += batch.entries.len() as u64;
        Ok(())
    }

    /// Writes a frame that says that all before is durable, unless the last frame is one already. Then not even the
    /// loss of every sector of the last batch could pass for a write cut short. Call it when there is nothing to append
    /// for a while, and before closing. Also lets a release take effect that no append followed.
    pub fn seal(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        if self.sealed && self.released.is_empty() {
            return Ok(());
        }
        self.write(self.last, &[], None, true)
    }

    /// Seals and closes.
    pub fn close(mut self) -> Result<(), Error> {
        self.seal()
    }

    /// Gives up entries before `index`, by whole segments: those of which every entry lies before it. They are put
    /// aside and used again, elsewhere, once the next frame (or seal) has recorded that they are not needed.
    pub fn release_before(&mut self, index: u64) -> Result<(), Error> {
        self.check_usable()?;
        while self.segments.len() > 1 && self.segments[0].highest < index {
            let segment = self.segments.pop_front().expect("there is more than one");
            if planted(Fault::ReleasesEarly) {
                self.upkeep.release([segment.id]);
            } else {
                self.released.push(segment.id);
            }
        }
        self.terms.forget_before(self.first_index().saturating_sub(1));
        Ok(())
    }

    /// Gives up every entry and begins the next segment at once, so that no byte written before is read again: for a
    /// caller that has stored what all of them say, and no longer trusts the log's bytes. Two writes; an end of the
    /// process before the second leaves the log as it was. After [`Error::NoSegment`] nothing happened, and it may be
    /// tried again.
    pub fn release_all(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        let closed = mem::replace(&mut self.tail_closed, true);
        if let Err(error) = self.write(self.last, &[], None, true) {
            self.tail_closed = closed;
            return Err(error);
        }
        let given_up = self.segments.len() - 1;
        self.released.extend(self.segments.drain(..given_up).map(|segment| segment.id));
        self.terms.forget_before(self.last.index);
        // In a frame after the one that begins the segment: that one may be cut short, and then the old ones are
        // needed.
        self.write(self.last, &[], None, true)
    }

    /// Index of the last entry; that of the start if there is none.
    pub fn last_index(&self) -> u64 {
        self.last.index
    }

    /// Index of the first entry that is still in the log; one more than the last index if there is none.
    pub fn first_index(&self) -> u64 {
        self.segments.iter().map(|segment| segment.floor.index).min().unwrap_or(self.last.index) + 1
    }

    /// The newest hard state.
    pub fn hard_state(&self) -> Option<HardState> {
        self.hard_state
    }

    /// What was given when the log was created.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Bytes that can be appended for sure, whatever happens to the file system's space: what is left of the segment in
    /// use and, if it is ready, the next one. A batch needs its data and some 20 bytes an entry and 100 a frame, and
    /// does not span segments: what it did not fit into is left behind. So keep a reserve of several times the longest
    /// batch.
    pub fn headroom(&self) -> u64 {
        let rest = if self.tail_closed { 0 } else { self.tail.room() };
        let next = if self.upkeep.is_ready() { Tail::longest_frame(self.options.segment_bytes) } else { 0 };
        rest + next
    }

    /// Whether the next segment is ready, or why it is not.
    pub fn next_segment(&self) -> NextSegment {
        self.upkeep.next_segment()
    }

    /// Waits until the next segment is ready. [`Error::NoSegment`] if there is no space for it now, [`Error::Io`] if
    /// anything else is wrong.
    pub fn await_segment(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        let prepared = self.take_segment(self.tail.id + 1)?;
        self.upkeep.put(prepared);
        Ok(())
    }

    /// Waits until the work beside the appends is done: the next segment is ready or cannot be had, and released ones
    /// are put aside or gone. Writes a frame first where releases wait for one. For whoever measures: a log in use
    /// never comes to rest.
    pub fn settle(&mut self) -> Result<(), Error> {
        self.seal()?;
        self.upkeep.settle();
        Ok(())
    }

    /// Counters since the log was opened.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            batches: counters.batches,
            entries: counters.entries,
            bytes: counters.bytes,
            syncs: counters.syncs,
            rotations: counters.rotations,
            waits: counters.waits,
            sync_latency: counters.latency.clone(),
            segments: self.segments.len() as u64,
            chosen: self.tail.file.chosen(),
            next_segment: self.upkeep.next_segment(),
            upkeep_failures: self.upkeep.failures(),
        }
    }

    fn check_usable(&self) -> Result<(), Error> {
        match &self.failed {
            None => Ok(()),
            Some(failed) => Err(Error::Poisoned {
                operation: failed.operation,
                path: failed.path.clone(),
                offset: failed.offset,
                errno: failed.errno,
                message: failed.message.clone(),
            }),
        }
    }

    /// Checks that entries may come next, and says what they follow.
    fn check_order(&self, entries: &[Entry]) -> Result<Position, Error> {
        let Some(first) = entries.first() else { return Ok(self.last) };
        let (lowest, highest) = (self.first_index(), self.last.index + 1);
        if first.index < lowest || first.index > highest {
            return Err(Error::Order { found: first.index, lowest, highest });
        }
        for (expected, entry) in (first.index..).zip(entries) {
            if entry.index != expected {
                return Err(Error::Order { found: entry.index, lowest: expected, highest: expected });
            }
        }
        let before = first.index - 1;
        Ok(Position { index: before, term: self.terms.at(before) })
    }

    fn write(
        &mut self,
        before: Position,
        entries: &[Entry],
        hard_state: Option<HardState>,
        seal: bool,
    ) -> Result<(), Error> {
        let limit = Tail::longest_frame(self.options.segment_bytes);
        let length = match seal {
            true => frame::SEAL_BYTES,
            false => frame::payload_bytes(entries, hard_state).unwrap_or(u32::MAX),
        };
        let mut header = FrameHeader {
            has_hard_state: hard_state.is_some(),
            seal,
            length,
            entries: entries.len() as u32,
            segment: self.tail.id,
            sequence: self.sequence + 1,
            watermark: self.sequence,
            oldest: self.segments[0].id,
            before,
            previous: self.checksum,
        };
        let bytes = header.frame_bytes();
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        let rotated = self.tail_closed || !self.tail.fits(bytes);
        if rotated {
            self.rotate()?;
            header.segment = self.tail.id;
        }
        let encoded = self.tail.encode(&header, hard_state, entries);
        let started = (self.options.clock)();
        self.options.watch.begin(started);
        let written = write_whole(&mut self.tail, &encoded);
        let latency = (self.options.clock)().saturating_duration_since(started);
        self.options.watch.end(latency);
        if let Err(error) = written {
            if !planted(Fault::GoesOn) {
                self.failed = Some(remember(&error));
            }
            return Err(error);
        }
        self.counters.latency.record(latency);
        self.counters.syncs += 1;
        self.counters.bytes += encoded.bytes as u64;
        self.tail.advance(&encoded);
        self.note(&header, encoded.checksum, entries, hard_state);
        self.options.watch.set_durable(self.sequence);
        self.upkeep.note_used(offset_of(self.tail.end));
        if !self.released.is_empty() {
            self.options.watch.set_oldest(self.segments[0].id);
            self.upkeep.release(self.released.drain(..));
        }
        if rotated {
            self.counters.rotations += 1;
            self.upkeep.ask(self.tail.id + 1);
        }
        Ok(())
    }

    /// The frame is durable.
    fn note(
        &mut self,
        header: &FrameHeader,
        checksum: u32,
        entries: &[Entry],
        hard_state: Option<HardState>,
    ) {
        self.sequence = header.sequence;
        self.checksum = checksum;
        self.sealed = header.seal;
        if hard_state.is_some() {
            self.hard_state = hard_state;
        }
        if let Some(last) = entries.last() {
            self.terms.truncate(header.before.index);
            self.terms.append(entries);
            self.last = Position { index: last.index, term: last.term };
            let segment = self.segments.back_mut().expect("the tail's segment is there");
            segment.extend(header.before, last.index);
        }
    }

    fn take_segment(&mut self, id: u64) -> Result<Prepared, Error> {
        match self.upkeep.take(id) {
            Ok((prepared, waited)) => {
                self.counters.waits += u64::from(waited);
                Ok(prepared)
            }
            Err(failure) if failure.may_pass() => Err(no_segment(failure)),
            Err(failure) => {
                let error = fatal(failure);
                self.failed = Some(remember(&error));
                Err(error)
            }
        }
    }

    /// Changes to the prepared segment. Nothing is written: its header goes out with the frame that follows.
    fn rotate(&mut self) -> Result<(), Error> {
        let id = self.tail.id + 1;
        let prepared = self.take_segment(id)?;
        let header = SegmentHeader {
            id,
            file_bytes: self.options.segment_bytes,
            start: self.last,
            sequence: self.sequence + 1,
            oldest: self.segments[0].id,
            previous_end: self.tail.end,
            previous_checksum: self.checksum,
            hard_state: self.hard_state,
            metadata: self.metadata.clone(),
            bare: false,
            recycled: prepared.recycled,
        };
        self.tail.replace(id, prepared.path, prepared.file, self.options.segment_bytes);
        self.tail.begin(&header);
        self.tail_closed = false;
        self.segments.push_back(SegmentInfo::new(id, self.last));
        Ok(())
    }
}

/// Two blocks: the header's and one for a frame.
fn check_options(options: &Options) {
    assert!(
        options.segment_bytes.is_multiple_of(BLOCK as u64) && options.segment_bytes >= 2 * BLOCK as u64,
        "segment_bytes is a multiple of 4096, at least 8192"
    );
}

fn write_whole(tail: &mut Tail, encoded: &Encoded) -> Result<(), Error> {
    let source = match tail.write_durable(encoded) {
        Ok(written) if written == encoded.bytes => return Ok(()),
        Ok(written) => io::Error::new(
            io::ErrorKind::WriteZero,
            format!("short write, {written} of {} bytes", encoded.bytes),
        ),
        Err(error) => error,
    };
    Err(Error::Io { operation: "write", path: tail.path.clone(), offset: encoded.offset, source })
}

fn failed_io(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { operation, path: path.to_path_buf(), offset: 0, source }
}

fn no_segment(failure: Failure) -> Error {
    Error::NoSegment { operation: failure.operation, path: failure.path, source: failure.source }
}

fn fatal(failure: Failure) -> Error {
    Error::Io { operation: failure.operation, path: failure.path, offset: 0, source: failure.source }
}

fn remember(error: &Error) -> Failed {
    let Error::Io { operation, path, offset, source } = error else {
        unreachable!("writing fails with an I/O error")
    };
    Failed {
        operation,
        path: path.clone(),
        offset: *offset,
        errno: source.raw_os_error(),
        message: source.to_string(),
    }
}
