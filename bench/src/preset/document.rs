//! What a check found, as JSON; lines, page and exit code are made from it.

use std::time::SystemTime;

use measure::machine::Machine;
use measure::report::{Curve, Fact, Figure, Page, Percentiles, Section, Threshold, Verdict};
use measure::{Align, Latencies, Table, Tone, units};
use serde::{Deserialize, Serialize};

use crate::load::{FailureCount, Server};
use crate::report::{self, FORMAT, VERSION};
use crate::terminal::say;

/// Which of this program's documents these are.
pub(crate) const PERF: &str = "perf";
pub(crate) const DATASCALE: &str = "datascale";

/// One check.
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
    pub(super) server: Server,
    pub(super) settings: Settings,
    pub(super) results: Results,
    /// etcd's lines about it, word for word.
    pub(super) lines: Vec<String>,
    pub(super) passed: bool,
}

/// With what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// `s`, `m`, `l` or `xl`.
    pub(super) load: String,
    pub(super) clients: usize,
    /// The rate of puts; none where they follow each other.
    pub(super) per_second: Option<u32>,
    /// How long, where there is a rate.
    pub(super) seconds: Option<f64>,
    /// How many puts, where there is none.
    pub(super) keys: Option<u64>,
    pub(super) prefix: String,
    /// Behind the prefix.
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    /// From the first put to the last answer.
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) per_second: f64,
    /// From the moment a client sent a put: what the check looks at.
    pub(super) latency: Latencies,
    /// From the moment it should have been sent: what a user would have waited.
    pub(super) latency_from_due: Latencies,
    /// Puts that were due and never made, because as many as there are clients were late already.
    pub(super) skipped: u64,
    /// Standard deviation of the first.
    pub(super) deviation_seconds: f64,
    pub(super) failures: Vec<FailureCount>,
    /// By which the server's resident memory grew, where that was asked for.
    pub(super) memory_bytes: Option<f64>,
}

impl Document {
    pub(super) fn new(
        kind: &str,
        started: SystemTime,
        server: Server,
        settings: Settings,
        results: Results,
        (lines, passed): (Vec<String>, bool),
    ) -> Document {
        Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            kind: kind.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
            machine: Machine::of(std::path::Path::new("."), String::new()),
            server,
            settings,
            results,
            lines,
            passed,
        }
    }

    /// What was done, in a line.
    fn describe(&self) -> String {
        let Settings { clients, per_second, seconds, keys, key_bytes, value_bytes, load, .. } =
            &self.settings;
        let pace = match (per_second, seconds, keys) {
            (Some(rate), Some(seconds), _) => {
                format!("{} puts/s for {}", units::number(f64::from(*rate)), units::seconds(*seconds))
            }
            (.., keys) => format!("{} puts", units::number(keys.unwrap_or(0) as f64)),
        };
        format!(
            "check {} (load {load}): {pace} from {clients} clients, keys of {key_bytes} bytes behind a prefix, values of \
             {value_bytes} bytes",
            self.kind
        )
    }

    fn latencies(&self) -> Table {
        let columns = ["latency", "puts", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
        let mut table = Table::new(
            columns.map(|name| (name, if name == "latency" { Align::Left } else { Align::Right })),
        );
        for (name, latencies) in self.named() {
            let summary = latencies.summary();
            let mut cells = vec![name.to_owned(), units::number(summary.count as f64)];
            cells.extend(summary.times_us().map(units::micros));
            table.row(cells);
        }
        table
    }

    /// What the latencies are, and what is not among them.
    fn how(&self) -> String {
        let mut text =
            "The check looks at the time from when a client sent a put; who had to wait for a client waited longer."
                .to_owned();
        if self.results.skipped > 0 {
            let skipped = units::number(self.results.skipped as f64);
            text.push_str(&format!(
                " {skipped} more were due while every client waited and the queue in front of them was full: as in etcd's \
                 check they were never made, and nobody waited for them."
            ));
        }
        text
    }

    fn named(&self) -> [(&'static str, &Latencies); 2] {
        let Results { latency, latency_from_due, .. } = &self.results;
        [("from when it was sent", latency), ("from when it was due", latency_from_due)]
    }
}

impl report::Document for Document {
    fn print(&self) {
        say(self.describe());
        say(format_args!("server {} at {}", self.server.version, self.server.endpoints.join(", ")));
        say("");
        say(self.latencies());
        say("");
        self.lines.iter().for_each(say);
    }

    fn page(&self) -> Page {
        let Results { latency, per_second, deviation_seconds, .. } = &self.results;
        let endpoints = self.server.endpoints.join(", ");
        let curves = self
            .named()
            .map(|(name, latencies)| Curve { name: name.to_owned(), latencies: latencies.clone() });
        // Of the slowest of all, which is where the curves end.
        let thresholds = match self.kind.as_str() {
            PERF => {
                vec![Threshold { at: super::perf::LONGEST * 1e6, label: "the slowest may take".to_owned() }]
            }
            _ => Vec::new(),
        };
        let section = Section::new("latency", "Latency")
            .with(self.how())
            .with(self.latencies())
            .with(Figure::new("Latency by percentile", Percentiles { curves: curves.into(), thresholds }));
        let mut figures = vec![
            Fact::new("puts/s", units::rounded(*per_second)),
            Fact::new("p99", units::micros(latency.micros(0.99))),
            Fact::new("longest", units::micros(latency.summary().max_us)),
            Fact::new("deviation", units::micros(deviation_seconds * 1e6)),
        ];
        figures.extend(
            self.results.memory_bytes.map(|bytes| Fact::new("memory", units::bytes(bytes.max(0.0) as u64))),
        );
        let word = if self.passed { "passed" } else { "not passed" };
        Page {
            title: format!("check {} of {endpoints}", self.kind),
            subtitle: format!("version {}, {}", self.server.version, self.describe()),
            verdict: Some(Verdict {
                tone: if self.passed { Tone::Good } else { Tone::Bad },
                headline: format!("etcd's check {}, load {}: {word}", self.kind, self.settings.load),
                reasons: self.lines.clone(),
                figures,
            }),
            facts: vec![
                Fact::new("load", self.describe()),
                Fact::new("server", format!("{} at {endpoints}", self.server.version)),
            ],
            sections: vec![section],
            footer: format!("graven-bench {} {}", self.program, self.kind),
        }
    }
}
