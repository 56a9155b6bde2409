//! A segment's content as it is read: lanes joined, one mark per sector.
//!
//! It comes in parts, from several threads and in any order. Whoever asks for a part that is still on its way waits for it, so that
//! frames are checked while what follows them is being read.
//!
//! Most of a segment that has just been begun, and all of one that was made ready, is zeros or belongs to a former life. Of zeros
//! no copy is made, and of what bears no stamp of ours only that it was there. If it turns out to be needed after all,
//! [`Lanes::missed`] says so, and the segment is read again with everything kept.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sector::{LANE, Mark, SECTOR, judge};

/// What is kept or left out as one.
const CHUNK_SECTORS: usize = 64;
const CHUNK_BYTES: usize = CHUNK_SECTORS * SECTOR;
const CHUNK_LANES: usize = CHUNK_SECTORS * LANE;

/// File bytes of a [`Part`], except the last.
pub(crate) const PART_BYTES: usize = 1 << 20;
const PART_SECTORS: usize = PART_BYTES / SECTOR;
const PART_LANES: usize = PART_SECTORS * LANE;

const _: () = assert!(PART_BYTES.is_multiple_of(CHUNK_BYTES));

/// What becomes of sectors that bear no stamp of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Keep,
    /// Unless they come right after sectors of ours.
    LeaveOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Zero,
    Kept,
    LeftOut,
}

/// A segment's lanes. Offsets are positions.
pub(crate) struct Lanes {
    sectors: usize,
    parts: Box<[OnceLock<Part>]>,
    missed: AtomicBool,
}

/// A piece of the file, once it was read. Its lists are empty where they would hold nothing but the first value.
#[derive(Default)]
pub(crate) struct Part {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    chunks: Vec<Chunk>,
}

impl Lanes {
    /// For a file of this many bytes. A sector that the file has only a part of counts as one.
    pub(crate) fn new(file_bytes: u64) -> Self {
        let sectors = file_bytes.div_ceil(SECTOR as u64) as usize;
        let parts = (0..sectors.div_ceil(PART_SECTORS)).map(|_| OnceLock::new()).collect();
        Self { sectors, parts, missed: AtomicBool::new(false) }
    }

    /// Number of parts; the one with number `at` begins `at * PART_BYTES` into the file.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Takes a part in, unless it is there.
    pub(crate) fn set(&self, at: usize, part: Part) {
        // Whoever comes second has read the same.
        let _ = self.parts[at].set(part);
    }

    /// Takes in what the file of `segment` holds at part `at`. What is missing is zeros, and its marks foreign.
    pub(crate) fn fill(&self, at: usize, segment: u64, content: &[u8], foreign: Foreign) {
        let first = at * PART_SECTORS;
        let sectors = PART_SECTORS.min(self.sectors - first);
        self.set(at, Part::of(segment, first as u64, sectors, content, foreign));
    }

    fn lane_bytes(&self) -> u64 {
        (self.sectors * LANE) as u64
    }

    fn part(&self, at: usize) -> &Part {
        self.parts[at].wait()
    }

