//! What the writer, the readers and the checkpoint look at together: the map, the arena, and which pages of the
//! file have been verified.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::file::File;
use crate::limits::PAGE_BYTES;
use crate::mmap::{Arena, Map, PageBytes, prefetch};
use crate::planted::{Fault, planted};

use super::page::{self, Kind, Page, RUN_HEADER_BYTES, Ref, RunRef, Value, u32_at};

/// Bytes of a value that [`Shared::first_bytes`] shows: its header, and what follows in the same line.
const FIRST_BYTES: usize = 64;

/// What the holder of a reference says about the page it refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    pub(crate) page: Ref,
    pub(crate) checksum: u32,
    pub(crate) bucket: u8,
    pub(crate) level: u8,
}

/// Pages, wherever they are.
#[derive(Debug)]
pub(crate) struct Shared {
    map: Map,
    arena: Arc<Arena>,
    /// Pages the file has. What a state or a view refers to lies below at all times.
    file_pages: AtomicU64,
    verified: Verified,
    poisoned: AtomicBool,
    /// What errors call the file.
    name: String,
    /// For reading past the map; none in a check, which reads nothing twice.
    device: Option<Device>,
    /// By meta page: one more than the generation that is known to be there; 0 while it is written, and as long as
    /// nothing is known.
    pub(crate) metas: [AtomicU64; 2],
}

struct Device(Arc<dyn File>);

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.describe())
    }
}

impl Shared {
    pub(crate) fn new(map: Map, arena: Arc<Arena>, file_pages: u64, name: String) -> Self {
        let verified = Verified::new(map.reserved() / PAGE_BYTES as u64);
        let file_pages = AtomicU64::new(file_pages);
        let (poisoned, metas) = (AtomicBool::new(false), Default::default());
        Shared { map, arena, file_pages, verified, poisoned, name, device: None, metas }
    }

    /// Has the file itself at hand, too.
    pub(crate) fn with_device(mut self, file: &Arc<dyn File>) -> Self {
        self.device = Some(Device(Arc::clone(file)));
        self
    }

    /// Reads whole pages from `first` on as the device has them.
    pub(crate) fn read_device(&self, first: u32, into: &mut [u8]) -> Result<(), Error> {
        let (offset, pages) = (u64::from(first) * PAGE_BYTES as u64, into.len() / PAGE_BYTES);
        let end = u64::from(first) + pages as u64;
        if end > self.file_pages() {
            let reason = format!("reference to {pages} pages here, the file has {}", self.file_pages());
            return Err(self.damaged(first.into(), reason));
        }
        let read = self.device.as_ref().map(|device| device.0.read_device_at(offset, into));
        match read {
            Some(Err(e)) if e.kind() != std::io::ErrorKind::Unsupported => {
                Err(Error::io("read", offset, e).of_file(&self.name))
            }
            Some(Ok(())) => Ok(()),
            _ => {
                into.copy_from_slice(self.map.bytes(offset, into.len()));
                Ok(())
            }
        }
    }

    /// What errors call the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file that are not what was written there.
    pub(crate) fn damaged(&self, page: u64, reason: impl Into<String>) -> Error {
        Error::damaged(page, reason).of_file(&self.name)
    }

    pub(crate) fn file_pages(&self) -> u64 {
        self.file_pages.load(Ordering::Acquire)
    }

    /// Pages that fit under the map.
    pub(crate) fn most_pages(&self) -> u64 {
        (self.map.reserved() / PAGE_BYTES as u64).min(crate::limits::MAX_PAGES)
    }

    /// The file has grown, or is about to be cut.
    pub(crate) fn set_file_pages(&self, pages: u64) {
        self.file_pages.store(pages, Ordering::Release);
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// After the first failed write or sync nobody knows what is on disk.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub(crate) fn check_poison(&self) -> Result<(), Error> {
        if self.poisoned.load(Ordering::Acquire) { Err(Error::Poisoned) } else { Ok(()) }
    }

