//! What a turn of a client brought.

use std::ops::Range;
use std::time::Instant;

use super::failure::Failure;

/// What came back, with the bytes of its messages. Kept by the caller and used again for every turn.
#[derive(Debug, Default)]
pub(crate) struct Events {
    list: Vec<Stored>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Stored {
    connection: usize,
    tag: u64,
    at: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    Answer(Range<usize>),
    Message(Range<usize>),
    Ended,
    Failed(Box<Failure>),
}

/// Something that happened to a call or stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'e> {
    /// On which connection.
    pub(crate) connection: usize,
    /// What the caller calls it.
    pub(crate) tag: u64,
    /// When the bytes were read.
    pub(crate) at: Instant,
    /// What.
    pub(crate) outcome: Outcome<'e>,
}

/// What happened to a call or stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome<'e> {
    /// A unary call succeeded with this message.
    Answer(&'e [u8]),
    /// A stream brought one more message.
    Message(&'e [u8]),
    /// A stream ended with status 0.
    Ended,
    /// A call or stream ended otherwise.
    Failed(&'e Failure),
}

impl Events {
    /// None.
    pub(crate) fn new() -> Events {
        Events::default()
    }

    /// In the order they happened on each connection.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        self.list.iter().map(|stored| Event {
            connection: stored.connection,
            tag: stored.tag,
            at: stored.at,
            outcome: match &stored.what {
                What::Answer(range) => Outcome::Answer(&self.bytes[range.clone()]),
                What::Message(range) => Outcome::Message(&self.bytes[range.clone()]),
                What::Ended => Outcome::Ended,
                What::Failed(failure) => Outcome::Failed(failure),
            },
        })
    }

    /// Whether nothing came.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }

    /// For everything that happens to one call.
    pub(super) fn of(&mut self, connection: usize, tag: u64, at: Instant) -> One<'_> {
        One { events: self, connection, tag, at }
    }
}

/// Takes down what happens to one call.
pub(super) struct One<'e> {
    events: &'e mut Events,
    connection: usize,
    tag: u64,
    at: Instant,
}

impl One<'_> {
    pub(super) fn answer(mut self, message: &[u8]) {
        let range = self.keep(message);
        self.push(What::Answer(range));
    }

    pub(super) fn message(mut self, message: &[u8]) {
        let range = self.keep(message);
        self.push(What::Message(range));
    }

    pub(super) fn ended(self) {
        self.push(What::Ended);
    }

    pub(super) fn failed(self, failure: Failure) {
        self.push(What::Failed(Box::new(failure)));
    }

    fn keep(&mut self, message: &[u8]) -> Range<usize> {
        let start = self.events.bytes.len();
        self.events.bytes.extend_from_slice(message);
        start..self.events.bytes.len()
    }

    fn push(self, what: What) {
        let One { events, connection, tag, at } = self;
        events.list.push(Stored { connection, tag, at, what });
    }
}
