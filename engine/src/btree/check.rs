//! Proof that a database file is whole: every page is reachable once, or free, and says what its parent expects.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::file::File;
use crate::limits::PAGE_BYTES;
use crate::mmap::Arena;
use crate::schema::{self, Bucket};

use super::Weight;
use super::edit::entry;
use super::meta::{self, Found, Meta};
use super::page::{Page, RUN_HEADER_BYTES, Value};
use super::read::BucketView;
use super::shared::Shared;
use super::space::{Space, read_map};

/// What a walk over a whole database found.
#[derive(Debug)]
pub struct Report {
    /// Checkpoints so far.
    pub generation: u64,
    /// Pages of the newest state, free ones included.
    pub pages: u64,
    /// Pages that hold nothing.
    pub free_pages: u64,
    /// Where the free pages are.
    pub holes: Holes,
    /// By bucket name.
    pub buckets: BTreeMap<&'static str, BucketReport>,
    /// What is wrong; empty when the database is whole.
    pub findings: Vec<Finding>,
    /// Why the older meta page can't be read. A checkpoint that was cut short leaves this, and it harms nothing.
    pub other_meta: Option<String>,
}

/// Runs of free pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holes {
    /// How many runs there are.
    pub count: u64,
    /// Pages of the longest.
    pub longest: u64,
    /// Pages of the one at the end of the file, which could be cut off.
    pub at_end: u64,
}

/// One bucket in a [`Report`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketReport {
    /// Keys.
    pub entries: u64,
    /// Keys that count: of the bucket `keys`, those that are not deleted; of `revisions`, extents that were never
    /// packed anew.
    pub live: u64,
    /// Pages, those of large values included.
    pub pages: u64,
    /// Bytes of these pages that hold something, page headers included.
    pub bytes: u64,
    /// Values in pages of their own.
    pub runs: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Page number: byte offset divided by 4096.
    pub page: u64,
    /// What was expected and what is there.
    pub reason: String,
}

/// Says what is wrong with an entry, if anything.
pub(crate) type CheckEntry<'f> = &'f dyn Fn(Bucket, &[u8], &[u8]) -> Result<(), String>;

/// Walks the newest state of a database and asks `entry` about everything it finds. Errors are for files that can't
/// be looked into at all; everything that can be told of a page is in the report's findings. Writes nothing.
pub(crate) fn check_with(file: &dyn File, entry: CheckEntry<'_>) -> Result<Report, Error> {
    let name = file.describe();
    check_named(file, &name, entry).map_err(|e| e.of_file(&name))
}

fn check_named(file: &dyn File, name: &str, entry: CheckEntry<'_>) -> Result<Report, Error> {
    let len = file.len().map_err(|e| Error::io("length", 0, e))?;
    let map = file.map(meta::mapped_bytes(len)).map_err(|e| Error::io("map", 0, e))?;
    let metas = meta::on_device(file, &map, len)?;
    let (meta, other) = match meta::find(len, |slot| metas[slot as usize])? {
        Found::New => (Meta::empty(), None),
        Found::State(meta, other) => (*meta, other.map(|e| e.to_string())),
    };
    // The check reads the file only; the arena is there because a page may be in either.
    let (arena, _) = Arena::reserve(PAGE_BYTES).map_err(|e| Error::io("reserve memory", 0, e))?;
    let shared = Arc::new(Shared::new(map, arena, meta.pages, name.into()));
    let mut walk =
        Walk { shared: &shared, seen: Space::new(meta.pages), findings: Vec::new(), check_entry: entry };
    walk.see(0, 2);
    let mut buckets = BTreeMap::new();
    for (number, root) in meta.roots.iter().enumerate() {
        let bucket = Bucket(u8::try_from(number).expect("few buckets"));
        let known = schema::ALL.iter().any(|(known, _)| *known == bucket);
        if root.page.is_none() && !known {
            continue;
        }
        let view = BucketView { shared: &shared, bucket, root: *root };
        let report = walk.bucket(&view);
        if report.live != root.count && walk.findings.is_empty() {
            let reason =
                format!("{} live keys in {}, the meta page says {}", report.live, bucket.name(), root.count);
            walk.find(u64::from(meta.slot()), reason);
        }
        buckets.insert(bucket.name(), report);
    }
    let (mut free_pages, mut holes) = (0, Holes::default());
    if meta.generation > 0 {
        match read_map(&shared, meta.free_map, meta.pages) {
            Ok((space, kept_in)) => {
                free_pages = space.free_pages();
                for page in kept_in {
                    walk.see(page, 1);
                }
                for (first, pages) in space.runs(0) {
                    walk.see(first, pages);
                    holes.count += 1;
                    holes.longest = holes.longest.max(pages.into());
                    let ends = u64::from(first) + u64::from(pages) == meta.pages;
                    holes.at_end = if ends { pages.into() } else { 0 };
                }
                walk.nothing_left();
            }
            Err(e) => walk.error(e),
        }
    }
    let (generation, pages, findings) = (meta.generation, meta.pages, walk.findings);
    Ok(Report { generation, pages, free_pages, holes, buckets, findings, other_meta: other })
}

