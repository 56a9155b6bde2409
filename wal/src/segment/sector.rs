//! Sectors: the unit a device writes or does not write.
//!
//! Everything in a segment travels in lanes of 504 bytes. Each lane is followed on disk by an 8-byte stamp that
//! depends on the segment's id and the sector's place. After a write that power cut short, every sector is either new or
//! what it was before; the stamp tells which, also where the file was recycled and holds an older segment's frames.
//! That is the difference between a torn write (a sector of it is missing) and bit rot (every sector is there, and the
//! checksum does not hold).
//!
//! Offsets called *position* count lane bytes only; offsets called *offset* are file offsets.

/// What a device writes as one, at the least.
pub(crate) const SECTOR: usize = 512;
/// Bytes of a sector that carry content.
pub(crate) const LANE: usize = SECTOR - STAMP;
/// What `O_DIRECT` is asked to write: every write is whole blocks.
pub(crate) const BLOCK: usize = 4096;
const STAMP: usize = 8;
/// A stamp so few bits away from the right one is the right one, damaged. For a stamp of another segment the
/// chance of being so near is about 4 in 10^13.
const NEAR_BITS: u32 = 3;

const _: () = assert!(BLOCK.is_multiple_of(SECTOR) && LANE.is_multiple_of(8));

/// What a sector's stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Written in this segment's life.
    Ours,
    /// Ours but for a few bits: damaged.
    Near,
    /// Never written in this segment's life, or not there at all.
    Foreign,
}

/// The stamp of a sector. Its last byte on disk is never near zero, so that zeros never resemble a stamp,
/// not even a stamp of which only the end is missing.
pub(super) fn stamp(segment: u64, sector: u64) -> u64 {
    let mut x = segment.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sector.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) | (0xff << 56)
}

/// Ties a checksum to its place; the same mixture as the stamps, over positions.
pub(crate) fn place_seed(segment: u64, position: u64) -> [u8; 8] {
    stamp(segment.rotate_left(32), position).to_le_bytes()
}

/// File offset of a lane position.
pub(crate) fn offset_of(position: u64) -> u64 {
    position / LANE as u64 * SECTOR as u64 + position % LANE as u64
}

/// Lane bytes that a file of this many bytes holds.
pub(crate) fn lane_bytes(file_bytes: u64) -> u64 {
    file_bytes / SECTOR as u64 * LANE as u64
}

/// Copies content into the lanes of a buffer that starts at a block boundary.
pub(crate) struct LaneWriter<'a> {
    buffer: &'a mut [u8],
    segment: u64,
    /// Sector of the segment with which the buffer starts.
    first_sector: u64,
    /// Lane position within the buffer.
    at: usize,
}

impl<'a> LaneWriter<'a> {
    /// `position` is where in the segment the next byte goes.
    pub(crate) fn new(buffer: &'a mut [u8], segment: u64, buffer_offset: u64, position: u64) -> Self {
        debug_assert!(buffer_offset.is_multiple_of(BLOCK as u64));
        let first_sector = buffer_offset / SECTOR as u64;
        let at = (position - first_sector * LANE as u64) as usize;
        Self { buffer, segment, first_sector, at }
    }

    pub(crate) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = self.at % LANE;
            let take = bytes.len().min(LANE - within);
            let start = self.at / LANE * SECTOR + within;
            self.buffer[start..start + take].copy_from_slice(&bytes[..take]);
            self.at += take;
            bytes = &bytes[take..];
        }
    }

    /// Skips ahead, writing zeros, to a position.
    pub(crate) fn zero_until(&mut self, position: u64) {
        const ZEROS: [u8; LANE] = [0; LANE];
        let until = (position - self.first_sector * LANE as u64) as usize;
        while self.at < until {
            let take = (until - self.at).min(LANE);
            self.put(&ZEROS[..take]);
        }
    }

    /// Stamps every sector touched since `from`, clears the rest of the last block, and says how many bytes of the
    /// buffer are to be written.
    pub(crate) fn finish(self, from: u64) -> usize {
        let first = (from / LANE as u64 - self.first_sector) as usize;
        let sectors = self.at.div_ceil(LANE);
        for sector in first..sectors {
            let mark = stamp(self.segment, self.first_sector + sector as u64).to_le_bytes();
            self.buffer[sector * SECTOR + LANE..(sector + 1) * SECTOR].copy_from_slice(&mark);
        }
        let used = match self.at % LANE {
            0 => sectors * SECTOR,
            within => {
                let start = (sectors - 1) * SECTOR + within;
                self.buffer[start..(sectors - 1) * SECTOR + LANE].fill(0);
                sectors * SECTOR
            }
        };
        let end = used.next_multiple_of(BLOCK);
        self.buffer[used..end].fill(0);
        end
    }
}

/// Reads the stamp of one sector.
pub(crate) fn judge(segment: u64, sector: u64, found: &[u8]) -> Mark {
    let Ok(found) = <[u8; STAMP]>::try_from(found) else { return Mark::Foreign };
    match (u64::from_le_bytes(found) ^ stamp(segment, sector)).count_ones() {
        0 => Mark::Ours,
        bits if bits <= NEAR_BITS => Mark::Near,
        _ => Mark::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::lanes::{Foreign, Lanes};

    #[test]
    fn lanes_come_back_as_written() {
        let mut buffer = vec![0xaa; 4 * BLOCK];
        let content: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
        let mut writer = LaneWriter::new(&mut buffer, 7, 0, 0);
        writer.put(&content[..1000]);
        writer.put(&content[1000..]);
        let bytes = writer.finish(0);
        assert_eq!(bytes, BLOCK);
        let lanes = Lanes::new(bytes as u64);
        lanes.fill(0, 7, &buffer[..bytes], Foreign::Keep);
        assert_eq!(lanes.get(0, 3000), &content[..]);
        assert!((0..6).all(|sector| lanes.mark(sector) == Mark::Ours));
        assert!((6..8).all(|sector| lanes.mark(sector) == Mark::Foreign));
        assert!(lanes.is_zero(3000, u64::MAX) && !lanes.is_zero(2999, u64::MAX));
    }

    #[test]
    fn a_stamp_belongs_to_one_segment_and_one_sector() {
        let ours = stamp(3, 9).to_le_bytes();
        assert_eq!(judge(3, 9, &ours), Mark::Ours);
        for (segment, sector) in [(2, 9), (4, 9), (3, 8), (3, 10), (9, 3)] {
            assert_eq!(judge(segment, sector, &ours), Mark::Foreign);
        }
        for bit in 0..64 {
            let mut flipped = ours;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(judge(3, 9, &flipped), Mark::Near);
        }
        assert_eq!(judge(3, 9, &[0; 8]), Mark::Foreign);
        assert_eq!(
            judge(3, 9, &[ours[0], ours[1], ours[2], ours[3], ours[4], ours[5], ours[6], 0]),
            Mark::Foreign
        );
    }
}
