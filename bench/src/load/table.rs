//! The terminal's view of a document.

use measure::{Align, Latencies, Table, units};

use super::document::{Count, Document, Results, Settings, Verified};
use super::plan::Kind;
use crate::terminal::say;

/// Kinds of requests by percentiles.
pub(super) fn latencies(results: &Results) -> Table {
    let columns = ["", "requests", "requests/s", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let mut table =
        Table::new(columns.map(|name| (name, if name.is_empty() { Align::Left } else { Align::Right })));
    let mut row = |name: &str, latencies: &Latencies, seconds: f64| {
        let summary = latencies.summary();
        let per_second = if seconds > 0.0 { summary.count as f64 / seconds } else { 0.0 };
        let mut cells =
            vec![name.to_owned(), units::number(summary.count as f64), units::rounded(per_second)];
        cells.extend(
            summary
                .times_us()
                .map(|time| if summary.count == 0 { String::new() } else { units::micros(time) }),
        );
        table.row(cells);
    };
    for kind in &results.kinds {
        row(&kind.name, kind.timeline.total(), kind.seconds.or(kind.part_seconds).unwrap_or(results.seconds));
    }
    if results.have_sum() {
        row("all", &results.latency, results.seconds);
    }
    table
}

/// What was done, in a line.
pub(super) fn describe(load: &Settings) -> String {
    let Settings { name, key_space, key_bytes, value_bytes, distribution, .. } = load;
    let details = if load.details.is_empty() { String::new() } else { format!(" ({})", load.details) };
    let pace = load.pace();
    if *name == Kind::SNAPSHOT || *name == Kind::KUBERNETES {
        return format!("{name}{details}: {pace}");
    }
    format!(
        "{name}{details}: {pace}; keys of {key_bytes} bytes, {distribution} out of {}, \
         values of {value_bytes} bytes",
        units::number(*key_space as f64)
    )
}

/// The server's process, in a line.
pub(super) fn process(document: &Document) -> Option<String> {
    let (process, one) = (document.results.process.as_ref()?, document.load.one());
    let written = match process.written_bytes {
        Some(bytes) => format!("{} bytes written {one}, ", units::number(bytes.round())),
        None => String::new(),
    };
    Some(format!(
        "{} of CPU {one}, {written}{} anonymous memory (most {}), {} of mapped files",
        units::micros(process.cpu_us),
        units::bytes(process.rss_anon_bytes),
        units::bytes(process.peak_rss_anon_bytes),
        units::bytes(process.rss_file_bytes)
    ))
}

/// What only some loads have, a line each.
pub(super) fn others(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(streamed) = &results.streamed {
        lines.push(format!(
            "streamed: {} in {}, {}/s",
            units::bytes(streamed.bytes),
            units::seconds(streamed.seconds),
            units::bytes(streamed.bytes_per_second as u64)
        ));
    }
    for Count { what, count } in &results.counts {
        lines.push(format!("counted: {} {what}", units::number(*count as f64)));
    }
    if let Some(verified) = &results.verified {
        let Verified { committed, unknown, found } = verified;
        let number = |number: u64| units::number(number as f64);
        let unknown = if *unknown > 0 { format!(", {} may be", number(*unknown)) } else { String::new() };
        lines.push(format!(
            "verified: {} increments were committed{unknown}; the counters hold {}",
            number(*committed),
            number(*found)
        ));
    }
    lines
}

/// The client's cost, in a line.
pub(super) fn client(document: &Document) -> String {
    let Settings { client, threads, .. } = &document.load;
    let plural = if *threads == 1 { "" } else { "s" };
    format!(
        "{client}, {threads} thread{plural}, {} of CPU {}",
        units::micros(document.results.client_cpu_us),
        document.load.one()
    )
}

/// Prints everything.
pub(super) fn print(document: &Document) {
    let results = &document.results;
    say(describe(&document.load));
    say(format_args!("server {} at {}", document.server.version, document.server.endpoints.join(", ")));
    say("");
    say(latencies(results));
    say("");
    say(format_args!("client: {}", client(document)));
    if let Some(process) = process(document) {
        say(format_args!("server: {process}"));
    }
    for line in others(results) {
        say(line);
    }
    if results.failures.is_empty() {
        say("failures: none");
    }
    for failure in &results.failures {
        say(format_args!("failures: {} x {}", units::number(failure.count as f64), failure.what));
    }
    if let Some(behind) = document.behind() {
        say(format_args!("CAUTION: {behind}"));
    }
    if let Some(complaint) = document.complaint() {
        say(format_args!("CAUTION: {complaint}"));
    }
}