/// As [`check_with`], for a tree that may hold anything.
#[cfg(test)]
pub(crate) fn check(file: &dyn File) -> Result<Report, Error> {
    check_with(file, &|_, _, _| Ok(()))
}

struct Walk<'a> {
    shared: &'a Shared,
    /// Pages accounted for.
    seen: Space,
    findings: Vec<Finding>,
    check_entry: CheckEntry<'a>,
}

/// More findings than anybody reads.
const MOST_FINDINGS: usize = 1000;

impl<'a> Walk<'a> {
    fn find(&mut self, page: u64, reason: impl Into<String>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { page, reason: reason.into() });
        }
    }

    fn error(&mut self, error: Error) {
        match error {
            Error::Damaged { page, reason, .. } => self.find(page, reason),
            other => self.find(0, other.to_string()),
        }
    }

    /// Accounts for pages; false when one was accounted for before.
    fn see(&mut self, first: u32, pages: u32) -> bool {
        for page in first..first + pages {
            if u64::from(page) >= self.seen.pages() || self.seen.is_free(page) {
                self.find(page.into(), "used twice, or used and free");
                return false;
            }
            self.seen.free(page, 1);
        }
        true
    }

    fn nothing_left(&mut self) {
        let lost = (0..self.seen.pages()).filter(|page| !self.seen.is_free(*page as u32));
        for page in lost.take(MOST_FINDINGS).collect::<Vec<_>>() {
            self.find(page, "neither reachable nor free");
        }
    }

    fn bucket(&mut self, view: &BucketView<'a>) -> BucketReport {
        let mut report = BucketReport::default();
        match view.top() {
            Ok(Some(top)) => self.tree(view, view.root.page.0, top, None, None, &mut report),
            Ok(None) => {}
            Err(e) => self.error(e),
        }
        report
    }

    /// Keys of this page and below lie in `low..high`. The depth is bounded by the level, which falls by one.
    fn tree(
        &mut self,
        view: &BucketView<'a>,
        number: u32,
        page: Page<'a>,
        low: Option<&[u8]>,
        high: Option<&[u8]>,
        report: &mut BucketReport,
    ) {
        if !self.see(number, 1) {
            return;
        }
        report.pages += 1;
        report.bytes += page.used() as u64;
        let keys: Vec<Vec<u8>> = (0..page.len()).map(|index| entry(page, index).key()).collect();
        let first = usize::from(!page.is_leaf());
        let below = low.zip(keys.get(first)).is_some_and(|(low, key)| key.as_slice() < low);
        let above = high.zip(keys[first..].last()).is_some_and(|(high, key)| key.as_slice() >= high);
        if below || above {
            self.find(number.into(), "keys outside of what the parent says");
        }
        if page.is_leaf() {
            return self.leaf(number, page, view.bucket, &keys, report);
        }
        for index in 0..page.len() {
            let before = report.live;
            let child = page.child(index);
            let low = if index == 0 { low } else { Some(keys[index].as_slice()) };
            let high = keys.get(index + 1).map(Vec::as_slice).or(high);
            let found = self.findings.len();
            match view.child(page, index) {
                Ok(below) => self.tree(view, child.page.0, below, low, high, report),
                Err(e) => self.error(e),
            }
            if report.live - before != child.count && self.findings.len() == found {
                let (live, said) = (report.live - before, child.count);
                self.find(number.into(), format!("child {index} has {live} live keys, the cell says {said}"));
            }
        }
    }

    fn leaf(
        &mut self,
        number: u32,
        page: Page<'a>,
        bucket: Bucket,
        keys: &[Vec<u8>],
        report: &mut BucketReport,
    ) {
        for (index, key) in keys.iter().enumerate() {
            report.entries += 1;
            report.live += u64::from(page.weight(index) == Weight::Live);
            let value = page.value(index);
            let bytes = match self.shared.value(value) {
                Ok(bytes) => bytes,
                Err(e) => {
                    self.error(e);
                    continue;
                }
            };
            let mut place = number;
            if let Value::Run(run) = value {
                place = run.page.0;
                report.pages += u64::from(run.pages());
                report.runs += 1;
                report.bytes += u64::from(run.len) + RUN_HEADER_BYTES as u64;
                if !self.see(run.page.0, run.pages()) {
                    self.find(number.into(), "the page that refers to the pages before");
                }
            }
            if let Err(reason) = (self.check_entry)(bucket, key, bytes) {
                self.find(place.into(), reason);
            }
        }
    }
}
