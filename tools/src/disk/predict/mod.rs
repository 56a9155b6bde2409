//! What a real Graven does on this disk: puts a second of 1, 64 and 1,000 clients.
//!
//! Nothing is computed from a model, whose constants would be guesses about another machine. A member is started on the
//! directory under test, as a process of its own ([`member`], whose other side is [`serve`]), and is loaded as `graven-bench put` loads
//! one, with that program's client and defaults ([`served`]): what is measured here and what a user measures later differ by
//! nothing but the day.
//!
//! Where the run has found a lasting fall, what counts is the lower level. This section comes right after the one that
//! found it, and every load is warmed up, so that the disk has no rest in which it could save up anything; and what the member's log says of its
//! syncs shows whether that held. If it did not, the rates are brought down to the lower level ([`sustained`]).
//!
//! Clients and server share this machine, as with `graven-bench` on the same host. Clients elsewhere leave more CPU to the
//! server and add their network's round trip.

mod counters;
mod member;
mod processors;
mod serve;
mod served;
mod show;
mod sustained;

use std::time::Duration;

use measure::{Latencies, Progress, Result, WalMethod};
use serde::{Deserialize, Serialize};

pub(crate) use serve::{Arguments as ServeArguments, run as serve};
pub(crate) use show::section;

use crate::disk::commit::settle_files;
use crate::disk::qualify::{Cost, Phase, Session, Settings};
use member::Member;
use sustained::Level;

/// See the module.
pub(crate) const PHASE: Phase = Phase {
    name: "prediction",
    about: "puts a second of a real server: a Graven of its own, under load",
    cost,
    run,
    table: show::table,
};

/// Clients that a prediction is made for.
pub(crate) const CLIENTS: [usize; 3] = [1, 64, 1_000];
/// Of each load; counted time.
const TIME: Duration = Duration::from_secs(4);
const SHORTEST: Duration = Duration::from_millis(300);
/// A longer run says no more about the server, and would need more space than it is worth.
const LONGEST: Duration = Duration::from_secs(6);
/// Before it, as `graven-bench put` does by default.
const WARM_UP: Duration = Duration::from_secs(1);
/// Until the member serves, and until it has ended.
const START: Duration = Duration::from_secs(1);
/// More than one client thread sends to one connection; puts a second.
const MOST_PUTS: f64 = 250_000.0;
/// Written for a put at that rate: in the log, and in checkpoints.
const WRITTEN_BYTES: f64 = 1_200.0;
/// What the database grows by for a put.
const KEPT_BYTES: f64 = 450.0;
/// The log's segments: in use, being filled, not yet released, spares.
const SEGMENTS: u64 = 6;

/// Of puts with 256-byte values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    /// Connections that the clients share. None in files of version 1, whose figures were computed from a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<usize>,
    /// How the member's log made its writes durable.
    #[serde(default)]
    pub(crate) method: String,
    /// One for each of [`CLIENTS`].
    pub(crate) puts: Vec<Puts>,
    /// Where the run had found a lasting fall: whether the figures are of the lower level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<Level>,
}

/// So many clients, each with its next put as soon as the last is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Puts {
    pub(crate) clients: usize,
    pub(crate) per_second: f64,
    /// Mean latency, microseconds.
    pub(crate) mean_us: f64,
    /// Puts of one durable write.
    pub(crate) batch: f64,
    /// Share of the time in which no durable write was under way: near 0 the disk decides, near 1 the CPU.
    pub(crate) disk_idle: f64,
    /// Mean of a durable write, microseconds.
    #[serde(default)]
    pub(crate) sync_us: f64,
    /// As the clients saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latencies>,
    /// Puts by the second; the last one may be shorter.
    #[serde(default)]
    pub(crate) by_second: Vec<u64>,
    /// CPU time of the server's process, and of the client, microseconds a put.
    #[serde(default)]
    pub(crate) server_cpu_us: f64,
    #[serde(default)]
    pub(crate) client_cpu_us: f64,
    /// Share of this machine's processors that neither of them used, but others.
    #[serde(default)]
    pub(crate) others_cpu: f64,
}

impl Prediction {
    /// For so many clients, if that is one of [`CLIENTS`].
    pub(crate) fn at(&self, clients: usize) -> Option<&Puts> {
        self.puts.iter().find(|puts| puts.clients == clients)
    }
}

fn time(settings: &Settings) -> Duration {
    settings.scaled(TIME).clamp(SHORTEST, LONGEST)
}

fn warm_up(settings: &Settings) -> Duration {
    settings.scaled(WARM_UP).clamp(SHORTEST, WARM_UP)
}

fn cost(settings: &Settings) -> Cost {
    let each = time(settings) + warm_up(settings);
    // A lone client's puts, of which each is a block of the log, are less than what is left out of account below.
    let puts = (each * (CLIENTS.len() as u32 - 1)).as_secs_f64() * MOST_PUTS;
    let segments = SEGMENTS * wal::Options::default().segment_bytes;
    Cost {
        written: (puts * WRITTEN_BYTES) as u64 + segments,
        at_once: (puts * KEPT_BYTES) as u64 + segments,
        time: START + each * CLIENTS.len() as u32,
    }
}

fn run(session: &mut Session) -> Result<()> {
    let (time, warm_up) = (time(&session.settings), warm_up(&session.settings));
    let method = session.method();
    // The log of the sections before has done its work, and its files would be in the way.
    session.rig = None;
    settle_files(session.dir.path())?;
    let stop = session.stop.clone();
    let mut progress = Progress::new(CLIENTS.len());
    let dir = session.dir.fresh("member")?;
    let mut member = Member::start(dir.path(), method, &stop)?;
    let mut prediction = Prediction {
        connections: None,
        method: WalMethod::from(method).name(),
        puts: Vec::new(),
        level: None,
    };
    for clients in CLIENTS {
        progress.stage(&format!("a server, {clients} {}", if clients == 1 { "client" } else { "clients" }));
        let (puts, connections) = served::load(&mut member, clients, warm_up, time, &stop, &mut progress)?;
        prediction.connections = Some(connections);
        prediction.puts.push(puts);
    }
    // It ends before its directory does.
    drop(member);
    drop(dir);
    prediction.level =
        session.document.over_time.as_ref().and_then(|time| sustained::level(&prediction, time));
    if let Some(level) = prediction.level {
        sustained::bring_down(&mut prediction.puts, level);
    }
    session.document.prediction = Some(prediction);
    Ok(())
}
