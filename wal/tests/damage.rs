//! Damage is always detected; what was acknowledged is never silently dropped.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use support::{Fault, MemIo, Model, SECTOR, append, create, dir, entry, open, options, size};
use wal::{Batch, Entry, Error, Evidence, HardState, Metadata, Options, SegmentContent, Start, Wal, inspect};

const SEGMENT: u64 = 8 << 10;

/// Whether unwritten parts of the files hold zeros or older segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Fresh,
    Recycled,
}

fn name(id: u64) -> String {
    format!("{id:016x}.wal")
}

/// A log of several segments that ends within one, with the index from which on it was kept.
struct Built {
    io: MemIo,
    options: Options,
    model: Model,
    released_before: u64,
    newest: u64,
    oldest: u64,
}

fn build(files: Files, entries: u64, sealed: bool) -> Built {
    let io = MemIo::default();
    let options = options(SEGMENT);
    let mut wal = create(&io, &options).unwrap();
    let mut model = Model::default();
    let mut index = 0;
    let mut released_before = 0;
    let add = |wal: &mut wal::Wal, model: &mut Model, index: u64| {
        let entries = [entry(index, 1 + index / 20, (index as usize * 37) % 400)];
        let hard_state = (index.is_multiple_of(7)).then_some(HardState { term: 1, vote: 2, commit: index });
        wal.append(&Batch { entries: &entries, hard_state }).unwrap();
        model.append(&entries, hard_state);
    };
    if files == Files::Recycled {
        while wal.stats().rotations < 4 {
            index += 1;
            add(&mut wal, &mut model, index);
        }
        released_before = index;
        wal.release_before(index).unwrap();
    }
    for _ in 0..entries {
        index += 1;
        add(&mut wal, &mut model, index);
    }
    if sealed {
        wal.seal().unwrap();
    }
    let rotations = wal.stats().rotations;
    let oldest = rotations + 2 - wal.stats().segments;
    drop(wal);
    Built { io, options, model, released_before, newest: rotations + 1, oldest }
}

impl Built {
    fn check(&self, io: &MemIo) -> Result<bool, String> {
        match open(io, &self.options) {
            Ok((_, recovered)) => {
                self.model.agrees(&recovered, self.released_before)?;
                Ok(recovered.torn_tail.is_some())
            }
            Err(_) => Ok(true),
        }
    }

    fn segments(&self) -> impl Iterator<Item = String> + use<> {
        (self.oldest..=self.newest).map(name)
    }
}

/// Every bit of every segment file: the log is refused, or everything acknowledged is there. Where files are
/// recycled or the log is sealed, one bit of each byte; `GRAVEN_WAL_ALL_BITS=1` for all of them.
#[test]
fn one_flipped_bit_anywhere() {
    for (files, sealed) in [(Files::Fresh, false), (Files::Fresh, true), (Files::Recycled, false)] {
        let all_bits = (files, sealed) == (Files::Fresh, false) || size("GRAVEN_WAL_ALL_BITS", 0) > 0;
        let built = build(files, 55, sealed);
        assert!(built.newest > built.oldest + 1, "several segments");
        let before = built.io.image();
        let mut detected = 0u64;
        let mut harmless = 0u64;
        for segment in built.segments() {
            for byte in 0..built.io.bytes(&segment).len() {
                for bit in 0..8 {
                    if !all_bits && bit as usize != (byte + byte / 8) % 8 {
                        continue;
                    }
                    built.io.flip(&segment, byte, bit);
                    let seen = built.check(&built.io);
                    let seen = seen
                        .unwrap_or_else(|lost| panic!("{files:?} {segment} byte {byte} bit {bit}: {lost}"));
                    if seen {
                        detected += 1
                    } else {
                        harmless += 1
                    }
                    built.io.flip(&segment, byte, bit);
                }
            }
        }
        assert!(built.io.image() == before, "opening a damaged log leaves it as it was");
        assert!(detected > 2 * harmless, "{detected} detected, {harmless} in unwritten parts");
    }
}

