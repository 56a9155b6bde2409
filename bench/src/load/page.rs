//! The page of a document.

use measure::report::{
    Block, Curve, Fact, Figure, HeatMap, Line, Lines, Page, Percentiles, Section, Verdict,
};
use measure::{Align, Table, Timeline, Tone, units};

use super::document::{Document, Ending};
use super::plan::Kind;
use super::table;

/// A page with the figures, the percentiles, and how they went over time.
pub(super) fn page(document: &Document) -> Page {
    let (results, load) = (&document.results, &document.load);
    let summary = document.summary();
    let per_second = units::rounded(results.per_second);
    let failed = document.failed();
    let mut reasons = Vec::new();
    reasons.extend(document.complaint());
    let doubts = document.doubts();
    reasons.extend(doubts.clone());
    if failed > 0 {
        let requests = if failed == 1 { "request" } else { "requests" };
        reasons.push(format!("{} {requests} failed", units::number(failed as f64)));
    }
    let is_interrupted = document.ending == Ending::Interrupted && results.wrong == 0;
    let tone = if document.complaint().is_some() && !is_interrupted {
        Tone::Bad
    } else if is_interrupted || failed > 0 || !doubts.is_empty() {
        Tone::Warn
    } else {
        Tone::Good
    };
    let verdict = Verdict {
        tone,
        headline: format!("{per_second} {}/s, p99 {}", load.counted, units::micros(summary.p99_us)),
        reasons,
        figures: vec![
            Fact::new(format!("{}/s", load.counted), per_second),
            Fact::new("p50", units::micros(summary.p50_us)),
            Fact::new("p99", units::micros(summary.p99_us)),
            Fact::new("longest", units::micros(summary.max_us)),
        ],
    };
    let mut facts = vec![
        Fact::new("load", table::describe(load)),
        Fact::new(
            "server",
            format!("{} at {}", document.server.version, document.server.endpoints.join(", ")),
        ),
        Fact::new("client", table::client(document))
            .why("what it takes is not left for a server on the same machine"),
    ];
    facts.extend(table::process(document).map(|process| Fact::new("server's process", process)));
    for line in table::others(results) {
        let (name, value) = line.split_once(": ").expect("each line has a name");
        facts.push(Fact::new(name, value));
    }
    facts.push(Fact::new("machine of the client", machine(document)));
    let mut sections = vec![latencies(document), over_time(document)];
    sections.extend(failures(document));
    Page {
        title: format!("{} at {}", load.name, document.server.endpoints.join(", ")),
        subtitle: format!("version {}, {}", document.server.version, document.load.pace()),
        verdict: Some(verdict),
        facts,
        sections,
        footer: format!("graven-bench {}", document.program),
    }
}

/// Its disk does not matter here: nothing is written but results.
fn machine(document: &Document) -> String {
    let machine = &document.machine;
    let memory = units::bytes(machine.memory_bytes);
    format!("{} CPUs ({}), {memory} of memory, Linux {}", machine.cpus, machine.processor, machine.kernel)
}

fn latencies(document: &Document) -> Section {
    let results = &document.results;
    let mut curves: Vec<Curve> = results
        .kinds
        .iter()
        .filter(|kind| kind.timeline.total().count() > 0)
        .map(|kind| Curve { name: kind.name.clone(), latencies: kind.timeline.total().clone() })
        .collect();
    if results.have_sum() {
        curves.push(Curve { name: "all".to_owned(), latencies: results.latency.clone() });
    }
    let from = match document.load.rate {
        _ if document.load.name == Kind::SNAPSHOT => {
            "Snapshots count from when they are asked for, their last byte included; puts from the moment they were due."
        }
        Some(_) => {
            "Latency counts from the moment a request was due, so a stall shows in everything that fell into it."
        }
        None => {
            "Closed loop: a stall holds back the requests that would have seen it. For what users would see, load with \
             --rate."
        }
    };
    let mut section = Section::new("latency", "Latency").with(from).with(table::latencies(results));
    if !curves.is_empty() {
        section = section
            .with(Figure::new("Latency by percentile", Percentiles { curves, ..Percentiles::default() }));
    }
    section
}

fn over_time(document: &Document) -> Section {
    let results = &document.results;
    let mut all = Timeline::new();
    let mut lines = Vec::new();
    // Where kinds make no sum, it is the puts beside that are worth a picture.
    let has_puts = results.told().any(|kind| kind.name.starts_with("put"));
    // What came before has a time of its own, and no place in this one.
    for kind in results.kinds.iter().filter(|kind| kind.seconds.is_none()) {
        if !kind.aside && (results.have_sum() || !has_puts || kind.name.starts_with("put")) {
            all.merge(&kind.timeline);
        }
        let counts = kind.timeline.intervals().enumerate();
        let points = counts.map(|(second, latencies)| (second as f64, latencies.count() as f64)).collect();
        lines.push(Line { name: kind.name.clone(), points });
    }
    let mut section = Section::new("time", "Over time");
    if all.is_empty() {
        return section.with("Nothing was answered.");
    }
    section =
        section.with(Figure::new("Latency by the second", HeatMap { timeline: all, ..HeatMap::default() }));
    let throughput =
        Lines { x: "seconds".to_owned(), unit: "requests/s".to_owned(), lines, ..Lines::default() };
    section.with(
        Figure::new("Requests begun in each second", throughput)
            .caption("The last second is seldom a whole one."),
    )
}

fn failures(document: &Document) -> Option<Section> {
    let failures = &document.results.failures;
    if failures.is_empty() {
        return None;
    }
    let mut table = Table::new([("what", Align::Left), ("how often", Align::Right)]);
    for failure in failures {
        table.row([failure.what.clone(), units::number(failure.count as f64)]);
    }
    let note = Block::Note(Tone::Warn, "Requests that failed are not in the latencies.".to_owned());
    Some(Section::new("failures", "Failures").with(note).with(table))
}
