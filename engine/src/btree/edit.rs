//! The bytes of a page, written: single cells in place, and whole pages from entries.

use crate::limits::PAGE_BYTES;
use crate::mmap::PageBytes;

use super::page::{Child, HEADER_BYTES, Kind, Page, Ref, RunRef, SLOT_BYTES, checksum, hint};

/// An entry on its way into a page. The key is in two parts, as it came out of one.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) prefix: &'a [u8],
    pub(crate) suffix: &'a [u8],
    /// The cell's fixed part: value word of a leaf, child of a branch.
    pub(crate) fixed: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(crate) fn key_len(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// Key bytes from `skip` on, in two parts.
    fn tail(&self, skip: usize) -> (&'a [u8], &'a [u8]) {
        match skip.checked_sub(self.prefix.len()) {
            Some(rest) => (&[], &self.suffix[rest..]),
            None => (&self.prefix[skip..], self.suffix),
        }
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        [self.prefix, self.suffix].concat()
    }

    /// Slot and cell with the whole key.
    fn bytes(&self) -> usize {
        SLOT_BYTES + 2 + self.fixed.len() + self.key_len() + self.value.len()
    }
}

/// What a page is, without its entries.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) bucket: u8,
    pub(crate) level: u8,
}

impl Shape {
    pub(crate) fn at(bucket: u8, level: u8) -> Shape {
        Shape { kind: if level == 0 { Kind::Leaf } else { Kind::Branch }, bucket, level }
    }

    /// The first separator of a branch is empty and takes no part in the prefix.
    fn first_key(self) -> usize {
        usize::from(self.kind == Kind::Branch)
    }
}

/// Every entry of a page, in order.
pub(crate) fn entries<'a>(page: Page<'a>, into: &mut Vec<Entry<'a>>) {
    for index in 0..page.len() {
        into.push(entry(page, index));
    }
}

