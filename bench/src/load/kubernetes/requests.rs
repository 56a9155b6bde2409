//! Requests as Kubernetes' storage makes them.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use bytes::Bytes;
use prost::Message;

/// Puts an object if its `mod_revision` is still the same; 0 creates it.
pub(super) fn put(key: &Bytes, mod_revision: i64, value: Bytes, lease: i64) -> Vec<u8> {
    let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
    txn(key, mod_revision, Request::RequestPut(put), mod_revision != 0)
}

/// Deletes an object if its `mod_revision` is still the same.
pub(super) fn delete(key: &Bytes, mod_revision: i64) -> Vec<u8> {
    let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
    txn(key, mod_revision, Request::RequestDeleteRange(delete), true)
}

/// A transaction on a `mod_revision`; where it is another one, the object may be read.
fn txn(key: &Bytes, mod_revision: i64, then: Request, reads_otherwise: bool) -> Vec<u8> {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(mod_revision)),
        ..Compare::default()
    };
    let operation = |request| RequestOp { request: Some(request) };
    let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    let failure = if reads_otherwise { vec![operation(Request::RequestRange(read))] } else { Vec::new() };
    TxnRequest { compare: vec![compare], success: vec![operation(then)], failure }.encode_to_vec()
}

/// The compactor's mark: put if nobody else has put it meanwhile.
pub(super) fn mark(key: &Bytes, version: i64, value: Bytes) -> Vec<u8> {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Version.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::Version(version)),
        ..Compare::default()
    };
    let operation = |request| vec![RequestOp { request: Some(request) }];
    let put = PutRequest { key: key.clone(), value, ..PutRequest::default() };
    let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    TxnRequest {
        compare: vec![compare],
        success: operation(Request::RequestPut(put)),
        failure: operation(Request::RequestRange(read)),
    }
    .encode_to_vec()
}

/// A page of a list, at a revision; 0 is the newest.
pub(super) fn page(from: Bytes, end: Bytes, limit: i64, revision: i64) -> Vec<u8> {
    RangeRequest { key: from, range_end: end, limit, revision, ..RangeRequest::default() }.encode_to_vec()
}

/// How many there are.
pub(super) fn count(from: Bytes, end: Bytes) -> Vec<u8> {
    RangeRequest { key: from, range_end: end, count_only: true, ..RangeRequest::default() }.encode_to_vec()
}
