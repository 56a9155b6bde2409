//! What Prometheus is shown.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::Arguments;

/// What the metrics' text begins with.
pub(super) const PREFIX: &str = "# HELP graven_disk_watch_";

/// In each decade. With etcd's own buckets (1 ms, doubling) every good disk is in the first.
const STEPS: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];

/// From 10 us to 10 s.
fn buckets() -> Vec<f64> {
    let mut bounds: Vec<f64> =
        (-5..1).flat_map(|decade| STEPS.map(|step| step * 10_f64.powi(decade))).map(rounded).collect();
    bounds.push(10.0);
    bounds
}

/// `0.00015`, not `0.00015000000000000001`.
fn rounded(bound: f64) -> f64 {
    (bound * 1e6).round() / 1e6
}

/// All metrics of a watch; shared with who serves them.
pub(super) struct Metrics {
    registry: Registry,
    syncs: Histogram,
    errors: IntCounter,
    stalls: IntCounter,
    missed: IntCounter,
    in_flight: Gauge,
    last_success: Gauge,
    info: IntGaugeVec,
    stall: Duration,
    /// Bytes and rate.
    how: [String; 2],
    /// When the write under way began.
    begun: Mutex<Option<Instant>>,
}

impl Metrics {
    pub(super) fn new(arguments: &Arguments) -> Metrics {
        let how = [arguments.bytes.to_string(), arguments.rate.to_string()];
        Metrics::of(&arguments.dir, arguments.stall, how)
    }

    /// `how`: bytes and rate.
    pub(super) fn of(dir: &Path, stall: Duration, how: [String; 2]) -> Metrics {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let labels = HashMap::from([("dir".to_owned(), dir.display().to_string())]);
        let options = |name: &str, help: &str| {
            Opts::new(format!("graven_disk_watch_{name}"), help).const_labels(labels.clone())
        };
        const SOUND: &str = "names and labels are sound";
        let counter = |name, help| IntCounter::with_opts(options(name, help)).expect(SOUND);
        let gauge = |name, help| Gauge::with_opts(options(name, help)).expect(SOUND);
        let histogram =
            HistogramOpts::from(options("sync_duration_seconds", "How long durable writes took."));
        let info = options("info", "How it is watched; always 1.");
        let metrics = Metrics {
            registry: Registry::new(),
            syncs: Histogram::with_opts(histogram.buckets(buckets())).expect(SOUND),
            errors: counter("errors_total", "Durable writes that failed."),
            stalls: counter(
                "stalls_total",
                "Durable writes that took longer than --stall, or failed after it.",
            ),
            missed: counter(
                "missed_total",
                "Durable writes that were left out because an earlier one took too long.",
            ),
            in_flight: gauge(
                "in_flight_seconds",
                "For how long the write under way has been; 0 between writes.",
            ),
            last_success: gauge("last_success_timestamp_seconds", "When a durable write last succeeded."),
            info: IntGaugeVec::new(info, &["method", "bytes", "rate"]).expect(SOUND),
            stall,
            how,
            begun: Mutex::new(None),
        };
        let all: [Box<dyn prometheus::core::Collector>; 7] = [
            Box::new(metrics.syncs.clone()),
            Box::new(metrics.errors.clone()),
            Box::new(metrics.stalls.clone()),
            Box::new(metrics.missed.clone()),
            Box::new(metrics.in_flight.clone()),
            Box::new(metrics.last_success.clone()),
            Box::new(metrics.info.clone()),
        ];
        for collector in all {
            metrics.registry.register(collector).expect("every name is used once");
        }
        metrics
    }

    /// The method that came to be used.
    pub(super) fn describe(&self, method: &str) {
        let [bytes, rate] = &self.how;
        self.info.with_label_values(&[method, bytes, rate]).set(1);
    }

    /// A write begins.
    pub(super) fn begin(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It ended, after so long; without a time it failed.
    pub(super) fn end(&self, took: Option<Duration>) {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        match took {
            Some(took) => {
                self.syncs.observe(took.as_secs_f64());
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.last_success.set(now.as_secs_f64());
            }
            None => self.errors.inc(),
        }
        if took.or(begun.map(|begun| begun.elapsed())).is_some_and(|took| took > self.stall) {
            self.stalls.inc();
        }
    }

    /// A write was left out.
    pub(super) fn miss(&self) {
        self.missed.inc();
    }

    /// In Prometheus's text format.
    pub(super) fn text(&self) -> Vec<u8> {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        self.in_flight.set(begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("memory takes it");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_fine_below_a_millisecond() {
        let bounds = buckets();
        assert_eq!((bounds[0], bounds[1], bounds[bounds.len() - 1]), (0.000_01, 0.000_015, 10.0));
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1] && pair[1] / pair[0] <= 1.51), "{bounds:?}");
        assert!(bounds.iter().filter(|bound| **bound < 0.001).count() >= 14);
    }
}
