//! What the clients of a load do when it is their turn: one call, or several that depend on each other.

use super::streams::Streams;
use super::tally::Tally;
use super::workload::{Expected, Workload, Wrong};
use crate::client::{Client, Event, Failure, Outcome};

/// A client's piece of work has ended.
pub(super) struct Over {
    pub(super) client: usize,
    pub(super) how: How,
}

/// In which way.
pub(super) enum How {
    /// As it should; which of the kinds it was.
    Right(usize),
    /// The same, a read that found no key.
    Empty(usize),
    /// With an answer that is wrong, in words that can be counted by.
    Wrong(Wrong),
    /// Without the answer it needed.
    Failed(Failure),
}

/// Pieces of work of many clients on one thread. A client's calls carry its number as their tag.
pub(super) trait Work {
    /// What the kinds of pieces of work are called.
    fn kinds(&self) -> &'static [&'static str];

    /// A client begins its next piece of work on a connection.
    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize);

    /// Something came back. Appends what ended with it, and sends what comes next of what has not ended.
    fn heard(&mut self, wire: &mut dyn Client, event: &Event<'_>, over: &mut Vec<Over>);

    /// The streams it keeps open beside, if any: what has other tags than clients' numbers.
    fn streams(&mut self) -> Option<&mut dyn Streams> {
        None
    }

    /// Whether work that was begun has to come to its end even when the load is cut short.
    fn settles(&self) -> bool {
        false
    }

    /// The load is over: removes what was left at the server, and tells what only it has counted.
    fn close(&mut self, _wire: &mut dyn Client, _tally: &mut Tally) {}
}

/// Single calls of a workload, each a piece of work.
pub(super) struct Single {
    workload: Box<dyn Workload>,
    calls: Vec<Call>,
    /// The highest revision answered so far.
    seen: i64,
    message: Vec<u8>,
}

/// What a client's answer is checked against.
#[derive(Clone, Default)]
struct Call {
    kind: usize,
    seen: i64,
    key: Vec<u8>,
}

impl Single {
    pub(super) fn new(workload: Box<dyn Workload>, clients: usize) -> Single {
        Single { workload, calls: vec![Call::default(); clients], seen: 0, message: Vec::new() }
    }
}

impl Work for Single {
    fn kinds(&self) -> &'static [&'static str] {
        self.workload.kinds()
    }

    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        let call = &mut self.calls[client];
        self.message.clear();
        call.key.clear();
        let asked = self.workload.next(&mut self.message, &mut call.key);
        (call.kind, call.seen) = (asked.kind, self.seen);
        wire.call(connection, asked.method, &self.message, client as u64);
    }

    fn heard(&mut self, _: &mut dyn Client, event: &Event<'_>, over: &mut Vec<Over>) {
        let client = event.tag as usize;
        let Call { kind, seen, key } = &self.calls[client];
        let how = match event.outcome {
            Outcome::Answer(answer) => {
                match self.workload.check(Expected { kind: *kind, key, seen: *seen }, answer) {
                    Ok(right) => {
                        self.seen = self.seen.max(right.revision);
                        if right.is_empty { How::Empty(*kind) } else { How::Right(*kind) }
                    }
                    Err(why) => How::Wrong(why),
                }
            }
            Outcome::Failed(failure) => How::Failed(failure.clone()),
            Outcome::Message(_) | Outcome::Ended => unreachable!("only unary calls are made"),
        };
        over.push(Over { client, how });
    }
}
