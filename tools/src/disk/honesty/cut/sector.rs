//! A sector that says what it is: 512 bytes, the most that a disk writes whole or not at all.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic |
//! | 8..16 | run |
//! | 16..20 | lane |
//! | 20..28 | which of the lane's files |
//! | 28..36 | offset of the sector in the file |
//! | 36..44 | sequence number of the write |
//! | 44..52 | microseconds since the run began, when the write was made |
//! | 52..508 | noise that follows from the above, the time aside |
//! | 508..512 | CRC-32 of all before it |

use super::plan::mix;

/// Bytes.
pub(crate) const SECTOR: usize = 512;
const MAGIC: [u8; 8] = *b"GRVNCUT1";
const NOISE: usize = 52;
const CRC: usize = SECTOR - 4;

/// What a sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sector {
    pub(crate) run: u64,
    pub(crate) lane: u32,
    pub(crate) file: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    /// Microseconds since the run began.
    pub(crate) time: u64,
}

/// What was found where a sector should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Whole, whatever it says.
    Sector(Sector),
    Zeros,
    /// Neither.
    Garbage,
}

impl Sector {
    pub(crate) fn encode(&self, into: &mut [u8]) {
        assert_eq!(into.len(), SECTOR, "one sector");
        into[..8].copy_from_slice(&MAGIC);
        into[8..16].copy_from_slice(&self.run.to_le_bytes());
        into[16..20].copy_from_slice(&self.lane.to_le_bytes());
        into[20..28].copy_from_slice(&self.file.to_le_bytes());
        into[28..36].copy_from_slice(&self.offset.to_le_bytes());
        into[36..44].copy_from_slice(&self.sequence.to_le_bytes());
        into[44..52].copy_from_slice(&self.time.to_le_bytes());
        self.noise(&mut into[NOISE..CRC]);
        let crc = crc32fast::hash(&into[..CRC]);
        into[CRC..].copy_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Found {
        let Ok(bytes) = <&[u8; SECTOR]>::try_from(bytes) else { return Found::Garbage };
        if bytes.iter().all(|byte| *byte == 0) {
            return Found::Zeros;
        }
        if bytes[..8] != MAGIC || bytes[CRC..] != crc32fast::hash(&bytes[..CRC]).to_le_bytes() {
            return Found::Garbage;
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let sector = Sector {
            run: number(8),
            lane: u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes")),
            file: number(20),
            offset: number(28),
            sequence: number(36),
            time: number(44),
        };
        let mut noise = [0; CRC - NOISE];
        sector.noise(&mut noise);
        if bytes[NOISE..CRC] == noise { Found::Sector(sector) } else { Found::Garbage }
    }

    /// Does not compress, and differs between any two sectors.
    fn noise(&self, into: &mut [u8]) {
        let mut state = mix(
            self.run ^ mix(u64::from(self.lane) ^ mix(self.file ^ mix(self.offset ^ mix(self.sequence))))
        );
        for bytes in into.chunks_mut(8) {
            state = mix(state);
            bytes.copy_from_slice(&state.to_le_bytes()[..bytes.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let sector = Sector { run: 1, lane: 2, file: 3, offset: 4, sequence: 5, time: 6 };
        let mut bytes = [0; SECTOR];
        assert_eq!(Sector::decode(&bytes), Found::Zeros);
        sector.encode(&mut bytes);
        assert_eq!(Sector::decode(&bytes), Found::Sector(sector));
        for at in 0..SECTOR {
            bytes[at] ^= 1;
            assert_eq!(Sector::decode(&bytes), Found::Garbage, "byte {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(Sector::decode(&bytes[1..]), Found::Garbage);
    }
}
