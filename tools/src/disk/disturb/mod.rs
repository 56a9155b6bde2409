//! The same load, alone and beside what hurts: interleaved slices, so that whatever else the machine does meets all alike. Each begins when
//! what the load before it has left behind is done.
//!
//! | beside | what it does |
//! |---|---|
//! | checkpoint | writes 256 KiB pieces past the page cache at 100 MB/s, one sync at the end of each 16 MiB: Graven's own checkpoint |
//! | reader | reads a file that is not in the page cache from end to end, at most 500 MB/s, as a snapshot is sent |
//! | neighbor | appends 4 KiB to a file and syncs it, as fast as it goes: another program on the same disk |

mod companions;
mod show;

use std::time::Duration;

use measure::{Latencies, Progress, Result};
use serde::{Deserialize, Serialize};

use crate::disk::commit::{Load, Rig};
use crate::disk::qualify::{Cost, Phase, Session, Settings};
use companions::Companion;
pub(crate) use show::section;

/// See the module.
pub(crate) const PHASE: Phase = Phase {
    name: "disturbance",
    about: "the log alone, and beside a checkpoint, a reader and a neighbor that syncs",
    cost,
    run,
    table: show::table,
};

const SLICE: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(300);
const ROUNDS: u32 = 3;
/// Load, of the knee.
const SHARE: f64 = 0.25;
/// As in the steady section; records a second.
const MOST: f64 = 20_000.0;
/// Where no knee is known.
const RATE: f64 = 200.0;

/// The load alone and beside each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Disturbance {
    /// Records a second.
    pub(crate) rate: f64,
    /// Without anybody.
    pub(crate) alone: Slices,
    /// With somebody.
    pub(crate) beside: Vec<Slices>,
}

/// All slices of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Slices {
    /// Beside whom.
    pub(crate) name: String,
    /// Of records.
    pub(crate) latency: Latencies,
    /// Of durable writes.
    pub(crate) sync: Latencies,
    /// Bytes a second that the companion moved.
    pub(crate) companion_bytes: f64,
}

impl Slices {
    fn named(name: &str) -> Slices {
        Slices { name: name.to_owned(), ..Slices::default() }
    }

    /// How many times the p99 of records is that of another.
    pub(crate) fn ratio(&self, alone: &Slices) -> f64 {
        self.latency.micros(0.99) / alone.latency.micros(0.99).max(0.001)
    }
}

fn slice(settings: &Settings) -> Duration {
    settings.scaled(SLICE).max(SHORTEST)
}

fn cost(settings: &Settings) -> Cost {
    let time = slice(settings) * ROUNDS * (1 + Companion::ALL.len() as u32);
    let log = crate::disk::commit::cost(time);
    Cost {
        written: log.written / 8 + companions::written(slice(settings) * ROUNDS),
        at_once: log.at_once + companions::AT_ONCE,
        time,
    }
}

fn run(session: &mut Session) -> Result<()> {
    let time = slice(&session.settings);
    let stop = session.stop.clone();
    let knee = session.document.commit.as_ref().and_then(|commit| commit.knee);
    let rate = knee.map_or(RATE, |knee| (knee.per_second * SHARE).min(MOST));
    let dir = session.dir.fresh("companions")?;
    let mut progress = Progress::new(ROUNDS as usize * (1 + Companion::ALL.len()));
    let mut companions = Companion::prepare(dir.path(), &stop)?;
    let rig = Rig::of(session)?;
    rig.series.phase("disturbance");
    let mut alone = Slices::named("alone");
    let mut beside: Vec<Slices> = Companion::ALL.iter().map(|kind| Slices::named(kind.name())).collect();
    for round in 1..=ROUNDS {
        progress.stage(&format!("alone, round {round}"));
        rig.settle()?;
        let driven = rig.drive(Load::PerSecond(rate), time, &stop, &mut progress)?;
        alone.latency.merge(&driven.latency);
        alone.sync.merge(&driven.sync);
        for (companion, slices) in companions.iter_mut().zip(&mut beside) {
            progress.stage(&format!("beside the {}, round {round}", companion.kind().name()));
            rig.settle()?;
            rig.series.disturb(true);
            let (driven, moved) =
                companion.beside(|_| rig.drive(Load::PerSecond(rate), time, &stop, &mut progress))?;
            rig.series.disturb(false);
            let driven = driven?;
            slices.latency.merge(&driven.latency);
            slices.sync.merge(&driven.sync);
            slices.companion_bytes += moved / f64::from(ROUNDS);
        }
    }
    session.document.disturbance = Some(Disturbance { rate, alone, beside });
    Ok(())
}
