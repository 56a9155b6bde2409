//! Frames: one per append, one checksum each, chained.

use bytes::{Bytes, BytesMut};

use super::Fields;
use super::sector::{LANE, LaneWriter, place_seed};
use crate::batch::{Entry, HardState, Position};
use crate::planted::{Fault, planted};

const MAGIC: [u8; 4] = *b"gfrm";
const VERSION: u8 = 1;
/// Bytes of a frame header. It lies within one sector.
pub(crate) const HEADER: usize = 72;
/// Bytes after the payload: the frame's checksum.
const TRAILER: usize = 4;
const ENTRY_HEADER: usize = 16;
const HARD_STATE_BYTES: usize = 24;

const HARD_STATE: u8 = 1;
const SEAL: u8 = 2;

/// The head of a frame.
///
/// | bytes | |
/// |---|---|
/// | 4 | magic `gfrm` |
/// | 1, 1, 2 | version, flags (1 hard state, 2 seal), zero |
/// | 4, 4 | payload length with its padding, number of entries |
/// | 8, 8 | segment id, sequence: one higher than the frame before, across segments |
/// | 8 | watermark: highest sequence known durable when this was written |
/// | 8 | lowest segment id that the log still needs |
/// | 8, 8 | index of the first entry (of the next one, if there is none); term of the entry before it |
/// | 4 | checksum of the frame before |
/// | 4 | CRC-32 of the frame's place (segment, position) and the 68 bytes above |
///
/// Then the payload: the hard state if there is one (term, vote, commit), then each entry as length (4), kind (1),
/// zeros (3), term (8), data; then zeros until 4 bytes before a multiple of 8 (a seal: 500 of them). Then 4 bytes CRC-32 of the header
/// (its own checksum left out) and the payload. Since the header holds the previous frame's checksum, the checksums chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) has_hard_state: bool,
    pub(crate) seal: bool,
    pub(crate) length: u32,
    pub(crate) entries: u32,
    pub(crate) segment: u64,
    pub(crate) sequence: u64,
    pub(crate) watermark: u64,
    pub(crate) oldest: u64,
    pub(crate) before: Position,
    pub(crate) previous: u32,
}

/// Payload bytes of a batch, padding included; `None` when it exceeds what a length field can say.
pub(crate) fn payload_bytes(entries: &[Entry], hard_state: Option<HardState>) -> Option<u32> {
    let mut bytes = if hard_state.is_some() { HARD_STATE_BYTES as u64 } else { 0 };
    for entry in entries {
        bytes += ENTRY_HEADER as u64 + entry.data.len() as u64;
    }
    u32::try_from(
        (bytes + TRAILER as u64 + HEADER as u64).next_multiple_of(8) - TRAILER as u64 - HEADER as u64,
    )
    .ok()
}

/// Payload bytes of a seal, all zeros: enough to reach into a further sector, whose stamp then vouches for what the
/// seal shares its first sector with.
pub(crate) const SEAL_BYTES: u32 = 500;

const _: () = assert!(
    SEAL_BYTES as usize + HEADER + TRAILER > LANE
        && (SEAL_BYTES as usize + HEADER + TRAILER).is_multiple_of(8)
);

/// Where a frame that may start at `position` does start, so that its header is within one sector.
pub(crate) fn start_at(position: u64) -> u64 {
    let within = position % LANE as u64;
    if within + HEADER as u64 > LANE as u64 { position - within + LANE as u64 } else { position }
}

