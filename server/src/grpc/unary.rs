//! Unary calls: one message in, one answer out, mostly within one turn.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::HeaderValue;

use super::connection::Connection;
use super::deframe::Deframer;
use super::frame::{Frame, PREFIX};
use super::method::Method;
use super::payload::Payload;
use super::request::{DEADLINE, Head};
use super::service::{Call, CallId, Outcome};
use super::slots::{Pending, Reading, State};
use super::status::{Code, Status};

/// Requests of this size and more give their flow-control window back before they are answered. Smaller ones leave
/// that to the end of their stream, which costs nothing.
const LARGE: usize = 16 << 10;

/// The client ended its side without a (whole) message: grpc-go passes on what its reader said.
const NO_MESSAGE: Status = Status::fixed(Code::Unknown, "EOF");
const CUT_SHORT: Status = Status::fixed(Code::Unknown, "unexpected EOF");

impl Connection {
    pub(crate) fn open_unary(&mut self, head: Head, body: RecvStream, respond: SendResponse<Payload>) {
        let reading = Reading { head, body, deframer: Deframer::default(), respond };
        // Nearly always the request is there as a whole, and no slot is needed.
        match self.read(reading, &mut Context::from_waker(Waker::noop())) {
            Progress::Message(reading, message) => {
                self.late_ends.wait_for(reading.body);
                self.dispatch(reading.head, message, reading.respond, None)
            }
            Progress::Wait(reading) => {
                if let Some(deadline) = reading.head.metadata.deadline {
                    self.note_due(deadline);
                }
                let generation = self.home.next_generation();
                let index = self.slots.occupy(generation, State::Reading(Box::new(reading)), &self.waker);
                self.read_on(index);
            }
            Progress::Over => {}
        }
    }

    /// More of a request may be there.
    pub(crate) fn read_on(&mut self, index: u32) {
        let waker = self.slots.waker(index);
        let (generation, state) = self.slots.take(index);
        let State::Reading(reading) = state else { unreachable!("the caller looked at the slot") };
        match self.read(*reading, &mut Context::from_waker(&waker)) {
            Progress::Wait(reading) => {
                self.slots.restore(index, generation, State::Reading(Box::new(reading)));
            }
            Progress::Message(reading, message) => {
                self.late_ends.wait_for(reading.body);
                self.dispatch(reading.head, message, reading.respond, Some(index));
            }
            Progress::Over => self.slots.release(index),
        }
    }

    fn read(&mut self, mut reading: Reading, cx: &mut Context<'_>) -> Progress {
        let status = loop {
            match reading.body.poll_data(cx) {
                Poll::Pending => return Progress::Wait(reading),
                Poll::Ready(Some(Ok(chunk))) => {
                    let length = chunk.len();
                    reading.deframer.push(chunk);
                    let next = reading.deframer.next(self.home.options.max_receive_bytes);
                    if !matches!(next, Ok(Some(_))) || length >= LARGE {
                        // An error means that the stream is gone, which the next poll says.
                        let _ = reading.body.flow_control().release_capacity(length);
                    }
                    match next {
                        Ok(Some(message)) => return Progress::Message(reading, message),
                        Ok(None) => {}
                        Err(status) => break status,
                    }
                }
                Poll::Ready(Some(Err(_))) => return Progress::Over,
                Poll::Ready(None) if reading.deframer.is_partial() => break CUT_SHORT,
                Poll::Ready(None) => break NO_MESSAGE,
            }
        };
        self.refuse(&mut reading.respond, reading.head.content_type.as_ref(), 200, &status);
        Progress::Over
    }

