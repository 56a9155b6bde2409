//! The steady section, and what the whole run shows.

use std::time::Duration;

use measure::units::rounded;
use measure::{Latencies, Progress, Result, Timeline};
use serde::{Deserialize, Serialize};

use super::{Doubt, Finding, LongWrite, Second, findings};
use crate::disk::commit::{Load, Rig};
use crate::disk::qualify::{Cost, Phase, Session, Settings};

/// See the module.
pub(crate) const PHASE: Phase = Phase {
    name: "time",
    about: "a steady load at half the knee, 20,000 a second at most, second by second",
    cost,
    run,
    table: super::show::table,
};

const STEADY: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(2);
/// Of the knee.
const SHARE: f64 = 0.5;
/// No control plane asks for more, and this program would rather need the CPU than the disk; records a second.
const MOST: f64 = 20_000.0;
/// Where no knee is known.
const RATE: f64 = 200.0;
/// No more of the long writes are kept in a document.
const MOST_LONG: usize = 1_000;

/// The run by the second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OverTime {
    /// Records a second of the steady section.
    pub(crate) rate: f64,
    /// Of which so many became durable.
    pub(crate) achieved: f64,
    /// Records of the steady section, by the second of their intended start.
    pub(crate) steady: Timeline,
    /// Durable writes of the steady section.
    pub(crate) sync: Latencies,
    /// Durable writes of the whole run.
    pub(crate) syncs: Timeline,
    /// What ran when.
    pub(crate) spans: Vec<Span>,
    /// By the second, what the findings are made of.
    pub(crate) seconds: Vec<Second>,
    /// The longest durable writes.
    pub(crate) long: Vec<LongWrite>,
    /// What the disk does beside its plain work.
    pub(crate) findings: Vec<Finding>,
}

/// A phase of the run, in seconds since it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl OverTime {
    /// Share of the seconds, those disturbed on purpose left out, that say nothing for this reason.
    pub(crate) fn doubtful(&self, doubt: Doubt) -> f64 {
        let seconds = self.seconds.iter().filter(|second| second.doubt != Some(Doubt::Disturbed));
        let (mut doubtful, mut all) = (0.0, 0.0);
        for second in seconds {
            all += 1.0;
            doubtful += f64::from(second.doubt == Some(doubt));
        }
        if all == 0.0 { 0.0 } else { doubtful / all }
    }

    /// The longest durable write that was the disk's, outside of disturbances made on purpose; milliseconds.
    pub(crate) fn longest_ms(&self) -> f64 {
        let disturbed = |at: f64| {
            self.seconds.iter().any(|second| second.at == at as u32 && second.doubt == Some(Doubt::Disturbed))
        };
        let (of_cpu, of_disk): (Vec<&LongWrite>, Vec<&LongWrite>) =
            self.long.iter().partition(|one| one.cpu_ms >= one.ms * 0.3);
        let long = of_disk.iter().filter(|one| !disturbed(one.at)).map(|one| one.ms);
        // Of the long writes only the longest are kept, and those may all be disturbed ones; the seconds know theirs.
        let seconds = self.seconds.iter().filter(|second| matches!(second.doubt, None | Some(Doubt::Quiet)));
        let seconds = seconds.map(|second| second.max_us / 1e3);
        let seconds = seconds.filter(|ms| !of_cpu.iter().any(|one| (one.ms - ms).abs() < ms * 1e-3));
        long.chain(seconds).fold(self.sync.micros(0.999) / 1e3, f64::max)
    }
}

fn cost(settings: &Settings) -> Cost {
    let time = settings.scaled(STEADY).max(SHORTEST);
    let log = crate::disk::commit::cost(time);
    Cost { written: log.written / 4, ..log }
}

fn run(session: &mut Session) -> Result<()> {
    let time = session.settings.scaled(STEADY).max(SHORTEST);
    let stop = session.stop.clone();
    let knee = session.document.commit.as_ref().and_then(|commit| commit.knee);
    let rate = knee.map_or(RATE, |knee| (knee.per_second * SHARE).min(MOST));
    let mut progress = Progress::new(1);
    progress.stage(&format!("a steady {} records a second", rounded(rate)));
    let rig = Rig::of(session)?;
    rig.series.phase("time");
    let driven = rig.drive(Load::PerSecond(rate), time, &stop, &mut progress)?;
    let seconds = rig.series.seconds().to_vec();
    let mut long = rig.series.long();
    let findings = findings(&seconds, &long);
    long.sort_by(|one, other| other.ms.total_cmp(&one.ms));
    long.truncate(MOST_LONG);
    session.document.over_time = Some(OverTime {
        rate,
        achieved: driven.achieved,
        steady: driven.timeline,
        sync: driven.sync,
        syncs: rig.series.timeline().clone(),
        spans: rig.series.spans(),
        seconds,
        long,
        findings,
    });
    Ok(())
}
