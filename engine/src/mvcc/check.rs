//! Proof that a store's file is whole: the tree's own check, and the inside of what the tree holds for it.

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
    btree::check_with(file, &entry)
}

fn entry(bucket: Bucket, key: &[u8], value: &[u8]) -> Result<(), String> {
    let revision =
        || Revision::from_key(key).ok_or_else(|| format!("\"{}\" is no revision", key.escape_ascii()));
    match bucket {
        schema::REVISIONS => {
            let first = revision()?;
            let extent = Extent::parse(first, value);
            extent.ok_or_else(|| format!("the extent of {first:?} is garbled"))?.check()
        }
        schema::DROPPED => {
            let first = revision()?;
            let dropped = Dropped::decode(value);
            dropped.map(drop).ok_or_else(|| format!("what was dropped of the extent of {first:?} is garbled"))
        }
        _ => Ok(()),
    }
}
