//! What a load found, as JSON; table and page are made from it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use measure::machine::Machine;
use measure::report::Page;
use measure::{Latencies, Summary, Timeline, units};
use serde::{Deserialize, Serialize};

use super::plan::{End, Kind, Pace, Plan};
use super::process::Watched;
use super::snapshot::SnapshotPart;
use super::tally::{FOUND_NOTHING, Streamed, Tally};
use super::{page, table};
use crate::report::{self, FORMAT, VERSION};

/// Which of this program's documents this is.
pub(crate) const KIND: &str = "load";

/// One load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) kind: String,
    /// Of the program that wrote it.
    pub(crate) program: String,
    /// Seconds since 1970 at which counting began.
    pub(crate) started: f64,
    pub(crate) machine: Machine,
    pub(crate) server: Server,
    pub(crate) load: Settings,
    pub(crate) ending: Ending,
    pub(crate) results: Results,
}

/// Who was loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) endpoints: Vec<String>,
    /// As the first of them says.
    pub(crate) version: String,
    pub(crate) tls: bool,
}

/// With what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// `put`, `range` and so on.
    pub(crate) name: String,
    /// What throughput is told in: `requests`, `transactions` and so on.
    pub(crate) counted: String,
    pub(crate) client: String,
    pub(crate) threads: usize,
    pub(crate) connections: usize,
    pub(crate) clients: usize,
    /// Requests a second of an open loop; none in a closed one.
    pub(crate) rate: Option<f64>,
    /// They come evenly, not at random.
    pub(crate) fixed: bool,
    pub(crate) warm_up_seconds: f64,
    /// What was asked for, where the end was a number of requests.
    pub(crate) total: Option<u64>,
    /// The same, where it was a time.
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) key_space: u64,
    pub(crate) key_bytes: usize,
    pub(crate) distribution: String,
    pub(crate) value_bytes: String,
    /// What only this load has, in words: `limit 10, serializable`.
    pub(crate) details: String,
    pub(crate) seed: u64,
}

impl Settings {
    /// One of what throughput is told in: `a request`, `an event`.
    pub(crate) fn one(&self) -> String {
        let one = self.counted.strip_suffix('s').unwrap_or(&self.counted);
        format!("{} {one}", if one.starts_with('e') { "an" } else { "a" })
    }

    /// When requests are sent, in words.
    pub(crate) fn pace(&self) -> String {
        if self.name == Kind::SNAPSHOT {
            return "one snapshot after the other on each stream".to_owned();
        }
        let Settings { clients, connections, .. } = self;
        let outstanding = units::number(*clients as f64);
        let pace = match self.rate {
            Some(rate) => {
                let how = if self.fixed { "evenly" } else { "at random moments" };
                format!(
                    "open loop, {} requests/s {how}, at most {outstanding} outstanding",
                    units::number(rate)
                )
            }
            None => format!("closed loop, {outstanding} outstanding"),
        };
        format!("{pace} on {connections} connection{}", if *connections == 1 { "" } else { "s" })
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// As it should.
    Complete,
    /// By Ctrl-C.
    Interrupted,
    /// No server was left, and why.
    Lost(String),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// From the beginning of counting to the last answer.
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) latency: Latencies,
    pub(crate) kinds: Vec<KindResults>,
    pub(crate) failures: Vec<FailureCount>,
    /// Of the failures, answers that came and were wrong.
    pub(crate) wrong: u64,
    /// Connections that did not last until the end.
    pub(crate) lost_connections: u64,
    /// CPU time of this program for each request, sent and answered.
    pub(crate) client_cpu_us: f64,
    pub(crate) process: Option<ProcessResults>,
    /// What only this load counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) counts: Vec<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) streamed: Option<StreamedResults>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<Verified>,
}

impl Results {
    /// Whether several kinds, taken together, are what throughput is told of; some are parts of others.
    pub(crate) fn have_sum(&self) -> bool {
        let told: Vec<u64> = self.told().map(|kind| kind.timeline.total().count()).collect();
        told.len() > 1 && told.iter().sum::<u64>() == self.requests
    }

    /// The kinds that may be what throughput is told of.
    pub(crate) fn told(&self) -> impl Iterator<Item = &KindResults> {
        self.kinds.iter().filter(|kind| !kind.aside)
    }
}

/// Something that was counted, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) what: String,
    pub(crate) count: u64,
}

/// What streams brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamedResults {
    pub(crate) bytes: u64,
    /// From when the first was asked for to the last byte of all.
    pub(crate) seconds: f64,
    pub(crate) bytes_per_second: f64,
}

