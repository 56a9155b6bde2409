//! Time's part of tables and pages.

use measure::Tone;
use measure::report::{Block, Figure, HeatMap, Line, Lines, Picture, Scale, Section, Span as PageSpan};
use measure::units::{micros, percent, rounded};

use super::{Doubt, OverTime};
use crate::disk::document::Document;

pub(super) fn table(document: &Document) -> String {
    document.over_time.as_ref().map_or(String::new(), |time| {
        let latency = time.steady.total().summary();
        let mut text = format!(
            "Over time: {} records/s for {} s, p50 {}, p99 {}, p99.9 {}, max {}\n",
            rounded(time.rate),
            time.steady.len(),
            micros(latency.p50_us),
            micros(latency.p99_us),
            micros(latency.p999_us),
            micros(latency.max_us)
        );
        for line in findings(time).into_iter().chain(conditions(time)) {
            text += &format!("  {line}\n");
        }
        text
    })
}

fn findings(time: &OverTime) -> Vec<String> {
    if time.findings.is_empty() {
        return vec!["nothing found: no lasting fall, no stalls, no neighbor, no drift".to_owned()];
    }
    time.findings.iter().map(super::Finding::text).collect()
}

/// What the machine did to the measurement.
fn conditions(time: &OverTime) -> Vec<String> {
    let reasons = [
        (Doubt::CpuMissing, "this program waited for a CPU: those seconds say nothing about the disk"),
        (
            Doubt::OthersWrote,
            "other processes of this machine wrote to the device: those seconds are not the disk's alone",
        ),
    ];
    let shares = reasons.into_iter().map(|(doubt, text)| (time.doubtful(doubt), text));
    shares
        .filter(|(share, _)| *share > 0.0)
        .map(|(share, text)| format!("in {} of the seconds {text}", percent(share)))
        .collect()
}

/// For the page.
pub(crate) fn section(document: &Document) -> Option<Section> {
    let time = document.over_time.as_ref()?;
    let title = match &time.findings[..] {
        [] => "Over time the disk stays as it is".to_owned(),
        [one] => format!("Over time: {}", headline(one)),
        [one, more @ ..] => format!("Over time: {}, and {} more", headline(one), more.len()),
    };
    let mut section = Section::new("time", title);
    for finding in &time.findings {
        section = section.with(Block::Note(Tone::Warn, finding.text()));
    }
    for condition in conditions(time) {
        section = section.with(condition);
    }
    let spans: Vec<PageSpan> = time
        .spans
        .iter()
        .map(|span| PageSpan { from: span.from, to: span.to, label: span.name.clone() })
        .collect();
    let whole = HeatMap { timeline: time.syncs.clone(), spans: spans.clone(), ..HeatMap::default() };
    let steady = HeatMap { timeline: time.steady.clone(), ..HeatMap::default() };
    let line = |name: &str, value: fn(&super::Second) -> f64| Line {
        name: name.to_owned(),
        points: time
            .seconds
            .iter()
            .filter(|second| second.syncs > 0)
            .map(|second| (f64::from(second.at), value(second)))
            .collect(),
    };
    let lines = Lines {
        x: "seconds".into(),
        unit: "us".into(),
        scale: Scale::Log,
        lines: vec![
            line("p50", |second| second.p50_us),
            line("p99", |second| second.p99_us),
            line("max", |second| second.max_us),
        ],
        spans,
        ..Lines::default()
    };
    Some(
        section
            .with(
                Figure::new(
                    format!(
                        "Half of the durable writes take at most {}, the longest {}",
                        micros(time.syncs.total().micros(0.5)),
                        micros(time.syncs.total().micros(1.0))
                    ),
                    Picture::HeatMap(whole),
                )
                .caption("Every durable write of the run. Each column is a second; the darker, the more writes took that long."),
            )
            .with(
                Figure::new(level_title(time), Picture::Lines(lines))
                    .caption("Durable writes of small batches, by the second."),
            )
            .with(
                Figure::new(
                    format!(
                        "At a steady {} a second, 99 % of the records take at most {}",
                        rounded(time.rate),
                        micros(time.steady.total().micros(0.99))
                    ),
                    Picture::HeatMap(steady),
                )
                .caption("Records of the steady section, from their intended start."),
            ),
    )
}

/// What the lines by the second show.
fn level_title(time: &OverTime) -> String {
    match &time.findings[..] {
        [] => "From second to second nothing changes for good".to_owned(),
        [first, ..] => {
            let text = headline(first);
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |letter| letter.to_uppercase().chain(letters).collect())
        }
    }
}

fn headline(finding: &super::Finding) -> String {
    finding.text().split([':', ';']).next().unwrap_or_default().to_owned()
}
