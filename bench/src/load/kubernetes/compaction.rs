//! The compactor: now and then it marks the revision there is, and compacts to the one it marked the time before.

use std::time::{Duration, Instant};

use api::etcdserverpb::CompactionRequest;
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
    version: i64,
    /// Marked the last time.
    revision: i64,
}

impl Compactor {
    /// The first time after the load has begun; `revision` is what was there then.
    pub(super) fn new(root: &str, every: Duration, begin: Instant, revision: i64) -> Compactor {
        let key = format!("{root}/compact_rev_key").into();
        Compactor { key, every, next: begin + every, version: 0, revision }
    }

    /// Whether it is time; if so, the next is due after the same time again.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.every;
        }
        is_due
    }

    pub(super) fn mark(&self) -> Vec<u8> {
        requests::mark(&self.key, self.version, self.revision.to_string().into())
    }

    /// The mark was answered: what is to be compacted now.
    pub(super) fn marked(&mut self, answer: &[u8]) -> Result<Vec<u8>, Wrong> {
        let txn = answer::txn(answer).map_err(|_| GARBLED)?;
        if !txn.succeeded || txn.revision <= self.revision {
            return Err(NOT_MARKED);
        }
        self.version += 1;
        let revision = std::mem::replace(&mut self.revision, txn.revision);
        Ok(CompactionRequest { revision, physical: false }.encode_to_vec())
    }

    /// Where it marks.
    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{ResponseHeader, TxnResponse};

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
        assert!(!compactor.is_due(begin + every + every / 2));
        let compacted =
            compactor.marked(&marked(90, true)).map(|bytes| CompactionRequest::decode(&bytes[..]));
        assert_eq!(compacted.unwrap().unwrap().revision, 40);
        assert_eq!((compactor.version, compactor.revision), (1, 90));
        assert_eq!(compactor.marked(&marked(120, false)), Err(NOT_MARKED));
        assert_eq!(compactor.marked(&marked(90, true)), Err(NOT_MARKED));
    }
}
