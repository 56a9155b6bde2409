//! Makes the requests: mostly valid ones over few keys, so that they meet, and every kind of invalid one.

use std::collections::BTreeSet;

use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
};
use bytes::Bytes;

use super::request::Request;
use crate::Dice;

/// The streams of each server: the log, any watchers, watchers that are not in the future.
pub(super) const LOG: usize = 0;
pub(super) const ANY: usize = 1;
pub(super) const PRESENT: usize = 2;

/// No more watchers than this on a stream.
const WATCHERS: usize = 40;
const LEASES: [i64; 8] = [1, 2, 3, 77, 1000, 0x7fff_ffff, 0x1234_5678_9abc, i64::MAX];

/// What the generator knows of the state the servers are in.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) revision: i64,
    pub(super) compacted: i64,
    /// Every revision that was compacted at.
    pub(super) compactions: BTreeSet<i64>,
    /// Ids of the open watchers, by stream.
    pub(super) watchers: [Vec<i64>; 3],
}

pub(super) struct Generator {
    dice: Dice,
    keys: Vec<Bytes>,
    /// Keys put by the transaction under way, to keep most transactions valid.
    taken: Vec<Bytes>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let mut keys: Vec<Bytes> = [
            &b"a"[..],
            b"b",
            b"c",
            b"aa",
            b"ab",
            b"ab\0",
            b"b\xff",
            b"\0",
            b"\0\0",
            b"\xff",
            b"\xff\xff",
            b"k",
            b"\x80\x81",
            b"key/",
            b"not utf-8 \xc3\x28",
        ]
        .into_iter()
        .map(Bytes::from_static)
        .collect();
        keys.extend((0..8).map(|n| Bytes::from(format!("key/{n}"))));
        keys.push(Bytes::from(vec![b'z'; 300]));
        Self { dice: Dice::new(seed), keys, taken: Vec::new() }
    }

    pub(super) fn next(&mut self, known: &Known) -> Request {
        match self.dice.weighted(&[24, 4, 28, 5, 18, 1, 4, 2, 2, 3, 1, 2, 1, 3, 2, 1]) {
            0 => Request::Range(self.range(known)),
            1 => Request::RangeStream(self.range_stream(known)),
            2 => Request::Put(self.put()),
            3 => Request::DeleteRange(self.delete()),
            4 => {
                self.taken.clear();
                let mut txn = self.txn(known, 3);
                if deletes_to_the_end(&txn) {
                    keep_nothing(&mut txn);
                }
                Request::Txn(txn)
            }
            5 if self.dice.once_in(2) => Request::Compact(self.compact(known)),
            5 => Request::HashKv(HashKvRequest { revision: self.hash_revision(known) }),
            6 => Request::LeaseGrant(self.grant()),
            7 => Request::LeaseRoundTrip(self.brief_grant()),
            8 => Request::LeaseRevoke(LeaseRevokeRequest { id: self.lease() }),
            9 => Request::LeaseTimeToLive(LeaseTimeToLiveRequest {
                id: self.lease(),
                keys: self.dice.once_in(2),
            }),
            10 => Request::LeaseLeases,
            11 => Request::LeaseKeepAlive(self.lease()),
            12 => Request::Progress,
            13 => self.watch(known),
            14 => self.cancel(known),
            _ => Request::HashKv(HashKvRequest { revision: 0 }),
        }
    }

    fn key(&mut self) -> Bytes {
        if self.dice.once_in(150) { Bytes::new() } else { self.dice.pick(&self.keys).clone() }
    }

    fn range_end(&mut self, key: &Bytes) -> Bytes {
        match self.dice.weighted(&[6, 2, 2, 2]) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            2 => self.key(),
            _ => {
                let mut end = key.to_vec();
                match end.last_mut() {
                    Some(last) if *last < 0xff => *last += 1,
                    _ => end = vec![0],
                }
                end.into()
            }
        }
    }

    fn value(&mut self) -> Bytes {
        let length = match self.dice.weighted(&[20, 150, 25, 1]) {
            0 => 0,
            1 => 1 + self.dice.below(30),
            2 => self.dice.below(2000),
            _ => self.dice.below(100_000),
        };
        // Few different short values, so that comparisons by value hit.
        if length < 4 { vec![b'v'; length].into() } else { self.dice.bytes(length).into() }
    }

    fn lease(&mut self) -> i64 {
        match self.dice.below(40) {
            0 => 0,
            1 => -1,
            2 => 999_999,
            _ => *self.dice.pick(&LEASES),
        }
    }

    /// Mostly now; also old, compacted, future and senseless ones.
    fn revision(&mut self, known: &Known) -> i64 {
        match self.dice.weighted(&[40, 6, 25, 3, 3, 2, 1, 1]) {
            0 => 0,
            1 => known.revision,
            2 => self.dice.between(known.compacted.max(1).min(known.revision), known.revision),
            3 => known.compacted,
            4 => known.compacted - 1,
            5 => known.revision + self.dice.between(1, 3),
            6 => -self.dice.between(1, 5),
            _ => i64::MAX,
        }
    }

    /// Not one that was compacted at: for those etcd answers what it computed while compacting, once it has done so.
    fn hash_revision(&mut self, known: &Known) -> i64 {
        let revision = self.revision(known);
        if known.compactions.contains(&revision) { 0 } else { revision }
    }

    fn bound(&mut self, known: &Known) -> i64 {
        match self.dice.below(12) {
            0 => self.dice.between(1, known.revision.max(1)),
            1 => known.revision - self.dice.between(0, 20),
            2 => -1,
            _ => 0,
        }
    }

    fn range(&mut self, known: &Known) -> RangeRequest {
        let key = self.key();
        let sorted = self.dice.once_in(3);
        RangeRequest {
            range_end: if self.dice.once_in(3) { Bytes::new() } else { self.range_end(&key) },
            key,
            limit: match self.dice.below(6) {
                0 => self.dice.between(1, 5),
                1 => self.dice.between(1, 30),
                2 if self.dice.once_in(10) => -1,
                2 if self.dice.once_in(10) => i64::MAX,
                _ => 0,
            },
            revision: self.revision(known),
            sort_order: self.enumeration(sorted, 2),
            sort_target: self.enumeration(sorted, 4),
            serializable: self.dice.once_in(3),
            keys_only: self.dice.once_in(6),
            count_only: self.dice.once_in(10),
            min_mod_revision: self.bound(known),
            max_mod_revision: self.bound(known),
            min_create_revision: self.bound(known),
            max_create_revision: self.bound(known),
        }
    }

    /// 0 to `last` when `wanted`, else 0; now and then a number that means nothing.
    fn enumeration(&mut self, wanted: bool, last: i64) -> i32 {
        let number = match (self.dice.below(200), wanted) {
            (0, _) => *self.dice.pick(&[last + 1, -1, 77, i64::from(i32::MAX)]),
            (_, true) => self.dice.between(0, last),
            _ => 0,
        };
        i32::try_from(number).expect("small")
    }

    fn range_stream(&mut self, known: &Known) -> RangeRequest {
        let mut range = self.range(known);
        if !self.dice.once_in(10) {
            // What a stream does not support is refused; mostly ask for what it does.
            (range.sort_order, range.sort_target) = (0, 0);
            (range.min_mod_revision, range.max_mod_revision) = (0, 0);
            (range.min_create_revision, range.max_create_revision) = (0, 0);
        }
        if range.sort_order == 0 && (1..=4).contains(&range.sort_target) {
            // etcd lets this pass and then sorts each chunk by itself, so that the answer depends on the chunks.
            range.sort_target = 0;
        }
        range
    }

    fn put(&mut self) -> PutRequest {
        let ignore_value = self.dice.once_in(20);
        let ignore_lease = self.dice.once_in(20);
        PutRequest {
            key: self.key(),
            value: if ignore_value && !self.dice.once_in(8) { Bytes::new() } else { self.value() },
            lease: if self.dice.once_in(5) && (!ignore_lease || self.dice.once_in(8)) {
                self.lease()
            } else {
                0
            },
            prev_kv: self.dice.once_in(3),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let key = self.key();
        let range_end = if self.dice.once_in(2) { Bytes::new() } else { self.range_end(&key) };
        DeleteRangeRequest { key, range_end, prev_kv: self.dice.once_in(2) }
    }

    fn txn(&mut self, known: &Known, depth: usize) -> TxnRequest {
        let compare = (0..self.dice.below(3)).map(|_| self.compare(known)).collect();
        let before = self.taken.len();
        let mut success = self.branch(known, depth);
        self.taken.truncate(before);
        let failure = self.branch(known, depth);
        if self.dice.once_in(120) {
            // At and over the limit of operations.
            let count = 127 + self.dice.below(4);
            success = (0..count)
                .map(|n| {
                    let put = PutRequest {
                        key: format!("many/{n:03}").into(),
                        value: self.value(),
                        ..Default::default()
                    };
                    RequestOp {
                        request: Some(if n % 2 == 0 {
                            Op::RequestPut(put)
                        } else {
                            Op::RequestRange(self.range(known))
                        }),
                    }
                })
                .collect();
        }
        TxnRequest { compare, success, failure }
    }

    fn branch(&mut self, known: &Known, depth: usize) -> Vec<RequestOp> {
        (0..self.dice.weighted(&[3, 5, 4, 2, 1])).map(|_| self.op(known, depth)).collect()
    }

    fn op(&mut self, known: &Known, depth: usize) -> RequestOp {
        let request = match self.dice.weighted(&[60, 100, 25, if depth > 1 { 25 } else { 0 }, 1]) {
            0 => {
                let mut range = self.range(known);
                if !self.dice.once_in(10) {
                    range.revision = 0;
                }
                Some(Op::RequestRange(range))
            }
            1 => {
                let mut put = self.put();
                let mut tries = 0;
                while self.taken.contains(&put.key) && tries < 20 && !self.dice.once_in(30) {
                    put.key = self.key();
                    tries += 1;
                }
                self.taken.push(put.key.clone());
                Some(Op::RequestPut(put))
            }
            2 => {
                let mut delete = self.delete();
                if !self.dice.once_in(4) {
                    delete.range_end = Bytes::new();
                }
                self.taken.push(delete.key.clone());
                Some(Op::RequestDeleteRange(delete))
            }
            3 => Some(Op::RequestTxn(self.txn(known, depth - 1))),
            _ => None,
        };
        RequestOp { request }
    }

    fn compare(&mut self, known: &Known) -> Compare {
        let key = self.key();
        let target = self.enumeration(true, 4);
        let number = self.dice.between(0, 3);
        let revision = self.dice.between(0, known.revision);
        // Sometimes the value does not belong to the target, or there is none.
        let union = if self.dice.once_in(25) { self.enumeration(true, 5) } else { target };
        Compare {
            result: self.enumeration(true, 3),
            target,
            range_end: if self.dice.once_in(3) { self.range_end(&key) } else { Bytes::new() },
            key,
            target_union: match union {
                0 => Some(TargetUnion::Version(number)),
                1 => Some(TargetUnion::CreateRevision(revision)),
                2 => Some(TargetUnion::ModRevision(revision)),
                3 => Some(TargetUnion::Value(self.value())),
                4 => Some(TargetUnion::Lease(self.lease())),
                _ => None,
            },
        }
    }

    fn compact(&mut self, known: &Known) -> CompactionRequest {
        let revision = match self.dice.weighted(&[6, 2, 1, 1, 1, 1]) {
            0 => known.revision - self.dice.between(0, 60),
            1 => known.revision,
            2 => known.compacted,
            3 => 0,
            4 => -1,
            _ => known.revision + 1,
        };
        CompactionRequest { revision, physical: self.dice.once_in(2) }
    }

    fn grant(&mut self) -> LeaseGrantRequest {
        let ttl = match self.dice.below(20) {
            0 => 9_000_000_000,
            1 => 9_000_000_001,
            2 => i64::MAX,
            _ => self.dice.between(20_000, 30_000),
        };
        LeaseGrantRequest { ttl, id: *self.dice.pick(&LEASES) }
    }

    /// Too short to live through the run, or with an id that the server chooses.
    fn brief_grant(&mut self) -> LeaseGrantRequest {
        if self.dice.once_in(2) {
            LeaseGrantRequest { ttl: 5000, id: 0 }
        } else {
            LeaseGrantRequest { ttl: *self.dice.pick(&[0, -1, 1, i64::MIN, 5]), id: 424_242 }
        }
    }

    fn watch(&mut self, known: &Known) -> Request {
        let stream = *self.dice.pick(&[ANY, PRESENT]);
        if known.watchers[stream].len() >= WATCHERS {
            return self.cancel(known);
        }
        let key = if self.dice.once_in(15) { Bytes::new() } else { self.key() };
        let start_revision = match self.dice.weighted(&[8, 8, 1, 1, 1, 1]) {
            0 => 0,
            1 => self.dice.between(known.compacted.max(1).min(known.revision), known.revision),
            // In etcd a watcher that ended with "compacted" keeps its place in the stream, and progress is never told again.
            2 if stream == ANY => self.dice.between(1, known.compacted.max(1)),
            3 => -1,
            4 if stream == ANY => known.revision + self.dice.between(1, 50),
            _ => known.revision,
        };
        let filters = match self.dice.below(8) {
            0 => vec![0],
            1 => vec![1],
            // Nothing is ever delivered, so nothing would prove that it has caught up.
            2 if start_revision == 0 => vec![0, 1],
            3 => vec![9],
            _ => vec![],
        };
        let request = WatchCreateRequest {
            range_end: self.range_end(&key),
            key,
            start_revision,
            progress_notify: false,
            filters,
            prev_kv: self.dice.once_in(2),
            watch_id: match self.dice.below(4) {
                0 => self.dice.between(1, 60),
                1 => i64::MAX - self.dice.between(0, 9),
                2 if self.dice.once_in(4) => -self.dice.between(2, 9),
                _ => 0,
            },
            fragment: self.dice.once_in(2),
        };
        Request::Watch(stream, request)
    }

    fn cancel(&mut self, known: &Known) -> Request {
        let stream = *self.dice.pick(&[ANY, PRESENT]);
        // The first watcher of a stream stays.
        let open = &known.watchers[stream];
        let id = if open.len() > 1 && !self.dice.once_in(8) {
            open[1 + self.dice.below(open.len() - 1)]
        } else {
            123_456
        };
        Request::CancelWatch(stream, id)
    }
}

/// etcd's check for a put in a deleted range overlooks deletes without an upper end. Together with a put that keeps
/// the old value or lease that is fatal: etcd 3.7.1 panics (index out of range in txn.put).
fn deletes_to_the_end(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Op::RequestDeleteRange(delete)) => delete.range_end[..] == *b"\0",
        Some(Op::RequestTxn(nested)) => deletes_to_the_end(nested),
        _ => false,
    })
}

fn keep_nothing(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Op::RequestPut(put)) => (put.ignore_value, put.ignore_lease) = (false, false),
            Some(Op::RequestTxn(nested)) => keep_nothing(nested),
            _ => {}
        }
    }
}
