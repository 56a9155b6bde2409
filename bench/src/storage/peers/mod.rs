//! Other embedded stores on the load of an etcd: every put appends a record under a new revision and moves its key's
//! head to it, 64 puts to a durable commit; reads go from the head to the record; compaction drops the records that no
//! head names, 1,000 to a durable commit as etcd does it.
//!
//! Every store commits with its own default for durable commits, and has its own two tables: heads (key to revision) and
//! revisions (revision to record). Graven's column is engine and log together, with checkpoints. bbolt runs in a program of
//! its own (`bench/peers/bbolt`), with the same keys in the same order.

mod bbolt;
#[cfg(feature = "peers")]
mod fjall;
mod graven;
#[cfg(feature = "peers")]
mod lmdb;
#[cfg(feature = "peers")]
mod redb;
mod workload;

use std::path::Path;

pub(crate) use bbolt::Program as BboltProgram;
pub(crate) use workload::{METRICS, Outcome, Plan};

use super::Bench;
use crate::error::Result;

/// The columns, Graven first.
pub(crate) const NAMES: [&str; 5] = ["graven", "redb", "LMDB", "fjall", "bbolt"];

/// A store on its own directory.
trait Peer {
    /// One durable commit. The puts take the revisions from `first` on.
    fn put(&mut self, first: u64, puts: &[(Vec<u8>, Vec<u8>)]) -> Result<()>;
    /// Bytes of the key's newest record; nothing if there is no such key.
    fn get(&mut self, key: &[u8]) -> Result<Option<usize>>;
    /// Copies the newest records of up to `limit` keys from `from` on; how many there were.
    fn range(&mut self, from: &[u8], limit: usize, answer: &mut Vec<u8>) -> Result<usize>;
    /// Drops every record that is not its key's newest, durably; how many.
    fn compact(&mut self) -> Result<u64>;
    /// Ends, so that it can be opened again.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Runs one store through everything in an empty directory; nothing when it is not there to be run.
pub(crate) fn run(
    name: &str,
    bench: &Bench,
    bbolt: Option<&BboltProgram>,
    plan: &Plan,
    dir: &Path,
) -> Result<Option<Outcome>> {
    let options = bench.sizes.member(bench.method);
    let stop = &bench.stop;
    let outcome = match name {
        "graven" => workload::run(plan, dir, stop, &|dir| graven::open(dir, options.clone()))?,
        #[cfg(feature = "peers")]
        "redb" => workload::run(plan, dir, stop, &redb::open)?,
        #[cfg(feature = "peers")]
        "LMDB" => workload::run(plan, dir, stop, &lmdb::open)?,
        #[cfg(feature = "peers")]
        "fjall" => workload::run(plan, dir, stop, &fjall::open)?,
        "bbolt" => match bbolt {
            Some(program) => program.run(plan, dir, stop)?,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(outcome))
}

/// What the tables of the peers hold: a revision as a key in order, and a record that names its key.
#[cfg(feature = "peers")]
mod stored {
    use crate::error::{Error, Result};

    /// Records that compaction drops in one durable commit.
    pub(super) const DROPS: usize = 1_000;

    pub(super) fn revision(bytes: &[u8]) -> Result<u64> {
        let bytes = bytes.try_into().map_err(|_| Error::Wrong("a revision is not eight bytes".to_owned()))?;
        Ok(u64::from_be_bytes(bytes))
    }

    pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut record = Vec::with_capacity(2 + key.len() + value.len());
        record.extend_from_slice(&(key.len() as u16).to_be_bytes());
        record.extend_from_slice(key);
        record.extend_from_slice(value);
        record
    }

    pub(super) fn key(record: &[u8]) -> Result<&[u8]> {
        let (length, rest) = record.split_first_chunk::<2>().ok_or_else(short)?;
        rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or_else(short)
    }

    fn short() -> Error {
        Error::Wrong("a record is cut off".to_owned())
    }

    /// For errors of every store.
    pub(super) fn failed(store: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Error {
        move |error| Error::Wrong(format!("{store} failed: {error}"))
    }

    pub(super) fn missing(store: &'static str) -> Error {
        Error::Wrong(format!("{store}: a record that a head names is gone"))
    }
}
