//! Reading beforehand what a defragmentation is going to look at.
//!
//! A slice runs between requests, and a page that has to come from the device, or is looked at for the first time and
//! so has to be verified, takes it longer than everything else it does. So another thread, which has time, walks the
//! same way through a view, some megabytes at a time, and the slices go no further than it has come. Pages that
//! change meanwhile are copied to memory first, so what was read stays what slices find; what is read in vain costs
//! nothing but the reading.

use crate::error::Error;
use crate::limits::PAGE_BYTES;
use crate::schema::Bucket;

use super::edit::entry;
use super::page::{Page, Value};
use super::read::{BucketView, ReadTxn};

/// Where a walk by key over all buckets has come.
type Place = (usize, Vec<u8>);

/// How far what was read reaches.
#[derive(Debug)]
pub(super) struct Warm {
    round: u64,
    /// Where the last stretch begins, and where it ends.
    from: Place,
    to: Place,
}

impl Warm {
    pub(super) fn new(round: u64) -> Warm {
        Warm { round, from: Place::default(), to: Place::default() }
    }

    pub(super) fn covers(&self, bucket: usize, key: &[u8]) -> bool {
        (bucket, key) < (self.to.0, &self.to.1)
    }

    /// Whether a walk that stands here needs another stretch: it has come to the last one, and that is not the end.
    pub(super) fn is_begun(&self, bucket: usize, key: &[u8], buckets: usize) -> bool {
        (bucket, key) >= (self.from.0, &self.from.1) && self.to.0 < buckets
    }

    /// The next stretch.
    pub(super) fn ahead(&self, target: u64, no_hole: u32) -> MoveAhead {
        MoveAhead { round: self.round, target, no_hole, place: self.to.clone() }
    }

    /// The stretch has been read.
    pub(super) fn extend(&mut self, ahead: MoveAhead) {
        if ahead.round == self.round && ahead.place > self.to {
            self.from = std::mem::replace(&mut self.to, ahead.place);
        }
    }
}

/// What slices of a defragmentation are going to look at and to move, from a place on.
#[derive(Clone, Debug)]
pub(crate) struct MoveAhead {
    round: u64,
    /// Pages of the file from here on are to be moved, but for runs of `no_hole` pages and more.
    target: u64,
    no_hole: u32,
    place: Place,
}

impl ReadTxn {
    /// Reads and verifies about `max_bytes` bytes of it, and moves its place behind.
    pub(crate) fn warm_moves(&self, ahead: &mut MoveAhead, max_bytes: usize) -> Result<(), Error> {
        let mut left = (max_bytes / PAGE_BYTES).max(1);
        while left > 0 && ahead.place.0 < self.view.roots.len() {
            let bucket = Bucket(u8::try_from(ahead.place.0).expect("few buckets"));
            let view = self.bucket(bucket);
            let stopped_at = match view.top()? {
                Some(top) => ahead.read(&view, top, &ahead.place.1, true, &mut left)?,
                None => None,
            };
            ahead.place = match stopped_at {
                Some(key) => (ahead.place.0, key),
                None => (ahead.place.0 + 1, Vec::new()),
            };
        }
        Ok(())
    }
}

impl MoveAhead {
    /// Reads what is below a page from the key `from` on, which lies in it if `inside`. Where to go on, if `left` pages
    /// were read. The depth is the tree's.
    fn read(
        &self,
        view: &BucketView<'_>,
        page: Page<'_>,
        from: &[u8],
        inside: bool,
        left: &mut usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        *left = left.saturating_sub(1);
        if page.is_leaf() {
            return self.read_runs(view, page, from, inside, left);
        }
        let first = if inside { page.child_for(from) } else { 0 };
        if page.level() == 1 {
            (first..page.len())
                .take(*left)
                .for_each(|index| view.shared.prefetch_page(page.child(index).page));
        }
        for index in first..page.len() {
            let inside = inside && index == first;
            let low = if inside || index == 0 { from.to_vec() } else { entry(page, index).key() };
            let stopped_at = self.read(view, view.child(page, index)?, &low, inside, left)?;
            if stopped_at.is_some() {
                return Ok(stopped_at);
            }
            if *left == 0 && index + 1 < page.len() {
                return Ok(Some(entry(page, index + 1).key()));
            }
        }
        Ok(None)
    }

    fn read_runs(
        &self,
        view: &BucketView<'_>,
        page: Page<'_>,
        from: &[u8],
        inside: bool,
        left: &mut usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let first = if inside { page.search(from).unwrap_or_else(|at| at) } else { 0 };
        for index in first..page.len() {
            let Some(run) = page.run(index).filter(|run| run.page.slot().is_none()) else { continue };
            let end = u64::from(run.page.0) + u64::from(run.pages());
            if end <= self.target || run.pages() >= self.no_hole {
                continue;
            }
            view.shared.warm(Value::Run(run))?;
            *left = left.saturating_sub(run.pages() as usize);
            if *left == 0 && index + 1 < page.len() {
                return Ok(Some(entry(page, index + 1).key()));
            }
        }
        Ok(None)
    }
}
