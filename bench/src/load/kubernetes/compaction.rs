//! The compactor: now and then it marks the revision there is, and compacts to the one it marked the time before.

use std::time::{Duration, Instant};

use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{CompactionRequest, TxnResponse};
use bytes::Bytes;
use prost::Message;

use super::super::answer;
use super::super::workload::{GARBLED, Wrong};
use super::requests;

const NOT_MARKED: Wrong = "wrong answer: a transaction found another version than the one its key has";

/// When, and to which revision.
#[derive(Debug)]
pub(super) struct Compactor {
    key: Bytes,
    every: Duration,
    next: Instant,
    /// Of the mark; unknown after one that failed.
    version: i64,
    is_unknown: bool,
    is_under_way: bool,
    /// Marked the last time.
    revision: i64,
}

impl Compactor {
    /// The first time after the load has begun; `revision` is what was there then.
    pub(super) fn new(root: &str, every: Duration, begin: Instant, revision: i64) -> Compactor {
        let key = format!("{root}/compact_rev_key").into();
        Compactor {
            key,
            every,
            next: begin + every,
            version: 0,
            is_unknown: false,
            is_under_way: false,
            revision,
        }
    }

    /// Whether it is time and the one before has ended; if so, the next is due after the same time again.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next && !self.is_under_way;
        if is_due {
            self.next = now + self.every;
            self.is_under_way = true;
        }
        is_due
    }

    /// It has come to its end, or has failed.
    pub(super) fn ended(&mut self, how: Ended) {
        self.is_under_way = false;
        self.is_unknown |= how == Ended::NotMarked;
    }

    pub(super) fn mark(&self) -> Vec<u8> {
        requests::mark(&self.key, self.version, self.revision.to_string().into())
    }

    /// The mark was answered: what is to be compacted now, if anything.
    pub(super) fn marked(&mut self, answer: &[u8]) -> Result<Option<Vec<u8>>, Wrong> {
        let txn = answer::txn(answer).map_err(|_| GARBLED)?;
        if !txn.succeeded && std::mem::take(&mut self.is_unknown) {
            self.version = found_otherwise(answer).ok_or(GARBLED)?;
            return Ok(None);
        }
        self.is_unknown = false;
        if !txn.succeeded || txn.revision <= self.revision {
            return Err(NOT_MARKED);
        }
        self.version += 1;
        let revision = std::mem::replace(&mut self.revision, txn.revision);
        Ok(Some(CompactionRequest { revision, physical: false }.encode_to_vec()))
    }

    /// Where it marks.
    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }
}

/// How a compaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Marked,
    /// Nobody knows whether the mark was put.
    NotMarked,
}

/// The version of the key that the other branch of a transaction has read; 0 where there is none.
fn found_otherwise(answer: &[u8]) -> Option<i64> {
    let TxnResponse { responses, .. } = TxnResponse::decode(answer).ok()?;
    match responses.into_iter().next()?.response? {
        Response::ResponseRange(range) => Some(range.kvs.first().map_or(0, |kv| kv.version)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp};
    use api::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn what_is_compacted_is_older_than_the_last_mark() {
        let begin = Instant::now();
        let every = Duration::from_secs(300);
        let mut compactor = Compactor::new("/registry", every, begin, 40);
        let marked = |revision, succeeded| {
            let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
            TxnResponse { header, succeeded, responses: Vec::new() }.encode_to_vec()
        };
        assert!(!compactor.is_due(begin) && compactor.is_due(begin + every));
        assert!(!compactor.is_due(begin + 3 * every), "one is under way");
        let compacted = compactor.marked(&marked(90, true)).unwrap().unwrap();
        assert_eq!(CompactionRequest::decode(&compacted[..]).unwrap().revision, 40);
        compactor.ended(Ended::Marked);
        assert!(!compactor.is_due(begin + every + every / 2) && compactor.is_due(begin + 2 * every));
        assert_eq!((compactor.version, compactor.revision), (1, 90));
        assert_eq!(compactor.marked(&marked(120, false)), Err(NOT_MARKED));
        assert_eq!(compactor.marked(&marked(90, true)), Err(NOT_MARKED));
        // One that failed was put nevertheless.
        compactor.ended(Ended::NotMarked);
        let range = RangeResponse {
            kvs: vec![KeyValue { version: 2, ..KeyValue::default() }],
            ..RangeResponse::default()
        };
        let read = ResponseOp { response: Some(Response::ResponseRange(range)) };
        let answer = TxnResponse { responses: vec![read], ..TxnResponse::default() }.encode_to_vec();
        assert_eq!((compactor.marked(&answer), compactor.version), (Ok(None), 2));
        assert_eq!(compactor.marked(&answer), Err(NOT_MARKED));
    }
}
