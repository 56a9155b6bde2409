//! What a real Graven will do on this disk: puts a second of 1, 64 and 1,000 clients, before there is a server.
//!
//! A put costs CPU in the client, in the network loop, in the driver; a batch costs a durable write, during which the next
//! batch gathers. How long a durable write takes, by the records in it, was measured on the log itself. What CPU costs here is
//! calibrated ([`calibrate`]): the work of a put is known from a machine where it was measured, and is scaled with
//! three short measurements of this one (plain work, a round trip over loopback, a wake-up). A closed system of clients
//! is then played through, event by event, on as many cores as there are ([`model`]).
//!
//! Clients and server share this machine, as with `graven-bench` on the same host. Clients elsewhere leave more CPU to the
//! server and add their network's round trip.

mod calibrate;
mod model;
mod show;

use std::time::Duration;

use measure::{Progress, Result};
use serde::{Deserialize, Serialize};

pub(crate) use calibrate::Machine;
pub(crate) use show::section;

use crate::disk::commit::Commit;
use crate::disk::qualify::{Cost, Phase, Session, Settings};
use model::{Costs, SyncCosts};

/// See the module.
pub(crate) const PHASE: Phase = Phase {
    name: "prediction",
    about: "puts a second that a real server will reach",
    cost: phase_cost,
    run,
    table: show::table,
};

/// Clients that a prediction is made for.
pub(crate) const CLIENTS: [usize; 3] = [1, 64, 1_000];
const TIME: Duration = Duration::from_secs(2);

/// Of puts with 256-byte values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    /// What was measured of this machine.
    pub(crate) machine: Machine,
    /// One for each of [`CLIENTS`].
    pub(crate) puts: Vec<Puts>,
}

/// So many clients, each with its next put as soon as the last is answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Puts {
    pub(crate) clients: usize,
    pub(crate) per_second: f64,
    /// Mean latency, microseconds.
    pub(crate) mean_us: f64,
    /// Puts of one durable write.
    pub(crate) batch: f64,
    /// Share of the time in which no durable write was under way: near 0 the disk decides, near 1 the CPU.
    pub(crate) disk_idle: f64,
}

impl Prediction {
    /// For so many clients, if that is one of [`CLIENTS`].
    pub(crate) fn at(&self, clients: usize) -> Option<&Puts> {
        self.puts.iter().find(|puts| puts.clients == clients)
    }
}

fn phase_cost(_settings: &Settings) -> Cost {
    Cost { time: TIME, ..Cost::default() }
}

fn run(session: &mut Session) -> Result<()> {
    let Some(commit) = &session.document.commit else { return Ok(()) };
    let mut progress = Progress::new(1);
    progress.stage("what CPU costs here");
    let machine = Machine::measure(&session.stop)?;
    session.document.prediction = Some(predict(commit, machine));
    Ok(())
}

/// From the log's curve and the machine.
pub(crate) fn predict(commit: &Commit, machine: Machine) -> Prediction {
    let syncs = SyncCosts::of(commit);
    let costs = Costs::on(&machine);
    let puts = CLIENTS.iter().map(|&clients| model::play(clients, &syncs, &costs, machine.cores)).collect();
    Prediction { machine, puts }
}
