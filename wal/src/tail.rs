//! The end of the log: the open segment and the buffer that holds its last, partial block.

use std::path::PathBuf;

use crate::batch::{Entry, HardState};
use crate::io::{AlignedBuffer, File};
use crate::planted::{Fault, planted};
use crate::segment::frame::{self, FrameHeader};
use crate::segment::header::SegmentHeader;
use crate::segment::sector::{BLOCK, LANE, LaneWriter, SECTOR, lane_bytes, offset_of};

/// Room for a usual batch; larger ones grow the buffer for good.
const BUFFER_BYTES: usize = 256 << 10;

/// Where the next frame goes.
pub(crate) struct Tail {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn File>,
    /// Starts with the content of the block at `base`; a write covers it from there.
    buffer: AlignedBuffer,
    base: u64,
    /// Position after the last frame.
    pub(crate) end: u64,
    /// Lane bytes of the file.
    capacity: u64,
}

/// A frame in the buffer, ready to be written.
#[derive(Clone, Copy)]
pub(crate) struct Encoded {
    /// File offset and length of the write.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) checksum: u32,
    end: u64,
}

impl Tail {
    pub(crate) fn new(id: u64, path: PathBuf, file: Box<dyn File>, file_bytes: u64) -> Self {
        let buffer = AlignedBuffer::new(BUFFER_BYTES.min(file_bytes as usize));
        Self { id, path, file, buffer, base: 0, end: 0, capacity: lane_bytes(file_bytes) }
    }

    /// Goes on behind frames that are on disk; `restore` fills the buffer with their last, partial block and says where it is.
    pub(crate) fn resume(&mut self, end: u64, restore: impl FnOnce(&mut AlignedBuffer) -> u64) {
        self.base = restore(&mut self.buffer);
        self.end = end;
    }

    /// Changes to another file; the buffer stays.
    pub(crate) fn replace(&mut self, id: u64, path: PathBuf, file: Box<dyn File>, file_bytes: u64) {
        (self.id, self.path, self.file) = (id, path, file);
        (self.base, self.end, self.capacity) = (0, 0, lane_bytes(file_bytes));
    }

    /// Whether a frame of so many bytes fits behind the last one.
    pub(crate) fn fits(&self, frame_bytes: u64) -> bool {
        frame::start_at(self.end) + frame_bytes <= self.capacity
    }

    /// Lane bytes behind the last frame.
    pub(crate) fn room(&self) -> u64 {
        self.capacity.saturating_sub(frame::start_at(self.end))
    }

    /// The longest frame that a file of this length can hold.
    pub(crate) fn longest_frame(file_bytes: u64) -> u64 {
        lane_bytes(file_bytes) - LANE as u64
    }

    /// Puts the segment header into the buffer; it is written with the frame that follows.
    pub(crate) fn begin(&mut self, header: &SegmentHeader) -> Encoded {
        debug_assert_eq!((self.base, self.end), (0, 0));
        let mut lanes = LaneWriter::new(self.buffer.as_mut(), self.id, 0, 0);
        lanes.put(&header.encode());
        let bytes = lanes.finish(0);
        self.end = LANE as u64;
        Encoded { offset: 0, bytes, checksum: header.previous_checksum, end: self.end }
    }

    /// Puts a frame into the buffer, behind what is there.
    pub(crate) fn encode(
        &mut self,
        header: &FrameHeader,
        hard_state: Option<HardState>,
        entries: &[Entry],
    ) -> Encoded {
        let position = frame::start_at(self.end);
        let end = position + header.frame_bytes();
        assert!(end <= self.capacity, "the caller asked whether the frame fits");
        let needed = (offset_of(end) - self.base) as usize + SECTOR;
        self.buffer.grow(needed);
        let mut lanes = LaneWriter::new(self.buffer.as_mut(), self.id, self.base, self.end);
        lanes.zero_until(position);
        let checksum = header.write(&mut lanes, position, hard_state, entries);
        let bytes = lanes.finish(self.end);
        Encoded { offset: self.base, bytes, checksum, end }
    }

    /// The bytes to write.
    pub(crate) fn write_durable(&mut self, frame: &Encoded) -> std::io::Result<usize> {
        let bytes = &self.buffer.as_ref()[..frame.bytes];
        if planted(Fault::AcknowledgesFirst) {
            return self.file.write(frame.offset, bytes);
        }
        self.file.write_durable(frame.offset, bytes)
    }

    /// The frame is durable: keep its last block for the next one.
    pub(crate) fn advance(&mut self, frame: &Encoded) {
        self.end = frame.end;
        let base = offset_of(self.end) / BLOCK as u64 * BLOCK as u64;
        let kept = (base - self.base) as usize;
        if kept > 0 {
            if kept < frame.bytes {
                self.buffer.as_mut().copy_within(kept..kept + BLOCK, 0);
            }
            self.base = base;
        }
    }
}
