//! Writes through the crate tokio-uring: its runtime on this thread, one task that writes and waits.

use std::fs::File;
use std::io;
use std::time::Instant;

use tokio_uring::buf::BoundedBuf;

use super::ways::{Bounds, Taking, Visit, whole};

/// Alignment that `O_DIRECT` accepts everywhere.
const BLOCK: usize = 4096;

/// A file that belongs to a runtime. Its durability comes from how the file was opened: this crate has no write with flags.
pub(super) struct TokioWriter {
    /// Before the runtime: it is closed first.
    file: tokio_uring::fs::File,
    /// The runtime takes buffers by value and gives them back.
    memory: Vec<u8>,
    /// Where the aligned bytes begin in it.
    start: usize,
    runtime: tokio_uring::Runtime,
}

impl TokioWriter {
    /// Fails where the kernel refuses rings.
    pub(super) fn new(file: File, bytes: &[u8]) -> io::Result<TokioWriter> {
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
        let mut memory = vec![0; bytes.len() + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(TokioWriter { file: tokio_uring::fs::File::from_std(file), memory, start, runtime })
    }

    pub(super) fn visit(
        &mut self,
        offsets: impl Iterator<Item = u64>,
        length: usize,
        bounds: Bounds,
    ) -> io::Result<Visit> {
        let TokioWriter { file, memory, start, runtime } = self;
        runtime.block_on(async {
            let mut taking = Taking::new(bounds);
            for offset in offsets.take(bounds.writes + 1) {
                let piece = std::mem::take(memory).slice(*start..*start + length);
                let before = Instant::now();
                let (written, piece) = file.write_at(piece, offset).submit().await;
                let now = Instant::now();
                *memory = piece.into_inner();
                whole(written?, length)?;
                if taking.ended(Some(before), now) {
                    break;
                }
            }
            Ok(taking.visit())
        })
    }
}
