//! The segment header: one lane, checksummed as a whole, written together with the segment's first frame.

use bytes::Bytes;

use super::Fields;
use super::sector::{LANE, place_seed};
use crate::batch::{HardState, Metadata, Position};

const MAGIC: [u8; 8] = *b"gravnwal";
/// The format this code writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;
/// Longest metadata: what is left of the lane.
pub(crate) const MAX_METADATA: usize = 256;

const BARE: u32 = 1;
const RECYCLED: u32 = 2;
const HARD_STATE: u32 = 4;

/// What a segment says about itself, so that any suffix of the log can be understood alone.
///
/// | bytes | |
/// |---|---|
/// | 8 | magic `gravnwal` |
/// | 4, 4 | version, flags (1 bare, 2 recycled, 4 hard state present) |
/// | 8, 8 | segment id, file length in bytes |
/// | 8, 8 | index and term of the entry before this segment |
/// | 8 | sequence of its first frame |
/// | 8 | lowest segment id that the log still needed |
/// | 8 | position at which the previous segment ends |
/// | 24 | hard state: term, vote, commit |
/// | 4 | checksum of the previous segment's last frame: the seed of this segment's chain |
/// | 4, n | metadata length, metadata; then zeros |
/// | 4 | at the lane's end: CRC-32 of segment id and everything before |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u64,
    pub(crate) file_bytes: u64,
    pub(crate) start: Position,
    pub(crate) sequence: u64,
    pub(crate) oldest: u64,
    pub(crate) previous_end: u64,
    pub(crate) previous_checksum: u32,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) metadata: Metadata,
    /// Written alone, when the log was created; every other header comes with its first frame.
    pub(crate) bare: bool,
    /// Unwritten parts of the file hold an older segment instead of zeros.
    pub(crate) recycled: bool,
}

/// Why a lane is not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAHeader {
    /// Nothing but zeros.
    Blank,
    /// A sound header of a format newer than [`VERSION`].
    Newer(u32),
    Damaged(&'static str),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; LANE] {
        assert!(self.metadata.0.len() <= MAX_METADATA, "checked when the log was created");
        let hard_state = self.hard_state.unwrap_or_default();
        let flags = if self.bare { BARE } else { 0 }
            | if self.recycled { RECYCLED } else { 0 }
            | if self.hard_state.is_some() { HARD_STATE } else { 0 };
        let mut lane = Vec::with_capacity(LANE);
        lane.extend_from_slice(&MAGIC);
        lane.extend_from_slice(&VERSION.to_le_bytes());
        lane.extend_from_slice(&flags.to_le_bytes());
        for number in [
            self.id,
            self.file_bytes,
            self.start.index,
            self.start.term,
            self.sequence,
            self.oldest,
            self.previous_end,
            hard_state.term,
            hard_state.vote,
            hard_state.commit,
        ] {
            lane.extend_from_slice(&number.to_le_bytes());
        }
        lane.extend_from_slice(&self.previous_checksum.to_le_bytes());
        lane.extend_from_slice(&(self.metadata.0.len() as u32).to_le_bytes());
        lane.extend_from_slice(&self.metadata.0);
        lane.resize(LANE - 4, 0);
        let checksum = checksum(self.id, &lane);
        lane.extend_from_slice(&checksum.to_le_bytes());
        lane.try_into().expect("the lane was filled to its length")
    }

    /// Reads a lane. The id is taken from the header itself: the caller compares it with the file's name.
    pub(crate) fn decode(lane: &[u8]) -> Result<Self, NotAHeader> {
        assert_eq!(lane.len(), LANE);
        if lane.iter().all(|&b| b == 0) {
            return Err(NotAHeader::Blank);
        }
        let (body, stored) = lane.split_at(LANE - 4);
        let mut fields = Fields(body);
        if fields.bytes(8) != MAGIC {
            return Err(NotAHeader::Damaged("magic is not gravnwal"));
        }
        let version = fields.u32();
        let flags = fields.u32();
        let id = fields.u64();
        if stored != checksum(id, body).to_le_bytes() {
            return Err(NotAHeader::Damaged("checksum does not hold"));
        }
        if version > VERSION {
            return Err(NotAHeader::Newer(version));
        }
        if version == 0 || flags & !(BARE | RECYCLED | HARD_STATE) != 0 {
            return Err(NotAHeader::Damaged("version or flags unknown"));
        }
        let file_bytes = fields.u64();
        let start = Position { index: fields.u64(), term: fields.u64() };
        let sequence = fields.u64();
        let oldest = fields.u64();
        let previous_end = fields.u64();
        let hard_state = HardState { term: fields.u64(), vote: fields.u64(), commit: fields.u64() };
        let previous_checksum = fields.u32();
        if sequence == 0 {
            return Err(NotAHeader::Damaged("first frame has sequence 0"));
        }
        let length = fields.u32() as usize;
        if length > MAX_METADATA {
            return Err(NotAHeader::Damaged("metadata longer than 256 bytes"));
        }
        let metadata = Metadata(Bytes::copy_from_slice(fields.bytes(length)));
        Ok(Self {
            id,
            file_bytes,
            start,
            sequence,
            oldest,
            previous_end,
            previous_checksum,
            hard_state: (flags & HARD_STATE != 0).then_some(hard_state),
            metadata,
            bare: flags & BARE != 0,
            recycled: flags & RECYCLED != 0,
        })
    }
}

fn checksum(id: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place_seed(id, 0));
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> SegmentHeader {
        SegmentHeader {
            id: 5,
            file_bytes: 65536,
            start: Position { index: 100, term: 3 },
            sequence: 41,
            oldest: 4,
            previous_end: 9000,
            previous_checksum: 0xdead_beef,
            hard_state: Some(HardState { term: 3, vote: 1, commit: 99 }),
            metadata: Metadata(Bytes::from_static(b"cluster and member")),
            bare: false,
            recycled: true,
        }
    }

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_seen() {
        let lane = example().encode();
        assert_eq!(SegmentHeader::decode(&lane), Ok(example()));
        for bit in 0..LANE * 8 {
            let mut flipped = lane;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::decode(&flipped), Err(NotAHeader::Damaged(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut lane = example().encode();
        lane[8] = 2;
        let sum = checksum(5, &lane[..LANE - 4]);
        lane[LANE - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&lane), Err(NotAHeader::Newer(2)));
        assert_eq!(SegmentHeader::decode(&[0; LANE]), Err(NotAHeader::Blank));
    }
}