    /// So many bytes from a position; fewer if the file ends before.
    pub(crate) fn get(&self, position: u64, bytes: u64) -> Cow<'_, [u8]> {
        let end = position.saturating_add(bytes).min(self.lane_bytes()) as usize;
        let mut at = position.min(end as u64) as usize;
        let whole = at..end;
        if whole.is_empty() {
            return Cow::Borrowed(&[]);
        }
        let mut joined = Vec::new();
        loop {
            let part = at / PART_LANES;
            let first = part * PART_LANES;
            let within = at - first..end.min(first + PART_LANES) - first;
            at = first + within.end;
            let found = self.within(self.part(part), within);
            if joined.is_empty() && at == end {
                return found;
            }
            joined.extend_from_slice(&found);
            if at == end {
                return Cow::Owned(joined);
            }
        }
    }

    fn within<'a>(&self, part: &'a Part, range: Range<usize>) -> Cow<'a, [u8]> {
        let chunks = range.start / CHUNK_LANES..range.end.div_ceil(CHUNK_LANES);
        if part.chunks.get(chunks).is_some_and(|chunks| chunks.contains(&Chunk::LeftOut)) {
            self.missed.store(true, Ordering::Relaxed);
        }
        match part.bytes.get(range.clone()) {
            Some(found) => Cow::Borrowed(found),
            None => Cow::Owned(vec![0; range.len()]),
        }
    }

    /// Whether all is zeros from a position to another, or to the end of the file.
    pub(crate) fn is_zero(&self, from: u64, to: u64) -> bool {
        let to = to.min(self.lane_bytes()) as usize;
        let mut at = from.min(to as u64) as usize;
        while at < to {
            let part = self.part(at / PART_LANES);
            let first = at / PART_LANES * PART_LANES;
            let end = match part.chunks.is_empty() {
                true => first + PART_LANES,
                false => (at / CHUNK_LANES + 1) * CHUNK_LANES,
            };
            let end = end.min(first + PART_LANES).min(to);
            let zero = part.chunk((at - first) / CHUNK_LANES) == Chunk::Zero;
            if !zero && !all_zero(&self.within(part, at - first..end - first)) {
                return false;
            }
            at = end;
        }
        true
    }

    /// Whether there is anything but zeros, stamps included.
    pub(crate) fn is_blank(&self) -> bool {
        (0..self.parts.len()).all(|at| self.part(at).chunks.iter().all(|&chunk| chunk == Chunk::Zero))
    }

    /// Whether something was asked for that had been left out. What was concluded from it is worthless.
    pub(crate) fn missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn sectors(&self) -> usize {
        self.sectors
    }

    pub(crate) fn mark(&self, sector: usize) -> Mark {
        if sector >= self.sectors {
            return Mark::Foreign;
        }
        self.part(sector / PART_SECTORS).mark(sector % PART_SECTORS)
    }

    pub(crate) fn mark_at(&self, position: u64) -> Mark {
        self.mark(usize::try_from(position / LANE as u64).unwrap_or(usize::MAX))
    }

    /// The sectors from `first` on that were written in this segment's life, damaged or not.
    pub(crate) fn written_from(&self, first: usize) -> impl Iterator<Item = usize> {
        (first / PART_SECTORS..self.parts.len()).flat_map(move |at| {
            let marks = &self.part(at).marks;
            let begin = first.saturating_sub(at * PART_SECTORS).min(marks.len());
            let sectors = (begin..).zip(&marks[begin..]);
            sectors
                .filter(|&(_, &mark)| mark != Mark::Foreign)
                .map(move |(within, _)| at * PART_SECTORS + within)
        })
    }

    /// Number of sectors up to the last one that was written in this segment's life.
    pub(crate) fn written(&self) -> usize {
        self.written_from(0).last().map_or(0, |sector| sector + 1)
    }
}

impl Part {
    /// The part that begins with sector `first_sector` and has so many of them.
    fn of(segment: u64, first_sector: u64, sectors: usize, content: &[u8], foreign: Foreign) -> Self {
        let mut part = Self::default();
        let mut after_ours = true;
        for (at, content) in content.chunks(CHUNK_BYTES).enumerate().take(sectors.div_ceil(CHUNK_SECTORS)) {
            if all_zero(content) {
                // Zeros never resemble a stamp.
                after_ours = false;
                continue;
            }
            if part.chunks.is_empty() {
                part.chunks = vec![Chunk::Zero; sectors.div_ceil(CHUNK_SECTORS)];
            }
            let mut ours = false;
            let first = at * CHUNK_SECTORS;
            for (within, sector) in content.chunks_exact(SECTOR).enumerate() {
                let sector_number = first_sector + (first + within) as u64;
                let mark = judge(segment, sector_number, &sector[LANE..]);
                if mark == Mark::Foreign {
                    continue;
                }
                ours = true;
                if part.marks.is_empty() {
                    part.marks = vec![Mark::Foreign; sectors];
                }
                part.marks[first + within] = mark;
            }
            let leave_out =
                foreign == Foreign::LeaveOut && content.len() == CHUNK_BYTES && !ours && !after_ours;
            after_ours = ours;
            if leave_out {
                part.chunks[at] = Chunk::LeftOut;
                continue;
            }
            part.chunks[at] = Chunk::Kept;
            if part.bytes.is_empty() {
                // Memory that is not touched costs nothing.
                part.bytes = vec![0; sectors * LANE];
            }
            for (within, sector) in content.chunks(SECTOR).enumerate() {
                let lane = &sector[..sector.len().min(LANE)];
                let start = (first + within) * LANE;
                part.bytes[start..start + lane.len()].copy_from_slice(lane);
            }
        }
        part
    }

    fn chunk(&self, at: usize) -> Chunk {
        self.chunks.get(at).copied().unwrap_or(Chunk::Zero)
    }

    fn mark(&self, sector: usize) -> Mark {
        self.marks.get(sector).copied().unwrap_or(Mark::Foreign)
    }
}

