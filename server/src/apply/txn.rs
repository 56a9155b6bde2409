//! Transactions that write.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, ResponseHeader, TxnRequest};
use bytes::BytesMut;
use engine::{Change, Contents, KeyRange, Write};

use super::answer::{Answer, Desk};
use super::{delete, put};
use crate::grpc::{self, Code, Status};
use crate::kv::{
    Failure, MAX_MESSAGE_BYTES, Path, RESPONSE_RANGE, RESPONSES, SUCCEEDED, TXN_HEADER, append_range,
    check_revision,
};
use crate::metrics::{Executed, Operations};
use crate::wire;

// Fields of ResponseOp.
const RESPONSE_PUT: u32 = 2;
const RESPONSE_DELETE_RANGE: u32 = 3;
const RESPONSE_TXN: u32 = 4;

/// Compares, validates the chosen way, then executes it. etcd does so in two transactions, one that reads and one
/// that writes; both are counted.
pub(super) fn execute(
    mut write: Write<'_>,
    txn: &TxnRequest,
    desk: &mut Desk<'_>,
    executed: &mut Executed,
    changes: &mut Vec<Change>,
) -> Result<Answer, Failure> {
    let start = write.view_current();
    let path = Path::of(start, txn)?;
    let mut looked = Operations { ranges: path.compared, ..Operations::default() };
    let checked = check(start, txn, &path, &mut looked, &mut Vec::new());
    executed.add(looked);
    checked?;
    let mut responses = BytesMut::new();
    let mut counted = Operations::default();
    let mut too_large = None;
    run(&mut write, txn, &path, &mut counted, &mut too_large, desk.wanted.then_some(&mut responses))?;
    executed.add(counted);
    let revision = write.finish_into(changes)?;
    if let Some(status) = too_large {
        return Ok(Answer::Unsendable(status));
    }
    let header = desk.header(revision);
    desk.build(|out| {
        if let Some(out) = out {
            wire::message(out, TXN_HEADER, &header);
            wire::bool(out, SUCCEEDED, path.succeeded);
            out.extend_from_slice(&responses);
        }
        Ok(())
    })
}

/// Everything that could be refused on the way, looked for before the first write.
///
/// `open_ended` gathers the deletes without an upper end, which the check of the request lets overlap with puts: a
/// put that wants to keep the value of a key which such a delete removes before it is refused here. (etcd ends
/// in a panic there.)
fn check<'t>(
    start: Contents<'_>,
    txn: &'t TxnRequest,
    path: &Path,
    counted: &mut Operations,
    open_ended: &mut Vec<&'t DeleteRangeRequest>,
) -> Result<(), Failure> {
    let mut nested = path.nested.iter();
    for op in path.branch(txn) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_revision(start, range.revision)?,
            Some(Request::RequestPut(request)) => {
                put::check(start, request, counted)?;
                let deleted = |delete: &&DeleteRangeRequest| {
                    KeyRange::from_etcd(delete.key.clone(), delete.range_end.clone()).contains(&request.key)
                };
                if (request.ignore_value || request.ignore_lease) && open_ended.iter().any(deleted) {
                    return Err(grpc::KEY_NOT_FOUND.into());
                }
            }
            Some(Request::RequestDeleteRange(delete)) if delete.range_end[..] == b"\0"[..] => {
                open_ended.push(delete);
            }
            Some(Request::RequestTxn(txn)) => {
                let path = nested.next().expect("the path has a node for every nested transaction");
                check(start, txn, path, counted, open_ended)?;
            }
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

fn run(
    write: &mut Write<'_>,
    txn: &TxnRequest,
    path: &Path,
    counted: &mut Operations,
    too_large: &mut Option<Status>,
    mut out: Option<&mut BytesMut>,
) -> Result<(), Failure> {
    let mut nested = path.nested.iter();
    let none = ResponseHeader::default();
    for op in path.branch(txn) {
        // By now something may have been written, so an answer that can't be sent must not stop the execution.
        if out.as_ref().is_some_and(|out| out.len() > MAX_MESSAGE_BYTES) {
            too_large.get_or_insert_with(unsendable);
        }
        if too_large.is_some() {
            out = None;
        }
        match &op.request {
            // Reading changes nothing: only for the member whose client waits.
            Some(Request::RequestRange(range)) => {
                if let Some(out) = out.as_deref_mut() {
                    counted.ranges += 1;
                    let contents = write.view_current();
                    let header = ResponseHeader { revision: contents.revision(), ..none };
                    let appended = response(Some(out), RESPONSE_RANGE, |out| match out {
                        Some(out) => append_range(contents, range, &header, out),
                        None => Ok(()),
                    });
                    match appended {
                        // The range was checked before: only its size can be refused now.
                        Err(Failure::Refused(status)) => *too_large = Some(status),
                        other => other?,
                    }
                }
            }
            Some(Request::RequestPut(request)) => {
                counted.ranges += u64::from(put::looks_back(request));
                let run = |out: Option<&mut BytesMut>| put::execute(write, request, none, counted, out);
                response(out.as_deref_mut(), RESPONSE_PUT, run)?;
            }
            Some(Request::RequestDeleteRange(request)) => {
                let run = |out: Option<&mut BytesMut>| delete::execute(write, request, none, counted, out);
                response(out.as_deref_mut(), RESPONSE_DELETE_RANGE, run)?;
            }
            Some(Request::RequestTxn(txn)) => {
                let path = nested.next().expect("the path has a node for every nested transaction");
                response(out.as_deref_mut(), RESPONSE_TXN, |mut out| {
                    if let Some(out) = out.as_deref_mut() {
                        wire::message(out, TXN_HEADER, &none);
                        wire::bool(out, SUCCEEDED, path.succeeded);
                    }
                    run(write, txn, path, counted, too_large, out)
                })?;
            }
            None => {}
        }
    }
    Ok(())
}

fn unsendable() -> Status {
    let text = format!("grpc: trying to send message larger than max ({MAX_MESSAGE_BYTES})");
    Status::new(Code::ResourceExhausted, text)
}

/// One `ResponseOp` around what `body` appends.
fn response(
    out: Option<&mut BytesMut>,
    field: u32,
    body: impl FnOnce(Option<&mut BytesMut>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match out {
        None => body(None),
        Some(out) => wire::nested(out, RESPONSES, |out| wire::nested(out, field, |out| body(Some(out)))),
    }
}
