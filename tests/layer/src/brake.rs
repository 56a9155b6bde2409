//! What an operation costs: given when it came, when it may finish. Knows no clock, so that tests need none.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::faults::Faults;

/// What reaches the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Read,
    /// A write past the page cache, of so many bytes.
    Write(u64),
    /// A durable write, or a sync of so many bytes written before.
    Sync(u64),
}

/// The device's queue.
#[derive(Debug)]
pub(crate) struct Brake {
    faults: Faults,
    /// When these settings began.
    since: f64,
    syncs: Bucket,
    bytes: Bucket,
    neighbor: Queue,
    dice: ChaCha8Rng,
}

impl Brake {
    /// Times are since any fixed moment.
    pub(crate) fn new(faults: Faults, now: Duration) -> Brake {
        let now = now.as_secs_f64();
        Brake {
            since: now,
            syncs: Bucket::full(faults.sync_rate, faults.sync_peak, faults.burst, now),
            bytes: Bucket::full(faults.byte_rate, faults.byte_peak, faults.burst, now),
            neighbor: Queue { generated: now, free: now },
            dice: ChaCha8Rng::seed_from_u64(faults.seed),
            faults,
        }
    }

    /// When an operation that comes now is done.
    pub(crate) fn finish(&mut self, now: Duration, operation: Operation) -> Duration {
        let mut at = now.as_secs_f64();
        let mut latency = self.faults.latency;
        match operation {
            Operation::Read => latency = self.faults.read_latency,
            Operation::Write(bytes) => {
                at = self.after_stall(at);
                at = self.bytes.take(at, bytes as f64);
                at = self.behind_neighbor(at);
            }
            Operation::Sync(bytes) => {
                at = self.after_stall(at);
                at = self.syncs.take(at, 1.0).max(self.bytes.take(at, bytes as f64));
                at = self.behind_neighbor(at);
                latency += self.faults.sync_latency;
            }
        }
        if !self.faults.jitter.is_zero() {
            latency += self.faults.jitter.mul_f64(unit(&mut self.dice));
        }
        // A stall that begins before the answer holds it back as well.
        let done = self.after_stall(at + latency.as_secs_f64());
        Duration::from_secs_f64(if operation == Operation::Read { at + latency.as_secs_f64() } else { done })
    }

    /// Whether this sync is one of the dropped.
    pub(crate) fn drops(&mut self) -> bool {
        let share = self.faults.drop_syncs;
        share > 0.0 && (share >= 1.0 || unit(&mut self.dice) < share)
    }

    fn after_stall(&self, at: f64) -> f64 {
        let Some(stall) = self.faults.stall else { return at };
        let (length, every) = (stall.length.as_secs_f64(), stall.every.as_secs_f64());
        let begin = every - length;
        let into = (at - self.since).rem_euclid(every);
        if into >= begin { at + (every - into) } else { at }
    }

    fn behind_neighbor(&mut self, at: f64) -> f64 {
        let Some(neighbor) = self.faults.neighbor else { return at };
        let service = neighbor.service.as_secs_f64();
        // The queue forgets what was longer ago than any backlog it could have.
        self.neighbor.generated = self.neighbor.generated.max(at - 10.0);
        loop {
            let gap = -(1.0 - unit(&mut self.dice)).ln() / neighbor.rate;
            if self.neighbor.generated + gap > at {
                // Arrivals have no memory: the next one is drawn anew from here.
                self.neighbor.generated = at;
                break;
            }
            self.neighbor.generated += gap;
            self.neighbor.free = self.neighbor.free.max(self.neighbor.generated) + service;
        }
        at.max(self.neighbor.free)
    }
}

/// When the device is free of the neighbor's syncs, as far as those have been drawn.
#[derive(Debug)]
struct Queue {
    generated: f64,
    free: f64,
}

/// A token bucket, by the time at which it would be empty of debts.
#[derive(Debug)]
struct Bucket {
    rate: Option<f64>,
    peak: Option<f64>,
    /// Seconds of the rate that can be saved up.
    credit: f64,
    settled: f64,
    peak_settled: f64,
}

impl Bucket {
    fn full(rate: Option<f64>, peak: Option<f64>, burst: Duration, now: f64) -> Bucket {
        let burst = burst.as_secs_f64();
        let credit = match (rate, peak) {
            // Credit drains at the difference, and is counted in seconds of the rate.
            (Some(rate), Some(peak)) if peak > rate => burst * (peak - rate) / rate,
            _ => burst,
        };
        Bucket { rate, peak, credit, settled: now - credit, peak_settled: now }
    }

