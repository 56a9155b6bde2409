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

impl Contents<'_> {
    /// etcd's hash of the history up to `at` (see [`Contents::check`]).
    pub fn hash_kv(&self, at: i64) -> Result<HashKv, Error> {
        let revision = if at <= 0 { self.revision() } else { at };
        let any_alive = self.count(&KeyRange::all(), revision)? > 0;
        self.hash_history(revision, any_alive)
    }

    /// The hash that etcd computes, and keeps for `HashKV` to return, while it compacts at `at`. To be asked
    /// of a view from before that compaction.
    pub fn hash_at_compaction(&self, at: i64) -> Result<HashKv, Error> {
        // Here etcd's set of kept revisions has a tombstone exactly at the revision in it.
        let any_kept = self.count(&KeyRange::all(), at)? > 0 || self.has_tombstone_at(at)?;
        self.hash_history(at, any_kept)
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

    fn hash_history(&self, revision: i64, any_kept: bool) -> Result<HashKv, Error> {
        let compact = self.compact_revision();
        let mut hash = crc32c::crc32c(b"key");
        let mut records = self.records(Revision::new(0, 0));
        while let Some(record) = records.try_next()? {
            let at = record.revision;
            if at.main > revision {
                break;
            }
            // Without a kept key etcd hashes what compaction at C left: the newest at C.
            let newest_at = if any_kept { revision } else { compact };
            if at.main > compact || self.is_newest(&record, newest_at)? {
                let (key, length) = at.to_etcd_key(record.is_tombstone());
                hash = crc32c::crc32c_append(hash, &key[..length]);
                hash = crc32c::crc32c_append(hash, stored(&record)?);
            }
        }
        Ok(HashKv { hash, revision, compact_revision: compact })
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