/// One entry of a page.
pub(crate) fn entry(page: Page<'_>, index: usize) -> Entry<'_> {
    let (fixed, value) = page.body(index);
    // The first separator of a branch stands for everything smaller: its key is empty, not the prefix.
    let prefix = if index == 0 && !page.is_leaf() { &[][..] } else { page.prefix() };
    Entry { prefix, suffix: page.suffix(index), fixed, value }
}

/// Length of the common prefix of two keys.
pub(crate) fn common(a: &Entry<'_>, b: &Entry<'_>) -> usize {
    let left = a.prefix.iter().chain(a.suffix);
    let right = b.prefix.iter().chain(b.suffix);
    left.zip(right).take_while(|(x, y)| x == y).count()
}

/// The prefix a page of these entries gets, and the bytes it takes; None when they do not fit.
fn measure(shape: Shape, entries: &[Entry<'_>], slack: usize) -> Option<usize> {
    let keyed = &entries[shape.first_key().min(entries.len())..];
    let prefix = match (keyed.first(), keyed.last()) {
        (Some(first), Some(last)) => common(first, last),
        _ => 0,
    };
    let head: usize = entries[..entries.len() - keyed.len()].iter().map(|e| e.bytes() - e.key_len()).sum();
    let rest: usize = keyed.iter().map(|e| e.bytes() - prefix).sum();
    (HEADER_BYTES + prefix + head + rest + slack <= PAGE_BYTES).then_some(prefix)
}

/// Builds a page; false, and nothing useful in `out`, when the entries do not fit with `slack` bytes to spare.
pub(crate) fn build(out: &mut PageBytes, shape: Shape, entries: &[Entry<'_>], slack: usize) -> bool {
    let Some(prefix) = measure(shape, entries, slack) else { return false };
    out.fill(0);
    out[4] = shape.kind as u8;
    out[5] = shape.bucket;
    out[6] = shape.level;
    if let Some(entry) = entries.get(shape.first_key()) {
        let key = entry.key();
        out[HEADER_BYTES..HEADER_BYTES + prefix].copy_from_slice(&key[..prefix]);
    }
    put_u16(out, 18, prefix);
    put_u16(out, 20, PAGE_BYTES);
    for (index, entry) in entries.iter().enumerate() {
        let tail = if index < shape.first_key() { (&[][..], &[][..]) } else { entry.tail(prefix) };
        push_cell(out, index, tail, entry.fixed, entry.value);
    }
    true
}

/// Where to cut entries that do not fit in one page: entries before the answer stay left. `ascending` asks for a
/// left page as full as it goes.
pub(crate) fn split_at(shape: Shape, entries: &[Entry<'_>], ascending: bool) -> usize {
    let fits = |cut: usize| {
        measure(shape, &entries[..cut], 0).is_some() && measure(shape, &entries[cut..], 0).is_some()
    };
    let last = entries.len() - 1;
    if ascending && last > 0 && fits(last) {
        return last;
    }
    let total: usize = entries.iter().map(Entry::bytes).sum();
    let mut sum = 0;
    let middle = entries.iter().position(|entry| {
        sum += entry.bytes();
        sum * 2 >= total
    });
    let middle = middle.unwrap_or(last).clamp(1, last);
    // Outward from the middle by bytes.
    let outward = (0..entries.len()).flat_map(|d| [middle.checked_sub(d), Some(middle + d)]);
    let mut cuts = outward.flatten().filter(|cut| (1..=last).contains(cut));
    // An entry that shortens the prefix sits at one end; cut off alone it leaves a page that fitted before.
    cuts.find(|cut| fits(*cut)).expect("a full page and one entry make two pages")
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, number: usize) {
    let number = u16::try_from(number).expect("offsets in a page fit 16 bits");
    bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// A child as a branch cell has it.
pub(crate) fn child_bytes(child: Child) -> [u8; 16] {
    let mut bytes = [0; 16];
    put_u32(&mut bytes, 0, child.page.0);
    put_u32(&mut bytes, 4, child.checksum);
    put_u64(&mut bytes, 8, child.count);
    bytes
}

/// A run as a leaf cell has it.
pub(crate) fn run_bytes(run: RunRef) -> [u8; 12] {
    let mut bytes = [0; 12];
    put_u32(&mut bytes, 0, run.page.0);
    put_u32(&mut bytes, 4, run.len);
    put_u32(&mut bytes, 8, run.checksum);
    bytes
}

/// Adds a slot at `index` and its cell; the room is there.
fn push_cell(bytes: &mut PageBytes, index: usize, tail: (&[u8], &[u8]), fixed: &[u8], value: &[u8]) {
    let page = Page::new(bytes);
    let key_len = tail.0.len() + tail.1.len();
    let len = 2 + fixed.len() + key_len + value.len();
    let (slots_end, count) = (page.slots_end(), page.len());
    let cell = page.heap_start() - len;
    assert!(slots_end + SLOT_BYTES <= cell, "the cell was measured before");
    let slot = slots_end - (count - index) * SLOT_BYTES;
    bytes.copy_within(slot..slots_end, slot + SLOT_BYTES);
    let mut at = cell;
    put_u16(bytes, at, key_len);
    at += 2;
    for part in [fixed, tail.0, tail.1, value] {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let key = cell + 2 + fixed.len();
    let first = hint(&bytes[key..key + key_len]);
    put_u16(bytes, slot, cell);
    put_u32(bytes, slot + 2, first);
    put_u16(bytes, 16, count + 1);
    put_u16(bytes, 20, cell);
}

/// Puts an entry at `index` if the page has room and its prefix is the key's; else false and nothing changed.
pub(crate) fn insert(bytes: &mut PageBytes, index: usize, key: &[u8], fixed: &[u8], value: &[u8]) -> bool {
    let page = Page::new(bytes);
    let Some(suffix) = key.strip_prefix(page.prefix()) else { return false };
    let need = SLOT_BYTES + 2 + fixed.len() + suffix.len() + value.len();
    if page.used() + need > PAGE_BYTES {
        return false;
    }
    if page.heap_start() - page.slots_end() < need {
        compact(bytes);
    }
    push_cell(bytes, index, (suffix, &[]), fixed, value);
    true
}

/// Moves the cells together. Prefix and order stay.
fn compact(bytes: &mut PageBytes) {
    let old = *bytes;
    let page = Page::new(&old);
    put_u16(bytes, 16, 0);
    put_u16(bytes, 20, PAGE_BYTES);
    put_u16(bytes, 22, 0);
    for index in 0..page.len() {
        let (fixed, value) = page.body(index);
        push_cell(bytes, index, (page.suffix(index), &[]), fixed, value);
    }
}

/// Takes an entry out.
pub(crate) fn remove(bytes: &mut PageBytes, index: usize) {
    let page = Page::new(bytes);
    let (cell, len) = (page.cell_at(index), page.cell_len(index));
    let (slots_end, count, heap, dead) = (page.slots_end(), page.len(), page.heap_start(), page.dead());
    let slot = slots_end - (count - index) * SLOT_BYTES;
    bytes.copy_within(slot + SLOT_BYTES..slots_end, slot);
    put_u16(bytes, 16, count - 1);
    if cell == heap {
        put_u16(bytes, 20, heap + len);
    } else {
        put_u16(bytes, 22, dead + len);
    }
    if count == 1 {
        // Nothing left: no prefix to keep, no holes to remember.
        put_u16(bytes, 18, 0);
        put_u16(bytes, 20, PAGE_BYTES);
        put_u16(bytes, 22, 0);
    }
}

/// Takes a child out of a branch. The child that becomes the first loses its separator.
pub(crate) fn remove_child(bytes: &mut PageBytes, index: usize) {
    remove(bytes, index);
    let page = Page::new(bytes);
    if index == 0 && page.len() > 0 && !page.suffix(0).is_empty() {
        let fixed = child_bytes(page.child(0));
        remove(bytes, 0);
        let end = Page::new(bytes);
        if end.heap_start() - end.slots_end() < SLOT_BYTES + 2 + fixed.len() {
            compact(bytes);
        }
        push_cell(bytes, 0, (&[], &[]), &fixed, &[]);
    }
}

/// Replaces fixed part and value of an entry of the same key; false and nothing changed when there is no room.
pub(crate) fn replace(bytes: &mut PageBytes, index: usize, key: &[u8], fixed: &[u8], value: &[u8]) -> bool {
    let page = Page::new(bytes);
    let (_, old) = page.body(index);
    if old.len() == value.len() {
        let at = page.cell_at(index);
        let end = at + page.cell_len(index);
        bytes[at + 2..at + 2 + fixed.len()].copy_from_slice(fixed);
        bytes[end - value.len()..end].copy_from_slice(value);
        return true;
    }
    if page.used() - old.len() + value.len() > PAGE_BYTES {
        return false;
    }
    remove(bytes, index);
    let inserted = insert(bytes, index, key, fixed, value);
    assert!(inserted, "the room was measured before");
    true
}

/// Changes what a branch says of one child.
pub(crate) fn set_child(bytes: &mut PageBytes, index: usize, child: Child) {
    let at = Page::new(bytes).cell_at(index) + 2;
    bytes[at..at + 16].copy_from_slice(&child_bytes(child));
}

/// Changes where a leaf's run is.
pub(crate) fn set_run(bytes: &mut PageBytes, index: usize, run: RunRef) {
    let page = Page::new(bytes);
    let end = page.cell_at(index) + page.cell_len(index);
    bytes[end - 12..end].copy_from_slice(&run_bytes(run));
}

/// Makes a page ready for the file: generation and checksum.
pub(crate) fn seal(bytes: &mut PageBytes, page: u32, generation: u64) -> u32 {
    assert!(Ref(page).slot().is_none(), "page numbers have 31 bits");
    put_u64(bytes, 8, generation);
    let sum = checksum(bytes, page);
    put_u32(bytes, 0, sum);
    sum
}
