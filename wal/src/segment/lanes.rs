//! A segment's content as read: lanes joined, one mark per sector.
//!
//! Most of a segment that has just been begun, and all of one that was made ready, is zeros or belongs to a former life. Of zeros
//! no copy is made (untouched memory costs nothing), and of what bears no stamp of ours only that it was there. If it turns
//! out to be needed after all, [`Lanes::missed`] says so, and the segment is read again with everything kept.

use std::cell::Cell;

use super::sector::{LANE, Mark, SECTOR, judge};

/// What is kept or left out as one.
const CHUNK_SECTORS: usize = 64;
const CHUNK_BYTES: usize = CHUNK_SECTORS * SECTOR;
const CHUNK_LANES: usize = CHUNK_SECTORS * LANE;

/// File bytes of a [`Part`], except the last.
pub(crate) const PART_BYTES: usize = 1 << 20;

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
    bytes: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
    chunks: Vec<Chunk>,
    missed: Cell<bool>,
}

/// A piece of the file, and where it goes.
pub(crate) struct Part<'a> {
    pub(crate) offset: u64,
    bytes: &'a mut [u8],
    marks: &'a mut [Mark],
    chunks: &'a mut [Chunk],
}

impl Lanes {
    /// Zeros, for a file of this many bytes. A sector that the file has only a part of counts as one.
    pub(crate) fn new(file_bytes: u64) -> Self {
        let sectors = file_bytes.div_ceil(SECTOR as u64) as usize;
        Self {
            bytes: vec![0; sectors * LANE],
            marks: vec![Mark::Foreign; sectors],
            chunks: vec![Chunk::Zero; sectors.div_ceil(CHUNK_SECTORS)],
            missed: Cell::new(false),
        }
    }

    /// All parts, in order.
    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        let sectors = PART_BYTES / SECTOR;
        let chunks = PART_BYTES / CHUNK_BYTES;
        let marks = self.marks.chunks_mut(sectors);
        let bytes = self.bytes.chunks_mut(sectors * LANE);
        marks.zip(bytes).zip(self.chunks.chunks_mut(chunks)).enumerate().map(
            |(at, ((marks, bytes), chunks))| Part { offset: (at * PART_BYTES) as u64, bytes, marks, chunks },
        )
    }

    /// So many bytes from a position; fewer if the file ends before.
    pub(crate) fn get(&self, position: u64, bytes: u64) -> &[u8] {
        let end = position.saturating_add(bytes).min(self.bytes.len() as u64);
        let Some(found) = self.bytes.get(position as usize..end as usize) else { return &[] };
        let chunks = position as usize / CHUNK_LANES..(end as usize).div_ceil(CHUNK_LANES);
        if self.chunks[chunks].contains(&Chunk::LeftOut) {
            self.missed.set(true);
        }
        found
    }

    /// Whether all is zeros from a position to another, or to the end of the file.
    pub(crate) fn is_zero(&self, from: u64, to: u64) -> bool {
        let to = to.min(self.bytes.len() as u64);
        let mut at = from;
        while at < to {
            let chunk = at / CHUNK_LANES as u64;
            let end = ((chunk + 1) * CHUNK_LANES as u64).min(to);
            if self.chunks[chunk as usize] != Chunk::Zero && !all_zero(self.get(at, end - at)) {
                return false;
            }
            at = end;
        }
        true
    }

    /// Whether there is anything but zeros, stamps included.
    pub(crate) fn is_blank(&self) -> bool {
        self.chunks.iter().all(|&chunk| chunk == Chunk::Zero)
    }

    /// Whether something was asked for that had been left out. What was concluded from it is worthless.
    pub(crate) fn missed(&self) -> bool {
        self.missed.get()
    }

    pub(crate) fn mark_at(&self, position: u64) -> Mark {
        self.marks.get((position / LANE as u64) as usize).copied().unwrap_or(Mark::Foreign)
    }
}

impl Part<'_> {
    /// Takes in what the file holds there. What is missing stays zeros, and its marks foreign.
    pub(crate) fn fill(&mut self, segment: u64, content: &[u8], foreign: Foreign) {
        let mut after_ours = true;
        for (at, content) in content.chunks(CHUNK_BYTES).enumerate().take(self.chunks.len()) {
            if all_zero(content) {
                // Zeros never resemble a stamp.
                after_ours = false;
                continue;
            }
            let mut ours = false;
            let first = at * CHUNK_SECTORS;
            let first_sector = self.offset / SECTOR as u64 + first as u64;
            for (within, sector) in content.chunks_exact(SECTOR).enumerate() {
                let mark = judge(segment, first_sector + within as u64, &sector[LANE..]);
                ours |= mark != Mark::Foreign;
                self.marks[first + within] = mark;
            }
            let leave_out =
                foreign == Foreign::LeaveOut && content.len() == CHUNK_BYTES && !ours && !after_ours;
            after_ours = ours;
            if leave_out {
                self.chunks[at] = Chunk::LeftOut;
                continue;
            }
            self.chunks[at] = Chunk::Kept;
            for (within, sector) in content.chunks(SECTOR).enumerate() {
                let lane = &sector[..sector.len().min(LANE)];
                let start = (first + within) * LANE;
                self.bytes[start..start + lane.len()].copy_from_slice(lane);
            }
        }
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
        let mut lanes = Lanes::new(file.len() as u64);
        for mut part in lanes.parts() {
            let from = part.offset as usize;
            part.fill(7, &file[from..file.len().min(from + PART_BYTES)], foreign);
        }
        lanes
    }

    #[test]
    fn what_is_left_out_is_missed_and_nothing_else_differs() {
        let file = recycled();
        let all = read(&file, Foreign::Keep);
        let fewer = read(&file, Foreign::LeaveOut);
        assert_eq!(all.marks, fewer.marks);
        assert_eq!(all.is_blank(), fewer.is_blank());
        let (mut missed, mut same) = (0, 0);
        for (sector, content) in file.chunks(SECTOR).enumerate() {
            let lane = (sector * LANE) as u64;
            let mut expected = content[..content.len().min(LANE)].to_vec();
            expected.resize(LANE, 0);
            assert_eq!(all.get(lane, LANE as u64), expected, "sector {sector}");
            fewer.missed.set(false);
            let found = fewer.get(lane, LANE as u64) == expected;
            match fewer.missed() {
                true => missed += 1,
                false => same += 1,
            }
            assert!(found || fewer.missed(), "sector {sector} changed and nobody would know");
            assert!(!fewer.missed() || fewer.mark_at(lane) == Mark::Foreign);
            fewer.missed.set(false);
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
        let first = lanes.chunks.iter().position(|&chunk| chunk == Chunk::LeftOut).unwrap() * CHUNK_LANES;
        lanes.get(first as u64 - 8, 8);
        assert!(!lanes.missed());
        lanes.get(first as u64 - 8, 9);
        assert!(lanes.missed());
    }

    #[test]
    fn ends_are_ends() {
        let lanes = read(&[0; 1000], Foreign::Keep);
        assert_eq!(lanes.marks.len(), 2);
        assert!(lanes.is_blank() && lanes.is_zero(0, u64::MAX) && lanes.is_zero(5000, 9000));
        assert_eq!(lanes.get(1000, 72).len(), 8);
        assert_eq!(lanes.get(1009, u64::MAX).len(), 0);
    }
}
