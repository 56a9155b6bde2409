//! Stored changes in the order of history, for a watcher that catches up.

use super::contents::{Contents, inconsistent, parse_record};
use super::{ChangeKind, Revision};
use crate::btree::Cursor;
use crate::error::Error;
use crate::schema;

/// A change as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredChange<'v> {
    /// When.
    pub revision: Revision,
    /// What.
    pub kind: ChangeKind,
    /// Which key.
    pub key: &'v [u8],
    /// The `mvccpb.KeyValue` of the event, encoded: the stored one for a put, key and mod revision for a
    /// deletion.
    pub record: &'v [u8],
}

/// The changes from a main revision on, ascending.
pub struct Changes<'v> {
    cursor: Cursor<'v>,
    from: Option<Revision>,
    done: bool,
}

impl<'v> Contents<'v> {
    /// Every change whose main revision is at least `from`, which must not be below the compact revision.
    pub fn changes(&self, from: i64) -> Changes<'v> {
        Changes {
            cursor: self.cursor(schema::REVISIONS),
            from: Some(Revision::new(from.max(0), 0)),
            done: false,
        }
    }
}

impl<'v> Changes<'v> {
    fn step(&mut self) -> Result<Option<StoredChange<'v>>, Error> {
        let found = match self.from.take() {
            Some(from) => self.cursor.seek(&from.to_key())?,
            None => self.cursor.next()?,
        };
        if !found {
            return Ok(None);
        }
        let revision = revision_of(self.cursor.key())?;
        let record = parse_record(revision, self.cursor.value()?)?;
        let key = record.key().ok_or_else(|| inconsistent(format_args!("{revision:?} has no key")))?;
        let kind = if record.is_tombstone() { ChangeKind::Delete } else { ChangeKind::Put };
        Ok(Some(StoredChange { revision, kind, key, record: record.event() }))
    }
}

impl<'v> Iterator for Changes<'v> {
    type Item = Result<StoredChange<'v>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

pub(crate) fn revision_of(key: &[u8]) -> Result<Revision, Error> {
    Revision::from_key(key)
        .ok_or_else(|| inconsistent(format_args!("\"{}\" is no revision", key.escape_ascii())))
}