    /// A page is about to be written: its next reader verifies it again.
    pub(crate) fn rearm(&self, page: u32) {
        self.verified.clear(page);
    }

    /// Brings pages of the file into memory, all at once where the system can.
    pub(crate) fn populate(&self, first: u32, pages: u32) {
        self.map.populate(u64::from(first) * PAGE_BYTES as u64, pages as usize * PAGE_BYTES);
    }

    /// Verifies what was just written: a page, or a run of so many.
    pub(crate) fn read_back(&self, number: u32, pages: u32, checksum: u32) -> Result<(), Error> {
        let bytes = self.in_file(number, pages)?;
        let found = u32_at(bytes, 0);
        if found != checksum {
            let reason = format!("read back with checksum {found:08x}, written with {checksum:08x}");
            return Err(self.damaged(number.into(), reason));
        }
        self.verify(number, bytes)?;
        self.verified.set(number);
        Ok(())
    }

    /// Verifies that a page is the one written in `generation`.
    pub(crate) fn read_back_page(&self, number: u32, generation: u64) -> Result<(), Error> {
        let bytes = self.in_file(number, 1)?;
        let found = page::u64_at(bytes, 8);
        if found != generation {
            let reason = format!("read back as written by generation {found}, not {generation}");
            return Err(self.damaged(number.into(), reason));
        }
        self.verify(number, bytes)
    }

