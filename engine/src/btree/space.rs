//! Which pages are free: a bitmap with summaries, used for the file and for the arena alike.

use crate::error::Error;
use crate::limits::PAGE_BYTES;
use crate::mmap::PageBytes;

use super::edit::{put_u16, put_u32, seal};
use super::page::{HEADER_BYTES, Kind, Page, u32_at, u64_at};
use super::shared::Shared;

/// A set of page numbers below a bound. Finds the lowest free one in a few steps whatever the size.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// Bit set = free. A level's bit says that the word below it has one set; the last level is one word or few.
    levels: Vec<Vec<u64>>,
    pages: u64,
    free: u64,
    /// By length: no run of so many free pages (at the last index: or more) begins below.
    runs_from: [usize; LONGEST_NOTED + 1],
}

/// What a search for free pages came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// The first of them.
    Found(u32),
    /// There are none.
    None,
    /// There are none below, and further up was not looked.
    Until(u32),
}

const FANOUT: usize = 64;
/// Where to look for a run is remembered for lengths up to this many pages: 64 KiB and its neighbors.
const LONGEST_NOTED: usize = 32;

impl Space {
    /// `pages` pages, none of them free.
    pub(crate) fn new(pages: u64) -> Self {
        let mut space =
            Space { levels: vec![Vec::new()], pages: 0, free: 0, runs_from: [0; LONGEST_NOTED + 1] };
        space.extend(pages);
        space
    }