    /// When so many tokens, asked for now, have been handed out.
    fn take(&mut self, now: f64, tokens: f64) -> f64 {
        let mut at = now;
        if let Some(rate) = self.rate {
            self.settled = self.settled.max(now - self.credit) + tokens / rate;
            at = at.max(self.settled);
        }
        if let Some(peak) = self.peak {
            self.peak_settled = self.peak_settled.max(now) + tokens / peak;
            at = at.max(self.peak_settled);
        }
        at
    }
}

/// From 0 to below 1.
fn unit(dice: &mut ChaCha8Rng) -> f64 {
    (dice.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brake(settings: &[(&str, &str)]) -> Brake {
        let mut faults = Faults::default();
        for (name, value) in settings {
            faults.set(name, value).unwrap();
        }
        Brake::new(faults, Duration::ZERO)
    }

    /// One operation after the other for so long: how many were done in each second.
    fn closed_loop(brake: &mut Brake, operation: Operation, seconds: usize) -> Vec<usize> {
        let mut done = vec![0; seconds];
        let mut now = Duration::ZERO;
        loop {
            now = brake.finish(now, operation) + Duration::from_micros(10);
            match done.get_mut(now.as_secs() as usize) {
                Some(count) => *count += 1,
                None => return done,
            }
        }
    }

    #[test]
    fn latency_is_added_once_and_more_to_syncs() {
        let mut brake = brake(&[("latency", "2ms"), ("sync-latency", "3ms"), ("read-latency", "1ms")]);
        let now = Duration::from_secs(5);
        let cost = |brake: &mut Brake, operation| (brake.finish(now, operation) - now).as_micros();
        assert_eq!(cost(&mut brake, Operation::Write(1 << 20)), 2000);
        assert_eq!(cost(&mut brake, Operation::Sync(4096)), 5000);
        assert_eq!(cost(&mut brake, Operation::Read), 1000);
    }

    #[test]
    fn a_rate_is_kept_to_after_the_credit() {
        let mut brake = brake(&[("sync-rate", "100/s"), ("sync-peak", "500/s"), ("burst", "3s")]);
        let done = closed_loop(&mut brake, Operation::Sync(0), 8);
        for (second, count) in done.iter().enumerate() {
            let expected = if second < 3 { 500 } else { 100 };
            assert!(count.abs_diff(expected) <= 12, "{done:?}");
        }
    }

    #[test]
    fn bytes_are_counted_whether_synced_or_direct() {
        for operation in [Operation::Write(10_000), Operation::Sync(10_000)] {
            let mut brake = brake(&[("byte-rate", "1000000/s")]);
            let done = closed_loop(&mut brake, operation, 4);
            assert!(done.iter().all(|count| count.abs_diff(100) <= 2), "{done:?}");
        }
    }

    #[test]
    fn nothing_moves_in_a_stall() {
        let mut brake = brake(&[("latency", "1ms"), ("stall", "1s/5s")]);
        let done = closed_loop(&mut brake, Operation::Sync(0), 10);
        // One answer at the stall's very end belongs to the second after it.
        assert_eq!((done[4], done[9]), (0, 0), "{done:?}");
        assert!(done[3] > 900 && done[5] > 900, "{done:?}");
        assert!(brake.finish(Duration::from_millis(14_500), Operation::Read) < Duration::from_millis(14_501));
    }

    #[test]
    fn a_neighbor_delays_as_queueing_theory_says() {
        let mut brake = brake(&[("neighbor", "100/s:5ms")]);
        let waits: Vec<_> = (0..20_000)
            .map(|i| {
                let now = Duration::from_millis(7 * i);
                (brake.finish(now, Operation::Sync(0)) - now).as_secs_f64()
            })
            .collect();
        // M/D/1 at half load: the mean wait is half a service, and half of the arrivals find it idle.
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        assert!((0.0022..0.0028).contains(&mean), "mean wait {mean}");
        let idle = waits.iter().filter(|wait| **wait == 0.0).count();
        assert!((9_000..11_000).contains(&idle), "{idle}");
    }

    #[test]
    fn the_share_of_dropped_syncs_is_kept_to() {
        let count = |share| {
            let mut brake = brake(&[("drop-syncs", share)]);
            (0..10_000).filter(|_| brake.drops()).count()
        };
        assert_eq!((count("0"), count("1")), (0, 10_000));
        assert!((80..120).contains(&count("0.01")));
    }
}
