//! redb.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::Peer;
use super::stored::{self, DROPS, failed, missing};
use crate::error::Result;

const HEADS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("heads");
const REVISIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("revisions");

struct Redb {
    database: Database,
}

/// Its errors are large and of many kinds.
fn say<E: std::fmt::Display>(error: E) -> crate::error::Error {
    failed("redb")(&error)
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Peer>> {
    let database = Database::create(dir.join("redb")).map_err(say)?;
    let txn = database.begin_write().map_err(say)?;
    txn.open_table(HEADS).map_err(say)?;
    txn.open_table(REVISIONS).map_err(say)?;
    txn.commit().map_err(say)?;
    Ok(Box::new(Redb { database }))
}

impl Peer for Redb {
    fn put(&mut self, first: u64, puts: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let txn = self.database.begin_write().map_err(say)?;
        {
            let mut heads = txn.open_table(HEADS).map_err(say)?;
            let mut revisions = txn.open_table(REVISIONS).map_err(say)?;
            for (revision, (key, value)) in (first..).zip(puts) {
                let revision = revision.to_be_bytes();
                revisions.insert(&revision[..], &stored::record(key, value)[..]).map_err(say)?;
                heads.insert(&key[..], &revision[..]).map_err(say)?;
            }
        }
        txn.commit().map_err(say)
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<usize>> {
        let txn = self.database.begin_read().map_err(say)?;
        let heads = txn.open_table(HEADS).map_err(say)?;
        let revisions = txn.open_table(REVISIONS).map_err(say)?;
        let Some(revision) = heads.get(key).map_err(say)? else { return Ok(None) };
        let record = revisions.get(revision.value()).map_err(say)?.ok_or_else(|| missing("redb"))?;
        Ok(Some(record.value().len()))
    }

    fn range(&mut self, from: &[u8], limit: usize, answer: &mut Vec<u8>) -> Result<usize> {
        let txn = self.database.begin_read().map_err(say)?;
        let heads = txn.open_table(HEADS).map_err(say)?;
        let revisions = txn.open_table(REVISIONS).map_err(say)?;
        let mut count = 0;
        for entry in heads.range(from..).map_err(say)?.take(limit) {
            let (_, revision) = entry.map_err(say)?;
            let record = revisions.get(revision.value()).map_err(say)?.ok_or_else(|| missing("redb"))?;
            answer.extend_from_slice(record.value());
            count += 1;
        }
        Ok(count)
    }

    fn compact(&mut self) -> Result<u64> {
        let mut useless = Vec::new();
        {
            let txn = self.database.begin_read().map_err(say)?;
            let heads = txn.open_table(HEADS).map_err(say)?;
            let revisions = txn.open_table(REVISIONS).map_err(say)?;
            for entry in revisions.iter().map_err(say)? {
                let (revision, record) = entry.map_err(say)?;
                let head = heads.get(stored::key(record.value())?).map_err(say)?;
                if head.is_none_or(|head| head.value() != revision.value()) {
                    useless.push(stored::revision(revision.value())?);
                }
            }
        }
        for part in useless.chunks(DROPS) {
            let txn = self.database.begin_write().map_err(say)?;
            {
                let mut revisions = txn.open_table(REVISIONS).map_err(say)?;
                for revision in part {
                    revisions.remove(&revision.to_be_bytes()[..]).map_err(say)?;
                }
            }
            txn.commit().map_err(say)?;
        }
        Ok(useless.len() as u64)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