    /// One more than the highest page number.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Free pages.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free
    }

    /// Raises the bound; the new pages are not free.
    pub(crate) fn extend(&mut self, pages: u64) {
        self.pages = self.pages.max(pages);
        let mut words = usize::try_from(self.pages).expect("pages have 31 bits").div_ceil(FANOUT);
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                // A new top summarises what is there already.
                let below = &self.levels[level - 1];
                let top = below.chunks(FANOUT).map(|words| {
                    words.iter().enumerate().fold(0, |bits, (i, word)| bits | u64::from(*word != 0) << i)
                });
                self.levels.push(top.collect());
            }
            if self.levels[level].len() < words {
                self.levels[level].resize(words, 0);
            }
            if words <= 1 {
                return;
            }
            words = words.div_ceil(FANOUT);
            level += 1;
        }
    }

    pub(crate) fn is_free(&self, page: u32) -> bool {
        let word = self.levels[0].get(page as usize / FANOUT).copied().unwrap_or(0);
        word >> (page as usize % FANOUT) & 1 == 1
    }

    /// Gives pages back. Panics when one of them is free already: nothing may be freed twice.
    pub(crate) fn free(&mut self, first: u32, pages: u32) {
        self.try_free(first, pages).unwrap_or_else(|page| panic!("page {page} is freed once"));
    }

    /// Gives pages back, unless one of them (the answer) is free already or beyond the bound; then nothing changes.
    pub(crate) fn try_free(&mut self, first: u32, pages: u32) -> Result<(), u32> {
        let twice = |page: &u32| u64::from(*page) >= self.pages || self.is_free(*page);
        if let Some(page) = (first..first + pages).find(twice) {
            return Err(page);
        }
        for page in first..first + pages {
            let mut at = page as usize;
            for level in &mut self.levels {
                let word = &mut level[at / FANOUT];
                let before = *word;
                *word |= 1 << (at % FANOUT);
                if before != 0 {
                    break;
                }
                at /= FANOUT;
            }
        }
        self.free += u64::from(pages);
        self.note_run(first as usize, pages as usize);
        Ok(())
    }

    /// Pages have become free: runs of the lengths they complete may begin here now.
    fn note_run(&mut self, first: usize, pages: usize) {
        let start = self.run_start(first, first.saturating_sub(LONGEST_NOTED));
        let end = self.run_end(first + pages, first + pages + LONGEST_NOTED);
        let longest = (end - start).min(LONGEST_NOTED);
        for from in &mut self.runs_from[..=longest] {
            *from = start.min(*from);
        }
    }

    /// Makes every page free here that is free in `other`, unless one of them (the answer) is free in both.
    pub(crate) fn try_free_all(&mut self, other: &Space) -> Result<(), u64> {
        for (index, (word, more)) in self.levels[0].iter().zip(&other.levels[0]).enumerate() {
            let both = word & more;
            if both != 0 {
                return Err(index as u64 * FANOUT as u64 + u64::from(both.trailing_zeros()));
            }
        }
        for (level, more) in self.levels.iter_mut().zip(&other.levels) {
            for (word, more) in level.iter_mut().zip(more) {
                *word |= more;
            }
        }
        self.free += other.free;
        self.runs_from = [0; LONGEST_NOTED + 1];
        Ok(())
    }

    /// Takes pages that are free.
    pub(crate) fn take(&mut self, first: u32, pages: u32) {
        for page in first..first + pages {
            let mut at = page as usize;
            for level in &mut self.levels {
                let word = &mut level[at / FANOUT];
                *word &= !(1 << (at % FANOUT));
                if *word != 0 {
                    break;
                }
                at /= FANOUT;
            }
        }
        self.free -= u64::from(pages);
    }

    /// Takes the lowest free page.
    pub(crate) fn alloc(&mut self) -> Option<u32> {
        let page = u32::try_from(self.next_free(0)?).expect("pages have 31 bits");
        self.take(page, 1);
        Some(page)
    }

    /// Takes the lowest run of free pages that is long enough.
    pub(crate) fn alloc_run(&mut self, pages: u32) -> Option<u32> {
        let wanted = pages as usize;
        let start = self.find_run(self.runs_from[wanted.min(LONGEST_NOTED)], wanted);
        // The next search for as many goes on from here.
        let seen = start.unwrap_or_else(|| usize::try_from(self.pages).expect("pages have 31 bits"));
        if wanted <= LONGEST_NOTED {
            for from in &mut self.runs_from[wanted..] {
                *from = seen.max(*from);
            }
        }
        let first = u32::try_from(start?).expect("pages have 31 bits");
        self.take(first, pages);
        Some(first)
    }

    /// The lowest run of free pages that is long enough; the caller knows that none begins below `from`. Looks at no
    /// more runs than `looks`, which gets less.
    pub(crate) fn lowest_run(&self, pages: u32, from: u32, looks: &mut usize) -> Search {
        let from = self.runs_from[(pages as usize).min(LONGEST_NOTED)].max(from as usize);
        self.search(from, pages as usize, looks)
    }

    fn find_run(&self, from: usize, wanted: usize) -> Option<usize> {
        match self.search(from, wanted, &mut usize::MAX.clone()) {
            Search::Found(start) => Some(start as usize),
            Search::None => None,
            Search::Until(_) => unreachable!("there are fewer runs than looks"),
        }
    }

    fn search(&self, from: usize, wanted: usize, looks: &mut usize) -> Search {
        let page = |at: usize| u32::try_from(at).expect("pages have 31 bits");
        let Some(mut start) = self.next_free(from) else { return Search::None };
        loop {
            if *looks == 0 {
                return Search::Until(page(start));
            }
            *looks -= 1;
            let end = self.run_end(start, start + wanted);
            if end - start >= wanted {
                return Search::Found(page(start));
            }
            let Some(next) = self.next_free(end) else { return Search::None };
            start = next;
        }
    }

    /// The first page of the free run that ends before `before`, at least `limit`.
    fn run_start(&self, before: usize, limit: usize) -> usize {
        let mut at = before;
        while at > limit {
            let (word, bit) = ((at - 1) / FANOUT, (at - 1) % FANOUT);
            let free = (!(self.levels[0][word] << (FANOUT - 1 - bit))).leading_zeros() as usize;
            at -= free.min(bit + 1);
            if free < bit + 1 {
                break;
            }
        }
        at.max(limit)
    }

    /// One more than the highest page that is not free.
    pub(crate) fn used_end(&self) -> u64 {
        let mut end = usize::try_from(self.pages).expect("pages have 31 bits");
        loop {
            let start = self.run_start(end, end.saturating_sub(1 << 20));
            if start == end || start == 0 {
                return start as u64;
            }
            end = start;
        }
    }

    /// Lowers the bound. Panics unless everything beyond is free.
    pub(crate) fn truncate(&mut self, pages: u64) {
        assert!(pages >= self.used_end() && pages <= self.pages, "only free pages are cut off");
        self.free -= self.pages - pages;
        self.pages = pages;
        let mut bits = usize::try_from(pages).expect("pages have 31 bits");
        for level in 0..self.levels.len() {
            let words = bits.div_ceil(FANOUT);
            self.levels[level].truncate(words);
            if let Some(last) = self.levels[level].last_mut().filter(|_| !bits.is_multiple_of(FANOUT)) {
                *last &= (1 << (bits % FANOUT)) - 1;
            }
            // The word may have become empty, which the level above says with its highest bit.
            if let (Some(0), Some(above)) =
                (self.levels[level].last().copied(), self.levels.get_mut(level + 1))
            {
                above[(words - 1) / FANOUT] &= !(1 << ((words - 1) % FANOUT));
            }
            bits = words;
        }
    }

    /// The lowest free page from `from` on.
    fn next_free(&self, from: usize) -> Option<usize> {
        let (mut level, mut at) = (0, from);
        loop {
            let words = self.levels.get(level)?;
            let word = words.get(at / FANOUT).copied().unwrap_or(0) & (u64::MAX << (at % FANOUT));
            if word != 0 {
                let mut found = at / FANOUT * FANOUT + word.trailing_zeros() as usize;
                while level > 0 {
                    level -= 1;
                    found = found * FANOUT + self.levels[level][found].trailing_zeros() as usize;
                }
                return Some(found);
            }
            at = at / FANOUT + 1;
            level += 1;
        }
    }

    /// The first page from `from` on that is not free, at most `limit`.
    fn run_end(&self, from: usize, limit: usize) -> usize {
        let mut at = from;
        while at < limit {
            let Some(word) = self.levels[0].get(at / FANOUT) else { return at };
            let free = (!(word >> (at % FANOUT))).trailing_zeros() as usize;
            let left = FANOUT - at % FANOUT;
            at += free.min(left);
            if free < left {
                break;
            }
        }
        at.min(limit)
    }

    /// The first run of free pages from `from` on, or the first `most` pages of it.
    pub(crate) fn first_run(&self, from: u32, most: u32) -> Option<(u32, u32)> {
        let start = self.next_free(from as usize)?;
        let end = self.run_end(start, start + most as usize);
        Some((start as u32, (end - start) as u32))
    }

    /// Runs of free pages, lowest first, from `from` on.
    pub(crate) fn runs(&self, from: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut at = from as usize;
        std::iter::from_fn(move || {
            let start = self.next_free(at)?;
            at = self.run_end(start, usize::try_from(self.pages).expect("pages have 31 bits"));
            Some((start as u32, (at - start) as u32))
        })
    }
}

