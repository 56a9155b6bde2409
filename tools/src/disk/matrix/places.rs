//! The files that are written to: one for each kind of space and each way around or through the page cache, because a direct
//! write beside cached pages of the same file has to drop them first.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::measured::Extents;

/// Space of each file that was written before; visits go round in it.
const WRITTEN_BYTES: u64 = 32 << 20;
/// Space of the others, before they are made anew.
const FRESH_BYTES: u64 = 128 << 20;
/// Of all files.
pub(super) const BYTES: u64 = 2 * WRITTEN_BYTES + 4 * FRESH_BYTES;

/// Fresh space is gone through in steps of at least this: file systems allocate blocks of this size.
const STRIDE: u64 = 4096;
const PIECE: usize = 1 << 20;

/// One file.
pub(super) struct Place {
    path: PathBuf,
    file: File,
    extents: Extents,
    bytes: u64,
    next: u64,
}

impl Place {
    /// Makes the file. The error says why there can be no such space here.
    pub(super) fn create(dir: &Path, extents: Extents, direct: bool) -> Result<Place, String> {
        let path = dir.join(format!("{extents:?}-{}", if direct { "direct" } else { "cached" }));
        let bytes = if extents == Extents::Written { WRITTEN_BYTES } else { FRESH_BYTES };
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|error| error.to_string())?;
        let mut place = Place { path, file, extents, bytes, next: 0 };
        let made = match extents {
            Extents::Written => place.fill(),
            Extents::Unwritten | Extents::Sparse => place.renew(),
        };
        made.map_err(|error| match extents {
            Extents::Unwritten => format!("fallocate: {error}"),
            Extents::Written | Extents::Sparse => error.to_string(),
        })?;
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Offsets for so many writes, renewing the space if it does not last.
    pub(super) fn offsets(&mut self, writes: usize, length: usize) -> io::Result<Vec<u64>> {
        let stride = match self.extents {
            Extents::Written => length as u64,
            Extents::Unwritten | Extents::Sparse => (length as u64).max(STRIDE),
        };
        self.next = self.next.next_multiple_of(stride);
        if self.next + stride * writes as u64 > self.bytes {
            if self.extents != Extents::Written {
                self.renew()?;
            }
            self.next = 0;
        }
        let first = self.next;
        self.next += stride * writes as u64;
        Ok((0..writes as u64).map(|number| first + number * stride).collect())
    }

    /// Bytes that no file system can leave out because they are zeros.
    fn fill(&self) -> io::Result<()> {
        let piece = pattern(PIECE);
        for offset in (0..self.bytes).step_by(PIECE) {
            self.file.write_all_at(&piece, offset)?;
        }
        self.file.sync_all()
    }

    /// As if nothing had been written; durable, so that the file system has nothing left to do about it.
    fn renew(&mut self) -> io::Result<()> {
        if self.extents == Extents::Sparse {
            self.file.set_len(0)?;
            self.file.set_len(self.bytes)?;
        } else if fallocate(&self.file, FallocateFlags::ZERO_RANGE, 0, self.bytes).is_err() {
            // Not every file system can forget that space was written to without giving it back.
            self.file.set_len(0)?;
            fallocate(&self.file, FallocateFlags::empty(), 0, self.bytes)?;
        }
        self.file.sync_all()
    }
}

/// Bytes that compress to nothing less.
pub(super) fn pattern(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut pattern = Vec::with_capacity(bytes.next_multiple_of(8));
    while pattern.len() < bytes {
        pattern.extend_from_slice(&next());
    }
    pattern.truncate(bytes);
    pattern
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn fresh_space_is_never_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        for extents in [Extents::Unwritten, Extents::Sparse] {
            let mut place = Place::create(dir.path(), extents, true).unwrap();
            let mut blocks = BTreeSet::new();
            for (writes, length) in [(13, 512), (5, 4096), (3, 1 << 20), (4, 16 << 10)] {
                for offset in place.offsets(writes, length).unwrap() {
                    assert!(offset.is_multiple_of(length as u64));
                    for block in offset / STRIDE..(offset + length as u64).div_ceil(STRIDE) {
                        assert!(blocks.insert(block), "{extents:?}: block {block} twice");
                    }
                }
            }
        }
    }

    #[test]
    fn renewed_space_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Place::create(dir.path(), Extents::Sparse, false).unwrap();
        let whole = (FRESH_BYTES >> 20) as usize;
        let first = place.offsets(whole, 1 << 20).unwrap();
        place.file.write_all_at(b"content", first[0]).unwrap();
        assert!(place.file.metadata().unwrap().blocks() > 0);
        assert_eq!(place.offsets(1, 4096).unwrap(), [0], "round once");
        assert_eq!(place.file.metadata().unwrap().blocks(), 0);
    }
}
