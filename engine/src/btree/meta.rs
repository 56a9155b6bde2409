//! The two meta pages: which state of the tree is the newest one on disk.

use std::io;

use crate::error::Error;
use crate::file::File;
use crate::limits::{MAX_LEVEL, PAGE_BYTES, USER_META_BYTES};
use crate::mmap::{Map, PageBuffer, PageBytes};
use crate::planted::{Fault, planted};
use crate::schema::BUCKETS;

use super::UserMeta;
use super::edit::{put_u32, put_u64};
use super::page::{Ref, u32_at, u64_at};
use super::space::MapRoot;

const MAGIC: &[u8; 8] = b"\x8aGRAVEN\n";
/// The newest format this program reads and the one it writes.
const VERSION: u32 = 2;

/// The topmost page of a bucket's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) page: Ref,
    pub(crate) checksum: u32,
    pub(crate) level: u8,
    /// Live entries of the bucket.
    pub(crate) count: u64,
}

impl Root {
    pub(crate) const EMPTY: Root = Root { page: Ref::NONE, checksum: 0, level: 0, count: 0 };
}

pub(crate) type Roots = [Root; BUCKETS];

/// A state of the tree as the disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Counts checkpoints; its parity is the slot.
    pub(crate) generation: u64,
    /// Pages the free map tells about; the file is at least as long.
    pub(crate) pages: u64,
    pub(crate) free_map: MapRoot,
    pub(crate) roots: Roots,
    pub(crate) user: UserMeta,
}

const USER_AT: usize = 64;
const ROOTS_AT: usize = SECTOR_BYTES;
const ROOT_BYTES: usize = 24;
/// What a disk writes at once. Every sector in use carries the checksum of the whole, so that sectors of two
/// attempts at the same generation never pass for one: the second attempt may repeat a sector of the first that
/// the power cut had swallowed, over pages that are no longer the first one's.
const SECTOR_BYTES: usize = 512;
const SUMS_AT: [usize; 3] = [12, 2 * SECTOR_BYTES - 4, 3 * SECTOR_BYTES - 4];
const ROOTS_PER_SECTOR: usize = (SECTOR_BYTES - 4) / ROOT_BYTES;
const _: () = assert!(USER_AT + USER_META_BYTES <= SECTOR_BYTES && BUCKETS <= 2 * ROOTS_PER_SECTOR);

/// Where the root of a bucket is.
fn root_at(bucket: usize) -> usize {
    ROOTS_AT + bucket / ROOTS_PER_SECTOR * SECTOR_BYTES + bucket % ROOTS_PER_SECTOR * ROOT_BYTES
}

impl Meta {
    /// The state of a new file: generation 0, no page but the meta pages, no free map.
    pub(crate) fn empty() -> Meta {
        let free_map = MapRoot::default();
        Meta { generation: 0, pages: 2, free_map, roots: [Root::EMPTY; BUCKETS], user: [0; USER_META_BYTES] }
    }

    /// Which of the two pages this state goes to.
    pub(crate) fn slot(&self) -> u32 {
        u32::from(self.generation % 2 == 1)
    }

