//! etcd's hashes over the history.
//!
//! `HashKV` is CRC-32C over the bytes `key` (etcd's bucket name) and then, for every record up to a revision,
//! the key and the value etcd stores it under. What compaction at C drops must not count whether or not it
//! has been dropped already, so for a record at or below C etcd asks whether it is still the newest of its
//! key at the hashed revision R, tombstones not counting as such. Two peculiarities are etcd's own: when no
//! key is alive at R the question is skipped and whatever compaction kept is hashed, and a tombstone exactly
//! at C, which releases before 3.4.34 dropped, is left out.

use super::contents::{Contents, decode_head};
use super::record::Record;
use super::{KeyRange, Revision, SystemBucket};
use crate::error::Error;
use crate::schema;

/// The answer of `HashKV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C of the history.
    pub hash: u32,
    /// The last revision that is in it.
    pub revision: i64,
    /// The compact revision it was computed under.
    pub compact_revision: i64,
}

/// A hash of the history on its way, so that nobody has to hold a view for all of it: each slice may be asked of a
/// newer view.
#[derive(Clone, Debug)]
pub struct HashWalk {
    revision: i64,
    compact: i64,
    any_kept: bool,
    hash: u32,
    /// The first revision that was not looked at.
    next: Revision,
    /// Whoever walks sees to it that nothing is dropped meanwhile.
    nothing_dropped: bool,
}

/// How a slice of a [`HashWalk`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashProgress {
    /// There is more to look at.
    More,
    /// Compaction has gone on since the walk began, and records that belong to the hash may be gone: begin anew.
    Overtaken,
    /// The hash.
    Done(HashKv),
}

impl Contents<'_> {
    /// Begins what [`Contents::hash_kv`] does in one go.
    pub fn hash_begin(&self, at: i64) -> Result<HashWalk, Error> {
        let revision = if at <= 0 { self.revision() } else { at };
        let any_kept = self.count(&KeyRange::all(), revision)? > 0;
        Ok(self.walk(revision, any_kept))
    }

    /// Begins what [`Contents::hash_at_compaction`] does in one go, on a view from before that compaction. Later views
    /// may know of it, and of further ones, but until the walk is done no slice of compaction may drop anything.
    pub fn hash_begin_at_compaction(&self, at: i64) -> Result<HashWalk, Error> {
        // Here etcd's set of kept revisions has a tombstone exactly at the revision in it.
        let any_kept = self.count(&KeyRange::all(), at)? > 0 || self.has_tombstone_at(at)?;
        Ok(HashWalk { nothing_dropped: true, ..self.walk(at, any_kept) })
    }

    fn walk(&self, revision: i64, any_kept: bool) -> HashWalk {
        let (compact, next) = (self.compact_revision(), Revision::new(0, 0));
        let hash = crc32c::crc32c(b"key");
        HashWalk { revision, compact, any_kept, hash, next, nothing_dropped: false }
    }

    /// Looks at up to `max_records` records of this view, which is the one the walk began with or a newer one.
    pub fn hash_slice(&self, walk: &mut HashWalk, max_records: usize) -> Result<HashProgress, Error> {
        if self.compact_revision() != walk.compact && !walk.nothing_dropped {
            return Ok(HashProgress::Overtaken);
        }
        let mut records = self.records(walk.next);
        for _ in 0..max_records.max(1) {
            match records.try_next()? {
                Some(record) if record.revision.main <= walk.revision => self.add_to_hash(walk, &record)?,
                _ => {
                    let HashWalk { hash, revision, compact: compact_revision, .. } = *walk;
                    return Ok(HashProgress::Done(HashKv { hash, revision, compact_revision }));
                }
            }
        }
        Ok(HashProgress::More)
    }

    fn add_to_hash(&self, walk: &mut HashWalk, record: &Record<'_>) -> Result<(), Error> {
        let at = record.revision;
        // Without a kept key etcd hashes what compaction at C left: the newest at C.
        let newest_at = if walk.any_kept { walk.revision } else { walk.compact };
        if at.main > walk.compact || self.is_newest(record, newest_at)? {
            let (key, length) = at.to_etcd_key(record.is_tombstone());
            walk.hash = crc32c::crc32c_append(walk.hash, &key[..length]);
            walk.hash = crc32c::crc32c_append(walk.hash, stored(record)?);
        }
        walk.next = Revision::new(at.main, at.sub + 1);
        Ok(())
    }

    /// etcd's hash of the history up to `at` (see [`Contents::check`]).
    pub fn hash_kv(&self, at: i64) -> Result<HashKv, Error> {
        let revision = if at <= 0 { self.revision() } else { at };
        let any_alive = self.count(&KeyRange::all(), revision)? > 0;
        self.hash_history(self.walk(revision, any_alive))
    }

    /// The hash that etcd computes, and keeps for `HashKV` to return, while it compacts at `at`. To be asked
    /// of a view from before that compaction.
    pub fn hash_at_compaction(&self, at: i64) -> Result<HashKv, Error> {
        self.hash_history(self.hash_begin_at_compaction(at)?)
    }

    /// CRC-32C over everything: the history as in [`Contents::hash_kv`], and the system buckets.
    pub fn hash_all(&self) -> Result<u32, Error> {
        let mut hash = self.hash_kv(0)?.hash;
        for bucket in SystemBucket::ALL {
            hash = crc32c::crc32c_append(hash, bucket.bucket().name().as_bytes());
            let mut cursor = self.cursor(bucket.bucket());
            let mut found = cursor.first()?;
            while found {
                hash = crc32c::crc32c_append(hash, cursor.key());
                hash = crc32c::crc32c_append(hash, cursor.value()?);
                found = cursor.next()?;
            }
        }
        Ok(hash)
    }

    fn hash_history(&self, mut walk: HashWalk) -> Result<HashKv, Error> {
        match self.hash_slice(&mut walk, usize::MAX)? {
            HashProgress::Done(hash) => Ok(hash),
            more => unreachable!("one view, no bound: {more:?}"),
        }
    }

    /// True for a put that is its key's newest record at a revision.
    fn is_newest(&self, record: &Record<'_>, at: i64) -> Result<bool, Error> {
        let key = record.key().unwrap_or_default();
        if record.is_tombstone() {
            return Ok(false);
        }
        let Some(bytes) = self.lookup(schema::KEYS, key)? else { return Ok(false) };
        let head = decode_head(key, bytes)?;
        if head.head.modified <= at {
            return Ok(head.revision() == record.revision);
        }
        Ok(self.record_at(&head, at)?.is_some_and(|newest| newest.revision == record.revision))
    }

    fn has_tombstone_at(&self, main: i64) -> Result<bool, Error> {
        let mut records = self.records(Revision::new(main.max(0), 0));
        while let Some(record) = records.try_next()? {
            if record.revision.main != main {
                break;
            }
            if record.is_tombstone() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn stored<'v>(record: &Record<'v>) -> Result<&'v [u8], Error> {
    record.stored().ok_or_else(|| {
        super::contents::inconsistent(format_args!("the record of revision {:?} is garbled", record.revision))
    })
}