/// In steps that the compiler makes wide.
fn all_zero(bytes: &[u8]) -> bool {
    bytes.chunks(1024).all(|step| step.iter().fold(0, |any, &byte| any | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::sector::stamp;

    const PARTS: usize = 3;

    /// A file of segment 5's content, of which segment 7 has written some, with zeros in between and a bit of a sector at the end.
    fn recycled() -> Vec<u8> {
        let mut file = vec![0; PARTS * PART_BYTES + 100];
        let ours = [
            0..9 * SECTOR,
            6 * CHUNK_BYTES..7 * CHUNK_BYTES,
            PART_BYTES + 3 * CHUNK_BYTES..PART_BYTES + 4 * CHUNK_BYTES,
        ];
        for (number, sector) in file.chunks_exact_mut(SECTOR).enumerate() {
            let segment = if ours.iter().any(|range| range.contains(&(number * SECTOR))) { 7 } else { 5 };
            sector[..LANE].fill(number as u8 | 1);
            sector[LANE..].copy_from_slice(&stamp(segment, number as u64).to_le_bytes());
        }
        file[2 * PART_BYTES + CHUNK_BYTES..2 * PART_BYTES + 5 * CHUNK_BYTES].fill(0);
        file[PARTS * PART_BYTES..].fill(3);
        file
    }

    fn read(file: &[u8], foreign: Foreign) -> Lanes {
        let lanes = Lanes::new(file.len() as u64);
        // In no order.
        for at in (0..lanes.parts()).rev() {
            let from = at * PART_BYTES;
            lanes.fill(at, 7, &file[from..file.len().min(from + PART_BYTES)], foreign);
        }
        lanes
    }

    #[test]
    fn what_is_left_out_is_missed_and_nothing_else_differs() {
        let file = recycled();
        let all = read(&file, Foreign::Keep);
        let fewer = read(&file, Foreign::LeaveOut);
        let marks = |lanes: &Lanes| (0..lanes.sectors()).map(|sector| lanes.mark(sector)).collect::<Vec<_>>();
        assert_eq!(marks(&all), marks(&fewer));
        let written: Vec<_> = all.written_from(100).collect();
        let expected = (100..all.sectors()).filter(|&sector| all.mark(sector) != Mark::Foreign);
        assert_eq!(written, expected.collect::<Vec<_>>());
        assert_eq!(all.written(), written.last().unwrap() + 1);
        assert_eq!(all.is_blank(), fewer.is_blank());
        let (mut missed, mut same) = (0, 0);
        for (sector, content) in file.chunks(SECTOR).enumerate() {
            let lane = (sector * LANE) as u64;
            let mut expected = content[..content.len().min(LANE)].to_vec();
            expected.resize(LANE, 0);
            assert_eq!(all.get(lane, LANE as u64), expected, "sector {sector}");
            fewer.missed.store(false, Ordering::Relaxed);
            let found = fewer.get(lane, LANE as u64) == expected;
            match fewer.missed() {
                true => missed += 1,
                false => same += 1,
            }
            assert!(found || fewer.missed(), "sector {sector} changed and nobody would know");
            assert!(!fewer.missed() || fewer.mark_at(lane) == Mark::Foreign);
            fewer.missed.store(false, Ordering::Relaxed);
            assert!(
                fewer.is_zero(lane, lane + LANE as u64) == expected.iter().all(|&b| b == 0) || fewer.missed()
            );
        }
        assert!(!all.missed());
        assert!(missed > same, "{missed} sectors left out, {same} kept");
    }

    #[test]
    fn a_range_that_only_touches_what_is_left_out_is_missed() {
        let lanes = read(&recycled(), Foreign::LeaveOut);
        let first =
            lanes.part(0).chunks.iter().position(|&chunk| chunk == Chunk::LeftOut).unwrap() * CHUNK_LANES;
        lanes.get(first as u64 - 8, 8);
        assert!(!lanes.missed());
        lanes.get(first as u64 - 8, 9);
        assert!(lanes.missed());
    }

    #[test]
    fn ends_are_ends() {
        let lanes = read(&[0; 1000], Foreign::Keep);
        assert_eq!(lanes.sectors(), 2);
        assert!(lanes.is_blank() && lanes.is_zero(0, u64::MAX) && lanes.is_zero(5000, 9000));
        assert_eq!(lanes.get(1000, 72).len(), 8);
        assert_eq!(lanes.get(1009, u64::MAX).len(), 0);
    }

    #[test]
    fn a_range_over_two_parts_is_joined() {
        let file = recycled();
        let lanes = read(&file, Foreign::Keep);
        let from = (PART_LANES - 100) as u64;
        let joined: Vec<u8> = (from..from + 200).map(|at| lanes.get(at, 1)[0]).collect();
        assert_eq!(lanes.get(from, 200), joined);
        let all = lanes.get(0, u64::MAX);
        assert_eq!(all.len() as u64, lanes.lane_bytes());
        assert_eq!(all[from as usize..][..200], joined);
    }

    #[test]
    fn whoever_asks_for_what_is_on_its_way_waits_for_it() {
        let file = recycled();
        let lanes = Lanes::new(file.len() as u64);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (lanes.get(PART_LANES as u64 - 1, 2).into_owned(), lanes.written()));
            for at in [3, 1, 0, 2] {
                let from = at * PART_BYTES;
                lanes.fill(at, 7, &file[from..file.len().min(from + PART_BYTES)], Foreign::Keep);
            }
            let all = read(&file, Foreign::Keep);
            let expected = (all.get(PART_LANES as u64 - 1, 2).into_owned(), all.written());
            assert_eq!(reader.join().unwrap(), expected);
        });
    }
}
