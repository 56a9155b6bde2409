//! `Hash` and `HashKV`: numbers by which members, and etcd, can be compared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::etcdserverpb::{HashKvResponse, HashResponse};
use engine::{HashKv, HashProgress, Reader, RevisionError, View};

use crate::grpc::{self, Status};
use crate::kv::Failure;

/// As many hashes as etcd keeps.
const KEPT: usize = 10;

/// CRC-32C of the bytes `key`: the hash of no records at all.
const EMPTY_HASH: u32 = 1_084_519_789;

/// Hashes that were computed when history was compacted. `HashKV` at exactly such a revision answers with the one
/// from then, so that members are comparable however far they have come with removing records.
#[derive(Debug, Default)]
pub struct Hashes(Mutex<Vec<HashKv>>);

impl Hashes {
    fn kept(&self) -> MutexGuard<'_, Vec<HashKv>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes and keeps the hash for a compaction at `revision`; `before` is the state from before it, and nothing is
    /// dropped meanwhile.
    pub(crate) fn compute(&self, before: View, reader: &Reader, revision: i64) -> Result<(), engine::Error> {
        let mut walk = before.hash_begin_at_compaction(revision)?;
        let mut view = before;
        let hash = loop {
            match view.hash_slice(&mut walk, SLICE_RECORDS)? {
                HashProgress::Done(hash) => break hash,
                HashProgress::More | HashProgress::Overtaken => view = reader.view(),
            }
        };
        let mut kept = self.kept();
        kept.push(hash);
        kept.sort_by_key(|hash| hash.revision);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
        Ok(())
    }

    /// The hash kept for a revision.
    pub(crate) fn at(&self, revision: i64) -> Option<HashKv> {
        self.kept().iter().find(|hash| hash.revision == revision).copied()
    }
}

/// Records looked at before a newer view is taken: a few milliseconds.
const SLICE_RECORDS: usize = 4096;

/// A compaction may overtake so many walks; then one holds its view until the end.
const MOST_WALKS: usize = 3;

/// Walks the history in slices, so that no view is held for long. When a compaction comes in between, records that the
/// hash is made of may go, and the walk begins anew, as if it had been asked for then.
fn walk(reader: &Reader, revision: i64) -> Result<HashKv, Failure> {
    for _ in 0..MOST_WALKS {
        let mut view = reader.view();
        view.check(revision).map_err(refused)?;
        let mut walk = view.hash_begin(revision)?;
        loop {
            match view.hash_slice(&mut walk, SLICE_RECORDS)? {
                HashProgress::Done(hash) => return Ok(hash),
                HashProgress::More => view = reader.view(),
                HashProgress::Overtaken => break,
            }
        }
    }
    let view = reader.view();
    view.check(revision).map_err(refused)?;
    Ok(view.hash_kv(revision)?)
}

/// The answer of `HashKV`, without its header. Walks the whole history unless it is kept.
pub(crate) fn hash_kv(reader: &Reader, hashes: &Hashes, revision: i64) -> Result<HashKvResponse, Failure> {
    let hash = match hashes.at(revision) {
        Some(hash) => hash,
        // etcd takes a negative revision at its word: no record is that old.
        None if revision < 0 => {
            HashKv { hash: EMPTY_HASH, revision, compact_revision: reader.view().compact_revision() }
        }
        None => walk(reader, revision)?,
    };
    Ok(HashKvResponse {
        header: None,
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        hash_revision: hash.revision,
    })
}

/// The answer of `Hash`, without its header. Walks everything.
pub(crate) fn hash_all(view: &View) -> Result<HashResponse, Failure> {
    Ok(HashResponse { header: None, hash: view.hash_all()? })
}

fn refused(error: RevisionError) -> Status {
    match error {
        RevisionError::Compacted { .. } => grpc::COMPACTED,
        RevisionError::Future { .. } => grpc::FUTURE_REV,
    }
}

/// How large the store is, as the driver last saw it.
#[derive(Debug, Default)]
pub struct StoreSizes {
    file: AtomicU64,
    in_use: AtomicU64,
}

impl StoreSizes {
    pub(crate) fn set(&self, sizes: engine::Sizes) {
        self.file.store(sizes.file_bytes, Ordering::Relaxed);
        self.in_use.store(sizes.in_use_bytes, Ordering::Relaxed);
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file.load(Ordering::Relaxed)
    }

    /// Bytes of it that hold something.
    pub fn in_use_bytes(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }
}
