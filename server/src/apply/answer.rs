//! What comes out of an applied request.

use api::etcdserverpb::ResponseHeader;
use bytes::BytesMut;

use crate::grpc::{Frame, Status};
use crate::kv::Failure;
use crate::kv::service::build;

/// How a request ended. Without a waiting caller there is no frame.
pub(super) enum Answer {
    /// Executed.
    Done(Option<Frame>),
    /// Executed, but the caller wants to wait until compaction is done physically.
    AfterCompaction,
    /// Executed, but the answer is larger than a message can be.
    Unsendable(Status),
}

/// What an answer is made with.
pub(super) struct Desk<'m> {
    /// The arena of frames; empty between answers.
    pub(super) buffer: &'m mut BytesMut,
    /// Ids and term of every header.
    pub(super) header: ResponseHeader,
    /// Whether somebody waits.
    pub(super) wanted: bool,
}

impl Desk<'_> {
    /// Header of an answer.
    pub(super) fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader { revision, ..self.header }
    }

    /// A message made at once.
    pub(super) fn message(&mut self, message: &impl prost::Message) -> Answer {
        Answer::Done(self.wanted.then(|| Frame::encode(message, self.buffer)))
    }

    /// Runs `body`, which appends a message if it is given a buffer, and makes a frame of what it appended.
    pub(super) fn build(
        &mut self,
        body: impl FnOnce(Option<&mut BytesMut>) -> Result<(), Failure>,
    ) -> Result<Answer, Failure> {
        if !self.wanted {
            body(None)?;
            return Ok(Answer::Done(None));
        }
        let frame = build(self.buffer, |out| body(Some(out)))?;
        Ok(Answer::Done(Some(frame)))
    }
}

/// What storage damage looks like to a caller, if it can still be told.
pub(crate) fn damaged(error: &engine::Error) -> Status {
    Status::new(crate::grpc::Code::Internal, format!("etcdserver: storage is damaged: {error}"))
}
