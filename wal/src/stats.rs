//! Counters, as plain values.

use std::time::Duration;

use crate::io::Chosen;

/// What the log did since it was opened.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Appends that wrote a frame; one durable write each.
    pub batches: u64,
    /// Entries appended.
    pub entries: u64,
    /// Bytes given to the device by appends, whole blocks.
    pub bytes: u64,
    /// Durable writes, seals included.
    pub syncs: u64,
    /// Segments begun.
    pub rotations: u64,
    /// Rotations that had to wait because no segment was ready.
    pub waits: u64,
    /// Latency of durable writes.
    pub sync_latency: Histogram,
    /// Live segments.
    pub segments: u64,
    /// The method in use and what was refused.
    pub chosen: Chosen,
    /// Whether the next segment is ready, or why it cannot be prepared.
    pub next_segment: NextSegment,
    /// Released segments that could not be put aside. They are released again at the next opening.
    pub upkeep_failures: u64,
}

/// Foresight of space: the segment after the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextSegment {
    /// Being prepared.
    Preparing,
    /// Open, allocated, durable in its directory.
    Ready,
    /// There was no space for it, or no file descriptor. That is tried again at intervals; the current segment can still be
    /// filled.
    Refused {
        /// The system's error number, if there was one: 28 is `ENOSPC`, 122 `EDQUOT`, 24 `EMFILE`.
        errno: Option<i32>,
        /// What failed, with the path and the system's words.
        reason: String,
    },
    /// Preparing it failed for another reason. The current segment can still be filled; the append that needs the next
    /// one is the last if it fails again, and after a failed sync it does.
    Failed {
        /// The system's error number, if there was one: 5 is `EIO`.
        errno: Option<i32>,
        /// What failed, with the path and the system's words.
        reason: String,
    },
}

/// Latencies in fixed buckets: 10 us wide up to 1 ms, 100 us up to 10 ms, 1 ms up to 100 ms, 10 ms up to 1 s, one for the rest.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum: Duration,
    max: Duration,
}

const RANGES: usize = 4;
/// Width of the first range's buckets, in microseconds.
const FINEST: u64 = 10;
/// Buckets of the first range; the others have ten fewer, where the range before ends.
const BUCKETS: usize = 100 + 90 * (RANGES - 1) + 1;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.counts[bucket(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX))] += 1;
        self.sum += latency;
        self.max = self.max.max(latency);
    }

    /// Buckets in order: upper bound (exclusive; `None` for the last) and count.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        self.counts.iter().enumerate().map(|(at, &count)| (upper(at), count))
    }

    /// Number of latencies recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The bound below which a share (0 to 1) of all latencies lies, at the histogram's resolution.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (share * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in self.buckets() {
            seen += count;
            if count > 0 && seen >= wanted {
                return bound.unwrap_or(self.max);
            }
        }
        self.max
    }
}

fn bucket(micros: u64) -> usize {
    let mut width = FINEST;
    let mut first = 0;
    for range in 0..RANGES {
        if micros < 100 * width {
            let skipped = if range == 0 { 0 } else { 10 };
            return first + (micros / width) as usize - skipped;
        }
        first += if range == 0 { 100 } else { 90 };
        width *= 10;
    }
    BUCKETS - 1
}

fn upper(at: usize) -> Option<Duration> {
    if at < 100 {
        return Some(Duration::from_micros((at as u64 + 1) * FINEST));
    }
    let range = (at - 100) / 90 + 1;
    let within = (at - 100) % 90;
    (range < RANGES).then(|| Duration::from_micros((within as u64 + 11) * FINEST * 10u64.pow(range as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_below_its_bucket_and_not_below_the_one_before() {
        for micros in (0..2000).chain((2000..1_200_000).step_by(37)) {
            let at = bucket(micros);
            let value = Duration::from_micros(micros);
            match upper(at) {
                Some(bound) => assert!(value < bound, "{micros}"),
                None => assert!(micros >= 1_000_000, "{micros}"),
            }
            if at > 0 {
                assert!(value >= upper(at - 1).unwrap(), "{micros}");
            }
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros * 10 - 1));
        }
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.quantile(0.5), Duration::from_micros(500));
        assert_eq!(histogram.quantile(0.99), Duration::from_micros(990));
        assert_eq!(histogram.max(), Duration::from_micros(999));
    }
}
