//! What a real Graven will do on this disk: puts a second of 1, 64 and 1,000 clients, before there is a server.
//!
//! A put costs CPU in the client, in the network loop, in the driver; a batch costs a durable write, during which the next
//! batch gathers. How long a durable write takes, and how much of it is CPU, by the records in it, was measured on the log
//! itself. What CPU costs here is calibrated ([`calibrate`]): the work of a put is known from a machine where it was measured,
//! and is scaled with short measurements of this one (plain work, system calls of a socket, a wake-up). A closed system of
//! clients is then played through, event by event, on as many cores as there are ([`model`]).
//!
//! A lone client's put is nothing but waiting, in which wake-ups out of an idle CPU count as much as work. So it is measured
//! rather than modeled: round trips over loopback that are answered after a durable write of the log, to which the work
//! of a put is added.
//!
//! Clients and server share this machine, as with `graven-bench` on the same host. Clients elsewhere leave more CPU to the
//! server and add their network's round trip.

mod calibrate;
mod model;
mod show;

use std::time::Duration;

use measure::{Latencies, Progress, Result};
use serde::{Deserialize, Serialize};

pub(crate) use calibrate::Machine;
pub(crate) use show::section;

use crate::disk::commit::{Commit, Rig, cost};
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
    /// Round trips over loopback with a durable write before the answer.
    pub(crate) lone: Latencies,
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

fn phase_cost(settings: &Settings) -> Cost {
    cost(settings.scaled(TIME))
}

fn run(session: &mut Session) -> Result<()> {
    if session.document.commit.is_none() {
        return Ok(());
    }
    let (time, stop) = (session.settings.scaled(TIME), session.stop.clone());
    let mut progress = Progress::new(2);
    progress.stage("what CPU costs here");
    let machine = Machine::measure(&stop)?;
    progress.stage("a lone client over loopback");
    let rig = Rig::of(session)?;
    rig.series.phase("prediction");
    let (lone, _) = rig.lone(time, &stop)?;
    if let Some(commit) = &session.document.commit {
        session.document.prediction = Some(predict(commit, machine, lone));
    }
    Ok(())
}

/// From the log's curve and the machine.
fn predict(commit: &Commit, machine: Machine, lone: Latencies) -> Prediction {
    let syncs = SyncCosts::of(commit);
    let costs = Costs::on(&machine);
    let puts = CLIENTS.iter().map(|&clients| match clients {
        1 => model::lone(&lone, &syncs, &costs),
        _ => model::play(clients, &syncs, &costs, machine.cores),
    });
    Prediction { puts: puts.collect(), machine, lone }
}
