//! Transactions: which way they go, and those that only read.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{RequestOp, ResponseHeader, TxnRequest};
use bytes::BytesMut;
use engine::Contents;

use super::compare::all_hold;
use super::failure::Failure;
use super::range::append_response;
use crate::grpc::{self, Status};
use crate::metrics::Operations;
use crate::wire;

// Fields of TxnResponse and ResponseOp.
pub(crate) const HEADER: u32 = 1;
pub(crate) const SUCCEEDED: u32 = 2;
pub(crate) const RESPONSES: u32 = 3;
pub(crate) const RESPONSE_RANGE: u32 = 1;

/// Which branches a transaction takes: its own, and those of the transactions nested in that branch, in order.
/// Every compare is held against the state before the first operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) succeeded: bool,
    /// Compares that were looked at, here and in what is nested.
    pub(crate) compared: u64,
    pub(crate) nested: Vec<Path>,
}

impl Path {
    /// Evaluates all compares.
    pub(crate) fn of(view: Contents<'_>, txn: &TxnRequest) -> Result<Path, engine::Error> {
        let (succeeded, compared) = all_hold(view, &txn.compare)?;
        let mut path = Path { succeeded, compared: compared as u64, nested: Vec::new() };
        for op in path.branch(txn) {
            if let Some(Request::RequestTxn(txn)) = &op.request {
                let nested = Path::of(view, txn)?;
                path.compared += nested.compared;
                path.nested.push(nested);
            }
        }
        Ok(path)
    }

    /// The operations to execute.
    pub(crate) fn branch<'t>(&self, txn: &'t TxnRequest) -> &'t [RequestOp] {
        if self.succeeded { &txn.success } else { &txn.failure }
    }
}

/// True for a transaction that needn't go through the log: nothing but ranges in both branches.
pub(crate) fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// True if whichever way it goes it may put something.
pub(crate) fn may_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => may_put(nested),
        _ => false,
    })
}

/// True if every operation is a serializable range.
pub(crate) fn is_serializable(txn: &TxnRequest) -> bool {
    let serializable =
        |op: &RequestOp| matches!(&op.request, Some(Request::RequestRange(r)) if r.serializable);
    txn.success.iter().chain(&txn.failure).all(serializable)
}

/// Whether a range can be read at its revision. Unlike a range by itself, one with a negative revision below the
/// compact revision can't.
pub(crate) fn check_revision(view: Contents<'_>, revision: i64) -> Result<(), Status> {
    if revision == 0 {
        Ok(())
    } else if revision > view.revision() {
        Err(grpc::FUTURE_REV)
    } else if revision < view.compact_revision() {
        Err(grpc::COMPACTED)
    } else {
        Ok(())
    }
}

/// Appends the `TxnResponse` of a transaction that only reads.
pub(crate) fn append_read_only(
    view: Contents<'_>,
    txn: &TxnRequest,
    header: &ResponseHeader,
    counted: &mut Operations,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    let path = Path::of(view, txn)?;
    counted.ranges += path.compared;
    let ranges = || {
        path.branch(txn).iter().filter_map(|op| match &op.request {
            Some(Request::RequestRange(range)) => Some(range),
            _ => None,
        })
    };
    for range in ranges() {
        check_revision(view, range.revision)?;
    }
    wire::message(out, HEADER, header);
    wire::bool(out, SUCCEEDED, path.succeeded);
    let inner = ResponseHeader { revision: view.revision(), ..ResponseHeader::default() };
    for range in ranges() {
        counted.ranges += 1;
        wire::nested(out, RESPONSES, |out| {
            wire::nested(out, RESPONSE_RANGE, |out| append_response(view, range, &inner, out))
        })?;
    }
    Ok(())
}
