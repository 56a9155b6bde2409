//! Open loop: requests have a time at which they are meant to start, whether the one before has been answered or not.
//!
//! A closed loop stops asking while the server stands still, and so hides the very stall it should show. With arrivals, latency
//! counts from the intended start: what waited behind a stall has waited.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Intended starts, counted from the beginning of the run, in order and without end.
#[derive(Clone, Debug)]
pub struct Arrivals {
    gap: Gap,
    mean_gap_nanos: f64,
    /// In floating point, so that a rate whose gap is no whole nanosecond keeps its mean: exact enough for a hundred days.
    next_nanos: f64,
}

#[derive(Clone, Debug)]
enum Gap {
    Fixed,
    Exponential(Box<ChaCha8Rng>),
}

impl Arrivals {
    /// As independent users arrive: gaps are distributed exponentially. The same seed gives the same times.
    ///
    /// # Panics
    ///
    /// When the rate is not a positive number.
    pub fn poisson(per_second: f64, seed: u64) -> Arrivals {
        Arrivals::poisson_of(per_second, ChaCha8Rng::seed_from_u64(seed))
    }

    /// The same from a generator that draws for nothing else.
    ///
    /// # Panics
    ///
    /// When the rate is not a positive number.
    pub fn poisson_of(per_second: f64, random: ChaCha8Rng) -> Arrivals {
        let mut arrivals = Arrivals::fixed(per_second);
        arrivals.gap = Gap::Exponential(Box::new(random));
        arrivals.next_nanos = arrivals.draw();
        arrivals
    }

    /// One each `1 / per_second` seconds, the first at once.
    ///
    /// # Panics
    ///
    /// When the rate is not a positive number.
    pub fn fixed(per_second: f64) -> Arrivals {
        assert!(per_second > 0.0 && per_second.is_finite(), "a rate is a positive number: {per_second}");
        Arrivals { gap: Gap::Fixed, mean_gap_nanos: 1e9 / per_second, next_nanos: 0.0 }
    }

    /// What falls to one (counted from 0) of several who take turns at a fixed rate.
    ///
    /// # Panics
    ///
    /// When the rate is not a positive number, or there is nobody.
    pub fn fixed_share(per_second: f64, shares: usize, number: usize) -> Arrivals {
        let mut arrivals = Arrivals::fixed(per_second / shares as f64);
        arrivals.next_nanos = 1e9 / per_second * number as f64;
        arrivals
    }

    fn draw(&mut self) -> f64 {
        match &mut self.gap {
            Gap::Fixed => self.mean_gap_nanos,
            // 1 - u lies in (0, 1]: its logarithm is finite.
            Gap::Exponential(random) => -(1.0 - random.random::<f64>()).ln() * self.mean_gap_nanos,
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = Duration::from_nanos(self.next_nanos.round() as u64);
        self.next_nanos += self.draw();
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_rate_keeps_its_mean() {
        let starts: Vec<Duration> = Arrivals::fixed(3.0).take(7).collect();
        assert_eq!(starts[0], Duration::ZERO);
        assert_eq!(starts[3], Duration::from_secs(1));
        assert_eq!(starts[6], Duration::from_secs(2));
    }

    #[test]
    fn poisson_has_the_mean_and_the_spread_of_its_rate() {
        let seed = 7;
        let starts: Vec<f64> =
            Arrivals::poisson(1000.0, seed).take(100_000).map(|at| at.as_secs_f64()).collect();
        let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1e-3).abs() < 2e-5, "mean gap {mean}, seed {seed}");
        // An exponential distribution deviates by as much as its mean; a fixed rate would not deviate at all.
        assert!((variance.sqrt() - 1e-3).abs() < 3e-5, "deviation {}, seed {seed}", variance.sqrt());
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn a_seed_decides_everything() {
        let some = |seed| Arrivals::poisson(50.0, seed).take(100).collect::<Vec<_>>();
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
    }
}
