//! The commit path's part of tables and pages.

use measure::report::{Curve, Figure, Knee as KneePicture, KneeSeries, Load, Percentiles, Picture, Section};
use measure::units::{bytes, micros, number, rounded};
use measure::{Align, Table};

use super::{Commit, Knee, Point};
use crate::disk::document::Document;

pub(super) fn table(document: &Document) -> String {
    document.commit.as_ref().map_or(String::new(), |commit| {
        let mut text =
            format!("Graven's own log ({}), records of {} bytes\n", commit.method, commit.record_bytes);
        text += &points(commit).to_string();
        text + &format!("\n{}\n", knee_text(commit))
    })
}

fn points(commit: &Commit) -> Table {
    let mut table = Table::new([
        ("load", Align::Left),
        ("records/s", Align::Right),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("p99.99", Align::Right),
        ("max", Align::Right),
        ("batch", Align::Right),
        ("written", Align::Right),
    ]);
    for point in commit.closed.iter().chain(&commit.open) {
        let latency = point.latency.summary();
        table.row([
            load_text(point),
            rounded(point.achieved),
            micros(latency.p50_us),
            micros(latency.p99_us),
            micros(latency.p999_us),
            micros(latency.p9999_us),
            micros(latency.max_us),
            format!("{:.1}", point.batch()),
            bytes(point.bytes),
        ]);
    }
    table
}

fn load_text(point: &Point) -> String {
    match (point.writers, point.offered) {
        (Some(1), _) => "1 writer".to_owned(),
        (Some(writers), _) => format!("{} writers", number(writers as f64)),
        (_, Some(offered)) => format!("{}/s offered", rounded(offered)),
        _ => String::new(),
    }
}

/// `at least `, where no rate above the knee was tried: then the log was not seen to bend.
fn at_least(commit: &Commit, knee: Knee) -> &'static str {
    let offered = || commit.open.iter().filter_map(|point| Some((point.achieved, point.offered?)));
    let there = offered().find(|(achieved, _)| *achieved == knee.per_second);
    match there {
        Some((_, at)) if offered().all(|(_, other)| other <= at) => "at least ",
        _ => "",
    }
}

/// A p99 at low load that is so many times the median is not the disk's own speed...
const UNSTEADY: f64 = 10.0;
/// ...unless both are short, microseconds.
const SHORT_US: f64 = 1_000.0;

/// Why the knee may be too high: latencies at low load are what it is measured by.
fn unsteady(commit: &Commit, knee: Knee) -> String {
    let low = commit
        .open
        .iter()
        .min_by(|one, other| one.offered.unwrap_or(f64::MAX).total_cmp(&other.offered.unwrap_or(f64::MAX)));
    let median = low.map_or(0.0, |low| low.latency.micros(0.5));
    match knee.low_p99_us > SHORT_US.max(UNSTEADY * median) {
        true => format!(
            " In doubt: at low load the p99 is {} and the median {}, so that disk or machine was not steady, and the knee may be \
             too high.",
            micros(knee.low_p99_us),
            micros(median)
        ),
        false => String::new(),
    }
}

/// The knee in a sentence.
fn knee_text(commit: &Commit) -> String {
    match commit.knee {
        Some(knee) if !at_least(commit, knee).is_empty() => format!(
            "Knee: at least {} records/s, the highest rate that was tried, with a p99 of {} ({} at low load).{}",
            rounded(knee.per_second),
            micros(knee.p99_us),
            micros(knee.low_p99_us),
            unsteady(commit, knee)
        ),
        Some(knee) => format!(
            "Knee: {} records/s with a p99 of {} ({} at low load): the highest rate of which 99 % are achieved, with a p99 of at most four times that at low load, or 1 ms.{}",
            rounded(knee.per_second),
            micros(knee.p99_us),
            micros(knee.low_p99_us),
            unsteady(commit, knee)
        ),
        None => "No knee: not even the 500th part of the closed loop's rate was carried in the open loop."
            .to_owned(),
    }
}

fn bend_title(commit: &Commit) -> String {
    match commit.knee {
        Some(knee) => format!(
            "Up to {}{} records/s, 99 % of them wait no longer than {}",
            at_least(commit, knee),
            rounded(knee.per_second),
            micros(knee.p99_us)
        ),
        None => "No rate that was tried is carried".to_owned(),
    }
}

fn group_title(commit: &Commit) -> String {
    match (commit.closed.first(), commit.closed.last()) {
        (Some(one), Some(all)) if all.writers != one.writers => {
            let times = number(all.achieved / one.achieved.max(1e-9));
            format!("{} together make {times} times the records of {}", load_text(all), load_text(one))
        }
        _ => "What group commit makes of it".to_owned(),
    }
}