    /// A leaf or branch that is what the reference says it is.
    pub(crate) fn page(&self, expect: Expect) -> Result<Page<'_>, Error> {
        #[cfg(test)]
        crate::proof::step();
        if let Some(slot) = expect.page.slot() {
            let page = Page::new(self.arena.page(slot));
            debug_assert_eq!((page.bucket(), page.level()), (expect.bucket, expect.level), "slot {slot}");
            return Ok(page);
        }
        let number = expect.page.0;
        let bytes = self.in_file(number, 1)?;
        let page = Page::new(bytes.first_chunk().expect("asked for a page's bytes"));
        // The holder's word is compared on every visit, the page's own bytes on the first.
        if page.checksum() != expect.checksum && !planted(Fault::StaleAccepted) {
            return Err(self.stale(number, expect.checksum, page.checksum()));
        }
        if !self.verified.is_set(number) {
            self.verify(number, bytes)?;
            page::validate(page.bytes()).map_err(|reason| self.damaged(number.into(), reason))?;
            self.verified.set(number);
        }
        self.check_place(page, expect)?;
        Ok(page)
    }

    /// A copy of a page of the file, verified in every respect.
    pub(crate) fn verify_page<'p>(&self, bytes: &'p PageBytes, expect: Expect) -> Result<Page<'p>, Error> {
        let (page, number) = (Page::new(bytes), expect.page.0);
        if page.checksum() != expect.checksum {
            return Err(self.stale(number, expect.checksum, page.checksum()));
        }
        self.verify(number, bytes)?;
        page::validate(bytes).map_err(|reason| self.damaged(number.into(), reason))?;
        self.check_place(page, expect)?;
        Ok(page)
    }

    fn check_place(&self, page: Page<'_>, expect: Expect) -> Result<(), Error> {
        let number = expect.page.0;
        // Also when verified: a forged reference may lead from one bucket, or level, into another.
        let kind = if expect.level == 0 { Kind::Leaf } else { Kind::Branch };
        if (page.kind(), page.bucket(), page.level()) != (kind as u8, expect.bucket, expect.level) {
            return Err(self.damaged(
                number.into(),
                format!(
                    "expected level {} of bucket {}, found kind {}, level {} of bucket {}",
                    expect.level,
                    expect.bucket,
                    page.kind(),
                    page.level(),
                    page.bucket()
                ),
            ));
        }
        Ok(())
    }

    /// A page of the file that is not of a tree, verified on every visit.
    pub(crate) fn file_page(&self, number: u32, checksum: u32) -> Result<&PageBytes, Error> {
        let bytes = self.in_file(number, 1)?;
        let found = u32_at(bytes, 0);
        if found != checksum {
            return Err(self.stale(number, checksum, found));
        }
        self.verify(number, bytes)?;
        Ok(bytes.first_chunk().expect("asked for a page's bytes"))
    }

    /// The bytes of a value.
    pub(crate) fn value<'a>(&'a self, value: Value<'a>) -> Result<&'a [u8], Error> {
        match value {
            Value::Inline(bytes) => Ok(bytes),
            Value::Run(run) => self.run(run),
        }
    }

    /// Some bytes of a value, which is verified as a whole the first time; none where it ends before. Nothing but them is
    /// looked at afterwards: what begins at a page that was verified is what every reference to it expects, since
    /// a page is written only when nobody refers to it, and has to be verified again then.
    #[inline]
    pub(crate) fn part<'a>(
        &'a self,
        value: Value<'a>,
        part: Range<usize>,
    ) -> Result<Option<&'a [u8]>, Error> {
        if let Value::Run(run) = value
            && run.page.slot().is_none()
            && part.end <= run.len as usize
            && self.verified.is_set(run.page.0)
        {
            self.check_len(run)?;
            let bytes = self.in_file(run.page.0, run.pages())?;
            return Ok(bytes.get(RUN_HEADER_BYTES + part.start..RUN_HEADER_BYTES + part.end));
        }
        Ok(self.value(value)?.get(part))
    }

    /// The first bytes of a value, not verified: to be asked for ahead of time and not to be looked at.
    pub(crate) fn first_bytes<'a>(&'a self, value: Value<'a>) -> &'a [u8] {
        match value {
            Value::Inline(bytes) => bytes.get(..FIRST_BYTES).unwrap_or(bytes),
            Value::Run(run) => match run.page.slot() {
                Some(slot) => self.arena.part(slot, 0..FIRST_BYTES),
                None => self.in_file(run.page.0, 1).map_or(&[], |bytes| &bytes[..FIRST_BYTES]),
            },
        }
    }

    /// Asks for the first bytes of a page, ahead of looking at them one after the other.
    #[inline]
    pub(crate) fn ask_for(&self, page: Ref, bytes: usize) {
        let page = match page.slot() {
            Some(slot) => self.arena.part(slot, 0..bytes),
            None => self.in_file(page.0, 1).map_or(&[][..], |page| &page[..bytes]),
        };
        prefetch(page);
    }

    fn run(&self, run: RunRef) -> Result<&[u8], Error> {
        let value = RUN_HEADER_BYTES..RUN_HEADER_BYTES + run.len as usize;
        if let Some(slot) = run.page.slot() {
            return Ok(&self.arena.run(slot, run.pages())[value]);
        }
        let number = run.page.0;
        self.check_len(run)?;
        let bytes = self.in_file(number, run.pages())?;
        if u32_at(bytes, 0) != run.checksum {
            return Err(self.stale(number, run.checksum, u32_at(bytes, 0)));
        }
        if !self.verified.is_set(number) {
            // The sum is over all of the run: which of its pages is damaged is not known.
            self.verify(number, bytes).map_err(|e| match e {
                Error::Damaged { page, reason, .. } => {
                    self.damaged(page, format!("value in {} pages from here on: {reason}", run.pages()))
                }
                other => other,
            })?;
            self.verified.set(number);
        }
        if u32_at(bytes, 4) != run.len {
            let reason = format!("run of {} bytes where {} were expected", u32_at(bytes, 4), run.len);
            return Err(self.damaged(number.into(), reason));
        }
        Ok(&bytes[value])
    }

    /// Whether there can be such a value.
    pub(crate) fn check_len(&self, run: RunRef) -> Result<(), Error> {
        if run.len as usize > crate::limits::MAX_VALUE_BYTES {
            return Err(self.damaged(run.page.0.into(), format!("value of {} bytes", run.len)));
        }
        Ok(())
    }

    /// Has the system read a run of the file that will be looked at soon.
    pub(crate) fn prefetch(&self, run: RunRef) {
        let end = u64::from(run.page.0) + u64::from(run.pages());
        if run.page.slot().is_none() && end <= self.file_pages() {
            self.map.prefetch(u64::from(run.page.0) * PAGE_BYTES as u64, run.pages() as usize * PAGE_BYTES);
        }
    }

    /// Has the system read a page of the file that will be looked at soon.
    pub(crate) fn prefetch_page(&self, page: Ref) {
        if page.slot().is_none() && u64::from(page.0) < self.file_pages() {
            self.map.prefetch(u64::from(page.0) * PAGE_BYTES as u64, PAGE_BYTES);
        }
    }

    /// Reads and verifies a value, so that whoever looks at it next waits neither for the device nor for the sum.
    pub(crate) fn warm(&self, value: Value<'_>) -> Result<(), Error> {
        if let Value::Run(run) = value
            && run.page.slot().is_none()
            && self.in_file(run.page.0, run.pages()).is_ok()
        {
            self.populate(run.page.0, run.pages());
        }
        self.value(value).map(drop)
    }

    /// The generation in which a run of the file was written; the run has been or will be verified on its own.
    pub(crate) fn run_generation(&self, run: RunRef) -> Result<u64, Error> {
        Ok(page::u64_at(self.in_file(run.page.0, run.pages())?, 8))
    }

    fn in_file(&self, number: u32, pages: u32) -> Result<&[u8], Error> {
        let end = u64::from(number) + u64::from(pages);
        if number < 2 || end > self.file_pages() {
            let reason = format!("reference to {pages} pages here, the file has {}", self.file_pages());
            return Err(self.damaged(number.into(), reason));
        }
        Ok(self.map.bytes(u64::from(number) * PAGE_BYTES as u64, pages as usize * PAGE_BYTES))
    }

    fn verify(&self, number: u32, bytes: &[u8]) -> Result<(), Error> {
        #[cfg(test)]
        crate::proof::verified();
        let (computed, stored) = (page::checksum(bytes, number), u32_at(bytes, 0));
        if computed == stored || planted(Fault::ChecksumUnchecked) {
            return Ok(());
        }
        let reason = format!("checksum of its bytes is {computed:08x}, the page says {stored:08x}");
        Err(self.damaged(number.into(), reason))
    }

    fn stale(&self, number: u32, expected: u32, found: u32) -> Error {
        let reason = format!("page with checksum {found:08x} where its parent expects {expected:08x}");
        self.damaged(number.into(), reason)
    }
}

