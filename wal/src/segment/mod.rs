//! The bytes of a segment: sectors, the header, frames. The format is documented here and nowhere else.
//!
//! ```text
//! sector 0          the segment header (`header.rs`), one lane
//! sector 1 ...      frames (`frame.rs`), one after the other; a frame header never straddles two sectors:
//!                   where it would, zeros lead up to the next sector
//! rest of block     zeros, written with the last frame and overwritten by the next
//! rest of file      whatever was there: zeros in a fresh file, an older segment in a recycled one
//! ```

pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod lanes;
pub(crate) mod name;
pub(crate) mod sector;

/// Reads little-endian numbers off the front of a slice whose length was checked.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().expect("four bytes were taken"))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().expect("eight bytes were taken"))
    }
}
