//! The puts of both checks: random keys of a fixed length below a prefix, values of zeros.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::etcdserverpb::PutRequest;
use measure::{Latencies, Progress};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::document::Results;
use crate::calls::{Calls, Done, Next};
use crate::client::Method;
use crate::error::Result;
use crate::load::FailureCount;

/// When a put may be sent, and when there are no more.
pub(super) enum Pace {
    /// One each so often, until the end.
    Every { interval: Duration, until: Instant },
    /// So many, each as soon as a client is free.
    Total(u64),
}

/// Sends puts and takes down what comes back.
pub(super) struct Puts<'a> {
    request: PutRequest,
    prefix: &'a str,
    key: Vec<u8>,
    random: ChaCha8Rng,
    pace: Pace,
    /// More than these do not wait for a client: the next are made later.
    most_late: Duration,
    begun: Instant,
    due: Instant,
    sent: u64,
    /// When the put that a client has outstanding should have been sent.
    intended: Vec<Instant>,
    progress: &'a mut Progress,
    found: Found,
}

/// What came back.
#[derive(Default)]
pub(super) struct Found {
    /// From the moment a client sent it: what etcd's check looks at.
    pub(super) latencies: Latencies,
    /// From the moment it should have been sent: what a user would have waited.
    pub(super) intended: Latencies,
    /// Puts that were due and never made, because as many as there are clients were late already.
    pub(super) skipped: u64,
    /// In seconds, for the deviation.
    sum: f64,
    sum_of_squares: f64,
    /// By their words.
    pub(super) errors: BTreeMap<String, u64>,
    /// From the first put to the last answer.
    pub(super) lasted: Duration,
    is_lost: bool,
}

impl<'a> Puts<'a> {
    /// Keys of `key_bytes` behind the prefix, values of `value_bytes`.
    pub(super) fn new(
        prefix: &'a str,
        (key_bytes, value_bytes): (usize, usize),
        clients: usize,
        pace: Pace,
        progress: &'a mut Progress,
    ) -> Puts<'a> {
        let now = Instant::now();
        let most_late = match &pace {
            // etcd's queue in front of the clients has a place for each of them.
            Pace::Every { interval, .. } => *interval * u32::try_from(clients).unwrap_or(u32::MAX),
            Pace::Total(_) => Duration::MAX,
        };
        // The keys must not be those of a check that was cut short.
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        Puts {
            request: PutRequest { value: vec![0; value_bytes].into(), ..PutRequest::default() },
            prefix,
            key: vec![0; key_bytes],
            random: ChaCha8Rng::seed_from_u64(seed),
            pace,
            most_late,
            begun: now,
            due: now,
            sent: 0,
            intended: vec![now; clients],
            progress,
            found: Found::default(),
        }
    }

    /// When all are answered.
    pub(super) fn found(self) -> Found {
        self.found
    }

    fn write(&mut self, message: &mut Vec<u8>) {
        // As a varint of Go's `binary.PutVarint`: ten bytes at most, the rest stay zero.
        let mut number = self.random.random::<u64>();
        for byte in self.key.iter_mut().take(10) {
            *byte = number as u8 & 0x7f | if number >= 0x80 { 0x80 } else { 0 };
            number >>= 7;
        }
        self.request.key = [self.prefix.as_bytes(), &self.key].concat().into();
        self.request.encode(message).expect("memory takes everything");
        self.sent += 1;
    }
}

impl Calls for Puts<'_> {
    fn next(&mut self, client: usize, now: Instant, message: &mut Vec<u8>) -> Result<Next> {
        if self.found.is_lost {
            return Ok(Next::End);
        }
        let share = match self.pace {
            Pace::Every { until, .. } if now >= until => return Ok(Next::End),
            Pace::Total(total) if self.sent >= total => return Ok(Next::End),
            Pace::Every { until, .. } => {
                (now - self.begun).as_secs_f64() / (until - self.begun).as_secs_f64()
            }
            Pace::Total(total) => self.sent as f64 / total as f64,
        };
        let latencies = &self.found.latencies;
        self.progress.update_text(share, || {
            let p99 = measure::units::micros(latencies.micros(0.99));
            format!("{} puts, p99 {p99}", measure::units::number(latencies.count() as f64))
        });
        self.intended[client] = now;
        if let Pace::Every { interval, .. } = self.pace {
            if self.due > now {
                return Ok(Next::At(self.due));
            }
            let late = now - self.due;
            if late > self.most_late {
                // Those that are due stay on their grid: whole intervals are left out.
                let skipped = ((late - self.most_late).as_nanos()).div_ceil(interval.as_nanos().max(1));
                let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
                self.found.skipped += u64::from(skipped);
                self.due += interval * skipped;
            }
            self.intended[client] = self.due;
            self.due += interval;
        }
        self.write(message);
        Ok(Next::Call(Method::Put))
    }

    fn done(&mut self, done: Done<'_>) -> Result<()> {
        let found = &mut self.found;
        found.lasted = done.at - self.begun;
        match done.answer {
            Ok(_) => {
                let latency = done.at.saturating_duration_since(done.sent);
                found.latencies.record(latency);
                found.intended.record(done.at.saturating_duration_since(self.intended[done.client]));
                found.sum += latency.as_secs_f64();
                found.sum_of_squares += latency.as_secs_f64().powi(2);
            }
            Err(failure) => {
                found.is_lost |= failure.is_lost();
                *found.errors.entry(failure.to_string()).or_default() += 1;
            }
        }
        Ok(())
    }
}

