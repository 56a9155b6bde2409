//! Where throughput is bought with latency.
//!
//! The rule: the knee is the highest rate at which 99 % of what was offered was achieved, and at which p99 is at most four
//! times that at low load (a twentieth of the peak, or less where that is not carried; at least 1 ms is granted, because a
//! ratio of two microseconds bothers nobody). Achieved is what was durable when the last record was due, with the time of two
//! syncs more: less means a backlog that grows; that answers are late is what the p99 says. Rates climb by factors until one
//! fails, then the interval is halved, by ratio, until it is within 10 %.

use super::{Knee, Point};

/// Of the peak of the closed loop, in order.
const SHARES: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0];
/// And lower ones where not even the first is carried: a device that stalls has a peak that it can't keep up.
const LOWER: [f64; 2] = [0.01, 0.002];
/// p99 may be so many times the one at low load...
const TIMES: f64 = 4.0;
/// ...and this in any case, microseconds.
const GRANTED_US: f64 = 1_000.0;
/// Of what was offered so much must be achieved.
const ACHIEVED: f64 = 0.99;
/// Ends when the interval is as narrow as this.
const NARROW: f64 = 1.1;
/// Halvings at most.
const HALVINGS: usize = 4;
/// What a whole ladder takes at most.
pub(super) const MOST_POINTS: usize = SHARES.len() + HALVINGS;
const _: () = assert!(1 + LOWER.len() + HALVINGS <= MOST_POINTS);

/// What one rate came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    rate: f64,
    offered: f64,
    achieved: f64,
    p99_us: f64,
}

impl Rung {
    pub(super) fn of(point: &Point, rate: f64) -> Rung {
        let offered = point.offered.unwrap_or(rate);
        Rung { rate, offered, achieved: point.achieved, p99_us: point.latency.micros(0.99) }
    }
}

/// Says which rate to try next.
pub(super) struct Ladder {
    peak: f64,
    seen: Vec<Rung>,
    halvings: usize,
}

impl Ladder {
    /// For a log that makes so many records a second durable at most.
    pub(super) fn new(peak: f64) -> Ladder {
        Ladder { peak: peak.max(1.0), seen: Vec::new(), halvings: 0 }
    }

    /// The next rate to try, or none if the knee is known.
    pub(super) fn next(&mut self) -> Option<f64> {
        let best = self.best().map(|rung| rung.rate);
        let worst = self.seen.iter().filter(|rung| !self.holds(rung)).map(|rung| rung.rate).reduce(f64::min);
        match (best, worst) {
            (None, Some(_)) => LOWER.get(self.seen.len() - 1).map(|share| share * self.peak),
            (_, None) => SHARES.get(self.seen.len()).map(|share| share * self.peak),
            (Some(best), Some(worst)) if worst / best > NARROW && self.halvings < HALVINGS => {
                self.halvings += 1;
                Some((best * worst).sqrt())
            }
            _ => None,
        }
    }

    pub(super) fn saw(&mut self, rung: Rung) {
        self.seen.push(rung);
    }

    /// The highest rate below the lowest that failed.
    fn best(&self) -> Option<&Rung> {
        let failed = self.seen.iter().filter(|rung| !self.holds(rung)).map(|rung| rung.rate);
        let failed = failed.fold(f64::INFINITY, f64::min);
        let holding = self.seen.iter().filter(|rung| rung.rate < failed && self.holds(rung));
        holding.max_by(|one, other| one.rate.total_cmp(&other.rate))
    }

    fn holds(&self, rung: &Rung) -> bool {
        let limit = (self.low_p99_us() * TIMES).max(GRANTED_US);
        rung.achieved >= rung.offered * ACHIEVED && rung.p99_us <= limit
    }

    /// Of the lowest rate.
    fn low_p99_us(&self) -> f64 {
        let lowest = self.seen.iter().min_by(|one, other| one.rate.total_cmp(&other.rate));
        lowest.map_or(0.0, |rung| rung.p99_us)
    }

    /// What was found; none if even the lowest rate was not achieved.
    pub(super) fn knee(&self) -> Option<Knee> {
        self.best().map(|rung| Knee {
            per_second: rung.achieved,
            p99_us: rung.p99_us,
            low_p99_us: self.low_p99_us(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that serves `capacity` a second, with the latency of a queue.
    fn climb(peak: f64, capacity: f64, base_us: f64) -> (Option<Knee>, usize) {
        let mut ladder = Ladder::new(peak);
        let mut points = 0;
        while let Some(rate) = ladder.next() {
            let load = rate / capacity;
            let p99_us = if load < 1.0 { base_us / (1.0 - load) } else { 1e6 };
            ladder.saw(Rung { rate, offered: rate, achieved: rate.min(capacity), p99_us });
            points += 1;
        }
        (ladder.knee(), points)
    }

    #[test]
    fn the_knee_is_where_the_queue_bends() {
        for (peak, capacity, base_us) in [(100_000.0, 100_000.0, 10_000.0), (9_000.0, 7_000.0, 2_000.0)] {
            let (knee, points) = climb(peak, capacity, base_us);
            let knee = knee.unwrap();
            // Four times the low latency is at three quarters of the capacity, a little more because low is not zero.
            let share = knee.per_second / capacity;
            assert!((0.65..0.78).contains(&share), "{knee:?}");
            assert!(points <= MOST_POINTS, "{points}");
        }
    }

    #[test]
    fn a_log_that_never_bends_has_its_knee_at_the_top() {
        let (knee, points) = climb(1_000.0, 100_000.0, 100.0);
        assert_eq!((knee.unwrap().per_second, points), (1_000.0, SHARES.len()));
    }

    #[test]
    fn a_log_that_carries_nothing_has_none() {
        let (knee, points) = climb(10_000.0, 10.0, 100.0);
        assert_eq!((knee, points), (None, 1 + LOWER.len()));
    }

    #[test]
    fn where_low_is_too_much_lower_rates_are_tried() {
        let (knee, points) = climb(10_000.0, 200.0, 10_000.0);
        assert!((100.0..200.0).contains(&knee.unwrap().per_second), "{knee:?}");
        assert!(points <= MOST_POINTS, "{points}");
    }

    #[test]
    fn one_odd_rate_in_between_ends_the_climb_there() {
        let mut ladder = Ladder::new(1_000.0);
        for p99_us in [100.0, 100.0, 50_000.0] {
            let rate = ladder.next().unwrap();
            ladder.saw(Rung { rate, offered: rate, achieved: rate, p99_us });
        }
        let next = ladder.next().unwrap();
        assert!((100.0..200.0).contains(&next), "{next}");
    }
}
