//! Graven's own commit path on this disk: the log with its segments, its group commit and its choice of method; writers on
//! a thread of their own, one committing thread, as in the server.
//!
//! Closed loop: so many writers, each with its next record as soon as the last is durable. It shows what group commit makes of
//! a slow sync. Open loop: records come at random moments at a given rate, whatever is unanswered, and latency counts
//! from the moment a record was meant to come, so that a stall counts for everybody who came meanwhile. The rates
//! climb a ladder up to the knee (`knee.rs` says by which rule).

mod drive;
mod knee;
mod mailbox;
mod others;
mod rig;
mod schedule;
mod series;
mod show;

use std::time::Duration;

use measure::units::{number, rounded};
use measure::{Latencies, Progress, Result};
use serde::{Deserialize, Serialize};

pub(crate) use drive::{Driven, Load};
pub(crate) use rig::{Rig, cost, settle_files};
pub(crate) use show::section;

use crate::disk::qualify::{Cost, Phase, Session, Settings};

/// See the module.
pub(crate) const PHASE: Phase = Phase {
    name: "log",
    about: "Graven's own log: closed loop to 1,024 writers, open loop up to the knee",
    cost: phase_cost,
    run,
    table: show::table,
};

/// Bytes of a record: a put of 256 bytes with its key, as the server proposes it.
pub(crate) const RECORD: usize = 300;
/// Writers of the closed loop.
pub(crate) const WRITERS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
/// Time of one point.
const POINT: Duration = Duration::from_millis(2_500);
/// No point is shorter, however quick the run.
const SHORTEST: Duration = Duration::from_millis(300);

/// The commit path's curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// How the log made its writes durable.
    pub(crate) method: String,
    /// Bytes of a record.
    pub(crate) record_bytes: usize,
    /// By the number of writers.
    pub(crate) closed: Vec<Point>,
    /// By the offered rate.
    pub(crate) open: Vec<Point>,
    /// Where it bends.
    pub(crate) knee: Option<Knee>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Closed loop: so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writers: Option<usize>,
    /// Open loop: records that were meant to come, a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offered: Option<f64>,
    /// Records made durable, a second.
    pub(crate) achieved: f64,
    /// Of records, from the intended start in the open loop.
    pub(crate) latency: Latencies,
    /// Of the durable writes by themselves.
    pub(crate) sync: Latencies,
    /// Durable writes.
    pub(crate) syncs: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
}

/// The highest rate that the log carries without its latency going up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knee {
    /// Records a second.
    pub(crate) per_second: f64,
    /// p99 there, microseconds.
    pub(crate) p99_us: f64,
    /// p99 at low load.
    pub(crate) low_p99_us: f64,
}

impl Point {
    fn of(driven: Driven, load: Load) -> Point {
        Point {
            writers: match load {
                Load::Writers(writers) => Some(writers),
                Load::PerSecond(_) => None,
            },
            offered: match load {
                Load::Writers(_) => None,
                Load::PerSecond(_) => Some(driven.offered),
            },
            achieved: driven.achieved,
            latency: driven.latency,
            sync: driven.sync,
            syncs: driven.syncs,
            bytes: driven.bytes,
        }
    }

    /// Records of one durable write, on average.
    pub(crate) fn batch(&self) -> f64 {
        self.latency.count() as f64 / self.syncs.max(1) as f64
    }
}

fn point(settings: &Settings) -> Duration {
    settings.scaled(POINT).max(SHORTEST)
}

fn phase_cost(settings: &Settings) -> Cost {
    let points = WRITERS.len() + knee::MOST_POINTS;
    cost(point(settings) * points as u32)
}

fn run(session: &mut Session) -> Result<()> {
    let time = point(&session.settings);
    let stop = session.stop.clone();
    let mut progress = Progress::new(WRITERS.len() + knee::MOST_POINTS);
    let rig = Rig::of(session)?;
    rig.series.phase("log");
    let mut measure = |load: Load| -> Result<Point> {
        match load {
            Load::Writers(1) => progress.stage("closed loop, 1 writer"),
            Load::Writers(writers) => {
                progress.stage(&format!("closed loop, {} writers", number(writers as f64)))
            }
            Load::PerSecond(rate) => {
                progress.stage(&format!("open loop, {} records a second", rounded(rate)))
            }
        }
        Ok(Point::of(rig.drive(load, time, &stop, &mut progress)?, load))
    };
    let mut closed = Vec::new();
    for writers in WRITERS {
        closed.push(measure(Load::Writers(writers))?);
    }
    let peak = closed.iter().map(|point| point.achieved).fold(1.0, f64::max);
    let mut open: Vec<Point> = Vec::new();
    let mut ladder = knee::Ladder::new(peak);
    while let Some(rate) = ladder.next() {
        let point = measure(Load::PerSecond(rate))?;
        ladder.saw(knee::Rung::of(&point, rate));
        open.push(point);
    }
    open.sort_by(|one, other| one.offered.unwrap_or(0.0).total_cmp(&other.offered.unwrap_or(0.0)));
    let method = rig.method();
    let knee = ladder.knee();
    session.document.commit = Some(Commit { method, record_bytes: RECORD, closed, open, knee });
    Ok(())
}
