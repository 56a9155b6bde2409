//! Static checks with their texts, and the overlap rule against a brute-force oracle.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::validate::{check_delete, check_put, check_range, check_range_stream, check_txn};
use crate::grpc::{Code, Status};

fn range(edit: impl FnOnce(&mut RangeRequest)) -> RangeRequest {
    let mut request = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    edit(&mut request);
    request
}

fn put(edit: impl FnOnce(&mut PutRequest)) -> PutRequest {
    let mut request = PutRequest { key: "k".into(), ..PutRequest::default() };
    edit(&mut request);
    request
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put_op(key: &str) -> RequestOp {
    op(Request::RequestPut(PutRequest { key: key.to_string().into(), ..PutRequest::default() }))
}

fn delete_op(key: &str, end: &str) -> RequestOp {
    let (key, range_end) = (key.to_string().into(), end.to_string().into());
    op(Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false }))
}

fn txn_op(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    op(Request::RequestTxn(TxnRequest { compare: vec![], success, failure }))
}

fn success(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..TxnRequest::default() }
}

/// What is checked, how it came out, and how it should.
type Case<'c> = (&'c str, Result<(), Status>, Option<(Code, &'c str)>);

/// `None`: let through. Else the code and the text on the wire.
fn told(result: Result<(), Status>) -> Option<(Code, String)> {
    result.err().map(|status| (status.code, status.message.into_owned()))
}

#[test]
fn every_check_has_etcds_code_and_text() {
    use Code::{InvalidArgument, Unimplemented};
    let empty = Some((InvalidArgument, "etcdserver: key is not provided"));
    let long = Some((InvalidArgument, "etcdserver: key is too long"));
    let sort = Some((InvalidArgument, "etcdserver: invalid sort option"));
    let order = Some((Unimplemented, "RangeStream does not support custom sort orders"));
    let filters = Some((Unimplemented, "RangeStream does not support revision filters"));
    let value = Some((InvalidArgument, "etcdserver: value is provided"));
    let lease = Some((InvalidArgument, "etcdserver: lease is provided"));
    let missing = Some((InvalidArgument, "etcdserver: key not found"));
    let many = Some((InvalidArgument, "etcdserver: too many operations in txn request"));
    let duplicate = Some((InvalidArgument, "etcdserver: duplicate key given in txn request"));
    let ops = |count: usize| (0..count).map(|at| put_op(&at.to_string())).collect::<Vec<_>>();
    let no_key = || Compare::default();
    let nested = |outer: usize, inner: usize| {
        let mut list = ops(outer - 1);
        list.push(txn_op((0..inner).map(|_| op(Request::RequestRange(range(|_| {})))).collect(), vec![]));
        success(list)
    };
    let cases: Vec<Case<'_>> = vec![
        ("range", check_range(&range(|_| {})), None),
        ("range without key", check_range(&range(|r| r.key = Bytes::new())), empty),
        (
            "range without key, bad sort",
            check_range(&range(|r| (r.key, r.sort_order) = (Bytes::new(), 9))),
            empty,
        ),
        ("sort order 3", check_range(&range(|r| r.sort_order = 3)), sort),
        ("sort order -1", check_range(&range(|r| r.sort_order = -1)), sort),
        ("sort target 5", check_range(&range(|r| r.sort_target = 5)), sort),
        ("sort target max", check_range(&range(|r| r.sort_target = i32::MAX)), sort),
        ("negative limit and revision", check_range(&range(|r| (r.limit, r.revision) = (-1, -1))), None),
        ("stream", check_range_stream(&range(|_| {})), None),
        ("stream by key", check_range_stream(&range(|r| r.sort_order = 1)), None),
        ("stream, target without order", check_range_stream(&range(|r| r.sort_target = 3)), None),
        ("stream without key", check_range_stream(&range(|r| r.key = Bytes::new())), empty),
        ("stream, bad sort", check_range_stream(&range(|r| r.sort_order = 7)), sort),
        ("stream, descending", check_range_stream(&range(|r| r.sort_order = 2)), order),
        ("stream by value", check_range_stream(&range(|r| (r.sort_order, r.sort_target) = (1, 4))), order),
        ("stream, filter 1", check_range_stream(&range(|r| r.min_mod_revision = 1)), filters),
        ("stream, filter 2", check_range_stream(&range(|r| r.max_mod_revision = 1)), filters),
        ("stream, filter 3", check_range_stream(&range(|r| r.min_create_revision = -1)), filters),
        ("stream, filter 4", check_range_stream(&range(|r| r.max_create_revision = 1)), filters),
        ("put", check_put(&put(|_| {})), None),
        ("put without key", check_put(&put(|r| r.key = Bytes::new())), empty),
        ("put of the longest key", check_put(&put(|r| r.key = vec![1; engine::MAX_KEY_BYTES].into())), None),
        ("put of a longer key", check_put(&put(|r| r.key = vec![1; engine::MAX_KEY_BYTES + 1].into())), long),
        ("ignore value", check_put(&put(|r| (r.ignore_value, r.lease) = (true, 1))), None),
        ("ignore value with one", check_put(&put(|r| (r.ignore_value, r.value) = (true, "v".into()))), value),
        ("ignore lease with one", check_put(&put(|r| (r.ignore_lease, r.lease) = (true, 1))), lease),
        ("delete", check_delete(&DeleteRangeRequest { key: "k".into(), ..Default::default() }), None),
        ("delete without key", check_delete(&DeleteRangeRequest::default()), empty),
        ("empty txn", check_txn(&TxnRequest::default(), 128), None),
        ("txn of 128", check_txn(&success(ops(128)), 128), None),
        ("txn of 129", check_txn(&success(ops(129)), 128), many),
        (
            "129 in the other branch",
            check_txn(&TxnRequest { failure: ops(129), ..Default::default() }, 128),
            many,
        ),
        ("nested within budget", check_txn(&nested(100, 28), 128), None),
        ("nested above budget", check_txn(&nested(100, 29), 128), many),
        (
            "129 compares",
            check_txn(&TxnRequest { compare: vec![no_key(); 129], ..Default::default() }, 128),
            many,
        ),
        (
            "compare without key",
            check_txn(&TxnRequest { compare: vec![no_key()], ..Default::default() }, 128),
            empty,
        ),
        ("operation without content", check_txn(&success(vec![RequestOp::default()]), 128), missing),
        ("put without key in txn", check_txn(&success(vec![put_op("")]), 128), empty),
        (
            "nested delete without key",
            check_txn(&success(vec![txn_op(vec![], vec![delete_op("", "")])]), 128),
            empty,
        ),
        ("a put twice", check_txn(&success(vec![put_op("a"), put_op("a")]), 128), duplicate),
        ("put in deleted range", check_txn(&success(vec![put_op("b"), delete_op("a", "c")]), 128), duplicate),
        ("put at its end", check_txn(&success(vec![put_op("c"), delete_op("a", "c")]), 128), None),
        (
            "put after delete of all from it",
            check_txn(&success(vec![delete_op("a", "\0"), put_op("b")]), 128),
            None,
        ),
        (
            "overlapping deletes",
            check_txn(&success(vec![delete_op("a", "c"), delete_op("b", "d")]), 128),
            None,
        ),
        (
            "one key in both branches of a nested txn",
            check_txn(&success(vec![txn_op(vec![put_op("a")], vec![put_op("a")])]), 128),
            None,
        ),
        (
            "one key in siblings",
            check_txn(
                &success(vec![txn_op(vec![put_op("a")], vec![]), txn_op(vec![], vec![put_op("a")])]),
                128,
            ),
            duplicate,
        ),
        (
            "parent and child",
            check_txn(&success(vec![put_op("a"), txn_op(vec![], vec![put_op("a")])]), 128),
            duplicate,
        ),
        (
            "delete in the elder sibling",
            check_txn(
                &success(vec![txn_op(vec![delete_op("a", "")], vec![]), txn_op(vec![put_op("a")], vec![])]),
                128,
            ),
            duplicate,
        ),
        (
            "delete in the younger sibling",
            check_txn(
                &success(vec![txn_op(vec![put_op("a")], vec![]), txn_op(vec![delete_op("a", "")], vec![])]),
                128,
            ),
            None,
        ),
    ];
    for (name, result, expected) in cases {
        assert_eq!(told(result), expected.map(|(code, text)| (code, text.to_string())), "{name}");
    }
}

