//! RangeStream: a range in chunks, all at one revision.
//!
//! Each chunk takes a view of its own, so that a client that reads slowly holds back no page of the store; if the
//! revision is compacted meanwhile, the stream ends with that error. Chunk sizes are etcd's: 10 keys first, twice
//! as many while a chunk is smaller than half of `--max-request-bytes`, half as many above twice that.

use std::sync::Arc;

use api::etcdserverpb::{RangeRequest, ResponseHeader};
use bytes::{Bytes, BytesMut};
use engine::{Contents, KeyRange};
use prost::Message;

use super::failure::Failure;
use super::range::{append_response, effective_revision};
use super::record::{append_key, append_record};
use super::service::build;
use super::validate::check_range_stream;
use crate::authorise::{Access, authorise};
use crate::grpc::{self, Frame, Metadata, Status, Stream, StreamOut, StreamWaker};
use crate::member::{ReadTurn, Shared};
use crate::metrics::Operations;
use crate::wire;

const FIRST_CHUNK_KEYS: usize = 10;

// Fields of RangeStreamResponse and RangeResponse.
const RANGE_RESPONSE: u32 = 1;
const HEADER: u32 = 1;
const KVS: u32 = 2;
const MORE: u32 = 3;
const COUNT: u32 = 4;

/// One call of RangeStream.
pub(crate) struct RangeStream {
    member: Arc<Shared>,
    metadata: Metadata,
    waker: StreamWaker,
    state: State,
}

enum State {
    /// Nothing asked yet.
    Idle,
    /// A linearizable read waits for its turn.
    Waiting(RangeRequest, ReadTurn),
    Sending(Cursor),
    Ended,
}

impl RangeStream {
    pub(crate) fn new(member: Arc<Shared>, metadata: Metadata, waker: StreamWaker) -> RangeStream {
        RangeStream { member, metadata, waker, state: State::Idle }
    }

    fn advance(&mut self, out: &mut StreamOut<'_>) {
        if let State::Waiting(_, turn) = &self.state {
            let result = match turn.result(out.now()) {
                None => return out.wake_at(turn.deadline()),
                Some(result) => result,
            };
            let State::Waiting(request, _) = std::mem::replace(&mut self.state, State::Ended) else { return };
            match result {
                Ok(()) => self.state = State::Sending(Cursor::new(request)),
                Err(status) => return out.finish(status),
            }
        }
        let State::Sending(cursor) = &mut self.state else { return };
        while out.ready() {
            let view = self.member.reader.view();
            match cursor.chunk(view.contents(), &self.member, out.buffer()) {
                Ok(Chunk { frame, last }) => {
                    out.send(frame);
                    if last {
                        self.state = State::Ended;
                        return out.finish(Status::OK);
                    }
                }
                Err(failure) => {
                    self.state = State::Ended;
                    return out.finish(self.member.status_of(failure));
                }
            }
        }
    }
}

impl Stream for RangeStream {
    fn message(&mut self, message: Bytes, out: &mut StreamOut<'_>) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        self.state = State::Ended;
        let request = match RangeRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return out.finish(Status::undecodable(&error)),
        };
        if let Err(status) = check_range_stream(&request) {
            return out.finish(status);
        }
        if let Err(status) = authorise(&self.metadata, Access::Range(&request)) {
            return out.finish(status);
        }
        if request.serializable {
            self.state = State::Sending(Cursor::new(request));
        } else {
            let waker = self.waker.clone();
            let turn = self.member.read_turn(out.now(), move || waker.wake());
            self.state = State::Waiting(request, turn);
        }
        self.advance(out);
    }

    fn half_closed(&mut self, out: &mut StreamOut<'_>) {
        if matches!(self.state, State::Idle) {
            // The client closed without asking anything.
            out.finish(Status::new(grpc::Code::Internal, "unexpected EOF"));
        }
    }

    fn wake(&mut self, out: &mut StreamOut<'_>) {
        self.advance(out);
    }
}

/// Where the stream stands between two chunks.
struct Cursor {
    request: RangeRequest,
    /// Keys the client still wants.
    wanted: usize,
    chunk: usize,
    sent: i64,
    /// Revision of the store and of the read, as of the first chunk.
    pinned: Option<(i64, i64)>,
}

struct Chunk {
    frame: Frame,
    last: bool,
}

impl Cursor {
    fn new(request: RangeRequest) -> Cursor {
        let wanted = match usize::try_from(request.limit) {
            Ok(limit) if limit > 0 => limit,
            _ => usize::MAX,
        };
        Cursor { request, wanted, chunk: FIRST_CHUNK_KEYS, sent: 0, pinned: None }
    }

    fn chunk(
        &mut self,
        view: Contents<'_>,
        member: &Shared,
        buffer: &mut BytesMut,
    ) -> Result<Chunk, Failure> {
        Operations { ranges: 1, ..Operations::default() }.report(&member.metrics);
        let (current, at) = match self.pinned {
            Some(pinned) => pinned,
            None => (view.revision(), effective_revision(view, self.request.revision)?),
        };
        self.pinned = Some((current, at));
        let header = member.header(current);
        if self.request.count_only {
            let frame = build(buffer, |out| {
                wire::nested(out, RANGE_RESPONSE, |out| append_response(view, &self.request, &header, out))
            })?;
            return Ok(Chunk { frame, last: true });
        }
        effective_revision(view, at)?;
        let mut last = true;
        let frame = build(buffer, |out| {
            last = self.append(view, at, &header, out, member.limits.max_request_bytes)?;
            Ok(())
        })?;
        Ok(Chunk { frame, last })
    }

    /// Appends the next chunk and moves on; true if it was the last one.
    fn append(
        &mut self,
        view: Contents<'_>,
        at: i64,
        header: &ResponseHeader,
        out: &mut BytesMut,
        target_bytes: usize,
    ) -> Result<bool, Failure> {
        let range = KeyRange::from_etcd(self.request.key.clone(), self.request.range_end.clone());
        let chunk = self.chunk.min(self.wanted);
        let before = out.len();
        let mut sent = 0;
        let mut more = false;
        // Where the next chunk begins, or what is left uncounted.
        let mut next = Vec::new();
        let mut last = true;
        wire::nested::<Failure>(out, RANGE_RESPONSE, |out| {
            let keys = view.range(&range, at);
            let mut keys = if self.request.keys_only { keys.heads_only() } else { keys };
            while let Some(item) = keys.try_next()? {
                if sent == chunk {
                    more = true;
                    break;
                }
                if self.request.keys_only {
                    append_key(out, KVS, item.key, &item.head);
                } else {
                    append_record(out, KVS, item.record()?);
                }
                sent += 1;
                if sent == chunk {
                    next = [item.key, b"\0"].concat();
                }
            }
            self.sent += sent as i64;
            self.wanted -= sent;
            last = !more || self.wanted == 0;
            if !last {
                return Ok(());
            }
            let mut count = self.sent;
            if more {
                let rest = KeyRange::from_etcd(next.clone().into(), self.request.range_end.clone());
                count += view.count(&rest, at)?.cast_signed();
            }
            wire::message(out, HEADER, header);
            wire::bool(out, MORE, more);
            wire::int64(out, COUNT, count);
            Ok(())
        })?;
        self.request.key = next.into();
        let size = out.len() - before;
        if size < target_bytes / 2 {
            self.chunk = self.chunk.saturating_mul(2);
        } else if size > target_bytes.saturating_mul(2) {
            self.chunk = (self.chunk / 2).max(1);
        }
        Ok(last)
    }
}
