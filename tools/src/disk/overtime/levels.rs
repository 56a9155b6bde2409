//! What the level of the seconds does: falls, drifts, tails.

use super::{Finding, Second};

/// Seconds that a level must be seen before and after a fall.
const BEFORE: usize = 5;
const AFTER: usize = 10;
/// A fall makes syncs so many times as long.
const FALL: f64 = 2.0;
/// So many of the seconds must lie on their side of the middle between both levels.
const ON_THEIR_SIDE: f64 = 0.9;
/// Seconds without which nothing is said of a line or a tail.
const ENOUGH: usize = 20;
/// A drift makes syncs so many times as long from its beginning to its end...
const DRIFT: f64 = 1.5;
/// ...and of all pairs of seconds so many more rise than fall.
const RISING: f64 = 0.6;
/// A tail is raised when the 99th percentile is so many times a sync that passes freely...
const TAIL: f64 = 8.0;
/// ...and longer than this, in microseconds: shorter ones hurt nobody.
const TAIL_US: f64 = 2_000.0;
/// In so many of the seconds.
const TAIL_SHARE: f64 = 0.3;

/// What a sync takes when nothing else happens: the lower quartile of the medians, microseconds.
pub(super) fn quiet(seconds: &[&Second]) -> Option<f64> {
    let mut medians = medians(seconds);
    if medians.is_empty() {
        return None;
    }
    medians.sort_by(f64::total_cmp);
    Some(medians[medians.len() / 4])
}

/// The second at which two levels are told apart best, if they differ enough and for good.
pub(super) fn fall(seconds: &[&Second]) -> Option<Finding> {
    let logs: Vec<f64> = medians(seconds).into_iter().map(f64::ln).collect();
    if logs.len() < BEFORE + AFTER {
        return None;
    }
    let wrong_side = |split: usize| {
        let (before, after) = (median(&logs[..split]), median(&logs[split..]));
        let middle = f64::midpoint(before, after);
        let high = logs[..split].iter().filter(|&&log| log > middle).count();
        let low = logs[split..].iter().filter(|&&log| log < middle).count();
        (before, after, high, low)
    };
    // The split with the least seconds on the wrong side; of several the one with the greatest step.
    let (split, (before, after, high, low)) = (BEFORE..=logs.len() - AFTER)
        .map(|split| (split, wrong_side(split)))
        .filter(|(_, (before, after, ..))| after - before >= FALL.ln())
        .min_by(|(_, one), (_, other)| {
            let step = |side: &(f64, f64, usize, usize)| side.1 - side.0;
            (one.2 + one.3).cmp(&(other.2 + other.3)).then(step(other).total_cmp(&step(one)))
        })?;
    let share = |wrong: usize, of: usize| 1.0 - wrong as f64 / of as f64;
    let holds = share(high, split) >= ON_THEIR_SIDE && share(low, logs.len() - split) >= ON_THEIR_SIDE;
    (holds && is_step(&logs, split, before, after)).then(|| Finding::Fall {
        at: seconds[split].at,
        before_us: before.exp(),
        after_us: after.exp(),
    })
}

/// Whether two levels describe the seconds better than a line does.
fn is_step(logs: &[f64], split: usize, before: f64, after: f64) -> bool {
    let away = |at: usize, level: f64| (logs[at] - level).abs();
    let step: f64 = (0..logs.len()).map(|at| away(at, if at < split { before } else { after })).sum();
    let (slope, start) = line(logs);
    let straight: f64 = (0..logs.len()).map(|at| away(at, start + slope * at as f64)).sum();
    step < straight
}

/// A line that rises, if the seconds follow one.
pub(super) fn drift(seconds: &[&Second]) -> Option<Finding> {
    let logs: Vec<f64> = medians(seconds).into_iter().map(f64::ln).collect();
    if logs.len() < ENOUGH {
        return None;
    }
    let (mut rising, mut pairs) = (0i64, 0i64);
    for later in 1..logs.len() {
        for earlier in 0..later {
            pairs += 1;
            rising += i64::from(logs[later] > logs[earlier]) - i64::from(logs[later] < logs[earlier]);
        }
    }
    let (slope, start) = line(&logs);
    let end = start + slope * (logs.len() - 1) as f64;
    (rising as f64 / pairs as f64 >= RISING && end - start >= DRIFT.ln()).then(|| Finding::Drift {
        from_us: start.exp(),
        to_us: end.exp(),
        seconds: seconds[seconds.len() - 1].at - seconds[0].at,
    })
}

/// The line through the medians of the outer thirds: a few odd seconds do not turn it.
fn line(logs: &[f64]) -> (f64, f64) {
    let third = (logs.len() / 3).max(1);
    let (first, last) = (median(&logs[..third]), median(&logs[logs.len() - third..]));
    let slope = (last - first) / (logs.len() - third).max(1) as f64;
    (slope, first - slope * (third - 1) as f64 / 2.0)
}

/// Many seconds with a raised tail.
pub(super) fn neighbor(seconds: &[&Second]) -> Option<Finding> {
    if seconds.len() < ENOUGH {
        return None;
    }
    let quiet = quiet(seconds)?;
    let limit = (quiet * TAIL).max(TAIL_US);
    let mut tails: Vec<f64> = seconds.iter().map(|second| second.p99_us).filter(|&p99| p99 > limit).collect();
    let share = tails.len() as f64 / seconds.len() as f64;
    if share < TAIL_SHARE {
        return None;
    }
    tails.sort_by(f64::total_cmp);
    Some(Finding::Neighbor { share, quiet_us: quiet, p99_us: tails[tails.len() / 2] })
}

fn medians(seconds: &[&Second]) -> Vec<f64> {
    seconds.iter().map(|second| second.p50_us.max(0.1)).collect()
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
