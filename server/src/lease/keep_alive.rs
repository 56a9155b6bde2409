//! The keep-alive stream: one answer for each request, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use api::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse, ResponseHeader};
use bytes::Bytes;
use prost::Message;

use super::Renewal;
use crate::authorise::{Access, authorise};
use crate::grpc::{self, Code, Frame, Metadata, Status, Stream, StreamOut, StreamWaker};
use crate::member::Shared;

/// Requests a client may have waiting behind one whose answer isn't known yet.
const MOST_WAITING: usize = 65_536;

/// One call of LeaseKeepAlive.
pub(crate) struct KeepAlive {
    member: Arc<Shared>,
    metadata: Metadata,
    waker: StreamWaker,
    waiting: VecDeque<Waiting>,
    half_closed: bool,
}

struct Waiting {
    id: i64,
    /// As of when the request came, before its renewal: a lease that is revoked at a revision must not seem to have
    /// been renewed at a later one.
    header: ResponseHeader,
}

impl KeepAlive {
    pub(crate) fn new(member: Arc<Shared>, metadata: Metadata, waker: StreamWaker) -> KeepAlive {
        KeepAlive { member, metadata, waker, waiting: VecDeque::new(), half_closed: false }
    }

    fn advance(&mut self, out: &mut StreamOut<'_>) {
        while let Some(Waiting { id, header }) = self.waiting.front() {
            if !out.ready() {
                return;
            }
            let ttl = match self.member.lessor.renew(*id, &self.waker) {
                Renewal::Renewed(ttl) => {
                    self.member.metrics.debugging_lease_renewed_total.inc();
                    ttl
                }
                Renewal::Unknown => 0,
                Renewal::Expiring => return,
                Renewal::NotCounting => return out.finish(grpc::NO_LEADER),
            };
            let response = LeaseKeepAliveResponse { header: Some(*header), id: *id, ttl };
            let frame = Frame::encode(&response, out.buffer());
            out.send(frame);
            self.waiting.pop_front();
        }
        if self.half_closed {
            out.finish(Status::OK);
        }
    }
}

impl Stream for KeepAlive {
    fn message(&mut self, message: Bytes, out: &mut StreamOut<'_>) {
        let request = match LeaseKeepAliveRequest::decode(message) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("grpc: failed to unmarshal the received message: {error}");
                return out.finish(Status::new(Code::Internal, text));
            }
        };
        if let Err(status) = authorise(&self.metadata, Access::Lease(request.id)) {
            return out.finish(status);
        }
        if self.waiting.len() == MOST_WAITING {
            return out.finish(Status::fixed(Code::ResourceExhausted, "etcdserver: too many requests"));
        }
        self.waiting.push_back(Waiting { id: request.id, header: self.member.header_now() });
        if self.waiting.len() == 1 {
            self.advance(out);
        }
    }

    fn half_closed(&mut self, out: &mut StreamOut<'_>) {
        self.half_closed = true;
        if self.waiting.is_empty() {
            out.finish(Status::OK);
        }
    }

    fn wake(&mut self, out: &mut StreamOut<'_>) {
        self.advance(out);
    }
}
