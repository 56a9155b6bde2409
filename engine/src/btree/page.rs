//! The bytes of a page, read. Offsets are in the essay of [`super`].

use std::cmp::Ordering;

use crate::limits::{MAX_KEY_BYTES, MAX_LEVEL, PAGE_BYTES};
use crate::mmap::PageBytes;

use super::Weight;

/// Bytes before the common prefix.
pub(crate) const HEADER_BYTES: usize = 24;
/// Bytes of a slot: cell offset u16, hint u32.
pub(crate) const SLOT_BYTES: usize = 6;
/// Bytes of a branch cell after its key length: child u32, checksum u32, live count u64.
pub(crate) const CHILD_BYTES: usize = 16;
/// Bytes that stand for a value in a run: first page u32, length u32, checksum u32.
pub(crate) const RUN_CELL_BYTES: usize = 12;
/// Bytes before the value in a run: checksum u32, length u32, generation u64.
pub(crate) const RUN_HEADER_BYTES: usize = 16;

/// In a leaf cell's value word: the value is in a run.
pub(crate) const VALUE_IN_RUN: u16 = 0x8000;
/// In a leaf cell's value word: the entry does not count.
pub(crate) const VALUE_DEAD: u16 = 0x4000;
const VALUE_LENGTH: u16 = 0x3fff;
/// Bytes of a key that is a number.
pub(crate) const NUMBER_BYTES: usize = 16;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Keys and values.
    Leaf = 1,
    /// Separators and children.
    Branch = 2,
    /// Which pages of the file are free.
    FreeMap = 3,
}

/// A page by where it is: 0 is none, the top bit tells an arena slot from a page of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ref(pub(crate) u32);

const IN_ARENA: u32 = 1 << 31;

impl Ref {
    /// No page.
    pub(crate) const NONE: Ref = Ref(0);

    pub(crate) fn arena(slot: u32) -> Ref {
        Ref(slot | IN_ARENA)
    }

    pub(crate) fn slot(self) -> Option<u32> {
        (self.0 & IN_ARENA != 0).then_some(self.0 & !IN_ARENA)
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What a branch cell says of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// Where it is.
    pub(crate) page: Ref,
    /// The checksum its page must carry; 0 for a page in the arena.
    pub(crate) checksum: u32,
    /// Live entries below it.
    pub(crate) count: u64,
}

/// Where a large value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunRef {
    pub(crate) page: Ref,
    pub(crate) len: u32,
    pub(crate) checksum: u32,
}

impl RunRef {
    /// Pages the run takes.
    pub(crate) fn pages(self) -> u32 {
        run_pages(self.len as usize)
    }
}

/// Pages taken by a run whose value has `len` bytes.
pub(crate) fn run_pages(len: usize) -> u32 {
    u32::try_from((len + RUN_HEADER_BYTES).div_ceil(PAGE_BYTES)).expect("values are below 64 MiB")
}

/// A value as the leaf has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// In the leaf.
    Inline(&'a [u8]),
    /// In a run.
    Run(RunRef),
}

impl Value<'_> {
    /// Bytes of the value.
    pub(crate) fn len(&self) -> usize {
        match self {
            Value::Inline(bytes) => bytes.len(),
            Value::Run(run) => run.len as usize,
        }
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*bytes[at..].first_chunk().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes"))
}

/// Sixteen bytes, the first one the highest.
fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(*bytes[at..].first_chunk().expect("sixteen bytes"))
}

/// The first four bytes of a suffix as a number: orders as the suffix does, equal numbers decide nothing.
pub(crate) fn hint(suffix: &[u8]) -> u32 {
    match suffix.first_chunk::<4>() {
        Some(four) => u32::from_be_bytes(*four),
        None => {
            let mut four = [0; 4];
            four[..suffix.len()].copy_from_slice(suffix);
            u32::from_be_bytes(four)
        }
    }
}

/// A checksum over everything but the checksum, seeded with the page's number.
pub(crate) fn checksum(bytes: &[u8], page: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(page ^ 0x6772_766e);
    hasher.update(&bytes[4..]);
    hasher.finalize()
}

/// A leaf or branch whose structure is sound: built by us in memory, or validated after its checksum.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    bytes: &'a PageBytes,
}

