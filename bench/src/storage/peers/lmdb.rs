//! LMDB, through heed.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions};

use super::Peer;
use super::stored::{self, DROPS, failed, missing};
use crate::error::{Error, Result};

/// Address space; more than the comparison ever needs.
const MAP_BYTES: usize = 64 << 30;

struct Lmdb {
    env: Env,
    heads: Database<Bytes, Bytes>,
    revisions: Database<Bytes, Bytes>,
}

fn say(error: heed::Error) -> Error {
    failed("LMDB")(&error)
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Peer>> {
    let dir = dir.join("lmdb");
    std::fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    let env = open_env(&dir)?;
    let mut txn = env.write_txn().map_err(say)?;
    let heads = env.create_database(&mut txn, Some("heads")).map_err(say)?;
    let revisions = env.create_database(&mut txn, Some("revisions")).map_err(say)?;
    txn.commit().map_err(say)?;
    Ok(Box::new(Lmdb { env, heads, revisions }))
}

#[expect(unsafe_code, reason = "the binding has no other way to open an environment")]
fn open_env(dir: &Path) -> Result<Env> {
    // SAFETY: the map is of a file in a directory that this process has just made, marked and locked for itself; nobody
    // else changes or cuts it while it is open, and it is opened once at a time.
    unsafe { EnvOpenOptions::new().map_size(MAP_BYTES).max_dbs(2).open(dir) }.map_err(say)
}

impl Peer for Lmdb {
    fn put(&mut self, first: u64, puts: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut txn = self.env.write_txn().map_err(say)?;
        for (revision, (key, value)) in (first..).zip(puts) {
            let revision = revision.to_be_bytes();
            self.revisions.put(&mut txn, &revision, &stored::record(key, value)).map_err(say)?;
            self.heads.put(&mut txn, key, &revision).map_err(say)?;
        }
        txn.commit().map_err(say)
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<usize>> {
        let txn = self.env.read_txn().map_err(say)?;
        let Some(revision) = self.heads.get(&txn, key).map_err(say)? else { return Ok(None) };
        let record = self.revisions.get(&txn, revision).map_err(say)?.ok_or_else(|| missing("LMDB"))?;
        Ok(Some(record.len()))
    }

    fn range(&mut self, from: &[u8], limit: usize, answer: &mut Vec<u8>) -> Result<usize> {
        let txn = self.env.read_txn().map_err(say)?;
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Unbounded);
        let mut count = 0;
        for entry in self.heads.range(&txn, &bounds).map_err(say)?.take(limit) {
            let (_, revision) = entry.map_err(say)?;
            let record = self.revisions.get(&txn, revision).map_err(say)?.ok_or_else(|| missing("LMDB"))?;
            answer.extend_from_slice(record);
            count += 1;
        }
        Ok(count)
    }

    fn compact(&mut self) -> Result<u64> {
        let mut useless = Vec::new();
        {
            let txn = self.env.read_txn().map_err(say)?;
            for entry in self.revisions.iter(&txn).map_err(say)? {
                let (revision, record) = entry.map_err(say)?;
                if self.heads.get(&txn, stored::key(record)?).map_err(say)? != Some(revision) {
                    useless.push(stored::revision(revision)?);
                }
            }
        }
        for part in useless.chunks(DROPS) {
            let mut txn = self.env.write_txn().map_err(say)?;
            for revision in part {
                self.revisions.delete(&mut txn, &revision.to_be_bytes()).map_err(say)?;
            }
            txn.commit().map_err(say)?;
        }
        Ok(useless.len() as u64)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Lmdb { env, .. } = *self;
        env.prepare_for_closing().wait();
        Ok(())
    }
}