/// Where the free map's topmost page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapRoot {
    pub(crate) page: u32,
    pub(crate) checksum: u32,
    /// 0: the root is a bitmap; else directories above bitmaps.
    pub(crate) level: u8,
}

/// Bytes of bitmap or directory in a page.
const BODY_BYTES: usize = PAGE_BYTES - HEADER_BYTES;
/// Pages one bitmap page tells about.
pub(crate) const PAGES_PER_BITMAP: u64 = BODY_BYTES as u64 * 8;
const ENTRIES_PER_DIRECTORY: usize = BODY_BYTES / 8;
/// Bucket number of free map pages: none.
const NO_BUCKET: u8 = 0xff;

/// Pages a free map over `pages` pages takes.
pub(crate) fn map_pages(pages: u64) -> u64 {
    let mut level = pages.div_ceil(PAGES_PER_BITMAP).max(1);
    let mut sum = level;
    while level > 1 {
        level = level.div_ceil(ENTRIES_PER_DIRECTORY as u64);
        sum += level;
    }
    sum
}

/// Writes the free map into `places` (as many as [`map_pages`] says) through `write`; bitmaps first, root last.
pub(crate) fn write_map(
    space: &Space,
    places: &[u32],
    generation: u64,
    mut write: impl FnMut(u32, &PageBytes) -> Result<(), Error>,
) -> Result<MapRoot, Error> {
    let mut places = places.iter().copied();
    let mut put = |level: u8, body: &[u8]| {
        let page = places.next().expect("as many places as pages");
        let mut bytes = [0; PAGE_BYTES];
        bytes[4] = Kind::FreeMap as u8;
        bytes[5] = NO_BUCKET;
        bytes[6] = level;
        put_u16(&mut bytes, 16, body.len());
        bytes[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        let checksum = seal(&mut bytes, page, generation);
        write(page, &bytes)?;
        Ok(MapRoot { page, checksum, level })
    };
    let bitmap: Vec<u8> = space.levels[0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut level: Vec<MapRoot> = Vec::new();
    let bitmaps = usize::try_from(space.pages.div_ceil(PAGES_PER_BITMAP).max(1)).expect("few");
    let mut chunks = bitmap.chunks(BODY_BYTES);
    for _ in 0..bitmaps {
        level.push(put(0, chunks.next().unwrap_or_default())?);
    }
    while level.len() > 1 {
        let above = level[0].level + 1;
        let mut next = Vec::new();
        for children in level.chunks(ENTRIES_PER_DIRECTORY) {
            let mut body = vec![0; children.len() * 8];
            for (entry, child) in body.chunks_mut(8).zip(children) {
                put_u32(entry, 0, child.page);
                put_u32(entry, 4, child.checksum);
            }
            next.push(put(above, &body)?);
        }
        level = next;
    }
    Ok(level[0])
}

/// Reads a free map over `pages` pages. Returns the pages it is kept in, too.
pub(crate) fn read_map(shared: &Shared, root: MapRoot, pages: u64) -> Result<(Space, Vec<u32>), Error> {
    let mut space = Space::new(pages);
    let mut kept_in = Vec::new();
    let mut words = Vec::new();
    read_node(shared, root, map_pages(pages), &mut kept_in, &mut words)?;
    if kept_in.len() as u64 != map_pages(pages) {
        return Err(Error::damaged(root.page.into(), "free map does not cover the file"));
    }
    words.resize(space.levels[0].len(), 0);
    for (index, word) in words.iter().enumerate() {
        let mut bits = *word;
        while bits != 0 {
            let page = index as u64 * 64 + u64::from(bits.trailing_zeros());
            bits &= bits - 1;
            if page < 2 || page >= pages {
                return Err(Error::damaged(
                    root.page.into(),
                    format!("free map names page {page} of {pages}"),
                ));
            }
            space.free(page as u32, 1);
        }
    }
    // A page that is named twice would be given back twice.
    let mut sorted = kept_in.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::damaged(u64::from(twice[0]), "page of the free map is named twice by it"));
    }
    for page in &kept_in {
        if space.is_free(*page) {
            return Err(Error::damaged(u64::from(*page), "page of the free map is free by its own account"));
        }
    }
    Ok((space, kept_in))
}