fn percentiles_title(commit: &Commit) -> String {
    match commit.closed.first() {
        Some(one) => format!(
            "A record of {} takes {}, one in a thousand {} or more",
            load_text(one),
            micros(one.latency.micros(0.5)),
            micros(one.latency.micros(0.999))
        ),
        None => "Latency of a record".to_owned(),
    }
}

/// For the page.
pub(crate) fn section(document: &Document) -> Option<Section> {
    let commit = document.commit.as_ref()?;
    let title = match commit.knee {
        Some(knee) => {
            let (at_least, rate) = (at_least(commit, knee), rounded(knee.per_second));
            format!("The log carries {at_least}{rate} records a second before it bends")
        }
        None => "The log carries no steady load".to_owned(),
    };
    let load = |point: &Point| Load {
        label: load_text(point),
        per_second: point.achieved,
        latency: point.latency.summary(),
    };
    // The picture marks a measured point.
    let knee = commit.knee.and_then(|knee| {
        let away = |point: &Point| (point.achieved - knee.per_second).abs();
        (0..commit.open.len())
            .min_by(|&one, &other| away(&commit.open[one]).total_cmp(&away(&commit.open[other])))
    });
    let open = KneeSeries { name: "open loop".into(), loads: commit.open.iter().map(load).collect(), knee };
    let closed = KneeSeries {
        name: "closed loop".into(),
        loads: commit.closed.iter().map(load).collect(),
        knee: None,
    };
    let bend = KneePicture { unit: "records/s".into(), series: vec![open], ..KneePicture::default() };
    let group = KneePicture { unit: "records/s".into(), series: vec![closed], ..KneePicture::default() };
    let curves =
        commit.closed.iter().map(|point| Curve { name: load_text(point), latencies: point.latency.clone() });
    let percentiles = Percentiles { curves: curves.collect(), ..Percentiles::default() };
    Some(
        Section::new("log", title)
            .with("Graven's own commit path: its log with segments and group commit, writers on a thread of their own. Open loop: records come at random moments, and latency counts from the moment a record was meant to come, so that a stall counts for everybody who came meanwhile.")
            .with(
                Figure::new(bend_title(commit), Picture::Knee(bend))
                    .caption(format!("Throughput against latency, open loop. {}", knee_text(commit))),
            )
            .with(
                Figure::new(group_title(commit), Picture::Knee(group))
                    .caption("Throughput against latency, closed loop: 1 to 1,024 writers."),
            )
            .with(
                Figure::new(percentiles_title(commit), Picture::Percentiles(percentiles))
                    .caption("Latency of a record by its percentile, closed loop."),
            )
            .with(points(commit)),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use measure::Latencies;

    use super::*;

    /// An open loop with these rates, all achieved; of each, one record in twenty takes `tail_us`, the others 100 us.
    fn commit(rates: [f64; 3], knee: f64, tail_us: u64) -> Commit {
        let mut latency = Latencies::new();
        latency.record_many(Duration::from_micros(100), 95);
        latency.record_many(Duration::from_micros(tail_us), 5);
        let point = |offered| Point {
            writers: None,
            offered: Some(offered),
            achieved: offered,
            latency: latency.clone(),
            sync: Latencies::new(),
            syncs: 0,
            bytes: 0,
        };
        let p99_us = latency.micros(0.99);
        Commit {
            method: "dsync".to_owned(),
            record_bytes: 300,
            closed: Vec::new(),
            open: rates.map(point).into(),
            knee: Some(Knee { per_second: knee, p99_us, low_p99_us: p99_us }),
        }
    }

    #[test]
    fn a_log_that_was_not_seen_to_bend_is_not_said_to() {
        let bent = knee_text(&commit([100.0, 400.0, 200.0], 200.0, 150));
        assert!(bent.starts_with("Knee: 200 records/s") && !bent.contains("doubt"), "{bent}");
        let top = commit([100.0, 200.0, 400.0], 400.0, 150);
        let text = knee_text(&top);
        assert!(text.contains("at least 400 records/s, the highest rate that was tried"), "{text}");
        assert!(bend_title(&top).starts_with("Up to at least 400"), "{}", bend_title(&top));
    }

    #[test]
    fn a_knee_by_noise_is_doubted() {
        for rates in [[100.0, 200.0, 400.0], [100.0, 400.0, 200.0]] {
            let text = knee_text(&commit(rates, rates[2], 22_800));
            assert!(
                text.contains("In doubt: at low load the p99 is 22.8 ms and the median 100 us"),
                "{text}"
            );
        }
        // Short ones bother nobody.
        assert!(!knee_text(&commit([1.0, 2.0, 3.0], 2.0, 900)).contains("doubt"));
    }
}