/// One bit a page; memory is taken as pages are visited.
#[derive(Debug)]
struct Verified {
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

const WORDS_PER_CHUNK: usize = 512;
const PAGES_PER_CHUNK: usize = WORDS_PER_CHUNK * 64;

impl Verified {
    fn new(pages: u64) -> Self {
        let chunks = usize::try_from(pages).expect("pages have 31 bits").div_ceil(PAGES_PER_CHUNK);
        Verified { chunks: (0..chunks).map(|_| OnceLock::new()).collect() }
    }

    fn is_set(&self, page: u32) -> bool {
        let (chunk, word, bit) = place(page);
        let words = self.chunks.get(chunk).and_then(OnceLock::get);
        words.is_some_and(|words| words[word].load(Ordering::Acquire) & bit != 0)
    }

    fn set(&self, page: u32) {
        let (chunk, word, bit) = place(page);
        let words =
            self.chunks[chunk].get_or_init(|| (0..WORDS_PER_CHUNK).map(|_| AtomicU64::new(0)).collect());
        words[word].fetch_or(bit, Ordering::Release);
    }

    fn clear(&self, page: u32) {
        let (chunk, word, bit) = place(page);
        if let Some(words) = self.chunks.get(chunk).and_then(OnceLock::get) {
            words[word].fetch_and(!bit, Ordering::Release);
        }
    }
}

fn place(page: u32) -> (usize, usize, u64) {
    let page = page as usize;
    (page / PAGES_PER_CHUNK, page % PAGES_PER_CHUNK / 64, 1 << (page % 64))
}
