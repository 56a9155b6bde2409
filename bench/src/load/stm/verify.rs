//! `--verify`: counters at zero before, and their sum behind.

use std::time::{Duration, Instant};

use measure::Stop;

use super::super::plan::Plan;
use super::super::tally::Tally;
use super::super::workload::encode;
use super::{COMMITTED, StmLoad, UNKNOWN, answer, attempt};
use crate::calls::{Calls, Done, Next, drive};
use crate::client::{Lean, Method};
use crate::error::{Error, Result};
use crate::load::document::Verified;

/// Requests outstanding.
const CLIENTS: usize = 64;
/// A server that refuses so many is not in a state to be verified.
const MOST_REFUSED: u32 = 1_000;
/// How often to look whether one was refused, when all have been asked for.
const LOOK: Duration = Duration::from_millis(5);

/// Sets all counters to zero.
///
/// # Errors
/// That one could not be set; Ctrl-C.
pub(in crate::load) fn fill(plan: &Plan, stop: &Stop) -> Result<()> {
    Counters::drive(plan, stop, Kind::Fill)?;
    Ok(())
}

/// Holds the sum of the counters against what was committed.
///
/// # Errors
/// That they could not be read.
pub(in crate::load) fn verify(plan: &Plan, load: StmLoad, tally: &Tally) -> Result<Verified> {
    // Also after Ctrl-C: it does not take long.
    let found = Counters::drive(plan, &Stop::default(), Kind::Sum)?;
    let counted = |what| tally.counts.get(what).copied().unwrap_or(0) * load.keys;
    Ok(Verified { committed: counted(COMMITTED), unknown: counted(UNKNOWN), found })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fill,
    Sum,
}

struct Counters<'a> {
    plan: &'a Plan,
    kind: Kind,
    /// The first that nobody has asked for.
    next: u64,
    /// Refused, and to be asked for again.
    again: Vec<u64>,
    refused: u32,
    /// Of each client, which it asks for.
    asked: Vec<(u64, Vec<u8>)>,
    outstanding: usize,
    sum: u64,
}

impl Counters<'_> {
    fn drive(plan: &Plan, stop: &Stop, kind: Kind) -> Result<u64> {
        let asked = vec![(0, Vec::new()); CLIENTS];
        let mut counters =
            Counters { plan, kind, next: 0, again: Vec::new(), refused: 0, asked, outstanding: 0, sum: 0 };
        drive(&mut Lean::connect(&plan.target, 1)?, CLIENTS, stop, &mut counters)?;
        Ok(counters.sum)
    }
}

impl Calls for Counters<'_> {
    fn next(&mut self, client: usize, now: Instant, message: &mut Vec<u8>) -> Result<Next> {
        let number = match self.again.pop() {
            Some(number) => number,
            None if self.next < self.plan.key_space => {
                self.next += 1;
                self.next - 1
            }
            None if self.outstanding > 0 => return Ok(Next::At(now + LOOK)),
            None => return Ok(Next::End),
        };
        self.outstanding += 1;
        let (asked, key) = &mut self.asked[client];
        *asked = number;
        self.plan.shape.write(number, self.plan.key_size, key);
        Ok(Next::Call(match self.kind {
            Kind::Fill => {
                let mut zero = Vec::new();
                attempt::write_counter(0, &mut zero);
                encode::put(key, &zero, message);
                Method::Put
            }
            Kind::Sum => {
                encode::bytes(1, key, message);
                Method::Range
            }
        }))
    }

    fn done(&mut self, done: Done<'_>) -> Result<()> {
        let failed = |what: &dyn std::fmt::Display| Error::Wrong(format!("--verify: a counter: {what}"));
        self.outstanding -= 1;
        let (number, key) = &self.asked[done.client];
        match (done.answer, self.kind) {
            (Err(failure), _) => {
                self.refused += 1;
                if self.refused > MOST_REFUSED || failure.is_lost() {
                    return Err(failed(failure));
                }
                self.again.push(*number);
            }
            (Ok(_), Kind::Fill) => {}
            (Ok(answer), Kind::Sum) => {
                let counter = answer::read(answer, key).and_then(|(_, found)| attempt::counter(found.value));
                self.sum += counter.map_err(|why| failed(&why))?;
            }
        }
        Ok(())
    }
}
