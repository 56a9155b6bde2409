//! Proof that a store's file is whole: the tree's own check, and the inside of what the tree holds for it.

use std::cell::Cell;

use super::Revision;
use super::extent::{Dropped, Extent};
use crate::btree::{self, Report};
use crate::error::Error;
use crate::file::File;
use crate::schema::{self, Bucket};

/// Walks the newest state of a database. Errors are for files that can't be looked into at all; everything that
/// can be told of a page is in the report's findings. Writes nothing. What heads, records and leases say of each
/// other is for [`super::Contents::audit`].
pub fn check(file: &dyn File) -> Result<Report, Error> {
    walk(file, &Cell::default())
}

/// How the history is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Runs of pages that records share.
    pub extents: u64,
    /// Records in them, dropped ones included.
    pub records: u64,
    /// Records that compaction has dropped and whose extent is still there.
    pub dropped_records: u64,
}

/// As [`check`], counting on the way.
pub(super) fn walk(file: &dyn File, history: &Cell<History>) -> Result<Report, Error> {
    btree::check_with(file, &|bucket, key, value| {
        let mut counted = history.get();
        let found = entry(bucket, key, value, &mut counted);
        history.set(counted);
        found
    })
}

fn entry(bucket: Bucket, key: &[u8], value: &[u8], history: &mut History) -> Result<(), String> {
    let revision =
        || Revision::from_key(key).ok_or_else(|| format!("\"{}\" is no revision", key.escape_ascii()));
    match bucket {
        schema::REVISIONS => {
            let first = revision()?;
            let extent =
                Extent::parse(first, value).ok_or_else(|| format!("the extent of {first:?} is garbled"))?;
            history.extents += 1;
            history.records += extent.len() as u64;
            extent.check()
        }
        schema::DROPPED => {
            let first = revision()?;
            let dropped = Dropped::decode(value)
                .ok_or_else(|| format!("what was dropped of the extent of {first:?} is garbled"))?;
            history.dropped_records += u64::from(dropped.records);
            Ok(())
        }
        _ => Ok(()),
    }
}
