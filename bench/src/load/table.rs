//! The terminal's view of a document.

use measure::{Align, Latencies, Table, units};

use super::document::{Document, Results, Settings};
use crate::terminal::say;

/// Kinds of requests by percentiles.
pub(super) fn latencies(results: &Results) -> Table {
    let columns = ["", "requests", "requests/s", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let mut table =
        Table::new(columns.map(|name| (name, if name.is_empty() { Align::Left } else { Align::Right })));
    let mut row = |name: &str, latencies: &Latencies| {
        let summary = latencies.summary();
        let per_second = if results.seconds > 0.0 { summary.count as f64 / results.seconds } else { 0.0 };
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
        row(&kind.name, kind.timeline.total());
    }
    if results.kinds.len() > 1 {
        row("all", &results.latency);
    }
    table
}

/// What was done, in a line.
pub(super) fn describe(load: &Settings) -> String {
    let Settings { name, key_space, key_bytes, value_bytes, distribution, .. } = load;
    let details = if load.details.is_empty() { String::new() } else { format!(" ({})", load.details) };
    let pace = load.pace();
    format!(
        "{name}{details}: {pace}; keys of {key_bytes} bytes, {distribution} out of {}, \
         values of {value_bytes} bytes",
        units::number(*key_space as f64)
    )
}

/// The server's process, in a line.
pub(super) fn process(results: &Results) -> Option<String> {
    let process = results.process.as_ref()?;
    let written = match process.written_bytes {
        Some(bytes) => format!("{} bytes written a request, ", units::number(bytes.round())),
        None => String::new(),
    };
    Some(format!(
        "{} of CPU a request, {written}{} anonymous memory (most {}), {} of mapped files",
        units::micros(process.cpu_us),
        units::bytes(process.rss_anon_bytes),
        units::bytes(process.peak_rss_anon_bytes),
        units::bytes(process.rss_file_bytes)
    ))
}

/// The client's cost, in a line.
pub(super) fn client(document: &Document) -> String {
    let Settings { client, threads, .. } = &document.load;
    let plural = if *threads == 1 { "" } else { "s" };
    format!(
        "{client}, {threads} thread{plural}, {} of CPU a request",
        units::micros(document.results.client_cpu_us)
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
    if let Some(process) = process(results) {
        say(format_args!("server: {process}"));
    }
    if results.failures.is_empty() {
        say("failures: none");
    }
    for failure in &results.failures {
        say(format_args!("failures: {} x {}", units::number(failure.count as f64), failure.what));
    }
}
