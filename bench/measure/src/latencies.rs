//! Latencies: nanoseconds to three digits, up to an hour.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as HdrDeserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

impl Summary {
    /// Mean, p50, p90, p99, p99.9, p99.99 and the longest, in the order of tables; microseconds.
    pub fn times_us(&self) -> [f64; 7] {
        [self.mean_us, self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.p9999_us, self.max_us]
    }
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
        self.histogram.saturating_record_n(Latencies::nanos(latency), count);
    }

    /// As it is counted: at least one nanosecond, at most an hour.
    pub(crate) fn nanos(latency: Duration) -> u64 {
        u64::try_from(latency.as_nanos()).unwrap_or(LONGEST).clamp(1, LONGEST)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.histogram.reset();
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

    /// HdrHistogram's compressed encoding (V2) in base64, as its logs hold it.
    pub fn to_hdr(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram, &mut bytes)
            .expect("memory takes everything, and counts of one run fit");
        STANDARD.encode(bytes)
    }

    /// Reads what [`Latencies::to_hdr`] or another implementation has written; a message in words when it is something else.
    pub fn from_hdr(text: &str) -> Result<Latencies, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("no base64: {error}"))?;
        let read: Histogram<u64> = HdrDeserializer::new()
            .deserialize(&mut &*bytes)
            .map_err(|error| format!("no histogram: {error}"))?;
        let mut latencies = Latencies::new();
        latencies.histogram.add(&read).map_err(|_| "latencies beyond an hour".to_owned())?;
        Ok(latencies)
    }
}

/// The figures for people and scripts, and everything for plotters.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    summary: Summary,
    /// See [`Latencies::to_hdr`]; nanoseconds.
    hdr: String,
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { summary: self.summary(), hdr: self.to_hdr() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Latencies, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let latencies = Latencies::from_hdr(&written.hdr).map_err(serde::de::Error::custom)?;
        if latencies.count() != written.summary.count {
            let (count, held) = (written.summary.count, latencies.count());
            return Err(serde::de::Error::custom(format!("count says {count}, hdr holds {held}")));
        }
        Ok(latencies)
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Latencies {
        let mut latencies = Latencies::new();
        for micros in 1..=10_000 {
            latencies.record(Duration::from_micros(micros));
        }
        latencies
    }

    #[test]
    fn figures_to_three_digits() {
        let summary = some().summary();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 1e-3;
        assert_eq!(summary.count, 10_000);
        assert!(near(summary.p50_us, 5_000.0) && near(summary.p99_us, 9_900.0), "{summary:?}");
        assert!(near(summary.p9999_us, 9_999.0) && near(summary.max_us, 10_000.0), "{summary:?}");
        assert!(near(summary.mean_us, 5_000.5), "{summary:?}");
    }

    #[test]
    fn json_and_back() {
        let latencies = some();
        let json = serde_json::to_value(&latencies).unwrap();
        assert_eq!(json["count"], 10_000);
        assert_eq!(serde_json::from_value::<Latencies>(json.clone()).unwrap(), latencies);

        let mut forged = json.clone();
        forged["count"] = 9_999.into();
        assert!(serde_json::from_value::<Latencies>(forged).is_err(), "the count does not fit the histogram");
        let mut torn = json;
        torn["hdr"] = "HISTFAAA".into();
        assert!(serde_json::from_value::<Latencies>(torn).is_err());
    }

    #[test]
    fn the_shortest_and_the_longest_are_counted() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(100_000));
        assert_eq!(latencies.count(), 2);
        assert!(latencies.longest() >= Duration::from_secs(3_590));
        assert_eq!(Latencies::from_hdr(&latencies.to_hdr()).unwrap(), latencies);
    }
}