    pub(crate) fn encode(&self) -> PageBytes {
        let mut bytes = [0; PAGE_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        put_u32(&mut bytes, 8, VERSION);
        put_u64(&mut bytes, 16, self.generation);
        put_u64(&mut bytes, 24, self.pages);
        put_u32(&mut bytes, 32, self.free_map.page);
        put_u32(&mut bytes, 36, self.free_map.checksum);
        bytes[40] = self.free_map.level;
        for (bucket, root) in self.roots.iter().enumerate() {
            let at = root_at(bucket);
            put_u32(&mut bytes, at, root.page.0);
            put_u32(&mut bytes, at + 4, root.checksum);
            put_u64(&mut bytes, at + 8, root.count);
            bytes[at + 16] = root.level;
        }
        bytes[USER_AT..USER_AT + USER_META_BYTES].copy_from_slice(&self.user);
        let sum = checksum(&bytes, self.slot());
        for at in SUMS_AT {
            put_u32(&mut bytes, at, sum);
        }
        bytes
    }

    /// A state, if the bytes of meta page `slot` are one.
    pub(crate) fn decode(bytes: &PageBytes, slot: u32) -> Result<Meta, Error> {
        let damaged = |reason: String| Error::damaged(slot.into(), reason);
        if &bytes[..8] != MAGIC {
            return Err(damaged("no meta page: the magic number is missing".into()));
        }
        let computed = checksum(bytes, slot);
        for stored in SUMS_AT.map(|at| u32_at(bytes, at)) {
            if computed != stored {
                let reason =
                    format!("checksum of the meta page is {computed:08x}, the page says {stored:08x}");
                return Err(damaged(reason));
            }
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(Error::NewerFormat { found: version, supported: VERSION });
        }
        if version < VERSION {
            return Err(Error::OlderFormat { found: version, supported: VERSION });
        }
        let root = |at: usize| Root {
            page: Ref(u32_at(bytes, at)),
            checksum: u32_at(bytes, at + 4),
            level: bytes[at + 16],
            count: u64_at(bytes, at + 8),
        };
        let meta = Meta {
            generation: u64_at(bytes, 16),
            pages: u64_at(bytes, 24),
            free_map: MapRoot { page: u32_at(bytes, 32), checksum: u32_at(bytes, 36), level: bytes[40] },
            roots: std::array::from_fn(|bucket| root(root_at(bucket))),
            user: *bytes[USER_AT..].first_chunk().expect("the user's bytes are in the page"),
        };
        let sound_roots = meta.roots.iter().all(|root| {
            root.page.slot().is_none()
                && root.level <= MAX_LEVEL
                && (!root.page.is_none() || *root == Root::EMPTY)
        });
        let sound = sound_roots && meta.pages >= 2 && meta.free_map.level <= MAX_LEVEL;
        if !sound || meta.slot() != slot || (meta.free_map.page == 0) != (meta.generation == 0) {
            return Err(damaged("meta page contradicts itself".into()));
        }
        Ok(meta)
    }
}

fn checksum(bytes: &PageBytes, slot: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(slot ^ 0x6d65_7461);
    let mut from = 0;
    for at in SUMS_AT {
        hasher.update(&bytes[from..at]);
        from = at + 4;
    }
    hasher.update(&bytes[from..]);
    hasher.finalize()
}

/// What the two meta pages of a file say.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing was ever stored here: an empty file, or one whose creation was cut short.
    New,
    /// The newest state, and what is wrong with the other page, if anything.
    State(Box<Meta>, Option<Error>),
}

/// Reads both meta pages of a file of `len` bytes.
pub(crate) fn find(len: u64, page: impl Fn(u32) -> PageBytes) -> Result<Found, Error> {
    let whole = len / PAGE_BYTES as u64;
    // Of a page that the file ends within, the rest reads as zeros.
    let begun = len.div_ceil(PAGE_BYTES as u64);
    let slots = [0, 1].map(|slot| if u64::from(slot) < begun { page(slot) } else { [0; PAGE_BYTES] });
    // Only the creation of a file leaves it shorter than its two meta pages.
    if whole < 2 && unfinished(&slots) {
        return Ok(Found::New);
    }
    let metas = [Meta::decode(&slots[0], 0), Meta::decode(&slots[1], 1)];
    let found = match metas {
        [Err(e @ (Error::NewerFormat { .. } | Error::OlderFormat { .. })), _]
        | [_, Err(e @ (Error::NewerFormat { .. } | Error::OlderFormat { .. }))] => return Err(e),
        [Err(e0), Err(e1)] => {
            if whole == 2 && unfinished(&slots) {
                return Ok(Found::New);
            }
            if slots.iter().all(|bytes| &bytes[..8] != MAGIC) {
                return Err(Error::Foreign(e0.to_string()));
            }
            // The page with the magic number is the one that was meant to be valid.
            return Err(if &slots[0][..8] == MAGIC { e0 } else { e1 });
        }
        [Ok(meta), Err(other)] | [Err(other), Ok(meta)] => {
            // Before the first checkpoint the second page is empty, and that is no damage.
            let never_written = meta.generation == 0 && slots[1].iter().all(|byte| *byte == 0);
            (meta, (!never_written).then_some(other))
        }
        [Ok(even), Ok(odd)] => {
            let newest = if even.generation > odd.generation { even.clone() } else { odd.clone() };
            if even.generation.abs_diff(odd.generation) != 1 {
                let reason = format!("generations {} and {} do not follow", even.generation, odd.generation);
                return Err(Error::damaged(newest.slot().into(), reason));
            }
            (newest, None)
        }
    };
    if found.0.pages > whole {
        let reason = format!("the database has {} pages, the file ends after {whole}", found.0.pages);
        return Err(Error::damaged(whole, reason));
    }
    Ok(Found::State(Box::new(found.0), found.1))
}

