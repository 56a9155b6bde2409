//! Memory that is shared by rule and not by type: the only unsafe code of this crate.
#![allow(unsafe_code, reason = "mapping a file and handing out its pages; every block is argued")]

use std::io;

/// A file mapped read-only over address space reserved once.
#[derive(Debug)]
pub struct Map {
    map: memmap2::Mmap,
}

impl Map {
    /// Maps `file` over `reserve` bytes. The file may be shorter; pages beyond its end are never touched.
    pub fn of_file(file: &std::fs::File, reserve: u64) -> io::Result<Self> {
        let reserve = usize::try_from(reserve).map_err(io::Error::other)?;
        // SAFETY: the bytes behind the map change only through `File::write_at`, and the tree writes a page
        // only while no reference to it exists: see `btree`. Other processes are kept out by the caller's lock.
        let map = unsafe { memmap2::MmapOptions::new().len(reserve).map(file)? };
        Ok(Map { map })
    }

    /// Bytes of address space, not of file.
    pub(crate) fn reserved(&self) -> usize {
        self.map.len()
    }
}
