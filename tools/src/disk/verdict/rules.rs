//! Which size needs what, and where the numbers come from.
//!
//! **etcd** publishes two bounds: the p99 of a sync of its log below 10 ms, the p99 of a commit of its backend below 25 ms. The first
//! is the p99 of our syncs in the steady section. A commit of etcd's backend is two syncs one after the other (pages, then
//! meta page), beside the log's: twice the p99 of a sync beside the checkpoint.
//!
//! **Kubernetes** of N nodes writes, by its own defaults:
//! * a lease a node every 10 s: N / 10 a second (130,000 nodes were shown with 13,000 lease updates a second);
//! * a status a node every 5 minutes: N / 300;
//! * pods: one in 50 nodes changes hands each second (100 pods/s at 5,000 nodes, the rate that the project's scalability tests
//!   sustain; at least 5), each with 8 writes of its own (created, bound, four changes of status, two to delete) and 8 events;
//! * leases of the control plane's own parts: 10 parts every 2 s, and a tenth for all else.
//!
//! Twice that is asked for: a failing rack, a rollout or a restart of the apiserver comes on top of the everyday. It must be carried
//! below the knee and by the predicted server. As latency, etcd's 10 ms for a sync; for a put 50 ms at the p99, a
//! twentieth of the second that Kubernetes promises for a call that changes something, because a call takes several; and no
//! stall of a second, after which leaders lose their office by etcd's default.

use measure::Latencies;
use measure::units::{micros, number, rounded};

use super::{Answer, Demand, Size, Timeouts, Verdict};
use crate::disk::document::Document;
use crate::disk::overtime::{Doubt, Finding};
use crate::disk::qualify::Thresholds;

/// etcd's bounds.
const SYNC_P99_US: f64 = 10_000.0;
const BACKEND_P99_US: f64 = 25_000.0;
/// Kubernetes': see the module.
const PUT_P99_US: f64 = 50_000.0;
const STALL_US: f64 = 1_000_000.0;
const NODES: [u32; 3] = [100, 1_000, 5_000];
/// Asked for beyond the everyday.
const HEADROOM: f64 = 2.0;
/// Samples without which a percentile is a guess: the p99 needs a few beyond it.
const SAMPLES_P99: u64 = 500;
const SAMPLES_P999: u64 = 5_000;
/// A median is less in need.
const SAMPLES_P50: u64 = 20;
/// With more doubtful seconds than this, nothing is said of a disk.
const DOUBTFUL: f64 = 0.5;

/// Puts a second that a cluster of so many nodes makes every day.
pub(crate) fn kubernetes_puts(nodes: u32) -> f64 {
    let nodes = f64::from(nodes);
    let (leases, status) = (nodes / 10.0, nodes / 300.0);
    let pods = (nodes / 50.0).max(5.0) * 16.0;
    (leases + status + pods + 5.0) * 1.1
}

/// A figure that rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Found {
    #[default]
    NotMeasured,
    /// Too few of something for the percentile that is asked for, which is at least their median.
    TooFew {
        count: u64,
        of: &'static str,
        median_us: f64,
    },
    Figure(f64),
}

impl Found {
    fn percentile(latencies: &Latencies, share: f64, least: u64, of: &'static str) -> Found {
        match latencies.count() {
            0 => Found::NotMeasured,
            count if count < least => Found::TooFew { count, of, median_us: latencies.micros(0.5) },
            _ => Found::Figure(latencies.micros(share)),
        }
    }

    fn figure(self) -> Option<f64> {
        if let Found::Figure(figure) = self { Some(figure) } else { None }
    }
}

impl From<Option<f64>> for Found {
    fn from(figure: Option<f64>) -> Found {
        figure.map_or(Found::NotMeasured, Found::Figure)
    }
}

/// What was found of everything.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    sync_p99_us: Found,
    sync_p999_us: Found,
    backend_p99_us: Found,
    put_p99_us: Found,
    longest_us: Option<f64>,
    puts: Option<f64>,
    quick: bool,
}