/// What to map of a file of `len` bytes to read it: whole pages, and one at least.
pub(crate) fn mapped_bytes(len: u64) -> u64 {
    len.max(1).next_multiple_of(PAGE_BYTES as u64)
}

/// The meta pages of a file of `len` bytes as the device has them, where the file can be read past the page cache. That may
/// show what the device never got: a sync that failed leaves it there, and clean. Of a page that the file ends within, and
/// behind its end, there are zeros.
pub(crate) fn on_device(file: &dyn File, map: &Map, len: u64) -> Result<[PageBytes; 2], Error> {
    let mut pages = [[0; PAGE_BYTES]; 2];
    let mut buffer = PageBuffer::new(PAGE_BYTES).map_err(|e| Error::io("reserve memory", 0, e))?;
    for (slot, page) in (0..).zip(&mut pages) {
        let at = u64::from(slot) * PAGE_BYTES as u64;
        if len <= at {
            break;
        }
        // What ends within a block can't be read directly.
        let whole = len >= at + PAGE_BYTES as u64 && !planted(Fault::OpensFromCache);
        match whole.then(|| file.read_device_at(at, buffer.fill(PAGE_BYTES))) {
            Some(Ok(())) => page.copy_from_slice(buffer.filled()),
            Some(Err(e)) if e.kind() != io::ErrorKind::Unsupported => return Err(Error::io("read", at, e)),
            _ => *page = *map.page(slot),
        }
    }
    Ok(pages)
}

/// The newest state of a file, from its meta pages alone; `None` when nothing was ever stored in it.
pub(crate) fn newest(file: &dyn File) -> Result<Option<Meta>, Error> {
    let len = file.len().map_err(|e| Error::io("length", 0, e))?;
    let map = file.map(mapped_bytes(len)).map_err(|e| Error::io("map", 0, e))?;
    let pages = on_device(file, &map, len)?;
    match find(len, |slot| pages[slot as usize])? {
        Found::New => Ok(None),
        Found::State(meta, _) => Ok((meta.generation > 0).then_some(*meta)),
    }
}

/// Both meta pages of a file of `len` bytes, each for itself.
pub(crate) fn both(len: u64, page: impl Fn(u32) -> PageBytes) -> [Result<Meta, Error>; 2] {
    [0, 1].map(|slot| match (u64::from(slot) + 1) * PAGE_BYTES as u64 <= len {
        true => Meta::decode(&page(slot), slot),
        false => Err(Error::damaged(slot.into(), "the file ends before it")),
    })
}

/// Whether the pages are what a power cut leaves of the creation of a file: bytes of the first meta page or zeros.
fn unfinished(slots: &[PageBytes; 2]) -> bool {
    let first = Meta::empty().encode();
    let begun = slots[0].iter().zip(first).all(|(found, meant)| *found == 0 || *found == meant);
    begun && slots[1].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_are_refused_by_name() {
        for (version, older) in [(1, true), (VERSION + 1, false)] {
            let mut bytes = Meta::empty().encode();
            put_u32(&mut bytes, 8, version);
            let sum = checksum(&bytes, 0);
            for at in SUMS_AT {
                put_u32(&mut bytes, at, sum);
            }
            let error = find(2 * PAGE_BYTES as u64, |slot| if slot == 0 { bytes } else { [0; PAGE_BYTES] });
            match error.map(drop) {
                Err(Error::OlderFormat { found, supported: VERSION }) => assert!(older && found == version),
                Err(Error::NewerFormat { found, supported: VERSION }) => assert!(!older && found == version),
                other => panic!("version {version}: {other:?}"),
            }
        }
    }
}
