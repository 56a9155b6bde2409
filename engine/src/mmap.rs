//! Memory that is shared by rule and not by type: the only unsafe code of this crate.
//!
//! Two kinds of pages live here. The *map* shows the file, read-only, over address space reserved once. The
//! *arena* holds pages that are newer than the file. Both hand out `&[u8]`, and in both the bytes behind such a
//! reference never change while it lives, because
//!
//! - a page of the file is written only by a checkpoint, which takes pages that the allocator holds as free, and
//!   a page becomes free only when no durable state and no pinned view can reach it (`btree::epochs`);
//! - a page of the arena is written only through [`ArenaWriter`], of which there is one, and only while its birth
//!   epoch is unpublished: nobody but the writer knows of it. [`ArenaWriter::page_mut`] asserts exactly that. The
//!   writer's own references borrow from the tree that owns the `ArenaWriter`;
//! - a run of the arena that views see while it still grows is written only through an [`OpenRun`], and only in
//!   its gap: bytes that were never written since the run was taken. Every byte of it is written once, and a view
//!   is given the lengths of the written parts as of its publication, not the whole run. [`Arena::part`] hands out
//!   no more than that;
//! - a page of the arena is given back only by [`ArenaWriter::free`], under the same rule as a page of the file.
#![allow(unsafe_code, reason = "mapping a file and handing out its pages; every block is argued")]

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw, UncheckedAdvice};

use crate::limits::PAGE_BYTES;

/// The bytes of one page.
pub(crate) type PageBytes = [u8; PAGE_BYTES];

/// A file mapped read-only over address space reserved once.
#[derive(Debug)]
pub struct Map {
    map: MmapRaw,
    /// Its place among the maps that a bus error is looked up in, if it has one.
    watched: Option<usize>,
}

impl Drop for Map {
    fn drop(&mut self) {
        if let Some(place) = self.watched {
            // The length first: a map of no length is not looked at.
            WATCHED[place].len.store(0, Ordering::Release);
            WATCHED[place].start.store(0, Ordering::Release);
        }
    }
}

impl Map {
    /// Maps `file` over `reserve` bytes. The file may be shorter; pages beyond its end are never touched.
    pub fn of_file(file: &std::fs::File, reserve: u64) -> io::Result<Self> {
        let reserve = usize::try_from(reserve).map_err(io::Error::other)?;
        Ok(Map { map: MmapOptions::new().len(reserve).map_raw_read_only(file)?, watched: None })
    }