pub(super) fn judge(document: &Document, thresholds: &Thresholds) -> Verdict {
    let figures = Figures::of(document);
    let doubts = doubts(document, &figures);
    // Where the CPU was missing or others wrote for most of the time, the figures are those of the machine's other work: what is bad
    // may not be the disk's fault, and what is good was seen in too few of its seconds.
    let believe = |demand: Demand| match doubtful(document) {
        true => Demand { answer: Answer::CouldNotTell, ..demand },
        false => demand,
    };
    let mut sizes = vec![own(&figures, thresholds), etcd(&figures)];
    sizes.extend(NODES.map(|nodes| kubernetes(nodes, &figures)));
    sizes.retain(|size| !size.demands.is_empty());
    for size in &mut sizes {
        size.demands = std::mem::take(&mut size.demands).into_iter().map(believe).collect();
        size.answer = size.demands.iter().fold(Answer::Fit, |answer, demand| answer.and(demand.answer));
    }
    // The exit code answers what was asked: the user's own bounds if there are any, else etcd's guidance.
    let outcome = sizes.first().map_or(Answer::CouldNotTell, |size| size.answer);
    let millis = |us: Option<f64>| us.unwrap_or(0.0) / 1e3;
    let timeouts = Timeouts::of(millis(figures.sync_p999_us.figure()), millis(figures.longest_us));
    Verdict { outcome, doubts, sizes, timeouts }
}

impl Figures {
    fn of(document: &Document) -> Figures {
        let time = document.over_time.as_ref();
        let sync = |share, least| {
            time.map_or(Found::NotMeasured, |time| Found::percentile(&time.sync, share, least, "syncs"))
        };
        let beside = document.disturbance.as_ref().and_then(|disturbance| {
            disturbance.beside.iter().find(|slices| slices.name == "checkpoint").map(|slices| &slices.sync)
        });
        let knee = document.commit.as_ref().map(|commit| commit.knee.map_or(0.0, |knee| knee.per_second));
        let server = document.prediction.as_ref().and_then(|prediction| prediction.at(1_000));
        Figures {
            sync_p99_us: sync(0.99, SAMPLES_P99),
            sync_p999_us: sync(0.999, SAMPLES_P999),
            backend_p99_us: beside.map_or(Found::NotMeasured, backend),
            put_p99_us: time.map_or(Found::NotMeasured, |time| {
                Found::percentile(time.steady.total(), 0.99, SAMPLES_P99, "records")
            }),
            longest_us: time.map(|time| time.longest_ms() * 1e3),
            puts: knee.map(|knee| server.map_or(knee, |server| server.per_second.min(knee))),
            quick: document.quick,
        }
    }
}

/// A commit of the backend, from the syncs beside a checkpoint: two of them.
fn backend(syncs: &Latencies) -> Found {
    match Found::percentile(syncs, 0.99, SAMPLES_P99, "syncs") {
        Found::Figure(p99) => Found::Figure(2.0 * p99),
        Found::TooFew { count, of, median_us } => Found::TooFew { count, of, median_us: 2.0 * median_us },
        Found::NotMeasured => Found::NotMeasured,
    }
}

fn doubtful(document: &Document) -> bool {
    document
        .over_time
        .as_ref()
        .is_some_and(|time| time.doubtful(Doubt::CpuMissing) + time.doubtful(Doubt::OthersWrote) > DOUBTFUL)
}

fn doubts(document: &Document, figures: &Figures) -> Vec<String> {
    let mut doubts = Vec::new();
    if figures.quick {
        doubts.push("a quick run proves little: run it without --quick".to_owned());
    }
    let Some(time) = &document.over_time else {
        doubts.push("the phase 'time' was not run: without it there is no verdict".to_owned());
        return doubts;
    };
    if time.sync.count() < SAMPLES_P99 {
        doubts.push(format!(
            "{} syncs over time are too few for a p99: give a longer --duration",
            number(time.sync.count() as f64)
        ));
    }
    let share = |doubt| (time.doubtful(doubt) * 100.0).round();
    let (cpu, others) = (share(Doubt::CpuMissing), share(Doubt::OthersWrote));
    if cpu >= 10.0 {
        doubts.push(format!(
            "in {cpu:.0} % of the seconds this program waited for a CPU: run it on an idle machine, or in front of it chrt -f 30"
        ));
    }
    if others >= 10.0 {
        doubts.push(format!(
            "in {others:.0} % of the seconds other processes of this machine wrote to the device: stop them, or accept that their part is in the figures"
        ));
    }
    for finding in &time.findings {
        if let Finding::Fall { at, .. } = finding {
            doubts.push(format!(
                "the rate fell for good after {at} s: figures from before describe credit, not the disk; let it rest or run longer with --duration"
            ));
        }
    }
    doubts
}

