//! `graven_wal_sync_duration_seconds`: durable writes of the log, in steps of 10 us where a disk lives.
//!
//! `etcd_disk_wal_fsync_duration_seconds` has etcd's buckets, the first of which ends at a millisecond: a disk that takes
//! 80 us and one that takes 800 look the same there.

use std::fmt::Write;
use std::time::Duration;

const NAME: &str = "graven_wal_sync_duration_seconds";

/// Upper bounds beyond the steps of 10 us, in milliseconds.
const COARSE: [u64; 9] = [2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// Writes the family in the text format.
pub(crate) fn render(latencies: &wal::Histogram, out: &mut String) {
    let fine = (1..=100).map(|step| Duration::from_micros(10 * step));
    let bounds = fine.chain(COARSE.map(Duration::from_millis));
    let _ = writeln!(out, "# HELP {NAME} The latency distributions of durable writes of the log.");
    let _ = writeln!(out, "# TYPE {NAME} histogram");
    let mut counted = latencies.buckets().peekable();
    let mut below = 0;
    for bound in bounds {
        // The log's own buckets end at these bounds or between them, never beyond.
        while let Some((_, count)) = counted.next_if(|(end, _)| end.is_some_and(|end| end <= bound)) {
            below += count;
        }
        let _ = writeln!(out, "{NAME}_bucket{{le=\"{}\"}} {below}", bound.as_secs_f64());
    }
    let (count, sum) = (latencies.count(), latencies.sum().as_secs_f64());
    let _ = writeln!(out, "{NAME}_bucket{{le=\"+Inf\"}} {count}\n{NAME}_sum {sum}\n{NAME}_count {count}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut latencies = wal::Histogram::default();
        for micros in [5, 9, 10, 79, 999, 1000, 3500, 150_000, 2_000_000] {
            latencies.record(Duration::from_micros(micros));
        }
        let mut text = String::new();
        render(&latencies, &mut text);
        for line in [
            "graven_wal_sync_duration_seconds_bucket{le=\"0.00001\"} 2",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.00002\"} 3",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.00008\"} 4",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.001\"} 5",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.002\"} 6",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.005\"} 7",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.1\"} 7",
            "graven_wal_sync_duration_seconds_bucket{le=\"0.2\"} 8",
            "graven_wal_sync_duration_seconds_bucket{le=\"1\"} 8",
            "graven_wal_sync_duration_seconds_bucket{le=\"+Inf\"} 9",
            "graven_wal_sync_duration_seconds_count 9",
        ] {
            assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
        }
        assert_eq!(text.lines().count(), 2 + 100 + COARSE.len() + 3);
    }
}
