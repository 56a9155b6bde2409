//! Latencies: nanoseconds to three digits, up to a minute.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer ones count as this.
const LONGEST: u64 = 60_000_000_000;

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are sound")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    record_many(histogram, latency, 1);
}

pub(crate) fn record_many(histogram: &mut Histogram<u64>, latency: Duration, count: u64) {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
    histogram.saturating_record_n(nanos.max(1), count);
}

/// The bound below which a share (0 to 1) lies, in microseconds.
pub(crate) fn micros(histogram: &Histogram<u64>, share: f64) -> f64 {
    histogram.value_at_quantile(share) as f64 / 1e3
}

/// The longest, in microseconds.
pub(crate) fn longest_micros(histogram: &Histogram<u64>) -> f64 {
    histogram.max() as f64 / 1e3
}
