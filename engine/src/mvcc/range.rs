//! Ranges of keys in order, and how many there are.

use super::ahead::{Ahead, BATCH};
use super::contents::{Contents, Found, Item};
use super::{End, KeyRange, Revision};
use crate::btree::{Cursor, Weight};
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
    ahead: Ahead<'v>,
    /// Keys to look up next; 0 when records are not wanted.
    batch: usize,
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
            ahead: Ahead::default(),
            batch: FIRST_BATCH,
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
        self.batch = 0;
        self
    }

    /// The next key that exists at the revision.
    pub fn try_next(&mut self) -> Result<Option<Item<'_, 'v>>, Error> {
        let contents = self.contents;
        if self.batch == 0 {
            let found = self.find()?;
            return Ok(found.map(|found| found.item(self.cursor.key(), contents)));
        }
        if self.ahead.is_empty() {
            self.fill()?;
        }
        let next = self.ahead.take();
        Ok(next.map(|(key, head, record)| Item::new(key, head, contents, record)))
    }

    /// Looks up the next keys and their records. An error waits for its turn.
    fn fill(&mut self) -> Result<(), Error> {
        self.ahead.clear();
        if let Some(error) = self.failed.take() {
            self.place = Place::Behind;
            return Err(error);
        }
        while self.ahead.len() < self.batch {
            match self.find() {
                Ok(Some(found)) => {
                    let (head, record) = found.parts();
                    self.ahead.push(self.cursor.key(), head, record);
                }
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        if self.ahead.is_empty() {
            return self.failed.take().map_or(Ok(()), Err);
        }
        self.ahead.find_records(&self.contents);
        self.batch = (self.batch * 4).min(BATCH);
        Ok(())
    }

    /// The next key of the cursor that exists at the revision.
    #[inline]
    fn find(&mut self) -> Result<Option<Found<'v>>, Error> {
        let latest = self.contents.is_latest(self.at);
        while self.step(latest)? {
            let bytes = self.cursor.value()?;
            if let Some(found) = self.contents.resolve(self.cursor.key(), bytes, self.at)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Goes to the next key of the range, at the latest revision to the next one alive.
    fn step(&mut self, latest: bool) -> Result<bool, Error> {
        let found = match self.place {
            Place::Before => {
                self.cursor.seek(&self.range.start)?
                    && (!latest || self.cursor.weight() == Weight::Live || self.cursor.next_live()?)
            }
            Place::Inside if latest => self.cursor.next_live()?,
            Place::Inside => self.cursor.next()?,
            Place::Behind => false,
        };
        let inside = found && self.range.ends_after(self.cursor.key());
        self.place = if inside { Place::Inside } else { Place::Behind };
        Ok(inside)
    }
}
