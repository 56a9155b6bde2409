//! What is asked, and whether the answer is right.

pub(super) mod encode;
mod mixed;
mod put;
mod range;
mod txn;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rand_chacha::ChaCha8Rng;

use super::keys::Keys;
use super::plan::{Kind, Plan};
use super::schedule::{self, Draw};
use super::values::Values;
use crate::client::Method;

pub(crate) use mixed::Mixed;
pub(crate) use put::Put;
pub(crate) use range::{Range, What};
pub(crate) use txn::{TxnMixed, TxnPut};

/// A request: its method, and which of the workload's kinds it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) kind: usize,
}

/// What an answer is checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// Of the workload's kinds.
    pub(crate) kind: usize,
    /// What [`Workload::next`] left to be remembered.
    pub(crate) key: &'a [u8],
    /// The highest revision that had been answered when the request was sent: later writes have higher ones.
    pub(crate) seen: i64,
}

/// What a load needs to know of an answer that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) revision: i64,
    /// It was a read, and there is no such key: a server has less to do for it.
    pub(crate) is_empty: bool,
}

impl Right {
    /// Of a write, or of what is not looked into.
    pub(crate) fn of(revision: i64) -> Right {
        Right { revision, is_empty: false }
    }
}

/// Why an answer is wrong, in words that can be counted by.
pub(crate) type Wrong = &'static str;

pub(super) const GARBLED: Wrong = "wrong answer: it is not the message it should be";
pub(super) const NO_REVISION: Wrong = "wrong answer: its header has no revision";
pub(super) const OLD: Wrong =
    "wrong answer: its revision is older than one that was answered before it was asked for";

/// A source of requests; one for each thread.
pub(crate) trait Workload {
    /// What the kinds of requests are called.
    fn kinds(&self) -> &'static [&'static str];

    /// Writes the next request into `message` and what its answer will be checked against into `key`; both come empty.
    fn next(&mut self, message: &mut Vec<u8>, key: &mut Vec<u8>) -> Asked;

    /// What a right answer says.
    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong>;
}

/// What workloads draw from.
pub(crate) struct Source {
    pub(crate) random: ChaCha8Rng,
    pub(crate) keys: Keys,
    pub(crate) values: Values,
}

impl Source {
    /// For one of the plan's threads; `counter` is shared by all of them.
    pub(crate) fn new(plan: &Plan, thread: usize, counter: &Arc<AtomicU64>) -> Source {
        let random = |draw| schedule::random(plan.seed, thread, draw);
        Source {
            random: random(Draw::Requests),
            keys: Keys::new(plan.shape, plan.key_size, plan.key_space, plan.spread, counter),
            values: Values::new(plan.value_sizes, random(Draw::Values)),
        }
    }
}

/// The workload of a plan for one of its threads.
pub(crate) fn make(plan: &Plan, thread: usize, counter: &Arc<AtomicU64>) -> Box<dyn Workload> {
    let source = Source::new(plan, thread, counter);
    match &plan.kind {
        Kind::Put => Box::new(Put::new(source)),
        Kind::Range(what) => Box::new(Range::new(source, what.clone())),
        Kind::TxnPut { operations } => Box::new(TxnPut::new(source, *operations)),
        Kind::TxnMixed { operations, reads, what } => {
            Box::new(TxnMixed::new(source, *operations, *reads, what.clone()))
        }
        Kind::Mixed { reads, what } => Box::new(Mixed::new(source, *reads, what.clone())),
        Kind::Lease(_) | Kind::Stm(_) | Kind::Snapshot(_) => {
            unreachable!("these are made of more than single calls")
        }
        Kind::Watch(_) | Kind::WatchLatency(_) | Kind::WatchGet { .. } | Kind::Kubernetes(_) => {
            unreachable!("these have streams")
        }
    }
}

/// The revision of a write's answer: later than all that were answered before it was sent.
pub(super) fn written(revision: i64, seen: i64) -> Result<i64, Wrong> {
    match revision {
        ..=0 => Err(NO_REVISION),
        revision if revision <= seen => Err(OLD),
        revision => Ok(revision),
    }
}
