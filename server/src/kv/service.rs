//! The KV service.

use api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};
use bytes::{Bytes, BytesMut};
use prost::Message;
use replication::Room;

use super::failure::Failure;
use super::proposal::Operation;
use super::range::append_response;
use super::txn::{append_read_only, is_read_only, is_serializable, may_put};
use super::validate::{check_delete, check_put, check_range, check_txn};
use crate::authorise::{Access, authorise};
use crate::grpc::{self, Call, Frame, Outcome, Status};
use crate::member::{ParkedRead, Shared};
use crate::metrics::Operations;

/// Decodes a request, or answers that it can't be.
macro_rules! decode {
    ($message:ty, $request:expr) => {
        match <$message>::decode($request) {
            Ok(request) => request,
            Err(error) => return Status::undecodable(&error).into(),
        }
    };
}
pub(crate) use decode;

/// Answers a refusal right away.
macro_rules! require {
    ($check:expr) => {
        if let Err(status) = $check {
            return Outcome::from(Status::from(status));
        }
    };
}
pub(crate) use require;

/// A frame of what `body` appends. A body that fails leaves nothing behind in the arena.
pub(crate) fn build(
    buffer: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> Result<(), Failure>,
) -> Result<Frame, Failure> {
    let mut frame = Frame::build(buffer);
    match body(frame.buffer()) {
        Ok(()) => Ok(frame.finish()),
        Err(failure) => {
            buffer.clear();
            Err(failure)
        }
    }
}

impl Shared {
    pub(crate) fn range(&self, call: Call<'_>, request: Bytes) -> Outcome {
        let request = decode!(RangeRequest, request);
        if self.status.is_learner() && !request.serializable {
            return grpc::NOT_SUPPORTED_FOR_LEARNER.into();
        }
        require!(check_range(&request));
        require!(authorise(call.metadata, Access::Range(&request)));
        if request.serializable {
            return Outcome::Ready(self.answer_range(&request, call.buffer));
        }
        match self.park(call.id, ParkedRead::Range(request)) {
            Ok(read) => Outcome::Ready(self.answer_read(&read, call.buffer)),
            Err(pending) => pending,
        }
    }

    /// Runs a read whose turn has come.
    pub(crate) fn answer_read(&self, read: &ParkedRead, buffer: &mut BytesMut) -> Result<Frame, Status> {
        match read {
            ParkedRead::Range(request) => self.answer_range(request, buffer),
            ParkedRead::Txn(request) => self.answer_read_only(request, buffer),
            ParkedRead::Members => Ok(self.answer_members(buffer)),
        }
    }

    fn answer_range(&self, request: &RangeRequest, buffer: &mut BytesMut) -> Result<Frame, Status> {
        Operations { ranges: 1, ..Operations::default() }.report(&self.metrics);
        let view = self.reader.view();
        let header = self.header(view.revision());
        build(buffer, |out| append_response(view.contents(), request, &header, out))
            .map_err(|failure| self.status_of(failure))
    }

    fn answer_read_only(&self, txn: &TxnRequest, buffer: &mut BytesMut) -> Result<Frame, Status> {
        let view = self.reader.view();
        let header = self.header(view.revision());
        let mut counted = Operations::default();
        let answer = build(buffer, |out| append_read_only(view.contents(), txn, &header, &mut counted, out));
        counted.report(&self.metrics);
        answer.map_err(|failure| self.status_of(failure))
    }

    pub(crate) fn put(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(PutRequest, bytes.clone());
        require!(check_put(&request));
        require!(authorise(call.metadata, Access::Put(&request)));
        self.propose(call, Operation::Put, &bytes)
    }

    pub(crate) fn delete_range(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(DeleteRangeRequest, bytes.clone());
        require!(check_delete(&request));
        require!(authorise(call.metadata, Access::DeleteRange(&request)));
        self.propose(call, Operation::DeleteRange, &bytes)
    }

    pub(crate) fn txn(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(TxnRequest, bytes.clone());
        require!(check_txn(&request, self.limits.max_txn_ops));
        require!(authorise(call.metadata, Access::Txn(&request)));
        if !is_read_only(&request) {
            let room = if may_put(&request) { Room::Needs } else { Room::Frees };
            return self.propose_with(call, Operation::Txn, &bytes, room);
        }
        if is_serializable(&request) {
            return Outcome::Ready(self.answer_read_only(&request, call.buffer));
        }
        match self.park(call.id, ParkedRead::Txn(request)) {
            Ok(read) => Outcome::Ready(self.answer_read(&read, call.buffer)),
            Err(pending) => pending,
        }
    }

    pub(crate) fn compact(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        decode!(CompactionRequest, bytes.clone());
        require!(authorise(call.metadata, Access::Admin));
        self.propose(call, Operation::Compaction, &bytes)
    }
}
