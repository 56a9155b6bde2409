//! The boundary between the front end and the services behind it.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::frame::Frame;
use super::metadata::Metadata;
use super::method::Method;
use super::status::Status;
use crate::http::{HttpOutcome, HttpRequest};
use crate::loops::{LoopId, WakeTarget};

/// Everything behind the front end. All functions are called on a loop's thread and must not block: a loop that waits
/// holds up every connection it has.
pub trait Services: Send + Sync + 'static {
    /// Whether `method` is served. One that is not answers Unimplemented as if it did not exist.
    fn serves(&self, method: Method) -> bool {
        let _ = method;
        true
    }

    /// One unary call with its request message (protobuf bytes, size already checked).
    fn unary(&self, call: Call<'_>, request: Bytes) -> Outcome;

    /// The end of a turn in which `unary` was told that a call is alone. What it left for another thread may be done
    /// now, on the loop's, if that call is still alone (`here`), else that thread has to hear of it. Whether it was
    /// done: then its answer is in the inbox.
    fn settle(&self, here: bool) -> bool {
        let _ = here;
        false
    }

    /// A streaming call was opened. Its messages follow through the `Stream`.
    fn open_stream(&self, call: Call<'_>, waker: StreamWaker) -> Result<Box<dyn Stream>, Status>;

    /// One HTTP/1.1 request.
    fn http(&self, request: HttpRequest) -> HttpOutcome;

    /// Called once on each loop's thread before it takes connections.
    fn on_loop_start(&self, id: LoopId) {
        let _ = id;
    }

    /// An item that was posted to this loop (`LoopInbox::post`), in the order of posting, before woken streams run.
    fn on_post(&self, id: LoopId, item: Arc<dyn Any + Send + Sync>) {
        let _ = (id, item);
    }
}

/// One RPC as a service sees it.
pub struct Call<'a> {
    /// Which RPC.
    pub method: Method,
    /// Names the call when it is answered later. For a stream: only its loop is of use.
    pub id: CallId,
    /// What the client sent along.
    pub metadata: &'a Metadata,
    /// The time when this turn of the connection began.
    pub now: Instant,
    /// The loop has served nothing but such calls of this connection for a while, one at a time.
    pub alone: bool,
    /// The loop's arena: build answers at its end and split them off (`Frame::encode`, `Frame::build`).
    pub buffer: &'a mut BytesMut,
}

/// Names one call in progress, on any thread. Never names another call later: answers that come too late are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    pub(crate) loop_id: LoopId,
    pub(crate) connection: u32,
    pub(crate) slot: u32,
    /// Counts the calls of the loop; two calls of one slot differ in it.
    pub(crate) generation: u32,
}

impl CallId {
    /// The loop that owns the call's connection.
    pub fn loop_id(self) -> LoopId {
        self.loop_id
    }

    /// An id that names no call, for calls made inside the server and for tests; completing it does nothing.
    pub fn nobody() -> CallId {
        CallId { loop_id: LoopId(u16::MAX), connection: u32::MAX, slot: u32::MAX, generation: 0 }
    }
}

/// What became of a unary call.
#[derive(Debug)]
pub enum Outcome {
    /// The answer.
    Ready(Result<Frame, Status>),
    /// The answer comes through `Completions` under the call's id. If it has not come within `limit`, the client gets
    /// `late` and the answer is dropped when it comes.
    Pending {
        /// How long at most, counted from `Call::now`.
        limit: Duration,
        /// What the client gets then.
        late: Status,
    },
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Outcome {
        Outcome::Ready(Err(status))
    }
}

impl From<Frame> for Outcome {
    fn from(frame: Frame) -> Outcome {
        Outcome::Ready(Ok(frame))
    }
}

/// A streaming call. Lives on its loop's thread; dropped when the call ends for any reason (finished, client reset,
/// deadline, connection gone, server stopping).
pub trait Stream {
    /// The client sent a message. Called even when `out` is not ready; a bidirectional stream that can not answer now
    /// must keep what it needs, bounded.
    fn message(&mut self, message: Bytes, out: &mut StreamOut<'_>);

    /// The client will send no more. The stream stays open until `out.finish`.
    fn half_closed(&mut self, out: &mut StreamOut<'_>);

    /// The waker was called, the time set with `wake_at` came, or `out` became ready again after it was not.
    fn wake(&mut self, out: &mut StreamOut<'_>);
}

/// The sending side of a stream during one call into it.
pub struct StreamOut<'a> {
    pub(crate) state: &'a mut StreamState,
    pub(crate) buffer: &'a mut BytesMut,
    pub(crate) now: Instant,
}

/// What a stream asked for and what it still holds; kept by the connection between calls.
#[derive(Debug, Default)]
pub(crate) struct StreamState {
    pub(crate) outbox: Vec<Frame>,
    /// Bytes in `outbox` and below it that the client has not taken.
    pub(crate) buffered: usize,
    pub(crate) bound: usize,
    /// `ready` said no: call `wake` when the client has taken enough.
    pub(crate) starved: bool,
    pub(crate) finish: Option<Status>,
    pub(crate) wake_at: Option<Instant>,
}

impl StreamOut<'_> {
    /// True while less than the bound (1 MiB unless configured) waits for the client. After it said no, `wake` is
    /// called once the client has taken enough. Whoever sends without asking is not stopped, but owns the memory.
    pub fn ready(&mut self) -> bool {
        let ready = self.state.buffered < self.state.bound;
        self.state.starved |= !ready;
        ready
    }

    /// Appends one response message.
    pub fn send(&mut self, frame: Frame) {
        debug_assert!(self.state.finish.is_none(), "send after finish");
        self.state.buffered += frame.len();
        self.state.outbox.push(frame);
    }

    /// Ends the call after what was sent. `Status::OK` is success. The stream is dropped after this turn.
    pub fn finish(&mut self, status: Status) {
        self.state.finish.get_or_insert(status);
    }

    /// Calls `wake` at `at`. One timer a stream: a later call replaces an earlier one.
    pub fn wake_at(&mut self, at: Instant) {
        self.state.wake_at = Some(at);
    }

    /// The loop's arena to build frames in.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer
    }

    /// The time when this turn of the connection began.
    pub fn now(&self) -> Instant {
        self.now
    }
}

/// Wakes a stream from any thread. Cheap; many wakes before the stream runs are one.
#[derive(Clone)]
pub struct StreamWaker {
    pub(crate) target: Arc<WakeTarget>,
}

impl StreamWaker {
    /// Has `Stream::wake` called soon, on the stream's loop. Does nothing once the stream has ended.
    pub fn wake(&self) {
        self.target.wake();
    }

    /// The loop the stream lives on.
    pub fn loop_id(&self) -> LoopId {
        self.target.loop_id()
    }
}

impl std::fmt::Debug for StreamWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StreamWaker").field(&self.target.id).finish()
    }
}
