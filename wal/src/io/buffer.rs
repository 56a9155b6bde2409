//! Memory that `O_DIRECT` accepts.

use crate::segment::sector::BLOCK;

/// Bytes at an address that is a multiple of 4096.
pub(crate) struct AlignedBuffer {
    /// One block longer than usable; never grown in place, so that the aligned start stays.
    memory: Box<[u8]>,
    start: usize,
}

impl AlignedBuffer {
    /// Zeros; `bytes` is rounded up to whole blocks.
    pub(crate) fn new(bytes: usize) -> Self {
        let memory = vec![0; bytes.next_multiple_of(BLOCK) + BLOCK].into_boxed_slice();
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start < BLOCK, "bytes can be aligned to a block");
        Self { memory, start }
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len() - BLOCK
    }

    /// Makes room for `bytes` and keeps the first block.
    pub(crate) fn grow(&mut self, bytes: usize) {
        if bytes > self.len() {
            let mut larger = Self::new(bytes);
            larger.as_mut()[..BLOCK].copy_from_slice(&self.as_ref()[..BLOCK]);
            *self = larger;
        }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len()]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.memory[self.start..self.start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_before_and_after_growing() {
        let mut buffer = AlignedBuffer::new(1);
        assert_eq!(buffer.len(), BLOCK);
        buffer.as_mut()[17] = 9;
        buffer.grow(10 * BLOCK + 1);
        assert_eq!(buffer.len(), 11 * BLOCK);
        assert_eq!(buffer.as_ref()[17], 9);
        assert!(buffer.as_ref().as_ptr().align_offset(BLOCK) == 0);
    }
}