/// The last write: what the file held before and after.
struct LastWrite {
    built: Built,
    segment: String,
    before: Vec<u8>,
    after: Vec<u8>,
    with: Model,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Within,
    /// The batch is written together with the header of a new segment.
    NextSegment,
}

impl LastWrite {
    fn new(files: Files, place: Place) -> Self {
        let mut built = build(files, 10, false);
        loop {
            let (mut wal, _) = open(&built.io, &built.options).unwrap();
            let first = wal.last_index() + 1;
            let last: Vec<Entry> = (first..first + 3).map(|index| entry(index, 9, 650)).collect();
            let before = built.io.killed();
            append(&mut wal, &last).unwrap();
            if (wal.stats().rotations == 1) == (place == Place::NextSegment) {
                drop(wal);
                let after = built.io.image();
                let changed =
                    |name: &&String| before.image().get(*name).is_some_and(|old| *old != after[*name]);
                let segment = after.keys().find(changed).unwrap().clone();
                let mut with = built.model.clone();
                with.append(&last, None);
                built.io = before;
                let (before, after) = (built.io.bytes(&segment), after[&segment].clone());
                return Self { built, segment, before, after, with };
            }
            drop(wal);
            built.io = before;
            let (mut wal, _) = open(&built.io, &built.options).unwrap();
            let filler = [entry(first, 9, 200)];
            append(&mut wal, &filler).unwrap();
            built.model.append(&filler, None);
        }
    }

    /// Puts these bytes into the segment and opens: the log must be as before the batch, or with it. Says which; then
    /// appends once more and opens again.
    fn recovers(&self, bytes: Vec<u8>, what: &str) -> bool {
        let io = self.built.io.killed();
        io.set_bytes(&self.segment, bytes);
        let (mut wal, recovered) =
            open(&io, &self.built.options).unwrap_or_else(|error| panic!("{what}: refused: {error}"));
        let whole = self.with.agrees(&recovered, self.built.released_before).is_ok();
        let mut model = if whole { self.with.clone() } else { self.built.model.clone() };
        model.agrees(&recovered, self.built.released_before).unwrap_or_else(|lost| panic!("{what}: {lost}"));
        let next = [entry(wal.last_index() + 1, 12, 100)];
        append(&mut wal, &next).unwrap();
        model.append(&next, None);
        drop(wal);
        let (_, recovered) =
            open(&io, &self.built.options).unwrap_or_else(|error| panic!("{what}, then: {error}"));
        model
            .agrees(&recovered, self.built.released_before)
            .unwrap_or_else(|lost| panic!("{what}, then: {lost}"));
        assert_eq!(recovered.torn_tail, None, "{what}: what was torn is behind a new segment");
        whole
    }