/// Counters that transactions have incremented, and what was found in them in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// Increments that the server has said are committed.
    pub(crate) committed: u64,
    /// Of which it never said.
    pub(crate) unknown: u64,
    /// The sum of the counters.
    pub(crate) found: u64,
}

impl Verified {
    /// Nothing is missing, and nothing too much.
    pub(crate) fn holds(&self) -> bool {
        (self.committed..=self.committed + self.unknown).contains(&self.found)
    }
}

/// Of one kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KindResults {
    pub(crate) name: String,
    /// Throughput and latency are not told of it: it is a part of another, or comes of another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) aside: bool,
    /// How long this kind took, where that is not the time of the whole: it came before, with a timeline of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// The part of the whole that was this kind's, where others had the rest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part_seconds: Option<f64>,
    pub(crate) timeline: Timeline,
}

/// How often something failed in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureCount {
    pub(crate) what: String,
    pub(crate) count: u64,
}

/// The server's process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessResults {
    /// While counting.
    pub(crate) cpu_seconds: f64,
    /// For each request.
    pub(crate) cpu_us: f64,
    /// For each request.
    pub(crate) written_bytes: Option<f64>,
    /// At the end.
    pub(crate) rss_anon_bytes: u64,
    pub(crate) rss_file_bytes: u64,
    /// The most that was seen, looking twice a second.
    pub(crate) peak_rss_anon_bytes: u64,
}

impl StreamedResults {
    fn new(streamed: Streamed) -> StreamedResults {
        let (bytes, seconds) = (streamed.bytes, streamed.lasted.as_secs_f64());
        StreamedResults { bytes, seconds, bytes_per_second: bytes as f64 / seconds.max(1e-9) }
    }
}

impl ProcessResults {
    pub(super) fn new(process: &Watched, requests: u64) -> ProcessResults {
        let Watched { before, last: after, peak_rss_anon_bytes: peak, .. } = *process;
        let each = |value: f64| value / requests.max(1) as f64;
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        let written = after.written_bytes.zip(before.written_bytes);
        ProcessResults {
            cpu_seconds,
            cpu_us: each(cpu_seconds * 1e6),
            written_bytes: written.map(|(after, before)| each(after.saturating_sub(before) as f64)),
            rss_anon_bytes: after.rss_anon_bytes,
            rss_file_bytes: after.rss_file_bytes,
            peak_rss_anon_bytes: peak.max(after.rss_anon_bytes),
        }
    }
}