fn at_most(what: &str, found: impl Into<Found>, bound_us: f64) -> Demand {
    let found = found.into();
    let (answer, shown, lacks) = match found {
        Found::NotMeasured => (Answer::CouldNotTell, String::new(), String::new()),
        Found::Figure(figure) => (holds(figure <= bound_us), micros(figure), String::new()),
        // Half of them beyond the bound: then one in a hundred is, too.
        Found::TooFew { count, median_us, .. } if count >= SAMPLES_P50 && median_us > bound_us => {
            (Answer::Unfit, format!("{} or more", micros(median_us)), String::new())
        }
        Found::TooFew { count, of, .. } => {
            (Answer::CouldNotTell, String::new(), format!("{} {of} are too few", number(count as f64)))
        }
    };
    let bound = format!("<= {}", micros(bound_us));
    Demand { what: what.to_owned(), found: shown, lacks, bound, answer }
}

fn at_least(what: &str, found: Option<f64>, bound: f64) -> Demand {
    let answer = found.map_or(Answer::CouldNotTell, |found| holds(found >= bound));
    let shown = found.map_or(String::new(), rounded);
    let bound = format!(">= {}", rounded(bound));
    Demand { what: what.to_owned(), found: shown, lacks: String::new(), bound, answer }
}

fn holds(holds: bool) -> Answer {
    if holds { Answer::Fit } else { Answer::Unfit }
}

fn size(name: impl Into<String>, demands: Vec<Demand>) -> Size {
    Size { name: name.into(), answer: Answer::Fit, demands }
}

fn own(figures: &Figures, thresholds: &Thresholds) -> Size {
    let mut demands = Vec::new();
    let us = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    if let Some(p99) = thresholds.p99 {
        demands.push(at_most("p99 of a sync (--p99)", figures.sync_p99_us, us(p99)));
    }
    if let Some(p999) = thresholds.p999 {
        demands.push(at_most("p99.9 of a sync (--p999)", figures.sync_p999_us, us(p999)));
    }
    if let Some(puts) = thresholds.puts {
        demands.push(at_least("puts/s below the knee and of a server (--puts)", figures.puts, puts as f64));
    }
    size("your own bounds", demands)
}

fn etcd(figures: &Figures) -> Size {
    size(
        "etcd's guidance",
        vec![
            at_most("p99 of a sync of the log over time", figures.sync_p99_us, SYNC_P99_US),
            at_most(
                "p99 of a backend commit: two syncs beside a checkpoint",
                figures.backend_p99_us,
                BACKEND_P99_US,
            ),
        ],
    )
}

