//! fjall.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::Peer;
use super::stored::{self, DROPS, failed, missing};
use crate::error::Result;

struct Fjall {
    database: Database,
    heads: Keyspace,
    revisions: Keyspace,
}

fn say(error: fjall::Error) -> crate::error::Error {
    failed("fjall")(&error)
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Peer>> {
    let database = Database::builder(dir.join("fjall")).open().map_err(say)?;
    let heads = database.keyspace("heads", KeyspaceCreateOptions::default).map_err(say)?;
    let revisions = database.keyspace("revisions", KeyspaceCreateOptions::default).map_err(say)?;
    Ok(Box::new(Fjall { database, heads, revisions }))
}

impl Fjall {
    fn record(&self, revision: &[u8]) -> Result<fjall::Slice> {
        self.revisions.get(revision).map_err(say)?.ok_or_else(|| missing("fjall"))
    }
}

impl Peer for Fjall {
    fn put(&mut self, first: u64, puts: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (revision, (key, value)) in (first..).zip(puts) {
            let revision = revision.to_be_bytes();
            batch.insert(&self.revisions, &revision[..], stored::record(key, value));
            batch.insert(&self.heads, &key[..], &revision[..]);
        }
        batch.commit().map_err(say)
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<usize>> {
        match self.heads.get(key).map_err(say)? {
            Some(revision) => Ok(Some(self.record(&revision)?.len())),
            None => Ok(None),
        }
    }

    fn range(&mut self, from: &[u8], limit: usize, answer: &mut Vec<u8>) -> Result<usize> {
        let mut count = 0;
        for entry in self.heads.range(from..).take(limit) {
            answer.extend_from_slice(&self.record(&entry.value().map_err(say)?)?);
            count += 1;
        }
        Ok(count)
    }

    fn compact(&mut self) -> Result<u64> {
        let mut useless = Vec::new();
        for entry in self.revisions.iter() {
            let (revision, record) = entry.into_inner().map_err(say)?;
            let head = self.heads.get(stored::key(&record)?).map_err(say)?;
            if head.is_none_or(|head| head != revision) {
                useless.push(stored::revision(&revision)?);
            }
        }
        for part in useless.chunks(DROPS) {
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
            for revision in part {
                batch.remove(&self.revisions, &revision.to_be_bytes()[..]);
            }
            batch.commit().map_err(say)?;
        }
        Ok(useless.len() as u64)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.persist(PersistMode::SyncAll).map_err(say)
    }
}