impl Found {
    /// Why there was nobody left to put to.
    pub(super) fn lost(&self) -> Option<String> {
        let words = self.errors.keys().find(|words| words.starts_with("connection lost"));
        self.is_lost.then(|| {
            let count = measure::units::number(self.latencies.count() as f64);
            let why = words.map_or("connection lost", String::as_str);
            format!("the server was lost after {count} puts: {why}; shown is what was measured until then")
        })
    }

    /// A second, from the first put to the last answer.
    pub(super) fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.lasted.as_secs_f64().max(1e-9)
    }

    /// Of the latencies, in seconds.
    pub(super) fn deviation(&self) -> f64 {
        let count = self.latencies.count().max(1) as f64;
        let mean = self.sum / count;
        (self.sum_of_squares / count - mean * mean).max(0.0).sqrt()
    }

    /// What etcd's lines do not show.
    pub(super) fn percentiles(&self) -> String {
        let text = |summary: measure::Summary| {
            let named = [
                ("p50", summary.p50_us),
                ("p90", summary.p90_us),
                ("p99", summary.p99_us),
                ("p99.9", summary.p999_us),
                ("longest", summary.max_us),
            ];
            named.map(|(name, us)| format!("{name} {}", measure::units::micros(us))).join(", ")
        };
        let mut words = format!(
            "{} puts: {}; from when they were due: {}",
            measure::units::number(self.latencies.count() as f64),
            text(self.latencies.summary()),
            text(self.intended.summary())
        );
        if self.skipped > 0 {
            let skipped = measure::units::number(self.skipped as f64);
            words.push_str(&format!(
                ", without {skipped} more that were due while every client waited and the queue was full: they were never made"
            ));
        }
        words
    }

    /// etcd's lines about errors; none where there were none.
    pub(super) fn error_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.errors.is_empty() {
            lines.push("FAIL: too many errors".to_owned());
            lines.extend(self.errors.iter().map(|(what, count)| format!("FAIL: ERROR({what}) -> {count}")));
        }
        lines
    }

    /// For the document.
    pub(super) fn results(&self, memory_bytes: Option<f64>) -> Results {
        let count = |(what, count): (&String, &u64)| FailureCount { what: what.clone(), count: *count };
        Results {
            seconds: self.lasted.as_secs_f64(),
            requests: self.latencies.count(),
            per_second: self.per_second(),
            latency: self.latencies.clone(),
            latency_from_due: self.intended.clone(),
            skipped: self.skipped,
            deviation_seconds: self.deviation(),
            failures: self.errors.iter().map(count).collect(),
            memory_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_random_and_of_one_length() {
        let mut progress = Progress::silent();
        let mut puts = Puts::new("/p/", (256, 10), 2, Pace::Total(3), &mut progress);
        let mut keys = Vec::new();
        loop {
            let mut message = Vec::new();
            match puts.next(0, Instant::now(), &mut message).unwrap() {
                Next::Call(Method::Put) => keys.push(PutRequest::decode(&message[..]).unwrap().key),
                Next::End => break,
                _ => panic!("there is nothing to wait for"),
            }
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| key.starts_with(b"/p/") && key.len() == 3 + 256));
    }

    #[test]
    fn a_rate_is_kept_and_lateness_is_bounded() {
        let mut progress = Progress::silent();
        let interval = Duration::from_millis(10);
        let pace = Pace::Every { interval, until: Instant::now() + Duration::from_secs(100) };
        let mut puts = Puts::new("/p/", (256, 10), 3, pace, &mut progress);
        let begun = puts.begun;
        let mut count = |at: u64| {
            let mut calls = 0;
            while let Next::Call(_) =
                puts.next(0, begun + Duration::from_millis(at), &mut Vec::new()).unwrap()
            {
                calls += 1;
            }
            calls
        };
        assert_eq!([count(0), count(9), count(10), count(25)], [1, 0, 1, 1]);
        // A stall of a second: the queue holds three, and the one that is due.
        assert_eq!(count(1030), 4);
        assert_eq!(count(1040), 1);
        // Due at 30, 40 and so on to 990; those of 1000 to 1030 were made.
        assert_eq!(puts.found().skipped, 97);
        let said = Found { skipped: 97, ..Found::default() }.percentiles();
        assert!(said.contains("without 97 more that were due"), "{said}");
        assert!(!Found::default().percentiles().contains("without"));
    }

    #[test]
    fn the_deviation_is_that_of_the_latencies() {
        let mut found = Found { sum: 6.0, sum_of_squares: 14.0, ..Found::default() };
        found.latencies.record_many(Duration::from_secs(2), 3);
        assert!((found.deviation() - (2.0f64 / 3.0).sqrt()).abs() < 1e-9);
    }
}