impl FrameHeader {
    /// Lane bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.length) + TRAILER as u64
    }

    fn encode(&self, position: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = if self.has_hard_state { HARD_STATE } else { 0 } | if self.seal { SEAL } else { 0 };
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.entries.to_le_bytes());
        let numbers = [
            self.segment,
            self.sequence,
            self.watermark,
            self.oldest,
            self.before.index + 1,
            self.before.term,
        ];
        for (slot, number) in bytes[16..64].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes[64..68].copy_from_slice(&self.previous.to_le_bytes());
        let checksum = header_checksum(self.segment, position, &bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Whether the bytes at a position could begin a frame; the cheap test before [`Self::decode`].
    pub(crate) fn resembles(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads the header of a frame of `segment` at `position`; the reason otherwise.
    pub(crate) fn decode(bytes: &[u8], segment: u64, position: u64) -> Result<Self, &'static str> {
        if bytes.len() < HEADER {
            return Err("the file ends within the frame header");
        }
        let bytes = &bytes[..HEADER];
        if !bytes.starts_with(&MAGIC) {
            return Err("frame magic is not gfrm");
        }
        let stored = &bytes[HEADER - 4..];
        if stored != header_checksum(segment, position, &bytes[..HEADER - 4]).to_le_bytes() {
            return Err("frame header checksum does not hold");
        }
        let mut fields = Fields(&bytes[4..]);
        let version = fields.u8();
        let flags = fields.u8();
        if version != VERSION || flags & !(HARD_STATE | SEAL) != 0 || fields.bytes(2) != [0, 0] {
            return Err("frame version or flags unknown");
        }
        let length = fields.u32();
        let entries = fields.u32();
        let found_segment = fields.u64();
        let sequence = fields.u64();
        let watermark = fields.u64();
        let oldest = fields.u64();
        let first_index = fields.u64();
        let term = fields.u64();
        let previous = fields.u32();
        let Some(index) = first_index.checked_sub(1) else { return Err("frame begins at index 0") };
        if found_segment != segment || watermark >= sequence {
            return Err("frame header contradicts itself");
        }
        Ok(Self {
            has_hard_state: flags & HARD_STATE != 0,
            seal: flags & SEAL != 0,
            length,
            entries,
            segment,
            sequence,
            watermark,
            oldest,
            before: Position { index, term },
            previous,
        })
    }

    /// Whether the whole frame at `frame` (header first) has the checksum it ends with.
    pub(crate) fn checksum_of(&self, frame: &[u8]) -> Result<u32, &'static str> {
        let Some(frame) = usize::try_from(self.frame_bytes()).ok().and_then(|bytes| frame.get(..bytes))
        else {
            return Err("the file ends within the frame");
        };
        let (body, stored) = frame.split_at(frame.len() - TRAILER);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&body[..HEADER - 4]);
        hasher.update(&body[HEADER..]);
        let checksum = hasher.finalize();
        if stored == checksum.to_le_bytes() || planted(Fault::IgnoresChecksum) {
            Ok(checksum)
        } else {
            Err("frame checksum does not hold")
        }
    }

    /// Reads the payload of a frame whose checksum holds. Entries share the payload's copy.
    pub(crate) fn decode_payload(
        &self,
        frame: &[u8],
        copies: &mut Copies,
    ) -> Result<(Option<HardState>, Vec<Entry>), &'static str> {
        const SHORT: &str = "frame payload is shorter than its entries";
        let payload = copies.take(&frame[HEADER..HEADER + self.length as usize]);
        let mut at = 0;
        let mut hard_state = None;
        if self.has_hard_state {
            let bytes = payload.get(..HARD_STATE_BYTES).ok_or(SHORT)?;
            let mut fields = Fields(bytes);
            hard_state = Some(HardState { term: fields.u64(), vote: fields.u64(), commit: fields.u64() });
            at = HARD_STATE_BYTES;
        }
        if self.entries as usize > payload.len() / ENTRY_HEADER {
            return Err(SHORT);
        }
        let mut entries = Vec::with_capacity(self.entries as usize);
        for index in (self.before.index + 1..).take(self.entries as usize) {
            let mut fields = Fields(payload.get(at..at + ENTRY_HEADER).ok_or(SHORT)?);
            let length = fields.u32() as usize;
            let kind = fields.u8();
            fields.bytes(3);
            let term = fields.u64();
            at += ENTRY_HEADER;
            let end = at.checked_add(length).filter(|&end| end <= payload.len()).ok_or(SHORT)?;
            entries.push(Entry { index, term, kind, data: payload.slice(at..end) });
            at = end;
        }
        if (payload.len() - at >= 8 && !self.seal) || payload[at..].iter().any(|&b| b != 0) {
            return Err("frame payload is longer than its entries");
        }
        Ok((hard_state, entries))
    }

    /// Writes the whole frame into the lanes and returns its checksum.
    pub(crate) fn write(
        &self,
        lanes: &mut LaneWriter<'_>,
        position: u64,
        hard_state: Option<HardState>,
        entries: &[Entry],
    ) -> u32 {
        let header = self.encode(position);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header[..HEADER - 4]);
        lanes.put(&header);
        let mut left = self.length as usize;
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            lanes.put(bytes);
            left -= bytes.len();
        };
        if let Some(state) = hard_state {
            let mut bytes = [0; HARD_STATE_BYTES];
            for (slot, number) in bytes.chunks_exact_mut(8).zip([state.term, state.vote, state.commit]) {
                slot.copy_from_slice(&number.to_le_bytes());
            }
            put(&bytes);
        }
        for entry in entries {
            let mut bytes = [0; ENTRY_HEADER];
            bytes[..4].copy_from_slice(&(entry.data.len() as u32).to_le_bytes());
            bytes[4] = entry.kind;
            bytes[8..].copy_from_slice(&entry.term.to_le_bytes());
            put(&bytes);
            put(&entry.data);
        }
        let padding = &[0; SEAL_BYTES as usize][..left];
        hasher.update(padding);
        lanes.put(padding);
        let checksum = hasher.finalize();
        lanes.put(&checksum.to_le_bytes());
        checksum
    }
}

