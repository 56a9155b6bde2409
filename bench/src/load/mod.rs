//! Loads: what is asked of a server, how often, and what came of it.
//!
//! *Closed loop*: so many clients, each with one request outstanding, the next sent when the answer is there. Shows what a server
//! can do at most; its latencies say little, because a stall holds back the very requests that would have seen it.
//!
//! *Open loop* (`--rate`): requests come when they come, whether those before are answered or not, and their latency counts
//! from the moment they should have been sent. A stall of a second then shows in the latency of everything that fell into it.
//!
//! A [`Workload`](workload::Workload) says what the next request is and whether an answer is right; [`work`] is that or
//! something longer, as a transaction of several calls ([`stm`], [`lease`]), or keeps [`streams`] open on which what was
//! written has to come back ([`watching`], [`kubernetes`]); a [`driver`] does it on one thread; a [`Tally`](tally::Tally)
//! counts; [`run`] puts it together and writes a [`document`], from which table and page are made.

pub(crate) mod answer;
mod arguments;
mod document;
mod driver;
mod keys;
mod kubernetes;
mod lease;
mod live;
mod page;
mod plan;
mod process;
mod run;
mod schedule;
mod snapshot;
mod stm;
mod streams;
mod table;
mod tally;
mod values;
mod watching;
mod work;
mod workload;

pub(crate) use arguments::{
    Load, LoadArguments, MixedArguments, Nothing, RangeArguments, TxnArguments, TxnMixedArguments, Which,
    time, time_or_none,
};
pub(crate) use document::{Document, Ending, FailureCount, KIND, Server};
pub(crate) use keys::{Shape, Spread};
pub(crate) use kubernetes::KubernetesArguments;
pub(crate) use lease::{LeaseArguments, LeaseLoad};
pub(crate) use plan::{End, Files, Kind, Pace, Plan, how, reads, what};
pub(crate) use process::Process;
pub(crate) use run::{measure, run};
pub(crate) use snapshot::SnapshotArguments;
pub(crate) use stm::StmArguments;
pub(crate) use values::Sizes;
pub(crate) use watching::{WatchArguments, WatchGetArguments, WatchLatencyArguments};
pub(crate) use workload::What;
