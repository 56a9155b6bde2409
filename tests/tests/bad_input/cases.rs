//! Well-formed messages that ask for the wrong thing.

use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
};
use bytes::Bytes;

use crate::Call;

fn range(key: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), ..Default::default() }
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: "2".into(), ..Default::default() }
}

fn delete(key: &'static str, range_end: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn then(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..Default::default() }
}

fn otherwise(failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { failure, ..Default::default() }
}

fn nested(txn: TxnRequest) -> RequestOp {
    op(Op::RequestTxn(txn))
}

fn puts(keys: &[&'static str]) -> Vec<RequestOp> {
    keys.iter().map(|key| op(Op::RequestPut(put(key)))).collect()
}

fn many(count: usize) -> Vec<RequestOp> {
    (0..count)
        .map(|n| {
            op(Op::RequestRange(RangeRequest { key: Bytes::from(format!("{n}")), ..Default::default() }))
        })
        .collect()
}

/// A transaction whose compare does not hold, so that nothing in its success branch is done.
fn never(success: Vec<RequestOp>) -> TxnRequest {
    let compare =
        Compare { key: "a".into(), target_union: Some(TargetUnion::Version(99)), ..Default::default() };
    TxnRequest { compare: vec![compare], success, failure: vec![] }
}

pub(crate) fn all() -> Vec<(String, Call)> {
    let mut cases = Vec::new();
    reads(&mut cases);
    writes(&mut cases);
    txns(&mut cases);
    overlaps(&mut cases);
    sizes(&mut cases);
    revisions_and_leases(&mut cases);
    cases
}

type Cases = Vec<(String, Call)>;

fn reads(cases: &mut Cases) {
    let mut bad: Vec<(String, RangeRequest)> = vec![
        ("empty key".into(), range("")),
        ("empty key and end".into(), RangeRequest { range_end: "z".into(), ..range("") }),
        ("empty key and bad order".into(), RangeRequest { sort_order: 9, ..range("") }),
        ("future by one".into(), RangeRequest { revision: 7, ..range("a") }),
        ("future".into(), RangeRequest { revision: i64::MAX, ..range("a") }),
        ("compacted".into(), RangeRequest { revision: 3, ..range("a") }),
        ("long compacted".into(), RangeRequest { revision: 1, ..range("a") }),
        ("compacted count".into(), RangeRequest { revision: 3, count_only: true, ..range("a") }),
        ("compacted keys".into(), RangeRequest { revision: 3, keys_only: true, ..range("a") }),
        ("compacted serializable".into(), RangeRequest { revision: 3, serializable: true, ..range("a") }),
        ("compacted revision itself".into(), RangeRequest { revision: 4, ..range("c") }),
        ("negative revision".into(), RangeRequest { revision: -3, ..range("a") }),
        ("least revision".into(), RangeRequest { revision: i64::MIN, ..range("a") }),
        ("negative limit".into(), RangeRequest { limit: -1, range_end: "z".into(), ..range("a") }),
        ("greatest limit".into(), RangeRequest { limit: i64::MAX, range_end: "z".into(), ..range("a") }),
        ("least limit".into(), RangeRequest { limit: i64::MIN, range_end: "z".into(), ..range("a") }),
        ("end below key".into(), RangeRequest { range_end: "a".into(), ..range("b") }),
        ("end equal to key".into(), RangeRequest { range_end: "a".into(), ..range("a") }),
        ("zero key".into(), RangeRequest { range_end: "\0".into(), ..range("\0") }),
        (
            "count and keys".into(),
            RangeRequest { count_only: true, keys_only: true, range_end: "\0".into(), ..range("a") },
        ),
    ];
    for order in [3, -1, 77, i32::MAX, i32::MIN] {
        bad.push((format!("sort order {order}"), RangeRequest { sort_order: order, ..range("a") }));
    }
    for target in [5, -1, 77, i32::MAX, i32::MIN] {
        bad.push((format!("sort target {target}"), RangeRequest { sort_target: target, ..range("a") }));
    }
    for (name, request) in &bad {
        cases.push((format!("range, {name}"), Call::Range(request.clone())));
        cases.push((format!("range stream, {name}"), Call::RangeStream(request.clone())));
    }
    let filters = [
        ("min mod above max", RangeRequest { min_mod_revision: 6, max_mod_revision: 2, ..range("a") }),
        ("negative min mod", RangeRequest { min_mod_revision: -1, ..range("a") }),
        ("negative max mod", RangeRequest { max_mod_revision: -1, ..range("a") }),
        (
            "min create above max",
            RangeRequest { min_create_revision: 6, max_create_revision: 2, ..range("a") },
        ),
        ("negative max create", RangeRequest { max_create_revision: i64::MIN, ..range("a") }),
        ("descending", RangeRequest { sort_order: 2, ..range("a") }),
        ("by value", RangeRequest { sort_target: 4, ..range("a") }),
        ("ascending by key", RangeRequest { sort_order: 1, ..range("a") }),
    ];
    for (name, request) in filters {
        cases.push((format!("range, {name}"), Call::Range(request.clone())));
        cases.push((format!("range stream, {name}"), Call::RangeStream(request)));
    }
}

fn bad_puts() -> Vec<(&'static str, PutRequest)> {
    vec![
        ("empty key", put("")),
        ("kept value and a value", PutRequest { ignore_value: true, ..put("a") }),
        ("kept lease and a lease", PutRequest { ignore_lease: true, lease: 7, ..put("a") }),
        ("kept value of nothing", PutRequest { ignore_value: true, value: Bytes::new(), ..put("x") }),
        ("kept value of a deleted key", PutRequest { ignore_value: true, value: Bytes::new(), ..put("c") }),
        ("kept lease of nothing", PutRequest { ignore_lease: true, ..put("x") }),
        ("unknown lease", PutRequest { lease: 8, ..put("a") }),
        ("negative lease", PutRequest { lease: -7, ..put("a") }),
        (
            "unknown lease and kept value of nothing",
            PutRequest { lease: 8, ignore_value: true, value: Bytes::new(), ..put("x") },
        ),
    ]
}

fn writes(cases: &mut Cases) {
    for (name, request) in bad_puts() {
        cases.push((format!("put, {name}"), Call::Put(request)));
    }
    for (name, key, end) in [
        ("empty key", "", ""),
        ("empty key and end", "", "z"),
        ("end below key", "b", "a"),
        ("nothing there", "x", ""),
    ] {
        cases.push((format!("delete, {name}"), Call::DeleteRange(delete(key, end))));
    }
}

/// Every bad operation in every place a transaction has for it.
fn txns(cases: &mut Cases) {
    let mut bad: Vec<(String, RequestOp)> = bad_puts()
        .into_iter()
        .map(|(name, request)| (format!("put, {name}"), op(Op::RequestPut(request))))
        .collect();
    bad.push(("range, empty key".into(), op(Op::RequestRange(range("")))));
    bad.push(("range, bad sort".into(), op(Op::RequestRange(RangeRequest { sort_target: 9, ..range("a") }))));
    bad.push(("range, future".into(), op(Op::RequestRange(RangeRequest { revision: 99, ..range("a") }))));
    bad.push(("range, compacted".into(), op(Op::RequestRange(RangeRequest { revision: 3, ..range("a") }))));
    bad.push(("delete, empty key".into(), op(Op::RequestDeleteRange(delete("", "")))));
    bad.push(("nothing asked".into(), RequestOp { request: None }));
    type Place = (&'static str, fn(RequestOp) -> TxnRequest);
    let places: [Place; 5] = [
        ("success", |op| then(vec![op])),
        ("failure, not taken", |op| otherwise(vec![op])),
        ("success, not taken", |op| never(vec![op])),
        ("nested", |op| then(vec![nested(then(vec![op]))])),
        ("nested twice", |op| otherwise(vec![nested(then(vec![nested(then(vec![op]))]))])),
    ];
    for (place, wrap) in places {
        for (name, op) in &bad {
            cases.push((format!("txn, {place}: {name}"), Call::Txn(wrap(op.clone()))));
        }
        // A write before the bad operation must not stay.
        let mut both = wrap(op(Op::RequestRange(RangeRequest { revision: 99, ..range("a") })));
        if !both.success.is_empty() && both.compare.is_empty() {
            both.success.insert(0, op(Op::RequestPut(put("half"))));
            cases.push((format!("txn, {place}: a put, then a read of the future"), Call::Txn(both)));
        }
    }
    let compare = |key: &'static str| Compare { key: key.into(), ..Default::default() };
    let with = |compare: Compare| TxnRequest { compare: vec![compare], ..Default::default() };
    cases.push(("txn, compare without a key".into(), Call::Txn(with(compare("")))));
    cases
        .push(("txn, nested compare without a key".into(), Call::Txn(then(vec![nested(with(compare("")))]))));
    for result in [4, -1, i32::MAX] {
        let request = with(Compare { result, ..compare("a") });
        cases.push((format!("txn, compare result {result}"), Call::Txn(request)));
    }
    for target in [5, -1, i32::MAX] {
        let request = with(Compare { target, ..compare("a") });
        cases.push((format!("txn, compare target {target}"), Call::Txn(request)));
    }
    let unlike = Compare { target: 3, target_union: Some(TargetUnion::Version(1)), ..compare("a") };
    cases.push(("txn, compare of a value with a version".into(), Call::Txn(with(unlike))));
    let absent = Compare {
        target: 3,
        result: 3,
        target_union: Some(TargetUnion::Value("x".into())),
        ..compare("nope")
    };
    cases.push(("txn, value of an absent key is not x".into(), Call::Txn(with(absent))));
}

fn overlaps(cases: &mut Cases) {
    let del = |key, end| op(Op::RequestDeleteRange(delete(key, end)));
    let one = |key| puts(&[key]).remove(0);
    let sets: Vec<(&str, TxnRequest)> = vec![
        ("a key put twice", then(puts(&["x", "x"]))),
        ("a key put twice in the branch not taken", otherwise(puts(&["x", "x"]))),
        ("put and delete", then(vec![one("x"), del("x", "")])),
        ("delete and put", then(vec![del("x", ""), one("x")])),
        ("put in a deleted range", then(vec![one("x"), del("w", "z")])),
        ("put at the end of a deleted range: allowed, not taken", never(vec![one("z"), del("w", "z")])),
        ("put in a range deleted without an end, not taken", never(vec![one("x"), del("w", "\0")])),
        ("put and nested put", then(vec![one("x"), nested(then(puts(&["x"])))])),
        ("nested put and put", then(vec![nested(then(puts(&["x"]))), one("x")])),
        ("nested put in a deleted range", then(vec![del("w", "z"), nested(then(puts(&["x"])))])),
        ("put in a range deleted by a nested one", then(vec![nested(then(vec![del("w", "z")])), one("x")])),
        (
            "siblings that put one key",
            then(vec![nested(then(puts(&["x"]))), nested(otherwise(puts(&["x"])))]),
        ),
        (
            "a sibling that deletes before one that puts",
            then(vec![nested(then(vec![del("x", "")])), nested(then(puts(&["x"])))]),
        ),
        (
            "a sibling that puts before one that deletes, not taken",
            never(vec![nested(then(puts(&["x"]))), nested(then(vec![del("x", "")]))]),
        ),
        (
            "both branches of a nested one put one key, not taken",
            never(vec![nested(TxnRequest {
                success: puts(&["x"]),
                failure: puts(&["x"]),
                ..Default::default()
            })]),
        ),
        ("twice deep down", then(vec![nested(then(vec![nested(then(puts(&["x", "y", "x"])))]))])),
    ];
    for (name, request) in sets {
        cases.push((format!("txn, {name}"), Call::Txn(request)));
    }
}

fn sizes(cases: &mut Cases) {
    let compares = |n| vec![Compare { key: "a".into(), ..Default::default() }; n];
    let sets: Vec<(&str, TxnRequest)> = vec![
        ("128 operations", then(many(128))),
        ("129 operations", then(many(129))),
        ("129 operations not taken", otherwise(many(129))),
        ("129 compares", TxnRequest { compare: compares(129), ..Default::default() }),
        ("128 compares", TxnRequest { compare: compares(128), ..Default::default() }),
        ("128 and a nested one", then([many(127), vec![nested(then(many(1)))]].concat())),
        ("100 and 28 nested", then([many(99), vec![nested(then(many(28)))]].concat())),
        ("100 and 29 nested", then([many(99), vec![nested(then(many(29)))]].concat())),
        (
            "nested compares count",
            then(
                [many(99), vec![nested(TxnRequest { compare: compares(29), ..Default::default() })]].concat(),
            ),
        ),
        ("1000 operations", then(many(1000))),
    ];
    for (name, request) in sets {
        cases.push((format!("txn, {name}"), Call::Txn(request)));
    }
    let big = |length: usize| PutRequest { value: vec![b'x'; length].into(), ..put("big") };
    cases.push(("put of 1.5 MiB".into(), Call::Put(big(1_572_864))));
    cases.push(("put of 2 MiB less a little".into(), Call::Put(big(2_097_152 - 100))));
    cases.push(("put of 2 MiB".into(), Call::Put(big(2_097_152))));
    cases.push(("put of 4 MiB".into(), Call::Put(big(4_194_304))));
    let whole = then(vec![
        op(Op::RequestPut(big(1_000_000))),
        op(Op::RequestPut(PutRequest { key: "big2".into(), ..big(600_000) })),
    ]);
    cases.push(("txn of 1.6 MB".into(), Call::Txn(whole)));
    let key = PutRequest { key: vec![b'k'; 1_600_000].into(), ..put("") };
    cases.push(("put with a key of 1.6 MB".into(), Call::Put(key)));
    let key = RangeRequest { key: vec![b'k'; 1_600_000].into(), ..range("") };
    cases.push(("range with a key of 1.6 MB".into(), Call::Range(key)));
}

fn revisions_and_leases(cases: &mut Cases) {
    for revision in [0, -1, 1, 4, 7, i64::MAX, i64::MIN] {
        for physical in [false, true] {
            let name = format!("compact at {revision}, physical {physical}");
            cases.push((name, Call::Compact(CompactionRequest { revision, physical })));
        }
    }
    for revision in [1, 3, 7, i64::MAX] {
        cases.push((format!("hash at {revision}"), Call::HashKv(revision)));
    }
    for (ttl, id) in
        [(9_000_000_001, 0), (9_000_000_001, 9), (i64::MAX, 0), (60, 7), (0, 7), (-1, 7), (9_000_000_001, 7)]
    {
        cases.push((format!("grant of lease {id} for {ttl}"), Call::Grant(LeaseGrantRequest { ttl, id })));
    }
    for id in [0, 8, -1, -7, i64::MAX, i64::MIN] {
        cases.push((format!("revoke of lease {id}"), Call::Revoke(id)));
        cases.push((format!("keep-alive of lease {id}"), Call::KeepAlive(id)));
        cases.push((format!("time to live of lease {id}"), Call::TimeToLive(id)));
    }
}
