//! No key may be written twice in one branch of a transaction.
//!
//! The rule is etcd's, with its corners, because a client may depend on what is let through:
//!
//! - two puts of one key conflict, and so do a put and a delete whose range holds the key;
//! - the branches of one nested transaction exclude each other, so both may put the same key;
//! - nested transactions are looked at in order, and each one's puts are held against the deletes seen so far:
//!   those of the enclosing branch and of its elder siblings, not of younger ones;
//! - a delete without an upper end (`range_end` = `"\0"`), or with an end at or below its key, conflicts with
//!   nothing. For the first that is a slip in etcd which has become behavior.

use std::collections::{BTreeMap, HashSet};

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, RequestOp};

use crate::grpc::{DUPLICATE_KEY, Status};

/// Checks one branch and everything nested in it.
pub(crate) fn check(branch: &[RequestOp]) -> Result<(), Status> {
    // Nearly every branch is one operation, and one operation conflicts with nothing.
    if let [RequestOp { request: Some(Request::RequestTxn(txn)) }] = branch {
        check(&txn.success)?;
        return check(&txn.failure);
    }
    if branch.len() < 2 {
        return Ok(());
    }
    Written::of(branch).map(|_| ())
}

/// What a branch writes.
#[derive(Default)]
struct Written<'r> {
    puts: HashSet<&'r [u8]>,
    deletes: Intervals,
}

impl<'r> Written<'r> {
    fn of(branch: &'r [RequestOp]) -> Result<Written<'r>, Status> {
        let mut written = Written::default();
        for op in branch {
            if let Some(Request::RequestDeleteRange(delete)) = &op.request {
                written.deletes.insert(delete);
            }
        }
        for op in branch {
            if let Some(Request::RequestTxn(txn)) = &op.request {
                let success = Written::of(&txn.success)?;
                let failure = Written::of(&txn.failure)?;
                for key in &success.puts {
                    written.put(key)?;
                }
                for key in failure.puts {
                    if success.puts.contains(key) {
                        continue;
                    }
                    written.put(key)?;
                }
                written.deletes.unite(success.deletes);
                written.deletes.unite(failure.deletes);
            }
        }
        for op in branch {
            if let Some(Request::RequestPut(put)) = &op.request {
                written.put(&put.key)?;
            }
        }
        Ok(written)
    }

    fn put(&mut self, key: &'r [u8]) -> Result<(), Status> {
        if self.deletes.contain(key) || !self.puts.insert(key) {
            return Err(DUPLICATE_KEY);
        }
        Ok(())
    }
}

/// A set of keys as disjoint intervals: begin (inclusive) -> end (exclusive).
#[derive(Default)]
struct Intervals(BTreeMap<Vec<u8>, Vec<u8>>);

impl Intervals {
    fn insert(&mut self, delete: &DeleteRangeRequest) {
        let begin = delete.key.to_vec();
        let end = if delete.range_end.is_empty() {
            let mut end = begin.clone();
            end.push(0);
            end
        } else {
            delete.range_end.to_vec()
        };
        // Also leaves out the end "\0": nothing but the empty key sorts below it.
        if begin < end {
            self.add(begin, end);
        }
    }

    /// Adds an interval, swallowing those it touches.
    fn add(&mut self, mut begin: Vec<u8>, mut end: Vec<u8>) {
        while let Some((b, e)) = self.0.range(..=end.clone()).next_back().map(|(b, e)| (b.clone(), e.clone()))
        {
            if e < begin {
                break;
            }
            self.0.remove(&b);
            begin = begin.min(b);
            end = end.max(e);
        }
        self.0.insert(begin, end);
    }

    fn unite(&mut self, mut other: Intervals) {
        if other.0.len() > self.0.len() {
            std::mem::swap(self, &mut other);
        }
        for (begin, end) in other.0 {
            self.add(begin, end);
        }
    }

    fn contain(&self, key: &[u8]) -> bool {
        self.0
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| key < end.as_slice())
    }
}