    /// Has a bus error in this map name the page and the file on stderr before it ends the process: reading a page
    /// that the device can't deliver, or that was cut off by somebody else, is a signal and not an error.
    pub(crate) fn watched(mut self, name: &str) -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(install_handler);
        let start = self.map.as_ptr() as usize;
        self.watched = WATCHED.iter().position(|place| {
            place.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
        if let Some(place) = self.watched {
            // Never freed: a handler may be reading it. A process opens few databases.
            let name: &'static mut [u8] = Box::leak(name.as_bytes().into());
            WATCHED[place].name_len.store(0, Ordering::Release);
            WATCHED[place].name.store(name.as_mut_ptr(), Ordering::Release);
            WATCHED[place].name_len.store(name.len(), Ordering::Release);
            WATCHED[place].len.store(self.map.len(), Ordering::Release);
        }
        self
    }

    /// Bytes of address space, not of file.
    pub(crate) fn reserved(&self) -> u64 {
        self.map.len() as u64
    }

    /// `bytes` bytes at `offset`. The caller has checked that the *file* is that long; this checks the map.
    pub(crate) fn bytes(&self, offset: u64, bytes: usize) -> &[u8] {
        let end = offset.checked_add(bytes as u64).expect("offsets in a file are below 2^63");
        assert!(end <= self.reserved(), "the file never grows beyond its map");
        // SAFETY: the range lies in the map (asserted) and in the file (the caller's check; the file is never cut
        // below a page that a view can reach). The bytes do not change while referenced: see the module's text.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(offset as usize), bytes) }
    }

    /// Has the system read bytes that will be looked at soon. No more than a hint.
    pub(crate) fn prefetch(&self, offset: u64, bytes: usize) {
        let Ok(offset) = usize::try_from(offset) else { return };
        if self.map.advise_range(Advice::WillNeed, offset, bytes).is_err() {
            // Reading them takes longer then.
        }
    }

    /// Reads bytes into the page cache and maps them, so that looking at them meets no page fault. Where the system
    /// can't, looking takes longer.
    pub(crate) fn populate(&self, offset: u64, bytes: usize) {
        let Ok(place) = usize::try_from(offset) else { return };
        if self.map.advise_range(Advice::PopulateRead, place, bytes).is_err() {
            self.prefetch(offset, bytes);
        }
    }

    /// The page at `page * PAGE_BYTES`.
    pub(crate) fn page(&self, page: u32) -> &PageBytes {
        let bytes = self.bytes(u64::from(page) * PAGE_BYTES as u64, PAGE_BYTES);
        bytes.first_chunk().expect("asked for a page's bytes")
    }
}

/// A map that a bus error may be looked up in. Atomics only: a signal handler reads it.
struct Watched {
    /// 0: this place is not taken.
    start: AtomicUsize,
    len: AtomicUsize,
    name: AtomicPtr<u8>,
    name_len: AtomicUsize,
}

static WATCHED: [Watched; 16] = [const {
    Watched {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        name: AtomicPtr::new(std::ptr::null_mut()),
        name_len: AtomicUsize::new(0),
    }
}; 16];

fn install_handler() {
    // SAFETY: all zeros is a valid sigaction; the handler does only what is async-signal-safe. Rust's own handler for
    // stack overflows, which takes this signal too, does not need it on Linux: those are SIGSEGV.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_bus_error as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        // Where it fails, the process dies of the signal all the same, only without a word.
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}

/// Writes one line and has the signal do what it does by default. Allocates nothing, locks nothing.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands over a valid siginfo of a SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    for map in &WATCHED {
        let (start, len) = (map.start.load(Ordering::Acquire), map.len.load(Ordering::Acquire));
        if address < start || address - start >= len {
            continue;
        }
        let (name, name_len) = (map.name.load(Ordering::Acquire), map.name_len.load(Ordering::Acquire));
        // SAFETY: leaked by `Map::watched` with this length.
        let name = unsafe { std::slice::from_raw_parts(name, name_len) };
        let byte = (address - start) / PAGE_BYTES * PAGE_BYTES;
        let mut line = Line { bytes: [0; 1024], len: 0 };
        line.push(b"graven: SIGBUS: page ");
        line.number(byte / PAGE_BYTES);
        line.push(b" (byte ");
        line.number(byte);
        line.push(b") of ");
        line.push(&name[..name.len().min(800)]);
        line.push(b" can't be read: the device has failed, or the file was cut\n");
        // SAFETY: the bytes are the line's. Nothing can be done about a failure.
        unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.len) };
        break;
    }
    // SAFETY: both are async-signal-safe. The signal is blocked until this returns, and kills then.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// A line of text put together without allocating.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        let end = self.bytes.len().min(self.len + text.len());
        let fits = end - self.len;
        self.bytes[self.len..end].copy_from_slice(&text[..fits]);
        self.len = end;
    }

    fn number(&mut self, number: usize) {
        let mut digits = [0; 20];
        let (mut at, mut rest) = (digits.len(), number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.push(&digits[at..]);
            }
        }
    }
}

/// A buffer that begins at a page's boundary, as direct I/O wants it.
#[derive(Debug)]
pub(crate) struct PageBuffer {
    bytes: MmapMut,
    len: usize,
}

impl PageBuffer {
    /// Room for `bytes` bytes, none of them in use.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        Ok(PageBuffer { bytes: MmapMut::map_anon(bytes)?, len: 0 })
    }

    /// Bytes in use.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Bytes that fit in it.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The first `bytes` bytes, to be written over; they are in use afterwards.
    pub(crate) fn fill(&mut self, bytes: usize) -> &mut [u8] {
        self.len = bytes;
        &mut self.bytes[..bytes]
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// Adds bytes; they fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Forgets what is in it.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

/// Anonymous memory for pages that are newer than the file, addressed by slot number.
#[derive(Debug)]
pub(crate) struct Arena {
    map: MmapRaw,
    /// Bytes of a page of the system's: 4 KiB mostly, up to 64 KiB on some machines.
    system_page: usize,
}

impl Arena {
    /// Reserves address space; memory is taken page by page as slots are first written. `reserve` is a wish:
    /// where the system refuses so much, half of it is tried, down to 64 MiB.
    pub(crate) fn reserve(mut reserve: usize) -> io::Result<(Arc<Arena>, ArenaWriter)> {
        let map = loop {
            match MmapOptions::new().len(reserve).no_reserve_swap().map_anon() {
                Ok(map) => break MmapRaw::from(map),
                Err(e) if reserve <= 64 << 20 => return Err(e),
                Err(_) => reserve /= 2,
            }
        };
        let arena = Arc::new(Arena { map, system_page: rustix::param::page_size() });
        let writer = ArenaWriter { arena: Arc::clone(&arena), births: Vec::new(), epoch: 1 };
        Ok((arena, writer))
    }

    /// How many slots there can be.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.map.len() / PAGE_BYTES).unwrap_or(u32::MAX).min(1 << 31)
    }

    /// `pages` consecutive slots as one slice.
    pub(crate) fn run(&self, slot: u32, pages: u32) -> &[u8] {
        assert!(u64::from(slot) + u64::from(pages) <= u64::from(self.slots()), "slot {slot} is in the arena");
        let (offset, len) = (slot as usize * PAGE_BYTES, pages as usize * PAGE_BYTES);
        // SAFETY: in bounds (asserted); anonymous memory reads as zeros before it is first written. The bytes do
        // not change while referenced: see the module's text.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(offset), len) }
    }

    /// Some bytes of the run that begins at `slot`. Of a run that is still open, the caller asks for bytes that had
    /// been written when the state it reads was published: see the module's text.
    pub(crate) fn part(&self, slot: u32, bytes: Range<usize>) -> &[u8] {
        let start = slot as usize * PAGE_BYTES + bytes.start;
        let end = slot as usize * PAGE_BYTES + bytes.end;
        assert!(start <= end && end <= self.map.len(), "slot {slot} is in the arena");
        // SAFETY: in bounds (asserted). The bytes do not change while referenced: those of an open run are written
        // before anyone learns of them, and once (see the module's text).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), end - start) }
    }

    /// The page in `slot`.
    pub(crate) fn page(&self, slot: u32) -> &PageBytes {
        self.run(slot, 1).first_chunk().expect("a run of one page has a page's bytes")
    }
}

