//! Streaming calls: messages in as the client sends them, messages out as it takes them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::HeaderValue;

use super::connection::Connection;
use super::deframe::Deframer;
use super::frame::PREFIX;
use super::method::{Kind, Method};
use super::payload::{Account, Payload};
use super::request::{DEADLINE, Head};
use super::service::{Call, CallId, Stream, StreamOut, StreamState, StreamWaker};
use super::slots::State;
use super::status::{Code, Status};
use crate::loops::WakeTarget;

const NO_REQUEST: Status = Status::fixed(
    Code::Internal,
    "cardinality violation: received no request message from non-client-streaming RPC",
);
const MANY_REQUESTS: Status = Status::fixed(
    Code::Internal,
    "cardinality violation: received multiple request messages for non-client-streaming RPC",
);
const CUT_SHORT: Status = Status::fixed(Code::Internal, "unexpected EOF");

pub(crate) struct StreamCall {
    method: Method,
    content_type: Option<HeaderValue>,
    answer: Answer,
    /// Gone once the client has said that no more follows.
    body: Option<RecvStream>,
    deframer: Deframer,
    /// A method with one request has had it.
    satisfied: bool,
    handler: Box<dyn Stream>,
    state: StreamState,
    account: Rc<Account>,
    target: Arc<WakeTarget>,
    deadline: Option<Instant>,
}

/// The response headers go out with the first message.
enum Answer {
    Unopened(SendResponse<Payload>),
    Open(SendStream<Payload>),
}

/// Whether the call goes on.
#[derive(PartialEq, Eq)]
enum Going {
    On,
    Over,
}

impl StreamCall {
    pub(crate) fn due(&self) -> Option<Instant> {
        match (self.deadline, self.state.wake_at) {
            (Some(deadline), Some(wake)) => Some(deadline.min(wake)),
            (deadline, wake) => deadline.or(wake),
        }
    }

    pub(crate) fn method(&self) -> Method {
        self.method
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.answer {
            Answer::Unopened(respond) => respond.poll_reset(cx),
            Answer::Open(send) => send.poll_reset(cx),
        };
        reset.map(drop)
    }

    /// Between calls into the handler everything it sent is on the account.
    fn is_full(&self) -> bool {
        self.account.unsent() >= self.state.bound
    }
}

impl Connection {
    pub(crate) fn open_stream(&mut self, head: Head, body: RecvStream, mut respond: SendResponse<Payload>) {
        let home = self.home.clone();
        home.grpc().started(head.method);
        let index = self.slots.next();
        let generation = home.next_generation();
        let id = CallId { loop_id: home.id, connection: self.mailbox.index, slot: index, generation };
        let target = Arc::new(WakeTarget { inbox: home.inbox.clone(), id, called: AtomicBool::new(false) });
        let opened = {
            let mut arena = home.arena.borrow_mut();
            let (metadata, buffer) = (&head.metadata, &mut *arena);
            let call = Call { method: head.method, id, metadata, now: self.now, alone: false, buffer };
            home.services.open_stream(call, StreamWaker { target: target.clone() })
        };
        let handler = match opened {
            Ok(handler) => handler,
            Err(status) => {
                home.grpc().handled(head.method, status.code);
                return self.refuse(&mut respond, head.content_type.as_ref(), 200, &status);
            }
        };
        let bound = home.options.stream_buffer;
        let call = StreamCall {
            method: head.method,
            content_type: head.content_type,
            answer: Answer::Unopened(respond),
            body: Some(body),
            deframer: Deframer::default(),
            satisfied: false,
            handler,
            state: StreamState { bound, ..StreamState::default() },
            account: Account::of_stream(self.unsent.clone(), index, bound / 2, self.relieved.clone()),
            target,
            deadline: head.metadata.deadline,
        };
        let taken = self.slots.occupy(generation, State::Stream(Box::new(call)), &self.waker);
        debug_assert_eq!(taken, index);
        self.pump(index);
    }

    /// The client sent or took something, or left.
    pub(crate) fn pump(&mut self, index: u32) {
        self.with_stream(index, |connection, call, cx| {
            if call.poll_reset(cx).is_ready() {
                return connection.leave(call);
            }
            if call.state.starved && call.account.unsent() <= call.state.bound / 2 {
                call.state.starved = false;
                connection.enter(call, |handler, out| handler.wake(out));
                if connection.emit(call) == Going::Over {
                    return Going::Over;
                }
            }
            connection.receive(call, cx)
        });
    }

    /// Somebody called the stream's waker.
    pub(crate) fn wake_stream(&mut self, id: CallId) {
        let Some(State::Stream(call)) = self.slots.find(id.slot, id.generation) else { return };
        call.target.called.store(false, Ordering::Release);
        self.with_stream(id.slot, |connection, call, _| {
            connection.enter(call, |handler, out| handler.wake(out));
            connection.emit(call)
        });
    }

    /// A time that the stream or its client set has come.
    pub(crate) fn stream_due(&mut self, index: u32) {
        let now = self.now;
        self.with_stream(index, |connection, call, _| {
            if call.deadline.is_some_and(|deadline| deadline <= now) {
                call.state.outbox.clear();
                call.state.finish = Some(DEADLINE);
            } else if call.state.wake_at.is_some_and(|at| at <= now) {
                call.state.wake_at = None;
                connection.enter(call, |handler, out| handler.wake(out));
            }
            connection.emit(call)
        });
    }

