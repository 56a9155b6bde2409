//! `stm`: optimistic transactions, as etcd's client makes them (`client/v3/concurrency/stm.go`).
//!
//! A transaction reads its keys, each by a call of its own, as programs do that decide by what they have read. Then one `Txn` writes them
//! on condition that what it relies on is as it was. Where it is not, the transaction has met another: it is a conflict, counted,
//! and made again until it commits. Latency is that of the whole, conflicts included.
//!
//! | isolation | first read | further reads | condition of the writes |
//! |---|---|---|---|
//! | serializable-snapshots | linearizable | serializable, at the revision of the first | keys read have their revision, keys written none after the first read's |
//! | serializable | the same | the same | keys read have their revision |
//! | repeatable-reads | serializable | serializable | the same |
//! | read-committed | serializable | serializable | none |
//!
//! The first two also ask for the keys in the branch that is taken on conflict, so that the next attempt begins with what the
//! server has just said, and needs no reads. This load looks at that answer: a conflict where nothing has changed is a wrong answer.
//!
//! With `--verify` the keys are counters. Every increment that was committed must be in their sum in the end, whatever the transactions did to
//! each other. What was never answered may or may not be in it.

mod answer;
mod arguments;
mod attempt;
mod verify;

use std::time::Instant;

use super::tally::Tally;
use super::work::{How, Over, Work};
use super::workload::{OLD, Source, Wrong, written};
use crate::client::{Client, Event, Method, Outcome};

pub(crate) use arguments::{Isolation, StmArguments};
use attempt::{Attempt, Writes};
pub(super) use verify::{fill, verify};

/// Names of what only this load counts.
const CONFLICTS: &str = "conflicts, after each of which the transaction was made again";
const COMMITTED: &str = "transactions committed, with those of the warm-up";
const UNKNOWN: &str = "transactions of which it is not known whether they were committed";

/// What transactions are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StmLoad {
    pub(crate) isolation: Isolation,
    /// Read and written by each.
    pub(crate) keys: u64,
    pub(crate) verify: bool,
}

impl StmLoad {
    /// In words.
    pub(super) fn details(&self) -> Vec<String> {
        let keys = if self.keys == 1 { "1 key each".to_owned() } else { format!("{} keys each", self.keys) };
        let mut words = vec![self.isolation.name().to_owned(), keys];
        if self.verify {
            words.push("verified".to_owned());
        }
        words
    }
}

/// The transactions of one thread.
pub(super) struct Stm {
    load: StmLoad,
    source: Source,
    /// From here on conflicts count.
    start: Instant,
    /// Of each client.
    attempts: Vec<Attempt>,
    numbers: Vec<u64>,
    /// The highest revision answered so far.
    seen: i64,
    message: Vec<u8>,
    conflicts: u64,
    committed: u64,
    unknown: u64,
}

/// What an answer leads to.
enum Next {
    Call,
    Over,
}

impl Stm {
    pub(super) fn new(load: StmLoad, source: Source, clients: usize, start: Instant) -> Stm {
        Stm {
            load,
            source,
            start,
            attempts: (0..clients).map(|_| Attempt::default()).collect(),
            numbers: Vec::new(),
            seen: 0,
            message: Vec::new(),
            conflicts: 0,
            committed: 0,
            unknown: 0,
        }
    }

    /// Different keys.
    fn choose(&mut self, client: usize) {
        self.numbers.clear();
        let Source { random, keys, .. } = &mut self.source;
        for _ in 0..self.load.keys {
            let mut number = keys.number(random);
            while self.numbers.contains(&number) {
                number = keys.after(number);
            }
            self.numbers.push(number);
        }
        let attempt = &mut self.attempts[client];
        attempt.keys.resize_with(self.numbers.len(), Vec::new);
        for (number, key) in self.numbers.iter().zip(&mut attempt.keys) {
            keys.write(*number, key);
        }
    }

    /// Sends the next read or, with all of them answered, the writes.
    fn call(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        self.message.clear();
        let attempt = &mut self.attempts[client];
        attempt.seen = self.seen;
        let method = if attempt.has_read_all() {
            let writes = if self.load.verify { Writes::Increments } else { Writes::Values(&mut self.source) };
            attempt.encode_commit(self.load.isolation, writes, &mut self.message);
            attempt.is_committing = true;
            Method::Txn
        } else {
            attempt.encode_read(self.load.isolation, &mut self.message);
            Method::Range
        };
        wire.call(connection, method, &self.message, client as u64);
    }

    fn answered(&mut self, client: usize, answer: &[u8], at: Instant) -> Result<Next, Wrong> {
        let isolation = self.load.isolation;
        let attempt = &mut self.attempts[client];
        if !attempt.is_committing {
            let revision = attempt.take_read(isolation, self.load.verify, answer)?;
            self.seen = self.seen.max(revision);
            return Ok(Next::Call);
        }
        let commit = answer::commit(answer, &attempt.keys)?;
        if commit.succeeded {
            if commit.responses != attempt.keys.len() {
                return Err("wrong answer: a transaction has fewer or more answers than operations");
            }
            self.seen = written(commit.revision, attempt.seen)?.max(self.seen);
            attempt.is_committing = false;
            self.committed += 1;
            return Ok(Next::Over);
        }
        attempt.is_committing = false;
        if isolation == Isolation::ReadCommitted {
            return Err("wrong answer: a transaction without conditions did not succeed");
        }
        if commit.revision < attempt.seen {
            return Err(OLD);
        }
        attempt.conflict(isolation, self.load.verify, commit)?;
        self.conflicts += u64::from(at >= self.start);
        Ok(Next::Call)
    }
}

impl Work for Stm {
    fn kinds(&self) -> &'static [&'static str] {
        &["transaction"]
    }

    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        self.choose(client);
        self.attempts[client].begin();
        self.call(wire, connection, client);
    }

    fn heard(&mut self, wire: &mut dyn Client, event: &Event<'_>, over: &mut Vec<Over>) {
        let client = event.tag as usize;
        let how = match event.outcome {
            Outcome::Answer(answer) => match self.answered(client, answer, event.at) {
                Ok(Next::Call) => return self.call(wire, event.connection, client),
                Ok(Next::Over) => How::Right(0),
                Err(why) => How::Wrong(why),
            },
            Outcome::Failed(failure) => How::Failed(failure.clone()),
            Outcome::Message(_) | Outcome::Ended => unreachable!("only unary calls are made"),
        };
        self.unknown += u64::from(std::mem::take(&mut self.attempts[client].is_committing));
        over.push(Over { client, how });
    }

    fn settles(&self) -> bool {
        self.load.verify
    }

    fn close(&mut self, _: &mut dyn Client, tally: &mut Tally) {
        let unanswered = self.attempts.iter().filter(|attempt| attempt.is_committing).count() as u64;
        tally.count(CONFLICTS, self.conflicts);
        tally.count(COMMITTED, self.committed);
        tally.count(UNKNOWN, self.unknown + unanswered);
    }
}
