//! Long writes that come at regular intervals.
//!
//! For a period, every episode has a phase. If the phases agree, and if most beats that fell into observed seconds had their
//! episode, the period explains them. Half the true period fails the second test, twice the true period the first.

use std::f64::consts::TAU;

use super::levels::median;
use super::stalls::LongWrite;
use super::{Doubt, Finding, Second};

/// Periods that are looked for, seconds; the longest also fits three times into what was seen.
const SHORTEST: f64 = 1.5;
const LONGEST: f64 = 300.0;
/// Ratio of one period that is tried to the next.
const STEP: f64 = 1.002;
/// Episodes without which a beat is chance.
const FEWEST: usize = 4;
/// Length of the mean of the phases as unit vectors: at 1 they are the same.
const AGREE: f64 = 0.93;
/// Of the beats in observed seconds so many have an episode.
const COVERED: f64 = 0.75;
/// An episode is on the beat within this share of the period.
const NEAR: f64 = 0.1;
/// The shorter episodes are left out by and by, in steps of this ratio: small noise must not hide a beat of long ones.
const LEVELS: f64 = 1.3;

/// A period and where in it the episodes lie.
pub(super) struct Beat {
    period: f64,
    phase: f64,
    length_ms: f64,
    count: usize,
}

/// The beat that explains most episodes.
pub(super) fn find(episodes: &[LongWrite], seconds: &[Second]) -> Option<Beat> {
    let observed = |at: f64| {
        let doubt = seconds.iter().find(|second| second.at == at as u32).map(|second| second.doubt);
        matches!(doubt, Some(None | Some(Doubt::Quiet)))
    };
    let mut found: Option<Beat> = None;
    let mut left = episodes.to_vec();
    while left.len() >= FEWEST {
        if let Some(beat) = best(&left, &observed)
            && found.as_ref().is_none_or(|known| beat.count > known.count)
        {
            found = Some(beat);
        }
        let shortest = left.iter().map(|one| one.ms).fold(f64::INFINITY, f64::min);
        left.retain(|one| one.ms >= shortest * LEVELS);
    }
    found
}

fn best(episodes: &[LongWrite], observed: &impl Fn(f64) -> bool) -> Option<Beat> {
    let (first, last) = (episodes.first()?.at, episodes.last()?.at);
    if episodes.len() < FEWEST {
        return None;
    }
    let longest = ((last - first) / (FEWEST - 1) as f64 * 1.1).min(LONGEST);
    let mut best: Option<(f64, Beat)> = None;
    let mut period = SHORTEST;
    while period <= longest {
        let (agreement, phase) = phase(episodes, period);
        if agreement >= AGREE && best.as_ref().is_none_or(|(known, _)| agreement > *known) {
            let beat = Beat { period, phase, length_ms: 0.0, count: 0 };
            if let Some(beat) = beat.checked(episodes, observed) {
                best = Some((agreement, beat));
            }
        }
        period *= STEP;
    }
    best.map(|(_, beat)| beat)
}

/// How well the phases agree, and their mean in seconds.
fn phase(episodes: &[LongWrite], period: f64) -> (f64, f64) {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for one in episodes {
        let angle = one.at / period * TAU;
        sine += angle.sin();
        cosine += angle.cos();
    }
    let count = episodes.len() as f64;
    (sine.hypot(cosine) / count, sine.atan2(cosine).rem_euclid(TAU) / TAU * period)
}

impl Beat {
    /// The same with its length, if most beats that could be seen had an episode.
    fn checked(mut self, episodes: &[LongWrite], observed: &impl Fn(f64) -> bool) -> Option<Beat> {
        let (first, last) = (episodes[0].at, episodes[episodes.len() - 1].at);
        let (mut expected, mut met) = (0, 0);
        let mut beat = self.phase + ((first - self.phase) / self.period - 0.5).ceil() * self.period;
        while beat <= last + self.period * 0.5 {
            let had = episodes.iter().any(|one| (one.at - beat).abs() <= self.period * NEAR);
            if had || observed(beat) {
                expected += 1;
                met += usize::from(had);
            }
            beat += self.period;
        }
        let lengths: Vec<f64> = episodes.iter().filter(|one| self.explains(one)).map(|one| one.ms).collect();
        self.count = met;
        self.length_ms = if lengths.is_empty() { 0.0 } else { median(&lengths) };
        (met >= FEWEST && met as f64 >= COVERED * f64::from(expected)).then_some(self)
    }

    /// Whether an episode lies on the beat.
    pub(super) fn explains(&self, one: &LongWrite) -> bool {
        let away = (one.at - self.phase).rem_euclid(self.period);
        away.min(self.period - away) <= self.period * NEAR
    }

    pub(super) fn finding(&self) -> Finding {
        Finding::PeriodicStalls { period_s: self.period, length_ms: self.length_ms, count: self.count }
    }
}