/// All single-letter keys a delete takes, as etcd's interval tree sees it.
fn deleted(delete: &DeleteRangeRequest) -> Vec<u8> {
    let inside = |key: &u8| match &delete.range_end[..] {
        b"" => *key == delete.key[0],
        end => delete.key[0] <= *key && *key < end[0],
    };
    (b'a'..=b'h').filter(inside).collect()
}

/// The rule of `overlap`, spelled out over lists: (puts, deleted keys) of a branch, or `None` for a conflict.
fn oracle(branch: &[RequestOp]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut deletes: Vec<u8> = branch
        .iter()
        .filter_map(|op| match &op.request {
            Some(Request::RequestDeleteRange(delete)) => Some(deleted(delete)),
            _ => None,
        })
        .flatten()
        .collect();
    let mut puts: Vec<u8> = Vec::new();
    for op in branch {
        let Some(Request::RequestTxn(txn)) = &op.request else { continue };
        let (puts_then, deletes_then) = oracle(&txn.success)?;
        let (puts_else, deletes_else) = oracle(&txn.failure)?;
        if puts_then.iter().chain(&puts_else).any(|key| puts.contains(key) || deletes.contains(key)) {
            return None;
        }
        puts.extend(puts_then);
        puts.extend(puts_else);
        deletes.extend(deletes_then);
        deletes.extend(deletes_else);
    }
    for op in branch {
        let Some(Request::RequestPut(put)) = &op.request else { continue };
        if puts.contains(&put.key[0]) || deletes.contains(&put.key[0]) {
            return None;
        }
        puts.push(put.key[0]);
    }
    Some((puts, deletes))
}

fn random_branch(random: &mut ChaCha8Rng, depth: u32) -> Vec<RequestOp> {
    let letter = |random: &mut ChaCha8Rng| char::from(b'a' + random.random_range(0..8)).to_string();
    (0..random.random_range(0..5))
        .map(|_| match random.random_range(0..10) {
            0..4 => put_op(&letter(random)),
            4 => delete_op(&letter(random), ""),
            5 | 6 => delete_op(&letter(random), &letter(random)),
            7 if random.random_bool(0.3) => delete_op(&letter(random), "\0"),
            8 | 9 if depth > 0 => txn_op(random_branch(random, depth - 1), random_branch(random, depth - 1)),
            _ => op(Request::RequestRange(range(|_| {}))),
        })
        .collect()
}

#[test]
fn overlap_agrees_with_brute_force() {
    let rounds: u64 = std::env::var("GRAVEN_OVERLAP_ROUNDS").map_or(20_000, |text| text.parse().unwrap());
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut conflicts, mut none) = (0, 0);
    for round in 0..rounds {
        let branch = random_branch(&mut random, 3);
        let expected = oracle(&branch).is_some();
        assert_eq!(super::overlap::check(&branch).is_ok(), expected, "round {round}: {branch:?}");
        if expected { none += 1 } else { conflicts += 1 }
    }
    assert!(conflicts * 5 > none && none * 5 > conflicts, "both answers are common: {conflicts} {none}");
}