    /// Ends the stream from this side.
    pub(crate) fn end_stream(&mut self, index: u32, status: &Status) {
        self.with_stream(index, |connection, call, _| {
            call.state.finish.get_or_insert_with(|| status.clone());
            connection.emit(call)
        });
    }

    fn with_stream(
        &mut self,
        index: u32,
        work: impl FnOnce(&mut Connection, &mut StreamCall, &mut Context<'_>) -> Going,
    ) {
        if !matches!(self.slots.state(index), State::Stream(_)) {
            return;
        }
        let waker = self.slots.waker(index);
        let (generation, State::Stream(mut call)) = self.slots.take(index) else {
            unreachable!("the slot was looked at just now")
        };
        match work(self, &mut call, &mut Context::from_waker(&waker)) {
            Going::On => {
                if let Some(due) = call.due() {
                    self.note_due(due);
                }
                self.slots.restore(index, generation, State::Stream(call));
            }
            Going::Over => self.slots.release(index),
        }
    }

    /// Passes on what the client has sent, as long as it takes what it gets: a client that does not read its
    /// answers is not read either.
    fn receive(&mut self, call: &mut StreamCall, cx: &mut Context<'_>) -> Going {
        loop {
            while !call.is_full() {
                match call.deframer.next(self.home.options.max_receive_bytes) {
                    Ok(Some(message)) => {
                        if self.message(call, message) == Going::Over {
                            return Going::Over;
                        }
                    }
                    Ok(None) => break,
                    Err(status) => return self.fail(call, status),
                }
            }
            if call.is_full() {
                call.account.want_relief();
                return Going::On;
            }
            let Some(body) = &mut call.body else { return Going::On };
            match body.poll_data(cx) {
                Poll::Pending => return Going::On,
                Poll::Ready(Some(Ok(chunk))) => {
                    // An error means that the stream is gone, which the next poll says.
                    let _ = body.flow_control().release_capacity(chunk.len());
                    call.deframer.push(chunk);
                }
                Poll::Ready(Some(Err(_))) => return self.leave(call),
                Poll::Ready(None) => {
                    call.body = None;
                    if call.deframer.is_partial() {
                        return self.fail(call, CUT_SHORT);
                    }
                    if call.method.kind() == Kind::ServerStream && !call.satisfied {
                        return self.fail(call, NO_REQUEST);
                    }
                    self.enter(call, |handler, out| handler.half_closed(out));
                    return self.emit(call);
                }
            }
        }
    }

    fn message(&mut self, call: &mut StreamCall, message: bytes::Bytes) -> Going {
        if call.method.kind() == Kind::ServerStream && std::mem::replace(&mut call.satisfied, true) {
            return self.fail(call, MANY_REQUESTS);
        }
        self.home.grpc().received(call.method, message.len());
        self.enter(call, |handler, out| handler.message(message, out));
        self.emit(call)
    }

    fn enter(&self, call: &mut StreamCall, work: impl FnOnce(&mut dyn Stream, &mut StreamOut<'_>)) {
        if call.state.finish.is_some() {
            return;
        }
        call.state.buffered = call.account.unsent();
        let mut arena = self.home.arena.borrow_mut();
        let mut out = StreamOut { state: &mut call.state, buffer: &mut arena, now: self.now };
        work(&mut *call.handler, &mut out);
    }

    /// Gives h2 what the handler sent.
    fn emit(&mut self, call: &mut StreamCall) -> Going {
        match self.try_emit(call) {
            Ok(going) => going,
            Err(_) => self.leave(call),
        }
    }

    fn try_emit(&mut self, call: &mut StreamCall) -> Result<Going, h2::Error> {
        for frame in call.state.outbox.drain(..) {
            if let Answer::Unopened(respond) = &mut call.answer {
                call.answer = Answer::Open(self.blocks.begin(respond, call.content_type.as_ref())?);
            }
            let Answer::Open(send) = &mut call.answer else { unreachable!("opened just now") };
            self.policy.answered();
            self.home.grpc().sent(call.method, frame.len() - PREFIX);
            send.send_data(Payload::new(frame, &call.account), false)?;
        }
        if let Some(status) = call.state.finish.take() {
            match &mut call.answer {
                Answer::Open(send) => self.blocks.end(send, &status)?,
                Answer::Unopened(respond) => {
                    self.blocks.refuse(respond, call.content_type.as_ref(), 200, &status)?;
                }
            }
            self.home.grpc().handled(call.method, status.code);
            return Ok(Going::Over);
        }
        if call.state.starved {
            call.account.want_relief();
        }
        Ok(Going::On)
    }

    fn fail(&mut self, call: &mut StreamCall, status: Status) -> Going {
        call.state.finish = Some(status);
        self.emit(call)
    }

    /// The client is gone.
    fn leave(&self, call: &StreamCall) -> Going {
        self.home.grpc().handled(call.method, Code::Canceled);
        Going::Over
    }
}