impl Document {
    pub(super) fn new(
        plan: &Plan,
        server: String,
        started: SystemTime,
        ending: Ending,
        tally: &Tally,
        cpu: Duration,
        process: Option<ProcessResults>,
    ) -> Document {
        let seconds = tally.lasted.as_secs_f64();
        // What throughput is told of may begin later than what counts.
        let told_seconds = match &plan.kind {
            Kind::Snapshot(load) => {
                load.part_seconds(SnapshotPart::Streams, seconds, plan.end).unwrap_or(seconds)
            }
            _ => seconds,
        };
        let requests = tally.successes();
        let answered = (requests + tally.failed()).max(1);
        let (rate, fixed) = match plan.pace {
            Pace::Closed => (None, false),
            Pace::Open { per_second, is_fixed } => (Some(per_second), is_fixed),
        };
        let (total, duration) = match plan.end {
            End::Total(total) => (Some(total), None),
            End::After(duration) => (None, Some(duration.as_secs_f64())),
        };
        Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            kind: KIND.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
            machine: Machine::of(Path::new("."), String::new()),
            server: Server {
                endpoints: (0..plan.target.endpoints.len()).map(|at| plan.target.name(at)).collect(),
                version: server,
                tls: plan.target.tls.is_some(),
            },
            load: Settings {
                name: plan.kind.name().to_owned(),
                counted: plan.kind.counted().to_owned(),
                client: plan.client.name().to_owned(),
                threads: plan.threads,
                connections: plan.all_connections(),
                clients: plan.clients,
                rate,
                fixed,
                warm_up_seconds: plan.warm_up.as_secs_f64(),
                total,
                duration_seconds: duration,
                key_space: plan.key_space,
                key_bytes: plan.key_bytes(),
                distribution: format!("{:?}", plan.spread).to_lowercase(),
                value_bytes: plan.value_sizes.to_string(),
                details: plan.kind.details(),
                seed: plan.seed,
            },
            ending,
            results: Results {
                seconds,
                requests,
                per_second: if told_seconds > 0.0 { requests as f64 / told_seconds } else { 0.0 },
                latency: tally.latencies(),
                kinds: tally
                    .kinds()
                    .enumerate()
                    .map(|(at, (name, timeline))| KindResults {
                        name: name.to_owned(),
                        aside: tally.aside.contains(&at),
                        seconds: tally.lasted_before(name).map(|lasted| lasted.as_secs_f64()),
                        part_seconds: match &plan.kind {
                            Kind::Snapshot(load) => {
                                load.part_seconds(SnapshotPart::of(name), seconds, plan.end)
                            }
                            _ => None,
                        },
                        timeline: timeline.clone(),
                    })
                    .collect(),
                failures: tally
                    .failures()
                    .iter()
                    .map(|(what, count)| FailureCount { what: what.clone(), count: *count })
                    .collect(),
                wrong: tally.wrong,
                lost_connections: tally.lost_connections,
                client_cpu_us: cpu.as_secs_f64() * 1e6 / answered as f64,
                process,
                counts: tally
                    .counts
                    .iter()
                    .filter(|(_, count)| **count > 0)
                    .map(|(what, count)| Count { what: (*what).to_owned(), count: *count })
                    .collect(),
                streamed: tally.streamed.map(StreamedResults::new),
                verified: None,
            },
        }
    }

    /// Latencies of everything.
    pub(crate) fn summary(&self) -> Summary {
        self.results.latency.summary()
    }

    /// How many requests failed.
    pub(crate) fn failed(&self) -> u64 {
        self.results.failures.iter().map(|failure| failure.count).sum()
    }

    /// Why the figures must not be taken as they are.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Results { requests, wrong, lost_connections, verified, .. } = &self.results;
        match &self.ending {
            Ending::Lost(why) => {
                Some(format!("the load ended early: {why}; shown is what was measured until then"))
            }
            _ if verified.is_some_and(|verified| !verified.holds()) => {
                let Verified { committed, unknown, found } = verified.expect("just looked at");
                let unknown = if unknown > 0 { format!(" ({unknown} more may be)") } else { String::new() };
                Some(format!(
                    "updates were lost or made twice: {committed} increments were committed{unknown}, and the counters \
                     hold {found}"
                ))
            }
            _ if *wrong > 0 => {
                Some(format!("{wrong} answers were wrong: the server does not do what etcd does"))
            }
            Ending::Interrupted => {
                Some("the load was interrupted; shown is what was measured until then".to_owned())
            }
            Ending::Complete if *requests == 0 => {
                let most = self.results.failures.iter().max_by_key(|failure| failure.count);
                let why = most.map_or(String::new(), |failure| format!("; most often: {}", failure.what));
                Some(format!("no request succeeded{why}"))
            }
            Ending::Complete if *lost_connections > 0 => Some(format!(
                "{lost_connections} of {} connections were lost on the way: from then on the load was not what was asked \
                 for",
                self.load.connections
            )),
            _ => None,
        }
    }

    /// How far an open loop's server fell behind, if it did: by more than chance and a moment's stall explain.
    pub(crate) fn behind(&self) -> Option<String> {
        let Settings { rate, total, duration_seconds, .. } = &self.load;
        let rate = (*rate)?;
        if self.ending != Ending::Complete {
            return None;
        }
        let (asked, chance) = match (total, duration_seconds) {
            (Some(total), _) => (*total as f64 / rate, 3.0 * (*total as f64).sqrt() / rate),
            (None, Some(seconds)) => (*seconds, 0.0),
            (None, None) => return None,
        };
        let late = self.results.seconds - asked;
        (late > 1.0 + chance).then(|| {
            format!(
                "the server did not keep up with {} requests/s: the last answer came {} after the load's end",
                units::number(rate),
                units::seconds(late)
            )
        })
    }

    /// What makes the figures another thing than they seem, though they are right.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let empty = self.results.counts.iter().find(|count| count.what == FOUND_NOTHING);
        let empty = empty.map(|Count { what, count }| format!("{} {what}", units::number(*count as f64)));
        self.behind().into_iter().chain(empty).collect()
    }

    /// Whether that is because a server, or a connection to one, did not last.
    pub(crate) fn has_lost_a_server(&self) -> bool {
        let Results { wrong, lost_connections, .. } = &self.results;
        matches!(self.ending, Ending::Lost(_)) || *wrong == 0 && *lost_connections > 0
    }
}

impl report::Document for Document {
    fn print(&self) {
        table::print(self);
    }

    fn page(&self) -> Page {
        page::page(self)
    }

    fn timelines(&self) -> Option<(SystemTime, Vec<(&str, &Timeline)>)> {
        let started = Duration::try_from_secs_f64(self.started).unwrap_or_default();
        let kinds = self.results.kinds.iter().map(|kind| (kind.name.as_str(), &kind.timeline));
        Some((SystemTime::UNIX_EPOCH + started, kinds.collect()))
    }
}
