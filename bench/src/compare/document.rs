//! What a comparison found, as JSON; table and page are made from it.

use measure::machine::Machine;
use measure::report::Page;
use measure::{Latencies, Probe, median};
use serde::{Deserialize, Serialize};

use super::parity::{Durability, Turn, Verdict};
use super::{page, table};
use crate::load::{Ending, FailureCount};
use crate::report;
use crate::terminal::say;

/// Which of this program's documents this is.
pub(crate) const KIND: &str = "compare";

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) kind: String,
    /// Of the program that wrote it.
    pub(super) program: String,
    /// Seconds since 1970 at which it began.
    pub(super) started: f64,
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) ending: Ending,
    /// Median of the device's own durable writes of 4 KiB in all probes, in microseconds.
    pub(super) floor_us: f64,
    /// In the order of the command line; ratios are to the first.
    pub(super) servers: Vec<Server>,
    /// Every time a server was measured, in the order it happened.
    pub(super) turns: Vec<Measured>,
    /// Why the figures must not be taken as they are, if so.
    pub(super) complaint: Option<String>,
}

/// With what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) rounds: u32,
    pub(super) warm_up_seconds: f64,
    pub(super) duration_seconds: f64,
    pub(super) key_space: u64,
    pub(super) value_bytes: String,
    pub(super) clients_per_connection: u32,
    pub(super) seed: u64,
}

/// One of those compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) command: String,
    /// As it says itself.
    pub(super) version: String,
    pub(super) durability: Durability,
    /// Rounds during which the disk stayed as it was; the medians are of these.
    pub(super) quiet_rounds: usize,
    /// There was none, and the medians are of all rounds.
    pub(super) is_disturbed: bool,
    pub(super) loads: Vec<Load>,
}

/// One load's medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) name: String,
    pub(super) clients: u32,
    pub(super) connections: usize,
    pub(super) per_second: f64,
    pub(super) least_per_second: f64,
    pub(super) most_per_second: f64,
    /// To the first server's; 1 for itself.
    pub(super) ratio: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    /// CPU seconds of the server's processes for a million requests.
    pub(super) cpu_per_million: f64,
    /// CPU seconds of this program for a million requests.
    pub(super) client_cpu_per_million: f64,
    /// Bytes that the server caused to be written for each put; none without puts, or where the system does not tell.
    pub(super) written_bytes: Option<f64>,
    pub(super) rss_anon_bytes: f64,
    pub(super) rss_file_bytes: f64,
    /// Requests that failed, in all rounds.
    pub(super) failed: u64,
    /// Of all rounds together.
    pub(super) latency: Latencies,
}

/// One server's turn in a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) round: u32,
    pub(super) server: String,
    pub(super) before: Probe,
    pub(super) after: Probe,
    /// The disk's floor moved by more than 30 % between them.
    pub(super) moved: bool,
    /// Moved, and measured again: counts nowhere.
    pub(super) dropped: bool,
    pub(super) parity: Vec<Turn>,
    pub(super) samples: Vec<Sample>,
}

/// One load in one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) clients: u32,
    pub(super) connections: usize,
    pub(super) per_second: f64,
    pub(super) requests: u64,
    pub(super) puts: u64,
    pub(super) latency: Latencies,
    pub(super) failures: Vec<FailureCount>,
    pub(super) cpu_seconds: f64,
    pub(super) client_cpu_us: f64,
    pub(super) written_bytes: Option<u64>,
    pub(super) rss_anon_bytes: u64,
    pub(super) rss_file_bytes: u64,
}

impl Document {
    /// Those whose figures are of turns during which the disk moved.
    pub(super) fn disturbed(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.is_disturbed)
    }

    /// A server that answers before puts are durable: nothing can be said about the others beside it.
    pub(super) fn has_liar(&self) -> bool {
        self.servers.iter().any(|server| server.durability.verdict == Verdict::DoesNotSync)
    }
}

