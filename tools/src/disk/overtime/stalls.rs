//! Single writes that took very long.

use serde::{Deserialize, Serialize};

use super::levels::median;
use super::{Doubt, Finding, Second};

/// Shorter ones are not looked at, milliseconds.
const SHORTEST_MS: f64 = 20.0;
/// And so many times the quiet sync.
const TIMES_QUIET: f64 = 10.0;
/// And so many times what one write in a hundred takes: a stall stands out, also beside a neighbor.
const TIMES_TAIL: f64 = 3.0;
/// A stall that stands alone is named from here on, milliseconds and times the quiet sync: etcd's heartbeat is 100 ms.
const SINGLE_MS: f64 = 250.0;
const SINGLE_TIMES_QUIET: f64 = 50.0;
/// A write that waited for the CPU for more of its time than this was not the disk's.
const CPU_SHARE: f64 = 0.3;
/// More single ones than this are not a list but noise: only the longest are told.
const MOST: usize = 3;

/// A durable write that took long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LongWrite {
    /// When it began, seconds since the run began.
    pub(crate) at: f64,
    /// How long it took, milliseconds.
    pub(crate) ms: f64,
    /// How long of it the writing thread waited for a CPU, at most, milliseconds.
    pub(crate) cpu_ms: f64,
}

/// The long writes that are the disk's, long compared with the quiet sync. From `slow_from` on writes are slow for another
/// reason.
pub(super) fn episodes(
    seconds: &[Second],
    long: &[LongWrite],
    quiet_us: f64,
    slow_from: u32,
) -> Vec<LongWrite> {
    let tails: Vec<f64> = seconds.iter().filter(|one| one.doubt.is_none()).map(|one| one.p99_us).collect();
    let tail_us = if tails.is_empty() { 0.0 } else { median(&tails) };
    let shortest = SHORTEST_MS.max(quiet_us * TIMES_QUIET / 1e3).max(tail_us * TIMES_TAIL / 1e3);
    let doubted = |at: u32| {
        let doubt = seconds.iter().find(|second| second.at == at).and_then(|second| second.doubt);
        // A second that is one stall has too few writes by its nature.
        doubt.is_some_and(|doubt| doubt != Doubt::Quiet)
    };
    long.iter()
        .copied()
        .filter(|write| write.ms >= shortest && write.cpu_ms < write.ms * CPU_SHARE)
        .filter(|write| write.at < f64::from(slow_from))
        .filter(|write| !doubted(write.at as u32) && !doubted((write.at + write.ms / 1e3) as u32))
        .collect()
}

/// Whether a stall lies in a second.
pub(super) fn touches(episodes: &[LongWrite], second: u32) -> bool {
    let (from, to) = (f64::from(second), f64::from(second) + 1.0);
    episodes.iter().any(|one| one.at < to && one.at + one.ms / 1e3 >= from)
}

/// Those that are worth a finding each.
pub(super) fn single<'l>(episodes: impl Iterator<Item = &'l LongWrite>, quiet_us: f64) -> Vec<Finding> {
    let least = SINGLE_MS.max(quiet_us * SINGLE_TIMES_QUIET / 1e3);
    let mut long: Vec<LongWrite> = episodes.copied().filter(|one| one.ms >= least).collect();
    long.sort_by(|one, other| other.ms.total_cmp(&one.ms));
    long.truncate(MOST);
    long.sort_by(|one, other| one.at.total_cmp(&other.at));
    long.into_iter().map(|one| Finding::Stall { at: one.at, length_ms: one.ms }).collect()
}
