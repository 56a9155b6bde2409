//! Memory at an address that `O_DIRECT` accepts.

use crate::floor::BLOCK;

/// Zeroed bytes that begin at a multiple of 4096.
pub struct Aligned {
    memory: Box<[u8]>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// So many of them.
    pub fn new(length: usize) -> Aligned {
        let memory = vec![0; length + BLOCK].into_boxed_slice();
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start < BLOCK, "bytes can be aligned to a block");
        Aligned { memory, start, length }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// The bytes, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
