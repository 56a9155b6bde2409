//! What a disk does in the course of minutes: the log's own durable writes, second by second, and what they give away.
//!
//! The detectors are pure functions over seconds and over the long writes. What they look at is the *sync*, not the
//! request: while the load changes from phase to phase, one durable write of a small batch costs the same, so that the
//! whole run is one series. Each names one thing:
//!
//! | finding | what it looks like |
//! |---|---|
//! | [`Finding::Fall`] | from some second on, and to the end, syncs take at least twice as long: burst credits or a cache are used up |
//! | [`Finding::PeriodicStalls`] | long writes on a beat |
//! | [`Finding::Stall`] | one long write |
//! | [`Finding::Neighbor`] | a raised tail in many seconds, on no beat: somebody else's syncs, or the device's own upkeep |
//! | [`Finding::Drift`] | syncs that become slower and slower, without a step |
//!
//! A second in which this program did not get the CPU, or in which other processes of this machine wrote to the device,
//! says nothing about the disk. Such seconds are marked ([`Doubt`]) and left out; so are the long writes in them. The
//! thresholds are such that a plain disk on a noisy machine has no finding in ten runs.

mod beat;
mod levels;
mod run;
mod show;
mod stalls;

use serde::{Deserialize, Serialize};

pub(crate) use run::{OverTime, PHASE, Span};
pub(crate) use show::section;
pub(crate) use stalls::LongWrite;

/// One second of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Since the run began.
    pub(crate) at: u32,
    /// Durable writes of small batches that ended in it.
    pub(crate) syncs: u64,
    /// One in ten was shorter, microseconds: what a sync takes when nobody is in its way.
    pub(crate) p10_us: f64,
    /// Their median.
    pub(crate) p50_us: f64,
    /// Their 99th percentile.
    pub(crate) p99_us: f64,
    /// The longest, of batches of any size.
    pub(crate) max_us: f64,
    /// Why it says nothing about the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) doubt: Option<Doubt>,
}

/// Why a second says nothing about the disk by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Doubt {
    /// The writing thread, or one that only sleeps and wakes, waited for a CPU.
    CpuMissing,
    /// Other processes of this machine wrote to the same device.
    OthersWrote,
    /// This program disturbed the disk on purpose.
    Disturbed,
    /// Too few small writes to say what one costs.
    Quiet,
}

/// Something the disk does beside its plain work. Times are seconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Finding {
    /// A lasting fall of the rate.
    Fall {
        /// The first slow second.
        at: u32,
        /// Median sync before, microseconds.
        before_us: f64,
        /// Median sync since then.
        after_us: f64,
    },
    /// Stalls on a beat.
    PeriodicStalls {
        /// From one to the next.
        period_s: f64,
        /// The median one.
        length_ms: f64,
        /// How many were seen.
        count: usize,
    },
    /// A stall that stands alone.
    Stall {
        /// When it began.
        at: f64,
        /// How long a single write took.
        length_ms: f64,
    },
    /// Somebody else's syncs.
    Neighbor {
        /// Share of the seconds that show it.
        share: f64,
        /// Median sync of the quiet ones, microseconds.
        quiet_us: f64,
        /// Median of the 99th percentiles of the others.
        p99_us: f64,
    },
    /// Slower and slower.
    Drift {
        /// Median sync at the beginning of the line.
        from_us: f64,
        /// And at its end.
        to_us: f64,
        /// Over so many seconds.
        seconds: u32,
    },
}

/// All that the series shows, the most telling first.
pub(crate) fn findings(seconds: &[Second], long: &[LongWrite]) -> Vec<Finding> {
    let usable: Vec<&Second> = seconds.iter().filter(|second| second.doubt.is_none()).collect();
    let Some(quiet) = levels::quiet(&usable) else { return Vec::new() };
    let mut found = Vec::new();
    let fall = levels::fall(&usable);
    let (slow_from, drift) = match &fall {
        Some(Finding::Fall { at, .. }) => (*at, None),
        _ => (u32::MAX, levels::drift(&usable)),
    };
    let episodes = stalls::episodes(seconds, long, quiet, slow_from);
    let beat = beat::find(&episodes, seconds);
    found.extend(fall);
    if let Some(beat) = &beat {
        found.push(beat.finding());
    }
    let single = episodes.iter().filter(|one| !beat.as_ref().is_some_and(|beat| beat.explains(one)));
    found.extend(stalls::single(single, quiet));
    // After a fall the tail belongs to the fall; what stalls explain is not somebody else's.
    let before: Vec<&Second> = usable
        .iter()
        .copied()
        .filter(|second| second.at < slow_from && !stalls::touches(&episodes, second.at))
        .collect();
    found.extend(levels::neighbor(&before));
    found.extend(drift);
    found
}

impl Finding {
    /// One sentence, with what to think of it.
    pub(crate) fn text(&self) -> String {
        match self {
            Finding::Fall { at, before_us, after_us } => format!(
                "lasting fall after {at} s: a sync took {} before and {} since ({:.0} against {:.0} a second, one at a time); burst credits or a cache are used up, so plan with the lower rate",
                length(*before_us),
                length(*after_us),
                1e6 / before_us,
                1e6 / after_us
            ),
            Finding::PeriodicStalls { period_s, length_ms, count } => format!(
                "periodic stalls: every {period_s:.1} s the disk answers nothing for {} ({count} seen); something on a timer, such as a snapshot, a scrub or a flush of a layer below",
                length(length_ms * 1e3)
            ),
            Finding::Stall { at, length_ms } => format!(
                "a stall: {at:.0} s after the beginning one write took {}; no even pattern; a longer run (--duration) tells more",
                length(length_ms * 1e3)
            ),
            Finding::Neighbor { share, quiet_us, p99_us } => format!(
                "a neighbor's syncs: in {:.0} % of the seconds one write in a hundred takes {} and more where the median is {}, on no beat; the device is shared, or busy with its own upkeep",
                share * 100.0,
                length(*p99_us),
                length(*quiet_us)
            ),
            Finding::Drift { from_us, to_us, seconds } => format!(
                "drift: a sync took {} at first and {} after {seconds} s, rising all the time; a longer run (--duration) tells where it ends",
                length(*from_us),
                length(*to_us)
            ),
        }
    }
}

/// Microseconds as a person writes them.
pub(crate) fn length(us: f64) -> String {
    match us {
        us if us < 100.0 => format!("{us:.1} us"),
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e4 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests;