    /// A file has its full length before it is used, so that its early end is no write that was cut short. Only while
    /// its header is missing it may have been made for another length.
    fn refuses_to_end_at(&self, cut: usize, what: &str) {
        let io = self.built.io.killed();
        io.set_bytes(&self.segment, self.after[..cut].to_vec());
        match open(&io, &self.built.options) {
            Ok(_) => assert!(cut < SECTOR || cut == self.after.len(), "{what}: accepted"),
            Err(Error::Damaged(damage)) => {
                assert_eq!(damage.offset, cut as u64, "{what}: {damage}");
                assert!(damage.path.ends_with(&self.segment), "{what}: {damage}");
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }

    fn each() -> impl Iterator<Item = (String, Self)> {
        let kinds = [Files::Fresh, Files::Recycled].into_iter();
        kinds.flat_map(|files| {
            [Place::Within, Place::NextSegment]
                .into_iter()
                .map(move |place| (format!("{files:?} {place:?}"), Self::new(files, place)))
        })
    }

    fn changed(&self) -> std::ops::Range<usize> {
        let differs = |&at: &usize| self.before[at] != self.after[at];
        let first = (0..self.after.len()).find(differs).unwrap();
        let last = (0..self.after.len()).rfind(differs).unwrap();
        first..last + 1
    }
}

#[test]
fn cut_at_every_byte_of_the_last_batch() {
    for (kind, write) in LastWrite::each() {
        let range = write.changed();
        let mut whole_from = None;
        for cut in range.start..=range.end {
            let written = &write.after[..cut];
            let zeros = [written, &vec![0; write.after.len() - cut]].concat();
            write.refuses_to_end_at(cut, &format!("{kind}: ends at {cut}"));
            let whole = write.recovers(zeros, &format!("{kind}: zeros from {cut}"));
            if cut.is_multiple_of(SECTOR) {
                // A device writes a sector or does not.
                let old = [written, &write.before[cut..]].concat();
                assert_eq!(write.recovers(old, &format!("{kind}: old from {cut}")), whole, "{kind} {cut}");
            }
            match whole_from {
                None if whole => whole_from = Some(cut),
                None => {}
                Some(from) => assert!(whole, "{kind}: whole when cut at {from}, not at {cut}"),
            }
        }
        let from = whole_from.unwrap();
        assert!(range.end - from < SECTOR, "{kind}: whole from {from} on, written {range:?}");
    }
}

#[test]
fn every_subset_of_the_last_batchs_sectors() {
    for (kind, write) in LastWrite::each() {
        let range = write.changed();
        let sectors: Vec<usize> = (range.start / SECTOR..=(range.end - 1) / SECTOR).collect();
        assert!((4..=8).contains(&sectors.len()), "{kind}: {} sectors", sectors.len());
        let all = (1 << sectors.len()) - 1;
        for subset in 0..=all {
            let mut bytes = write.before.clone();
            for (bit, sector) in sectors.iter().enumerate() {
                if subset & 1 << bit != 0 {
                    let place = sector * SECTOR..(sector + 1) * SECTOR;
                    bytes[place.clone()].copy_from_slice(&write.after[place]);
                }
            }
            let whole = write.recovers(bytes, &format!("{kind}: sectors {subset:b} of {all:b}"));
            assert_eq!(whole, subset == all, "{kind}: sectors {subset:b} of {all:b}");
        }
    }
}

/// Every bit of the last batch, nothing after it and no seal: all its sectors are there, so that it is no torn write.
#[test]
fn the_last_batch_is_safe_without_a_seal() {
    for (kind, write) in LastWrite::each() {
        for byte in write.changed() {
            for bit in 0..8 {
                let io = write.built.io.killed();
                io.set_bytes(&write.segment, write.after.clone());
                io.flip(&write.segment, byte, bit);
                let error = open(&io, &write.built.options).err();
                let error = error.unwrap_or_else(|| panic!("{kind}: byte {byte} bit {bit} was not noticed"));
                let Error::Damaged(damage) = error else { panic!("{kind}: byte {byte} bit {bit}: {error}") };
                assert_eq!(damage.evidence, Evidence::WholeOnDisk);
                assert!(damage.path.ends_with(&write.segment));
            }
        }
    }
}

fn refused(io: &MemIo, options: &Options, what: &str) -> Error {
    let before = io.image();
    let error = match open(io, options) {
        Ok(_) => panic!("{what}: not noticed"),
        Err(error) => error,
    };
    assert!(io.image() == before, "{what}: a refused log was changed");
    error
}

#[test]
fn a_later_frame_vouches_even_for_a_sector_that_is_gone() {
    for sealed in [false, true] {
        let built = build(Files::Fresh, 95, sealed);
        let segment = name(built.newest);
        let bytes = built.io.bytes(&segment);
        let used = bytes.iter().rposition(|&b| b != 0).unwrap() / SECTOR;
        let walk = inspect(dir(), Arc::new(built.io.clone())).unwrap();
        let mut frames = walk.segments.iter().filter_map(|segment| match &segment.content {
            SegmentContent::Frames { frames, .. } => frames.last(),
            _ => None,
        });
        let last_frame = frames.next_back().unwrap().offset as usize;
        let mut vouched = 0;
        for sector in 1..=used {
            let io = built.io.killed();
            let mut damaged = bytes.clone();
            damaged[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            io.set_bytes(&segment, damaged);
            match open(&io, &built.options) {
                Err(Error::Damaged(damage)) => {
                    assert!(damage.evidence != Evidence::WholeOnDisk, "{damage}");
                    assert!(
                        damage.offset as usize / SECTOR <= sector && damage.expected.starts_with("frame ")
                    );
                    vouched += 1;
                }
                Err(error) => panic!("{error}"),
                // Only what was written last can pass for a write that was cut short: the last sectors, or the seal if
                // there is one. It is reported, never silent.
                Ok((_, recovered)) => {
                    assert!(recovered.torn_tail.is_some(), "sector {sector} of {used}");
                    if sealed {
                        built.model.agrees(&recovered, 0).unwrap();
                    } else {
                        // No frame began in a later sector: it would have vouched.
                        assert_eq!(recovered.entries, built.model.entries[..recovered.entries.len()]);
                        assert!(
                            last_frame <= (sector + 1) * SECTOR,
                            "sector {sector}, last frame at {last_frame}"
                        );
                    }
                }
            }
        }
        assert!(used > 8 && vouched >= used - 2, "{vouched} of {used}");
    }
}

#[test]
fn missing_segments() {
    for files in [Files::Fresh, Files::Recycled] {
        let built = build(files, 75, true);
        for id in built.oldest..=built.newest {
            let io = built.io.killed();
            io.delete(&name(id));
            let error = refused(&io, &built.options, "missing");
            assert!(
                matches!(error, Error::MissingSegment { id: missing, .. } if missing == id),
                "{id}: {error}"
            );
            assert!(error.to_string().contains(&name(id)), "{error}");
        }
        // Without the one that was made ready, nothing is missing.
        let io = built.io.killed();
        io.delete(&name(built.newest + 1));
        assert_eq!(built.check(&io), Ok(false));
    }
}

#[test]
fn swapped_and_duplicated_segments() {
    for files in [Files::Fresh, Files::Recycled] {
        let built = build(files, 75, true);
        for a in built.oldest..=built.newest + 1 {
            for b in built.oldest..=built.newest + 2 {
                let io = built.io.killed();
                if a < b && b <= built.newest + 1 {
                    let (one, two) = (io.bytes(&name(a)), io.bytes(&name(b)));
                    io.set_bytes(&name(a), two);
                    io.set_bytes(&name(b), one);
                    let error = refused(&io, &built.options, "swapped");
                    assert!(
                        matches!(&error, Error::Misplaced { path, expected, .. } if path.ends_with(name(*expected)))
                            || matches!(&error, Error::Damaged(_)),
                        "{error}"
                    );
                }
                let io = built.io.killed();
                if a != b {
                    let copy = io.bytes(&name(a));
                    io.set_bytes(&name(b), copy);
                    refused(&io, &built.options, &format!("{a} copied over {b}"));
                }
            }
        }
    }
}

#[test]
fn a_segment_of_another_log() {
    let built = build(Files::Fresh, 75, true);
    for foreign_metadata in [support::metadata(), Metadata(Bytes::from_static(b"cluster 8 member 9"))] {
        let other = MemIo::default();
        let start = Start::default();
        let mut wal =
            Wal::create(dir(), Arc::new(other.clone()), foreign_metadata, start, built.options.clone())
                .unwrap();
        for index in 1..=45 {
            append(&mut wal, &[entry(index, 1, 350)]).unwrap();
        }
        drop(wal);
        for id in built.oldest..=built.newest {
            let io = built.io.killed();
            io.set_bytes(&name(id), other.bytes(&name(id)));
            let error = refused(&io, &built.options, "foreign");
            assert!(matches!(error, Error::Foreign { .. } | Error::Damaged(_)), "{error}");
        }
    }
}

#[test]
fn junk_behind_the_end() {
    for files in [Files::Fresh, Files::Recycled] {
        for sealed in [false, true] {
            let built = build(files, 75, sealed);
            let segment = name(built.newest);
            let whole = built.io.bytes(&segment);
            // Appended to the file.
            for junk in [&b"x"[..], &[0xff; 5000], &whole[..4096]] {
                let io = built.io.killed();
                io.set_bytes(&segment, [&whole[..], junk].concat());
                let error = refused(&io, &built.options, "longer file");
                assert!(matches!(&error, Error::Damaged(damage) if damage.offset == SEGMENT), "{error}");
            }
            // Written over the unwritten part, right behind the last frame and further on.
            let (wal, _) = open(&built.io.killed(), &built.options).unwrap();
            drop(wal);
            let last_stamp = (0..whole.len() / SECTOR).rfind(|sector| {
                let fresh = whole[sector * SECTOR..(sector + 1) * SECTOR].iter().any(|&b| b != 0);
                fresh && files == Files::Fresh
            });
            let Some(last_stamp) = last_stamp else { continue };
            for from in (last_stamp + 1) * SECTOR..whole.len() - 600 {
                if !from.is_multiple_of(97) {
                    continue;
                }
                let io = built.io.killed();
                let mut bytes = whole.clone();
                bytes[from..from + 600].fill(0x5a);
                io.set_bytes(&segment, bytes);
                match open(&io, &built.options) {
                    Ok((_, recovered)) => {
                        built.model.agrees(&recovered, built.released_before).unwrap();
                        assert!(recovered.torn_tail.is_some(), "junk at {from} was not noticed");
                    }
                    Err(error) => assert!(matches!(error, Error::Damaged(_)), "{error}"),
                }
            }
        }
    }
}

/// A recycled file holds sound frames of its former life, at every place where ours could end.
#[test]
fn stale_frames_of_a_recycled_segment_are_never_taken() {
    let io = MemIo::default();
    let options = Options { spares: 4, ..options(SEGMENT) };
    let mut wal = create(&io, &options).unwrap();
    let mut model = Model::default();
    let mut released_before = 0;
    // Frames of one size: those of the former life begin exactly where the new ones end.
    for index in 1..=300 {
        let entries = [entry(index, 1, 300)];
        append(&mut wal, &entries).unwrap();
        model.append(&entries, None);
        if index % 40 == 0 {
            released_before = index - 10;
            wal.release_before(released_before).unwrap();
        }
        let (_, recovered) = open(&io.killed(), &options).unwrap();
        model.agrees(&recovered, released_before).unwrap();
        assert_eq!(recovered.entries.last().unwrap().index, index);
        assert_eq!(recovered.torn_tail, None);
    }
    assert!(io.names().iter().all(|file| file.ends_with(".wal") || file.ends_with(".spare")));
}

/// A member replaces its damaged log while it runs, with two writes. Until the second is done, an end of the process leaves a log
/// that is refused where it is damaged; from then on it opens without what was given up.
#[test]
fn a_damaged_log_is_refused_until_it_has_begun_anew() {
    let (mut refused, mut renewed) = (0, 0);
    for number in 1.. {
        let built = build(Files::Fresh, 60, true);
        let (mut wal, _) = open(&built.io, &built.options).unwrap();
        let walk = inspect(dir(), Arc::new(built.io.clone())).unwrap();
        let frame = walk.segments.iter().find_map(|segment| match &segment.content {
            SegmentContent::Frames { frames, .. } => frames.get(3).map(|frame| (&segment.file, frame.offset)),
            _ => None,
        });
        let (path, offset) = frame.unwrap();
        let segment = path.file_name().unwrap().to_str().unwrap();
        built.io.flip(segment, offset as usize + 20, 3);
        built.io.fail_at(number, Fault::Eio, 0);
        let outcome = wal.release_all();
        let reached = built.io.operations() >= number;
        let left = built.io.killed();
        drop(wal);
        match open(&left, &built.options) {
            Ok((_, recovered)) => {
                assert!(outcome.is_ok(), "operation {number}: {outcome:?}");
                assert!(recovered.entries.is_empty());
                renewed += 1;
            }
            Err(Error::Damaged(damage)) => {
                assert!(outcome.is_err(), "operation {number}: {damage}");
                assert!(damage.path == *path && damage.offset == offset, "operation {number}: {damage}");
                let words = damage.to_string();
                assert!(words.contains(segment) && words.contains(&offset.to_string()), "{words}");
                refused += 1;
            }
            Err(error) => panic!("operation {number}: {error}"),
        }
        if !reached {
            break;
        }
    }
    assert!(refused >= 2 && renewed >= 1, "{refused} refused, {renewed} renewed");
}
