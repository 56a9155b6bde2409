//! The calls of one connection that are not answered in the turn they came in.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use h2::RecvStream;
use h2::server::SendResponse;
use http::HeaderValue;

use super::deframe::Deframer;
use super::method::Method;
use super::payload::Payload;
use super::request::Head;
use super::status::Status;
use super::streaming::StreamCall;
use super::wakers::{ConnectionWaker, SlotWaker};

/// What occupies a slot.
pub(crate) enum State {
    Vacant,
    /// A unary call whose request is not there yet.
    Reading(Box<Reading>),
    /// A unary call whose answer is not there yet.
    Pending(Pending),
    /// A streaming call.
    Stream(Box<StreamCall>),
}

pub(crate) struct Reading {
    pub(crate) head: Head,
    pub(crate) body: RecvStream,
    pub(crate) deframer: Deframer,
    pub(crate) respond: SendResponse<Payload>,
}

pub(crate) struct Pending {
    pub(crate) method: Method,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) respond: SendResponse<Payload>,
    pub(crate) due: Instant,
    pub(crate) late: Status,
}

impl State {
    /// When the slot wants to be looked at though nothing happened.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            State::Vacant => None,
            State::Reading(reading) => reading.head.metadata.deadline,
            State::Pending(pending) => Some(pending.due),
            State::Stream(call) => call.due(),
        }
    }
}

pub(crate) struct Slot {
    generation: u32,
    state: State,
    news: Arc<SlotWaker>,
    waker: Waker,
}

#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
}

impl Slots {
    /// The slot that the next `place` without one will take.
    pub(crate) fn next(&self) -> u32 {
        self.vacant.last().copied().unwrap_or(self.slots.len() as u32)
    }

    /// Occupies slot `next()`.
    pub(crate) fn occupy(&mut self, generation: u32, state: State, connection: &Arc<ConnectionWaker>) -> u32 {
        match self.vacant.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                debug_assert!(matches!(slot.state, State::Vacant));
                (slot.generation, slot.state) = (generation, state);
                index
            }
            None => {
                let index = self.slots.len() as u32;
                let news = SlotWaker::new(index, connection.clone());
                let waker = Waker::from(news.clone());
                self.slots.push(Slot { generation, state, news, waker });
                index
            }
        }
    }

    /// Puts back, possibly in another state and under a new generation, what `take` took.
    pub(crate) fn restore(&mut self, index: u32, generation: u32, state: State) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(matches!(slot.state, State::Vacant));
        (slot.generation, slot.state) = (generation, state);
    }

    /// Takes the state out to work on it. Must be followed by `restore` or `release`.
    pub(crate) fn take(&mut self, index: u32) -> (u32, State) {
        let slot = &mut self.slots[index as usize];
        (slot.generation, std::mem::replace(&mut slot.state, State::Vacant))
    }

    /// The slot is free for another call.
    pub(crate) fn release(&mut self, index: u32) {
        debug_assert!(matches!(self.slots[index as usize].state, State::Vacant));
        self.vacant.push(index);
    }

    /// The state, if the slot still has that generation.
    pub(crate) fn find(&self, index: u32, generation: u32) -> Option<&State> {
        let slot = self.slots.get(index as usize)?;
        (slot.generation == generation).then_some(&slot.state)
    }

    pub(crate) fn state(&self, index: u32) -> &State {
        self.slots.get(index as usize).map_or(&State::Vacant, |slot| &slot.state)
    }

    /// The waker for h2; notices from now on count as news.
    pub(crate) fn waker(&self, index: u32) -> Waker {
        let slot = &self.slots[index as usize];
        slot.news.rearm();
        slot.waker.clone()
    }

    /// Nobody asked for this news.
    pub(crate) fn quiet(&self, index: u32) {
        if let Some(slot) = self.slots.get(index as usize) {
            slot.news.rearm();
        }
    }

    /// Calls in progress.
    pub(crate) fn occupied(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Indices of all slots, vacant ones too.
    pub(crate) fn indices(&self) -> std::ops::Range<u32> {
        0..self.slots.len() as u32
    }
}