/// The right to write to an [`Arena`]; there is one.
#[derive(Debug)]
pub(crate) struct ArenaWriter {
    arena: Arc<Arena>,
    /// By slot: the epoch in which it was taken, or [`FREE`].
    births: Vec<u64>,
    /// The epoch being built; everything older is published.
    epoch: u64,
}

/// Birth of a slot that holds nothing.
const FREE: u64 = u64::MAX;

impl ArenaWriter {
    /// The epoch being built.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Everything written so far becomes visible to others and is never written again.
    pub(crate) fn publish(&mut self) {
        self.epoch += 1;
    }

    /// The epoch in which `slot` was taken.
    pub(crate) fn birth(&self, slot: u32) -> u64 {
        self.births[slot as usize]
    }

    /// Takes free slots for the epoch being built.
    pub(crate) fn take(&mut self, slot: u32, pages: u32) {
        let (start, end) = (slot as usize, slot as usize + pages as usize);
        if self.births.len() < end {
            self.births.resize(end, FREE);
        }
        for birth in &mut self.births[start..end] {
            assert_eq!(*birth, FREE, "slot {slot} is taken once");
            *birth = self.epoch;
        }
    }

    /// Gives slots back. The caller knows that no view reaches them: see the module's text.
    pub(crate) fn free(&mut self, slot: u32, pages: u32) {
        for slot in slot..slot + pages {
            assert_ne!(self.births[slot as usize], FREE, "slot {slot} is freed once");
            if cfg!(debug_assertions) {
                // A reader that should not be there sees poison and not an old page.
                self.births[slot as usize] = self.epoch;
                self.page_mut(slot).fill(0xdd);
            }
            self.births[slot as usize] = FREE;
        }
    }

    /// The page in `slot`, to be written. Panics unless the slot was taken in the epoch being built.
    pub(crate) fn page_mut(&mut self, slot: u32) -> &mut PageBytes {
        self.run_mut(slot, 1).first_chunk_mut().expect("a run of one page has a page's bytes")
    }

    /// Consecutive slots, to be written.
    pub(crate) fn run_mut(&mut self, slot: u32, pages: u32) -> &mut [u8] {
        let (start, end) = (slot as usize, slot as usize + pages as usize);
        assert!(end <= self.arena.slots() as usize, "slot {slot} is in the arena");
        let unpublished = self.births[start..end].iter().all(|birth| *birth == self.epoch);
        assert!(unpublished, "slot {slot} may be seen by a view");
        // SAFETY: in bounds (asserted). The slots were taken in an epoch nobody else has seen (asserted), so the
        // only references to them come from this writer, which is borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.arena.map.as_mut_ptr().add(start * PAGE_BYTES),
                (end - start) * PAGE_BYTES,
            )
        }
    }

    /// Gives the memory of free slots back to the system; they read as zeros afterwards. Where the system's pages are
    /// larger than ours, those stay that hold other slots, too.
    pub(crate) fn release(&mut self, slot: u32, pages: u32) -> io::Result<()> {
        let (start, end) = (slot as usize, slot as usize + pages as usize);
        let known = self.births.len();
        assert!(self.births[start.min(known)..end.min(known)].iter().all(|birth| *birth == FREE));
        let whole = whole_pages(start * PAGE_BYTES..end * PAGE_BYTES, self.arena.system_page);
        if whole.is_empty() {
            return Ok(());
        }
        // SAFETY: nothing refers to free slots (asserted), and whoever takes one writes it before reading it. The
        // system drops whole pages of its own size, counted from the start of the map, which begins with one: the
        // range ends at their boundaries and lies in the free slots, so that nothing is rounded to a neighbor.
        unsafe { self.arena.map.unchecked_advise_range(UncheckedAdvice::DontNeed, whole.start, whole.len()) }
    }
}