fn kubernetes(nodes: u32, figures: &Figures) -> Size {
    let puts = kubernetes_puts(nodes) * HEADROOM;
    size(
        format!("Kubernetes, {} nodes", rounded(f64::from(nodes))),
        vec![
            at_least("puts/s below the knee and of a server", figures.puts, puts),
            at_most("p99 of a sync of the log over time", figures.sync_p99_us, SYNC_P99_US),
            at_most("p99 of a put in the steady section", figures.put_p99_us, PUT_P99_US),
            at_most("longest sync", figures.longest_us, STALL_US),
        ],
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use measure::Timeline;

    use super::*;
    use crate::disk::commit::{Commit, Knee};
    use crate::disk::disturb::{Disturbance, Slices};
    use crate::disk::overtime::{OverTime, Second};

    fn latencies(count: u64, us: u64) -> Latencies {
        let mut latencies = Latencies::new();
        latencies.record_many(Duration::from_micros(us), count);
        latencies
    }

    /// A disk of which every sync takes so long, and that bends at this rate.
    fn document(sync_us: u64, knee: f64, seconds_without_cpu: usize) -> Document {
        let mut document = Document::new(Path::new("/data"), false);
        let knee = Knee { per_second: knee, p99_us: sync_us as f64, low_p99_us: sync_us as f64 };
        document.commit = Some(Commit {
            method: "dsync".to_owned(),
            record_bytes: 300,
            closed: Vec::new(),
            open: Vec::new(),
            knee: Some(knee),
        });
        let slices =
            Slices { name: "checkpoint".to_owned(), sync: latencies(1_000, sync_us), ..Slices::default() };
        document.disturbance = Some(Disturbance { rate: 1.0, alone: slices.clone(), beside: vec![slices] });
        let mut steady = Timeline::new();
        (0..1_000).for_each(|_| steady.record_at(Duration::ZERO, Duration::from_micros(sync_us * 2)));
        let second = |at: u32| Second {
            at,
            doubt: ((at as usize) < seconds_without_cpu).then_some(Doubt::CpuMissing),
            ..Second::default()
        };
        document.over_time = Some(OverTime {
            rate: 1.0,
            achieved: 1.0,
            steady,
            sync: latencies(10_000, sync_us),
            syncs: Timeline::new(),
            spans: Vec::new(),
            seconds: (0..10).map(second).collect(),
            long: Vec::new(),
            findings: Vec::new(),
        });
        document
    }

    fn answers(document: &Document, thresholds: Thresholds) -> (Answer, Vec<Answer>) {
        let verdict = judge(document, &thresholds);
        (verdict.outcome, verdict.sizes.iter().map(|size| size.answer).collect())
    }

    #[test]
    fn each_size_has_its_own_answer() {
        use Answer::{Fit, Unfit};
        let none = Thresholds::default();
        assert_eq!(answers(&document(200, 100_000.0, 0), none), (Fit, vec![Fit; 4]));
        // Enough for a thousand nodes and not for five.
        assert_eq!(answers(&document(2_000, 3_000.0, 0), none), (Fit, vec![Fit, Fit, Fit, Unfit]));
        // 9 ms are within etcd's bound for the log; two of them are not too long for its backend.
        assert_eq!(answers(&document(9_000, 100_000.0, 0), none).0, Fit);
        assert_eq!(answers(&document(11_000, 100_000.0, 0), none), (Unfit, vec![Unfit; 4]));
        assert_eq!(answers(&document(13_000, 100_000.0, 0), none).0, Unfit);
    }

    #[test]
    fn own_bounds_decide_the_outcome() {
        let bounds = Thresholds { p99: Some(Duration::from_millis(1)), puts: Some(5_000), p999: None };
        assert_eq!(answers(&document(200, 100_000.0, 0), bounds).0, Answer::Fit);
        assert_eq!(answers(&document(200, 4_000.0, 0), bounds).0, Answer::Unfit);
        assert_eq!(answers(&document(2_000, 100_000.0, 0), bounds).0, Answer::Unfit);
        let verdict = judge(&document(2_000, 100_000.0, 0), &bounds);
        assert_eq!(verdict.sizes[0].demands[0].found, micros(verdict_p99(2_000)));
    }

    fn verdict_p99(us: u64) -> f64 {
        latencies(1, us).micros(0.99)
    }

    #[test]
    fn nothing_is_said_of_a_disk_that_was_not_the_only_reason() {
        use Answer::{CouldNotTell, Fit, Unfit};
        let none = Thresholds::default();
        assert_eq!(answers(&document(11_000, 100_000.0, 6), none), (CouldNotTell, vec![CouldNotTell; 4]));
        assert_eq!(answers(&document(200, 100_000.0, 6), none), (CouldNotTell, vec![CouldNotTell; 4]));
        // Half of the seconds are enough to go by.
        assert_eq!(answers(&document(200, 100_000.0, 5), none).0, Fit);
        assert_eq!(answers(&document(11_000, 100_000.0, 5), none).0, Unfit);
        assert!(judge(&document(200, 1e5, 6), &none).doubts[0].contains("waited for a CPU"));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let empty = Document::new(Path::new("/data"), false);
        let verdict = judge(&empty, &Thresholds::default());
        assert_eq!(verdict.outcome, Answer::CouldNotTell);
        assert!(verdict.doubts[0].contains("'time' was not run"), "{:?}", verdict.doubts);
        let mut few = document(200, 100_000.0, 0);
        few.over_time.as_mut().unwrap().sync = latencies(100, 200);
        assert_eq!(answers(&few, Thresholds::default()).0, Answer::CouldNotTell);
    }

    /// A slow disk makes few syncs beside a checkpoint, and is not called unmeasured for it.
    #[test]
    fn a_few_slow_syncs_are_enough_to_say_unfit() {
        let backend = |count, us| {
            let mut document = document(200, 100_000.0, 0);
            document.disturbance.as_mut().unwrap().beside[0].sync = latencies(count, us);
            let verdict = judge(&document, &Thresholds::default());
            let demand = verdict.sizes[0].demands[1].clone();
            (demand.answer, demand.found_text().to_owned())
        };
        let (answer, found) = backend(120, 20_000);
        assert!(answer == Answer::Unfit && found.ends_with(" ms or more"), "{found}");
        assert_eq!(backend(120, 2_000), (Answer::CouldNotTell, "120 syncs are too few".to_owned()));
        assert_eq!(backend(5, 20_000), (Answer::CouldNotTell, "5 syncs are too few".to_owned()));
        assert_eq!(backend(0, 1), (Answer::CouldNotTell, "not measured".to_owned()));
    }

    #[test]
    fn kubernetes_writes_what_its_defaults_say() {
        let puts: Vec<f64> = NODES.iter().map(|&nodes| kubernetes_puts(nodes).round()).collect();
        assert_eq!(puts, [105.0, 471.0, 2_334.0]);
    }
}
