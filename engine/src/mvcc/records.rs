//! Finding records in their extents, and walking through them in the order of history.

use super::Revision;
use super::contents::{Contents, inconsistent, parse_record};
use super::extent::{AS_APPENDED, Dropped, Extent, Spot};
use super::record::Record;
use crate::btree::{BucketView, Cursor, Floor, Page, Shared, Value, Weight};
use crate::error::Error;
use crate::schema;

impl<'v> Contents<'v> {
    /// The extent that still grows.
    pub(crate) fn open_extent(&self) -> Option<Extent<'v>> {
        self.open_weighed().map(|(open, _)| open)
    }

    /// And the weight it will have.
    fn open_weighed(&self) -> Option<(Extent<'v>, Weight)> {
        let open = self.open_value().filter(|open| !open.back.is_empty())?;
        let first = Revision::from_key(&open.key)?;
        Some((Extent::open(first, open.front, open.back), open.weight))
    }

    /// The only extent in which the record of `revision` can be.
    #[inline]
    pub(crate) fn extent_of(&self, revision: Revision) -> Result<Option<Extent<'v>>, Error> {
        if let Some(open) = self.open_extent().filter(|open| open.first <= revision) {
            return Ok(Some(open));
        }
        let bucket = self.bucket(schema::REVISIONS);
        match bucket.floor(revision.to_number())? {
            Some(found) => extent(bucket, found).map(Some),
            None => Ok(None),
        }
    }

    /// What compaction has dropped of an extent.
    pub(crate) fn dropped(&self, first: Revision) -> Result<Option<Dropped>, Error> {
        if first.main > self.compact_revision() {
            return Ok(None);
        }
        match self.lookup(schema::DROPPED, &first.to_key())? {
            Some(bytes) => decode_dropped(first, bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Every record from `from` on that was not dropped.
    pub(crate) fn records(&self, from: Revision) -> Records<'v> {
        let cursor = self.cursor(schema::REVISIONS);
        Records { contents: *self, cursor, from, place: Place::Before, extent: None, index: 0 }
    }
}

/// Looks for records by what their heads say.
pub(crate) struct Finder<'v> {
    bucket: BucketView<'v>,
    /// Looked up once for many.
    top: Option<Page<'v>>,
    open: Option<(Extent<'v>, Weight)>,
}

/// How far a head leads to its record.
pub(crate) enum Lead<'v> {
    /// To its bytes.
    Record(&'v [u8]),
    /// To the open extent, which continues one that was packed anew.
    Open(Extent<'v>),
    /// To an extent of the tree that was packed anew and was not looked at yet.
    Extent(Revision, Value<'v>),
}

impl<'v> Finder<'v> {
    /// For one record.
    #[inline]
    pub(crate) fn new(contents: &Contents<'v>) -> Finder<'v> {
        let bucket = contents.bucket(schema::REVISIONS);
        Finder { bucket, top: None, open: contents.open_weighed() }
    }

    /// For many.
    pub(crate) fn for_many(contents: &Contents<'v>) -> Result<Finder<'v>, Error> {
        let finder = Finder::new(contents);
        Ok(Finder { top: finder.bucket.top()?, ..finder })
    }

    pub(crate) fn shared(&self) -> &'v Shared {
        self.bucket.shared
    }

    /// Where the record of `revision` is that was appended at `spot`.
    #[inline]
    pub(crate) fn lead(&self, revision: Revision, spot: Spot) -> Result<Lead<'v>, Error> {
        let outside = || inconsistent(format_args!("the record of {revision:?} lies outside of its extent"));
        if let Some((open, weight)) = self.open.filter(|(open, _)| open.first <= revision) {
            return match weight {
                AS_APPENDED => open.parts().0.get(spot.in_records()).map(Lead::Record).ok_or_else(outside),
                _ => Ok(Lead::Open(open)),
            };
        }
        let found = match self.top {
            Some(top) => self.bucket.floor_below(top, revision.to_number())?,
            None => self.bucket.floor(revision.to_number())?,
        };
        let found = found.ok_or_else(|| missing(revision))?;
        if found.weight() == AS_APPENDED {
            let bytes = self.bucket.shared.part(found.value(), spot.in_extent())?;
            return bytes.map(Lead::Record).ok_or_else(outside);
        }
        Ok(Lead::Extent(first_of(found)?, found.value()))
    }
}

/// The record of a revision that its extent must have.
pub(crate) fn record_of<'v>(extent: &Extent<'v>, revision: Revision) -> Result<Record<'v>, Error> {
    let index = extent.find(revision).ok_or_else(|| missing(revision))?;
    record_in(extent, index)
}

pub(crate) fn missing(revision: Revision) -> Error {
    inconsistent(format_args!("revision {revision:?} is missing"))
}

pub(crate) fn extent<'v>(bucket: BucketView<'v>, found: Floor<'v>) -> Result<Extent<'v>, Error> {
    parse_extent(first_of(found)?, bucket.shared.value(found.value())?)
}

fn first_of(found: Floor<'_>) -> Result<Revision, Error> {
    let first = found.number().and_then(Revision::from_number);
    first.ok_or_else(|| inconsistent(format_args!("an extent's key is no revision")))
}

pub(crate) fn parse_extent(first: Revision, bytes: &[u8]) -> Result<Extent<'_>, Error> {
    Extent::parse(first, bytes)
        .ok_or_else(|| inconsistent(format_args!("the extent of revision {first:?} is garbled")))
}

