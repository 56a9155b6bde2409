//! Latencies: nanoseconds to three digits, up to an hour.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer ones count as this: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// How long things took.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What a table shows of latencies; microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: f64,
    /// 90 % are below.
    pub p90_us: f64,
    /// 99 % are below.
    pub p99_us: f64,
    /// 99.9 % are below.
    pub p999_us: f64,
    /// 99.99 % are below.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Latencies {
        Latencies { histogram: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are sound") }
    }

    /// One more.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Some more of the same length.
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
        self.histogram.saturating_record_n(nanos.max(1), count);
    }

    /// Takes in what another one has seen.
    pub fn merge(&mut self, other: &Latencies) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The bound below which a share (0 to 1) lies.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(share))
    }

    /// The same in microseconds.
    pub fn micros(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64 / 1e3
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }

    /// The figures that tables show.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            mean_us: self.histogram.mean() / 1e3,
            p50_us: self.micros(0.5),
            p90_us: self.micros(0.9),
            p99_us: self.micros(0.99),
            p999_us: self.micros(0.999),
            p9999_us: self.micros(0.9999),
            max_us: self.histogram.max() as f64 / 1e3,
        }
    }

    /// Everything that was seen, for encoders and pictures.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies::new()
    }
}