impl report::Document for Document {
    fn print(&self) {
        say(self.machine.line());
        say(table::floor(self));
        say(table::loads(self));
        say("");
        say(table::durability(self));
        say("");
        if let Some(words) = table::cut_short(self) {
            say(format_args!("CAUTION: {words}"));
        }
        if let Some(complaint) = &self.complaint {
            say(format_args!("CAUTION: {complaint}"));
        }
        if !self.has_liar() {
            say(page::headline(self));
        }
    }

    fn page(&self) -> Page {
        page::page(self)
    }
}

/// Medians of one load over the turns that count.
pub(super) fn load_of(samples: &[&Sample], first: Option<&Load>) -> Load {
    let median = |of: &dyn Fn(&Sample) -> f64| {
        let values: Vec<f64> = samples.iter().map(|sample| of(sample)).collect();
        median(&values).unwrap_or_default()
    };
    let per_second = median(&|sample| sample.per_second);
    let rates = || samples.iter().map(|sample| sample.per_second);
    let mut latency = Latencies::new();
    samples.iter().for_each(|sample| latency.merge(&sample.latency));
    let has_puts = samples.iter().all(|sample| sample.puts > 0 && sample.written_bytes.is_some());
    Load {
        name: samples[0].name.clone(),
        clients: samples[0].clients,
        connections: samples[0].connections,
        per_second,
        least_per_second: rates().fold(f64::MAX, f64::min),
        most_per_second: rates().fold(0.0, f64::max),
        ratio: first.map_or(1.0, |first| per_second / first.per_second),
        p50_us: median(&|sample| sample.latency.micros(0.5)),
        p99_us: median(&|sample| sample.latency.micros(0.99)),
        p999_us: median(&|sample| sample.latency.micros(0.999)),
        cpu_per_million: median(&|sample| sample.cpu_seconds * 1e6 / sample.requests.max(1) as f64),
        client_cpu_per_million: median(&|sample| sample.client_cpu_us),
        written_bytes: has_puts
            .then(|| median(&|sample| sample.written_bytes.unwrap_or(0) as f64 / sample.puts as f64)),
        rss_anon_bytes: median(&|sample| sample.rss_anon_bytes as f64),
        rss_file_bytes: median(&|sample| sample.rss_file_bytes as f64),
        failed: samples.iter().flat_map(|sample| &sample.failures).map(|failure| failure.count).sum(),
        latency,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(per_second: f64, ms: u64, cpu_seconds: f64) -> Sample {
        let mut latency = Latencies::new();
        latency.record_many(Duration::from_millis(ms), 100);
        Sample {
            name: "put".to_owned(),
            clients: 4,
            connections: 1,
            per_second,
            requests: 100,
            puts: 100,
            latency,
            failures: vec![FailureCount { what: "late".to_owned(), count: 2 }],
            cpu_seconds,
            client_cpu_us: 2.0,
            written_bytes: Some(5_000),
            rss_anon_bytes: 10,
            rss_file_bytes: 20,
        }
    }

    #[test]
    fn a_load_is_the_median_of_its_rounds() {
        let rounds = [sample(300.0, 1, 0.001), sample(100.0, 3, 0.003), sample(200.0, 2, 0.002)];
        let one = load_of(&rounds.each_ref(), None);
        assert_eq!((one.per_second, one.least_per_second, one.most_per_second), (200.0, 100.0, 300.0));
        assert!((one.p50_us / 2_000.0 - 1.0).abs() < 0.01, "{}", one.p50_us);
        assert!((one.cpu_per_million - 20.0).abs() < 1e-6, "{}", one.cpu_per_million);
        assert_eq!((one.written_bytes, one.failed, one.ratio), (Some(50.0), 6, 1.0));
        assert_eq!(one.latency.count(), 300);
        let twice = load_of(&[&sample(400.0, 1, 0.001)], Some(&one));
        assert_eq!(twice.ratio, 2.0);
    }
}