pub(crate) fn decode_dropped(first: Revision, bytes: &[u8]) -> Result<Dropped, Error> {
    Dropped::decode(bytes)
        .ok_or_else(|| inconsistent(format_args!("what was dropped of the extent of {first:?} is garbled")))
}

pub(crate) fn revision_of(key: &[u8]) -> Result<Revision, Error> {
    Revision::from_key(key)
        .ok_or_else(|| inconsistent(format_args!("\"{}\" is no revision", key.escape_ascii())))
}

/// A record of an extent.
#[inline]
pub(crate) fn record_in<'v>(extent: &Extent<'v>, index: usize) -> Result<Record<'v>, Error> {
    let first = extent.first;
    let (revision, bytes) = extent
        .record(index)
        .ok_or_else(|| inconsistent(format_args!("the directory of the extent of {first:?} is garbled")))?;
    parse_record(revision, bytes)
}

/// A walk through the records, a whole extent at a time: nothing of one is referred to when the next is visited.
pub(crate) struct Records<'v> {
    contents: Contents<'v>,
    cursor: Cursor<'v>,
    from: Revision,
    place: Place,
    extent: Option<(Extent<'v>, Option<Dropped>)>,
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    InTree,
    Behind,
}

impl<'v> Records<'v> {
    /// The next record.
    pub(crate) fn try_next(&mut self) -> Result<Option<Record<'v>>, Error> {
        loop {
            if let Some((extent, dropped)) = &self.extent {
                while self.index < extent.len() {
                    let index = self.index;
                    self.index += 1;
                    if dropped.as_ref().is_none_or(|dropped| !dropped.has(index)) {
                        return record_in(extent, index).map(Some);
                    }
                }
            }
            if !self.next_extent()? {
                return Ok(None);
            }
        }
    }

    fn next_extent(&mut self) -> Result<bool, Error> {
        self.index = 0;
        let open = self.contents.open_extent();
        let found = match self.place {
            Place::Behind => return Ok(false),
            Place::Before if open.is_some_and(|open| open.first <= self.from) => false,
            Place::Before => {
                let from = self.from.to_number();
                let floor = self.contents.bucket(schema::REVISIONS).floor(from)?;
                let floor = floor.and_then(|floor| floor.number());
                self.cursor.seek(&floor.unwrap_or(from).to_be_bytes())?
            }
            Place::InTree => self.cursor.next()?,
        };
        let before = self.place == Place::Before;
        self.place = Place::InTree;
        let first = if found { revision_of(self.cursor.key())? } else { Revision::END };
        // Under the open extent's key there may be an older state of it.
        self.extent = if open.is_some_and(|open| open.first <= first) || !found {
            self.place = Place::Behind;
            open.map(|open| (open, None))
        } else {
            let extent = parse_extent(first, self.cursor.value()?)?;
            Some((extent, self.contents.dropped(first)?))
        };
        if let (true, Some((extent, _))) = (before, &self.extent) {
            self.index = extent.at_or_after(self.from);
        }
        Ok(self.extent.is_some())
    }
}
