//! The checks that need nothing but the request, in etcd's order.

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

use super::overlap;
use crate::grpc::{self, Code, Status};

const STREAM_SORT_ORDER: Status =
    Status::fixed(Code::Unimplemented, "RangeStream does not support custom sort orders");
const STREAM_FILTERS: Status =
    Status::fixed(Code::Unimplemented, "RangeStream does not support revision filters");

/// etcd has no such bound of its own; ours is the engine's.
const KEY_TOO_LONG: Status = Status::fixed(Code::InvalidArgument, "etcdserver: key is too long");

/// A range: a key, and an order that exists.
pub(crate) fn check_range(request: &RangeRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        return Err(grpc::EMPTY_KEY);
    }
    if SortOrder::try_from(request.sort_order).is_err() || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(grpc::INVALID_SORT_OPTION);
    }
    Ok(())
}

/// A range stream: a range in key order without filters.
pub(crate) fn check_range_stream(request: &RangeRequest) -> Result<(), Status> {
    check_range(request)?;
    if !is_default_order(request) {
        return Err(STREAM_SORT_ORDER);
    }
    if has_revision_filters(request) {
        return Err(STREAM_FILTERS);
    }
    Ok(())
}

/// A put: a key that can be stored, and nothing given that shall be kept.
pub(crate) fn check_put(request: &PutRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        return Err(grpc::EMPTY_KEY);
    }
    if request.key.len() > engine::MAX_KEY_BYTES {
        return Err(KEY_TOO_LONG);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(grpc::VALUE_PROVIDED);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(grpc::LEASE_PROVIDED);
    }
    Ok(())
}

/// A delete: a key.
pub(crate) fn check_delete(request: &DeleteRangeRequest) -> Result<(), Status> {
    if request.key.is_empty() { Err(grpc::EMPTY_KEY) } else { Ok(()) }
}

/// A transaction: its size, each of its operations, and no key written twice in a branch.
pub(crate) fn check_txn(request: &TxnRequest, max_ops: usize) -> Result<(), Status> {
    check_operations(request, max_ops)?;
    overlap::check(&request.success)?;
    overlap::check(&request.failure)
}

/// A nested transaction may only use what its parents left of `budget`.
fn check_operations(request: &TxnRequest, budget: usize) -> Result<(), Status> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    if ops > budget {
        return Err(grpc::TOO_MANY_OPS);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(grpc::EMPTY_KEY);
    }
    request.success.iter().chain(&request.failure).try_for_each(|op| check_operation(op, budget - ops))
}

fn check_operation(op: &RequestOp, budget: usize) -> Result<(), Status> {
    match &op.request {
        Some(Request::RequestRange(range)) => check_range(range),
        Some(Request::RequestPut(put)) => check_put(put),
        Some(Request::RequestDeleteRange(delete)) => check_delete(delete),
        Some(Request::RequestTxn(txn)) => check_operations(txn, budget),
        None => Err(grpc::KEY_NOT_FOUND),
    }
}

/// Whether the order asked for is the order keys are found in. With order NONE this holds for every target:
/// etcd then fetches in key order first and sorts what it fetched.
pub(crate) fn is_default_order(request: &RangeRequest) -> bool {
    request.sort_order == SortOrder::None as i32
        || (request.sort_target == SortTarget::Key as i32 && request.sort_order == SortOrder::Ascend as i32)
}

/// Whether any of the four revision filters is on.
pub(crate) fn has_revision_filters(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}
