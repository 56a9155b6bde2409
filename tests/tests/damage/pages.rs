//! The engine's file in the terms of its format, read by other code than the engine's.

use std::collections::BTreeSet;

pub(crate) const PAGE: usize = 4096;

/// What the newest meta page of a sound database says.
pub(crate) struct Pages {
    pub(crate) bytes: Vec<u8>,
    /// The page with the newest state's meta.
    pub(crate) newest_meta: usize,
    /// Pages of the newest state.
    pub(crate) count: usize,
    free: BTreeSet<usize>,
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Pages {
    pub(crate) fn read(bytes: Vec<u8>) -> Pages {
        let newest_meta = usize::from(u64_at(&bytes, PAGE + 16) > u64_at(&bytes, 16));
        let meta = &bytes[newest_meta * PAGE..][..PAGE];
        let (count, map, level) = (u64_at(meta, 24) as usize, u32_at(meta, 32) as usize, meta[40]);
        assert_eq!(level, 0, "the free map of a small file is one page");
        let map = &bytes[map * PAGE..][..PAGE];
        let length = usize::from(u16::from_le_bytes(map[16..18].try_into().unwrap()));
        let is_free = |page: &usize| page / 8 < length && map[24 + page / 8] >> (page % 8) & 1 == 1;
        let free = (0..count).filter(is_free).collect();
        Pages { bytes, newest_meta, count, free }
    }

    /// Pages of the newest state that hold something, meta pages aside.
    pub(crate) fn used(&self) -> Vec<usize> {
        (2..self.count).filter(|page| !self.free.contains(page)).collect()
    }

    pub(crate) fn free(&self) -> Vec<usize> {
        self.free.iter().copied().collect()
    }
}

/// Sets a meta page's checksums anew, where the format has them.
pub(crate) fn seal_meta(page: &mut [u8], slot: u32) {
    const SUMS: [usize; 3] = [12, 1020, 1532];
    let mut hasher = crc32fast::Hasher::new_with_initial(slot ^ 0x6d65_7461);
    let mut from = 0;
    for at in SUMS {
        hasher.update(&page[from..at]);
        from = at + 4;
    }
    hasher.update(&page[from..PAGE]);
    let sum = hasher.finalize().to_le_bytes();
    for at in SUMS {
        page[at..at + 4].copy_from_slice(&sum);
    }
}