impl<'a> Page<'a> {
    pub(crate) fn new(bytes: &'a PageBytes) -> Self {
        Page { bytes }
    }

    pub(crate) fn bytes(self) -> &'a PageBytes {
        self.bytes
    }

    pub(crate) fn checksum(self) -> u32 {
        u32_at(self.bytes, 0)
    }

    pub(crate) fn kind(self) -> u8 {
        self.bytes[4]
    }

    pub(crate) fn is_leaf(self) -> bool {
        self.bytes[4] == Kind::Leaf as u8
    }

    pub(crate) fn bucket(self) -> u8 {
        self.bytes[5]
    }

    pub(crate) fn level(self) -> u8 {
        self.bytes[6]
    }

    pub(crate) fn generation(self) -> u64 {
        u64_at(self.bytes, 8)
    }

    /// Entries of a leaf, children of a branch.
    pub(crate) fn len(self) -> usize {
        usize::from(u16_at(self.bytes, 16))
    }

    pub(crate) fn prefix_len(self) -> usize {
        usize::from(u16_at(self.bytes, 18))
    }

    /// Where cells begin.
    pub(crate) fn heap_start(self) -> usize {
        usize::from(u16_at(self.bytes, 20))
    }

    /// Bytes among the cells that belong to none.
    pub(crate) fn dead(self) -> usize {
        usize::from(u16_at(self.bytes, 22))
    }

    pub(crate) fn prefix(self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..HEADER_BYTES + self.prefix_len()]
    }

    pub(crate) fn slots_end(self) -> usize {
        HEADER_BYTES + self.prefix_len() + self.len() * SLOT_BYTES
    }

    /// Bytes in use, header and slots included.
    pub(crate) fn used(self) -> usize {
        self.slots_end() + PAGE_BYTES - self.heap_start() - self.dead()
    }

    pub(crate) fn cell_at(self, index: usize) -> usize {
        usize::from(u16_at(self.bytes, HEADER_BYTES + self.prefix_len() + index * SLOT_BYTES))
    }

    fn hint_at(self, slots: usize, index: usize) -> u32 {
        u32_at(self.bytes, slots + index * SLOT_BYTES + 2)
    }

    pub(crate) fn suffix(self, index: usize) -> &'a [u8] {
        let at = self.cell_at(index);
        let len = usize::from(u16_at(self.bytes, at));
        let key = at + self.key_offset();
        &self.bytes[key..key + len]
    }

    /// Writes the whole key of an entry in place of what `into` held.
    pub(crate) fn key(self, index: usize, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(self.prefix());
        into.extend_from_slice(self.suffix(index));
    }

    /// Bytes of a cell before its key.
    fn key_offset(self) -> usize {
        if self.is_leaf() { 4 } else { 2 + CHILD_BYTES }
    }

    /// What follows the key length in a cell, and is not the key: (fixed part, value bytes).
    pub(crate) fn body(self, index: usize) -> (&'a [u8], &'a [u8]) {
        let at = self.cell_at(index);
        let key_end = at + self.key_offset() + usize::from(u16_at(self.bytes, at));
        let value = if self.is_leaf() { value_bytes(u16_at(self.bytes, at + 2)) } else { 0 };
        (&self.bytes[at + 2..at + self.key_offset()], &self.bytes[key_end..key_end + value])
    }

    /// Bytes of a cell.
    pub(crate) fn cell_len(self, index: usize) -> usize {
        let (fixed, value) = self.body(index);
        2 + fixed.len() + self.suffix(index).len() + value.len()
    }

    pub(crate) fn value(self, index: usize) -> Value<'a> {
        let (fixed, value) = self.body(index);
        if u16_at(fixed, 0) & VALUE_IN_RUN == 0 {
            return Value::Inline(value);
        }
        let (page, len, checksum) = (Ref(u32_at(value, 0)), u32_at(value, 4), u32_at(value, 8));
        Value::Run(RunRef { page, len, checksum })
    }

    /// The value's run, when it has one.
    pub(crate) fn run(self, index: usize) -> Option<RunRef> {
        match self.value(index) {
            Value::Run(run) => Some(run),
            Value::Inline(_) => None,
        }
    }

    pub(crate) fn weight(self, index: usize) -> Weight {
        let word = u16_at(self.bytes, self.cell_at(index) + 2);
        if word & VALUE_DEAD == 0 { Weight::Live } else { Weight::Dead }
    }

    pub(crate) fn child(self, index: usize) -> Child {
        let at = self.cell_at(index) + 2;
        let (page, checksum) = (Ref(u32_at(self.bytes, at)), u32_at(self.bytes, at + 4));
        Child { page, checksum, count: u64_at(self.bytes, at + 8) }
    }

    /// Live entries here and below, for entries or children before `end`.
    pub(crate) fn count_before(self, end: usize) -> u64 {
        if self.is_leaf() {
            (0..end).filter(|i| self.weight(*i) == Weight::Live).count() as u64
        } else {
            (0..end).fold(0, |sum: u64, i| sum.wrapping_add(self.child(i).count))
        }
    }

    /// In a leaf: the entry with `key`, or where it would go.
    pub(crate) fn search(self, key: &[u8]) -> Result<usize, usize> {
        let suffix = match self.strip(key) {
            Ok(suffix) => suffix,
            Err(Ordering::Less) => return Err(0),
            Err(_) => return Err(self.len()),
        };
        let after = self.upper_bound(suffix, 0);
        if after > 0 && self.suffix(after - 1) == suffix { Ok(after - 1) } else { Err(after) }
    }

    /// In a branch: the child that covers `key`. The first separator stands for everything smaller.
    pub(crate) fn child_for(self, key: &[u8]) -> usize {
        match self.strip(key) {
            Ok(suffix) => self.upper_bound(suffix, 1) - 1,
            Err(Ordering::Less) => 0,
            Err(_) => self.len() - 1,
        }
    }

    /// In a page whose keys are numbers of 16 bytes, big endian: the last entry at or behind `from` that is not above
    /// `key`. A search that begins where the number would be if they were evenly spread: those of `revisions` nearly are.
    #[inline]
    pub(crate) fn floor_number(self, key: u128, from: usize) -> Option<usize> {
        let (prefix_len, len) = (self.prefix_len(), self.len());
        if prefix_len > NUMBER_BYTES {
            return None;
        }
        let behind = 8 * (NUMBER_BYTES - prefix_len) as u32;
        let top = |number: u128| number.checked_shr(behind).unwrap_or(0);
        match top(u128_at(self.bytes, HEADER_BYTES)).cmp(&top(key)) {
            Ordering::Equal => {}
            Ordering::Less => return len.checked_sub(1).filter(|last| *last >= from),
            Ordering::Greater => return None,
        }
        let wanted = (key.checked_shl(128 - behind).unwrap_or(0) >> 96) as u32;
        let slots = HEADER_BYTES + prefix_len;
        let above = |index: usize| match self.hint_at(slots, index).cmp(&wanted) {
            Ordering::Equal => self.suffix(index) > &key.to_be_bytes()[prefix_len..],
            other => other == Ordering::Greater,
        };
        let (mut low, mut high) = (from, len);
        let last = high.checked_sub(1).filter(|last| *last >= low)?;
        let (least, most) = (self.hint_at(slots, low), self.hint_at(slots, last));
        let guess = match wanted {
            wanted if wanted <= least => low,
            wanted if wanted >= most => last,
            _ => low + (u64::from(wanted - least) * (last - low) as u64 / u64::from(most - least)) as usize,
        };
        // Doubling steps away from the guess, then halving ones.
        let mut step = 1;
        if above(guess) {
            high = guess;
            while low < high {
                let probe = high.saturating_sub(step).max(low);
                if !above(probe) {
                    low = probe + 1;
                    break;
                }
                high = probe;
                step *= 2;
            }
        } else {
            low = guess + 1;
            while low < high {
                let probe = (low + step - 1).min(high - 1);
                if above(probe) {
                    high = probe;
                    break;
                }
                low = probe + 1;
                step *= 2;
            }
        }
        while low < high {
            let middle = low.midpoint(high);
            if above(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low > from).then(|| low - 1)
    }

    /// The key at `index` as a number, if it has 16 bytes.
    #[inline]
    pub(crate) fn number(self, index: usize) -> Option<u128> {
        let at = self.cell_at(index);
        let len = usize::from(u16_at(self.bytes, at));
        if self.prefix_len() + len != NUMBER_BYTES {
            return None;
        }
        // The sixteen bytes up to the suffix's end: header, slot and cell stand before, so that they are in the page.
        let end = at + self.key_offset() + len;
        let suffix = 8 * len as u32;
        let prefix = u128_at(self.bytes, HEADER_BYTES).checked_shr(suffix).unwrap_or(0);
        let low = u128_at(self.bytes, end - NUMBER_BYTES) & !u128::MAX.checked_shl(suffix).unwrap_or(0);
        Some(prefix.checked_shl(suffix).unwrap_or(0) | low)
    }

    /// `key` without the page's prefix, or on which side of the prefix it lies.
    fn strip(self, key: &[u8]) -> Result<&[u8], Ordering> {
        let prefix = self.prefix();
        match key.split_at_checked(prefix.len()) {
            Some((head, suffix)) if head == prefix => Ok(suffix),
            _ => Err(key.cmp(prefix)),
        }
    }

    /// The first index from `from` on whose suffix is greater than `suffix`.
    fn upper_bound(self, suffix: &[u8], from: usize) -> usize {
        let wanted = hint(suffix);
        let slots = HEADER_BYTES + self.prefix_len();
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let greater = match self.hint_at(slots, middle).cmp(&wanted) {
                Ordering::Equal => self.suffix(middle) > suffix,
                other => other == Ordering::Greater,
            };
            if greater {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

/// Value bytes in the cell, from the value word.
fn value_bytes(word: u16) -> usize {
    if word & VALUE_IN_RUN != 0 { RUN_CELL_BYTES } else { usize::from(word & VALUE_LENGTH) }
}

/// Proves that every access through [`Page`] stays inside the page and that keys ascend. The checksum has been
/// verified; this is the second wall, for pages of the file only, against bytes that were written wrong or forged.
pub(crate) fn validate(bytes: &PageBytes) -> Result<(), &'static str> {
    let page = Page::new(bytes);
    let leaf = page.is_leaf();
    if !leaf && page.kind() != Kind::Branch as u8 {
        return Err("neither leaf nor branch");
    }
    if page.level() > MAX_LEVEL || leaf != (page.level() == 0) {
        return Err("level does not fit the kind");
    }
    if page.len() == 0 {
        return Err("holds nothing");
    }
    if page.prefix_len() > MAX_KEY_BYTES {
        return Err("prefix longer than a key");
    }
    if page.slots_end() > page.heap_start() || page.heap_start() > PAGE_BYTES {
        return Err("slots run into cells");
    }
    let mut cells = 0;
    let mut previous: &[u8] = &[];
    for index in 0..page.len() {
        let at = page.cell_at(index);
        let fixed = page.key_offset();
        if at < page.heap_start() || at + fixed > PAGE_BYTES {
            return Err("cell outside of the page");
        }
        let key_len = usize::from(u16_at(bytes, at));
        let word = if leaf { u16_at(bytes, at + 2) } else { 0 };
        let len = fixed + key_len + if leaf { value_bytes(word) } else { 0 };
        if key_len + page.prefix_len() > MAX_KEY_BYTES || at + len > PAGE_BYTES {
            return Err("cell reaches beyond the page");
        }
        cells += len;
        let suffix = page.suffix(index);
        if !leaf && index == 0 && key_len != 0 {
            return Err("first separator is not empty");
        }
        if index > usize::from(!leaf) && suffix <= previous {
            return Err("keys do not ascend");
        }
        let elsewhere = if leaf { page.run(index).map(|run| run.page) } else { Some(page.child(index).page) };
        if elsewhere.is_some_and(|page| page.is_none() || page.slot().is_some()) {
            return Err("refers to no page of the file");
        }
        if page.hint_at(HEADER_BYTES + page.prefix_len(), index) != hint(suffix) {
            return Err("hint is not the key's");
        }
        previous = suffix;
    }
    if cells + page.dead() != PAGE_BYTES - page.heap_start() {
        return Err("cells do not add up");
    }
    Ok(())
}