fn read_node(
    shared: &Shared,
    node: MapRoot,
    most: u64,
    kept_in: &mut Vec<u32>,
    words: &mut Vec<u64>,
) -> Result<(), Error> {
    if kept_in.len() as u64 >= most {
        return Err(Error::damaged(node.page.into(), "free map has too many pages"));
    }
    kept_in.push(node.page);
    let bytes = shared.file_page(node.page, node.checksum)?;
    let page = Page::new(bytes);
    let len = page.len();
    if page.kind() != Kind::FreeMap as u8
        || page.level() != node.level
        || len > BODY_BYTES
        || !len.is_multiple_of(8)
    {
        return Err(Error::damaged(node.page.into(), "not the page of the free map that was expected"));
    }
    let body = &bytes[HEADER_BYTES..HEADER_BYTES + len];
    for entry in body.chunks_exact(8) {
        if node.level == 0 {
            words.push(u64_at(entry, 0));
        } else {
            let child = MapRoot { page: u32_at(entry, 0), checksum: u32_at(entry, 4), level: node.level - 1 };
            read_node(shared, child, most, kept_in, words)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn takes_the_lowest_and_whole_runs() {
        let mut space = Space::new(100_000);
        space.free(5, 3);
        space.free(70, 200);
        space.free(99_000, 1000);
        assert_eq!(space.alloc_run(4), Some(70));
        assert_eq!(space.alloc(), Some(5));
        assert_eq!(space.alloc_run(2), Some(6));
        assert_eq!(space.alloc_run(197), Some(99_000));
        assert_eq!(space.runs(0).collect::<Vec<_>>(), [(74, 196), (99_197, 803)]);
        assert_eq!(space.free_pages(), 196 + 803);
    }

    /// The lowest run by looking at every page.
    fn lowest_run(model: &std::collections::BTreeSet<u32>, pages: u32) -> Option<u32> {
        model.iter().copied().find(|first| (*first..first + pages).all(|page| model.contains(&page)))
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let seed = 7;
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let (mut space, mut model) = (Space::new(0), std::collections::BTreeSet::new());
        let mut used = Vec::new();
        for step in 0..20_000 {
            match random.random_range(0..11) {
                10 => {
                    let used_end = used.iter().max().map_or(0, |page| u64::from(*page) + 1);
                    assert_eq!(space.used_end(), used_end, "seed {seed} step {step}");
                    // Never all of it: the largest runs need room.
                    if step % 40 == 0 {
                        let pages = random.random_range(used_end..=space.pages());
                        space.truncate(pages);
                        model.retain(|page| u64::from(*page) < pages);
                    }
                }
                0 => {
                    let old = space.pages();
                    let more = random.random_range(1..200);
                    space.extend(old + more);
                    space.free(old as u32, more as u32);
                    model.extend(old as u32..(old + more) as u32);
                }
                1..5 => {
                    let page = space.alloc();
                    assert_eq!(page, model.pop_first(), "seed {seed} step {step}");
                    used.extend(page);
                }
                5..7 => {
                    let n = random.random_range(1..90);
                    let first = space.alloc_run(n);
                    assert_eq!(first, lowest_run(&model, n), "seed {seed} step {step}");
                    if let Some(first) = first {
                        for page in first..first + n {
                            assert!(model.remove(&page), "seed {seed} step {step}");
                            used.push(page);
                        }
                    }
                }
                _ if !used.is_empty() => {
                    let page = used.swap_remove(random.random_range(0..used.len()));
                    space.free(page, 1);
                    model.insert(page);
                }
                _ => {}
            }
            assert_eq!(space.free_pages(), model.len() as u64, "seed {seed} step {step}");
        }
    }
}