    fn dispatch(&mut self, head: Head, message: Bytes, respond: SendResponse<Payload>, slot: Option<u32>) {
        let home = self.home.clone();
        let method = head.method;
        home.grpc().started(method);
        home.grpc().received(method, message.len());
        let generation = home.next_generation();
        let index = slot.unwrap_or_else(|| self.slots.next());
        let id = CallId { loop_id: home.id, connection: self.mailbox.index, slot: index, generation };
        let only = self.slots.occupied() == usize::from(slot.is_some());
        let alone = only && home.is_alone(self.mailbox.index);
        self.unsettled |= alone;
        let outcome = {
            let mut arena = home.arena.borrow_mut();
            let (metadata, buffer) = (&head.metadata, &mut *arena);
            home.services.unary(Call { method, id, metadata, now: self.now, alone, buffer }, message)
        };
        home.note_call(self.mailbox.index, only && matches!(outcome, Outcome::Pending { .. }));
        let (limit, late) = match outcome {
            Outcome::Pending { limit, late } => (limit, late),
            Outcome::Ready(answer) => {
                if let Some(index) = slot {
                    self.slots.release(index);
                }
                return self.answer(method, head.content_type, respond, answer);
            }
        };
        let ours = self.now + limit;
        let (due, late) = match head.metadata.deadline {
            Some(deadline) if deadline < ours => (deadline, DEADLINE),
            _ => (ours, late),
        };
        self.note_due(due);
        let pending = State::Pending(Pending { method, content_type: head.content_type, respond, due, late });
        match slot {
            Some(index) => self.slots.restore(index, generation, pending),
            None => {
                let taken = self.slots.occupy(generation, pending, &self.waker);
                debug_assert_eq!(taken, index);
            }
        }
        self.check_pending(index);
    }

    /// Frees the slot if the client has reset the call; otherwise hears of it when it does.
    pub(crate) fn check_pending(&mut self, index: u32) {
        let waker = self.slots.waker(index);
        let (generation, state) = self.slots.take(index);
        let State::Pending(mut pending) = state else { unreachable!("the caller looked at the slot") };
        match pending.respond.poll_reset(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.slots.restore(index, generation, State::Pending(pending)),
            Poll::Ready(_) => {
                self.home.grpc().handled(pending.method, Code::Canceled);
                self.slots.release(index);
            }
        }
    }

    /// An answer came through `Completions`.
    pub(crate) fn complete(&mut self, id: CallId, answer: Result<Frame, Status>) {
        if let Some(State::Pending(_)) = self.slots.find(id.slot, id.generation) {
            self.settle(id.slot, |_| answer);
        }
    }

    /// The time of a pending call is up.
    pub(crate) fn pending_due(&mut self, index: u32) {
        self.settle(index, Err);
    }

    /// Ends a unary call from this side, whether its request is there or not.
    pub(crate) fn end_unary(&mut self, index: u32, status: &Status) {
        match self.slots.state(index) {
            State::Pending(_) => self.settle(index, |_| Err(status.clone())),
            State::Reading(_) => {
                let (_, State::Reading(mut reading)) = self.slots.take(index) else {
                    unreachable!("the slot was looked at just now")
                };
                self.slots.release(index);
                self.refuse(&mut reading.respond, reading.head.content_type.as_ref(), 200, status);
            }
            _ => {}
        }
    }

    fn settle(&mut self, index: u32, answer: impl FnOnce(Status) -> Result<Frame, Status>) {
        let (_, State::Pending(pending)) = self.slots.take(index) else {
            unreachable!("the caller looked at the slot")
        };
        self.slots.release(index);
        self.answer(pending.method, pending.content_type, pending.respond, answer(pending.late));
    }

    fn answer(
        &mut self,
        method: Method,
        content_type: Option<HeaderValue>,
        mut respond: SendResponse<Payload>,
        answer: Result<Frame, Status>,
    ) {
        match answer {
            Ok(frame) => {
                self.policy.answered();
                self.home.grpc().sent(method, frame.len() - PREFIX);
                self.home.grpc().handled(method, Code::Ok);
                // An error means that the client has reset the call meanwhile.
                let _ = self.blocks.answer(&mut respond, content_type.as_ref(), frame, &self.account);
            }
            Err(status) => {
                self.home.grpc().handled(method, status.code);
                self.refuse(&mut respond, content_type.as_ref(), 200, &status);
            }
        }
    }

    pub(crate) fn refuse(
        &mut self,
        respond: &mut SendResponse<Payload>,
        content_type: Option<&HeaderValue>,
        http: u16,
        status: &Status,
    ) {
        self.policy.answered();
        // An error means that the client has reset the call meanwhile.
        let _ = self.blocks.refuse(respond, content_type, http, status);
    }
}

enum Progress {
    Message(Reading, Bytes),
    Wait(Reading),
    Over,
}