/// The pages of `page` bytes each that lie in `bytes` as a whole. Empty where there are none.
fn whole_pages(bytes: Range<usize>, page: usize) -> Range<usize> {
    let start = bytes.start.next_multiple_of(page);
    start..(bytes.end / page * page).max(start)
}

/// The right to fill the gap of one run: nobody has seen a byte of it. Begins behind a head that is written when
/// the run is closed, ends at the end of the run, and shrinks from both sides.
#[derive(Debug)]
pub(crate) struct OpenRun {
    slot: u32,
    pages: u32,
    /// Bytes at the start that [`ArenaWriter::close`] writes.
    head: usize,
    /// What is left to be written.
    gap: Range<usize>,
}

impl OpenRun {
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    /// The bytes that were never written, as offsets in the run.
    pub(crate) fn gap(&self) -> Range<usize> {
        self.gap.clone()
    }
}

impl ArenaWriter {
    /// Opens a run that was taken in the epoch being built. Its first `head` bytes are written last.
    pub(crate) fn open(&mut self, slot: u32, pages: u32, head: usize) -> OpenRun {
        let end = pages as usize * PAGE_BYTES;
        assert!(head <= end && slot as usize * PAGE_BYTES + end <= self.arena.map.len());
        let births = &self.births[slot as usize..(slot + pages) as usize];
        assert!(births.iter().all(|birth| *birth == self.epoch), "slot {slot} may be seen by a view");
        OpenRun { slot, pages, head, gap: head..end }
    }

    /// Writes the first bytes of the gap.
    pub(crate) fn append(&mut self, run: &mut OpenRun, bytes: &[u8]) {
        let at = run.gap.start;
        assert!(bytes.len() <= run.gap.len(), "the gap of the run at slot {} is too small", run.slot);
        run.gap.start += bytes.len();
        self.write_once(run, at, bytes);
    }

    /// Writes the last bytes of the gap.
    pub(crate) fn prepend(&mut self, run: &mut OpenRun, bytes: &[u8]) {
        assert!(bytes.len() <= run.gap.len(), "the gap of the run at slot {} is too small", run.slot);
        run.gap.end -= bytes.len();
        self.write_once(run, run.gap.end, bytes);
    }

    /// Writes the head, and zeros up to the end of the last page that was written from the front. Returns the
    /// number of those pages: they are an ordinary run now, and the rest can be given back.
    pub(crate) fn close(&mut self, mut run: OpenRun, head: &[u8]) -> u32 {
        assert_eq!(head.len(), run.head, "the head's room was reserved");
        let pages = run.gap.start.div_ceil(PAGE_BYTES);
        let zeros = pages * PAGE_BYTES - run.gap.start;
        self.append(&mut run, &[0; PAGE_BYTES][..zeros]);
        self.write_once(&run, 0, head);
        u32::try_from(pages).expect("a run has fewer pages than the arena")
    }

    /// Copies into bytes of the run that left its gap a moment ago, or into its head.
    fn write_once(&mut self, run: &OpenRun, at: usize, bytes: &[u8]) {
        let taken = self.births[run.slot as usize] != FREE;
        assert!(taken && at + bytes.len() <= run.pages as usize * PAGE_BYTES, "slot {} is open", run.slot);
        // SAFETY: in bounds (asserted; `open` compared the run with the arena). The bytes were in the gap, or are
        // the head: no state has been given them yet, readers are given no others ([`Arena::part`]), and the
        // writer's own references borrow from the tree that owns this writer. So nothing refers to them.
        unsafe {
            let to = self.arena.map.as_mut_ptr().add(run.slot as usize * PAGE_BYTES + at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }
}

/// Bytes of a line of the processor's caches.
const LINE_BYTES: usize = 64;

/// Asks for bytes that are going to be read soon. Does nothing where the processor can't be asked.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        let mut address = bytes.as_ptr();
        let end = address.wrapping_add(bytes.len());
        while address < end {
            // SAFETY: a hint to the processor: it reads and writes nothing and faults at no address.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast()) };
            address = address.wrapping_add(LINE_BYTES);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, LINE_BYTES);
}

#[cfg(test)]
mod tests;