/// Copies of payloads, many in one piece of memory: it goes when the last entry in it does.
#[derive(Default)]
pub(crate) struct Copies(BytesMut);

/// The most that one entry can keep alive besides itself.
const COPIES_BYTES: usize = 64 << 10;

impl Copies {
    fn take(&mut self, payload: &[u8]) -> Bytes {
        if payload.len() > COPIES_BYTES / 4 {
            return Bytes::copy_from_slice(payload);
        }
        if self.0.capacity() < payload.len() {
            self.0 = BytesMut::with_capacity(COPIES_BYTES);
        }
        self.0.extend_from_slice(payload);
        self.0.split().freeze()
    }
}

/// The checksum of a frame that comes in pieces.
#[derive(Default)]
pub(crate) struct FrameSum {
    hasher: crc32fast::Hasher,
    taken: u64,
    stored: [u8; TRAILER],
}

impl FrameSum {
    /// Takes the frame's next bytes in and says how many of these they were.
    pub(crate) fn take(&mut self, header: &FrameHeader, bytes: &[u8]) -> usize {
        let before = self.taken;
        for (from, to, counts) in [
            (0, HEADER as u64 - 4, true),
            (HEADER as u64 - 4, HEADER as u64, false),
            (HEADER as u64, header.frame_bytes() - TRAILER as u64, true),
        ] {
            if (from..to).contains(&self.taken) {
                let rest = &bytes[(self.taken - before) as usize..];
                let part = &rest[..rest.len().min((to - self.taken) as usize)];
                if counts {
                    self.hasher.update(part);
                }
                self.taken += part.len() as u64;
            }
        }
        let trailer = header.frame_bytes() - TRAILER as u64;
        for &byte in &bytes[(self.taken - before) as usize..] {
            if !(trailer..header.frame_bytes()).contains(&self.taken) {
                break;
            }
            self.stored[(self.taken - trailer) as usize] = byte;
            self.taken += 1;
        }
        (self.taken - before) as usize
    }

    /// Once the frame is whole: its checksum, or that it does not hold.
    pub(crate) fn finish(&self, header: &FrameHeader) -> Option<Result<u32, ()>> {
        (self.taken == header.frame_bytes()).then(|| {
            let checksum = self.hasher.clone().finalize();
            if self.stored == checksum.to_le_bytes() { Ok(checksum) } else { Err(()) }
        })
    }
}

fn header_checksum(segment: u64, position: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place_seed(segment, position));
    hasher.update(body);
    hasher.finalize()
}
