//! Stored changes in the order of history, for a watcher that catches up.

use super::contents::{Contents, inconsistent};
use super::records::Records;
use super::{ChangeKind, Revision};
use crate::error::Error;

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
    records: Records<'v>,
    done: bool,
}

impl<'v> Contents<'v> {
    /// Every change whose main revision is at least `from`, which must not be below the compact revision.
    pub fn changes(&self, from: i64) -> Changes<'v> {
        Changes { records: self.records(Revision::new(from.max(0), 0)), done: false }
    }
}

impl<'v> Changes<'v> {
    fn step(&mut self) -> Result<Option<StoredChange<'v>>, Error> {
        let Some(record) = self.records.try_next()? else { return Ok(None) };
        let revision = record.revision;
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
