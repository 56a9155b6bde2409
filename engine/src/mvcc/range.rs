//! Ranges of keys in order, and how many there are.

use super::ahead::{Ahead, BATCH};
use super::contents::{Contents, Found, Item};
use super::{End, KeyRange, Revision};
use crate::btree::{Cursor, Page, Skip, Weight};
use crate::error::Error;
use crate::schema;

/// The keys of a range in ascending order, at one revision. Each item borrows its key from the iterator: it
/// is gone with the next step. Records live as long as the view.
pub struct Range<'v> {
    contents: Contents<'v>,
    cursor: Cursor<'v>,
    range: KeyRange,
    at: i64,
    place: Place,
    /// The part of a leaf that is in the range and was not looked at yet.
    leaf: Option<(Page<'v>, std::ops::Range<usize>)>,
    /// The leaf behind it was asked for.
    asked: bool,
    ahead: Ahead<'v>,
    /// Keys to look up next.
    batch: usize,
    /// Whether anybody wants their records.
    records: bool,
    /// Made use of to put keys together.
    key: Vec<u8>,
    failed: Option<Error>,
}

/// Keys that are looked up first: who wants one key must not pay for many.
const FIRST_BATCH: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Behind,
}

impl<'v> Contents<'v> {
    /// The keys of a range at a revision, in order. To go on after a key later, start a new range at
    /// that key followed by a zero byte.
    pub fn range(&self, range: &KeyRange, at: i64) -> Range<'v> {
        Range {
            contents: *self,
            cursor: self.cursor(schema::KEYS),
            at,
            place: if range.is_empty() { Place::Behind } else { Place::Before },
            range: range.clone(),
            leaf: None,
            asked: false,
            ahead: Ahead::default(),
            batch: FIRST_BATCH,
            records: true,
            key: Vec::new(),
            failed: None,
        }
    }

    /// How many keys of a range exist at a revision. O(log n) at the latest one; at an older one it looks
    /// at every change since, or at every key of the range, whichever is less.
    pub fn count(&self, range: &KeyRange, at: i64) -> Result<u64, Error> {
        if range.is_empty() {
            return Ok(0);
        }
        if range.end == End::Single {
            return Ok(u64::from(self.get(&range.start, at)?.is_some()));
        }
        let (from, to) = range.bounds();
        let now = self.live(schema::KEYS, from, to)?;
        if self.is_latest(at) {
            return Ok(now);
        }
        match self.count_by_changes(range, at, now)? {
            Some(count) => Ok(count),
            None => self.count_by_keys(range, at),
        }
    }

    /// Takes back every creation and deletion since. `None` when there were more changes than keys to look at.
    fn count_by_changes(&self, range: &KeyRange, at: i64, now: u64) -> Result<Option<u64>, Error> {
        // Every main revision has at least one change.
        if self.revision().saturating_sub(at) as u64 > now {
            return Ok(None);
        }
        let mut count = now;
        let mut records = self.records(Revision::new(at + 1, 0));
        for _ in 0..=now {
            let Some(record) = records.try_next()? else { return Ok(Some(count)) };
            if (record.creates() || record.is_tombstone())
                && record.key().is_some_and(|key| range.contains(key))
            {
                count = if record.is_tombstone() { count.wrapping_add(1) } else { count.wrapping_sub(1) };
            }
        }
        Ok(None)
    }

    fn count_by_keys(&self, range: &KeyRange, at: i64) -> Result<u64, Error> {
        let mut keys = self.range(range, at).heads_only();
        let mut count = 0;
        while keys.try_next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

impl<'v> Range<'v> {
    /// For callers that will not look at records: none is fetched ahead of time.
    pub fn heads_only(mut self) -> Range<'v> {
        self.records = false;
        self
    }

    /// The next key that exists at the revision.
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<Item<'_, 'v>>, Error> {
        if self.ahead.is_empty() {
            self.fill()?;
        }
        Ok(self.ahead.take(self.contents))
    }

    /// Looks up the next keys and their records. An error waits for its turn.
    fn fill(&mut self) -> Result<(), Error> {
        self.ahead.clear();
        if let Some(error) = self.failed.take() {
            (self.place, self.leaf) = (Place::Behind, None);
            return Err(error);
        }
        while self.ahead.len() < self.batch {
            match self.gather() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        if self.ahead.is_empty() {
            return self.failed.take().map_or(Ok(()), Err);
        }
        if self.records {
            self.ahead.find_records(&self.contents);
        }
        self.batch = (self.batch * 4).min(BATCH);
        Ok(())
    }

    /// Takes what the leaf in hand still has, as far as it goes into the batch, or takes the next leaf in hand; false
    /// behind the end.
    fn gather(&mut self) -> Result<bool, Error> {
        let latest = self.contents.is_latest(self.at);
        let Some((leaf, places)) = &mut self.leaf else { return self.next_leaf(latest) };
        if !self.asked && self.batch > FIRST_BATCH && self.place == Place::Inside {
            self.cursor.ask_for_next_leaf();
            self.asked = true;
        }
        for index in places.by_ref().take(self.batch - self.ahead.len()) {
            if latest && leaf.weight(index) == Weight::Dead {
                continue;
            }
            let bytes = self.contents.value(leaf.value(index))?;
            let found = match Found::newest(bytes, self.at) {
                Some(found) => found,
                None => {
                    leaf.key(index, &mut self.key);
                    self.contents.resolve(&self.key, bytes, self.at)?
                }
            };
            if let Some(found) = found {
                self.ahead.push(*leaf, index, found);
            }
        }
        if places.start == places.end {
            self.leaf = None;
        }
        Ok(true)
    }

    /// Takes the next leaf in hand, at the latest revision the next one in which something is alive.
    fn next_leaf(&mut self, latest: bool) -> Result<bool, Error> {
        let found = match self.place {
            Place::Before => self.cursor.seek(&self.range.start)?,
            Place::Inside => self.cursor.next_leaf(if latest { Skip::Dead } else { Skip::Nothing })?,
            Place::Behind => false,
        };
        self.place = Place::Behind;
        let Some((leaf, index)) = self.cursor.leaf().filter(|_| found) else { return Ok(false) };
        let end = match &self.range.end {
            End::Single => leaf.search(&self.range.start).map_or(index, |found| found + 1),
            End::Before(end) => leaf.search(end).unwrap_or_else(|before| before),
            End::Unbounded => leaf.len(),
        };
        if end == leaf.len() {
            self.place = Place::Inside;
        }
        self.leaf = (index < end).then_some((leaf, index..end));
        self.asked = false;
        Ok(self.leaf.is_some())
    }
}
