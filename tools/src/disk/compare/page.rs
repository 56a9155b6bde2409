//! The comparison as a page.

use measure::Tone;
use measure::report::{
    Bar, Bars, Curve, Figure, Knee, KneeSeries, Load, Page, Percentiles, Section, Threshold, Verdict,
};
use measure::units::{number, rounded};

use super::{Disk, rows, table};
use crate::disk::document::Ending;

/// Clients whose puts decide which disk is called the best: a small cluster's load, where the disk and not the CPU decides.
const CLIENTS: usize = 64;

pub(super) fn page(disks: &[Disk]) -> Page {
    let names: Vec<&str> = disks.iter().map(|disk| &*disk.name).collect();
    let pictures = [puts(disks), percentiles(disks), throughput(disks)];
    let mut side_by_side = Section::new("table", "Side by side").with(table(disks));
    side_by_side =
        side_by_side.with("A star marks a figure that is better than every other by more than 10 %.");
    for line in super::findings(disks) {
        side_by_side = side_by_side.with(line);
    }
    let mut sections = vec![side_by_side];
    sections.extend(pictures.into_iter().flatten());
    Page {
        title: "Disks side by side".to_owned(),
        subtitle: names.join(", "),
        verdict: Some(verdict(disks)),
        sections,
        footer: format!("Made by graven-disk {} compare.", env!("CARGO_PKG_VERSION")),
        ..Page::default()
    }
}

fn predicted(disk: &Disk) -> Option<f64> {
    Some(disk.document.prediction.as_ref()?.at(CLIENTS)?.per_second)
}

/// Which disk is the best, and by how much.
fn verdict(disks: &[Disk]) -> Verdict {
    let mut ranked: Vec<(&Disk, f64)> =
        disks.iter().filter_map(|disk| Some((disk, predicted(disk)?))).collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
    let headline = match &ranked[..] {
        [(best, most), .., (worst, least)] if most > &(least * 1.1) => {
            format!("{} sustains {} times the puts of {}", best.name, number(most / least), worst.name)
        }
        [_, _, ..] => "None of them sustains more puts than another".to_owned(),
        _ => "Too little was measured to say which is the best".to_owned(),
    };
    let figures = ranked
        .iter()
        .map(|(disk, puts)| measure::report::Fact::new(format!("puts/s, {}", disk.name), rounded(*puts)));
    let mut reasons = Vec::new();
    if !ranked.is_empty() {
        reasons.push(format!(
            "Predicted for {CLIENTS} clients, each with its next put as soon as the last is answered."
        ));
    }
    let early = disks.iter().filter(|disk| disk.document.ending != Ending::Complete);
    reasons.extend(early.map(|disk| format!("The run of {} did not come to its end.", disk.name)));
    Verdict { tone: Tone::Plain, headline, reasons, figures: figures.collect() }
}

fn puts(disks: &[Disk]) -> Option<Section> {
    let bars: Vec<Bar> = disks
        .iter()
        .filter_map(|disk| Some(Bar { name: disk.name.clone(), value: predicted(disk)?, ..Bar::default() }))
        .collect();
    let picture = Bars { unit: "puts/s".to_owned(), bars, ..Bars::default() };
    let figure = Figure::new(format!("Predicted puts a second of {CLIENTS} clients"), picture);
    (!disks.iter().all(|disk| predicted(disk).is_none()))
        .then(|| Section::new("puts", "What a member would sustain").with(figure))
}

/// A sync by itself: one writer.
fn percentiles(disks: &[Disk]) -> Option<Section> {
    let curves: Vec<Curve> = disks
        .iter()
        .filter_map(|disk| Some((disk, rows::closed(&disk.document, 1)?)))
        .map(|(disk, point)| Curve { name: disk.name.clone(), latencies: point.sync.clone() })
        .collect();
    if curves.is_empty() {
        return None;
    }
    let thresholds = vec![Threshold { at: 10_000.0, label: "10 ms: etcd's guidance for p99".to_owned() }];
    let figure = Figure::new(
        "Latency of a durable write by its percentile, one writer",
        Percentiles { curves, thresholds },
    )
    .caption(
        "Each further nine takes the same room. Where a curve rises steeply, few writes take very long.",
    );
    Some(Section::new("latency", "How long a durable write takes").with(figure))
}

/// The closed loop of all.
fn throughput(disks: &[Disk]) -> Option<Section> {
    let series: Vec<KneeSeries> = disks
        .iter()
        .filter_map(|disk| Some((disk, disk.document.commit.as_ref()?)))
        .map(|(disk, commit)| KneeSeries {
            name: disk.name.clone(),
            loads: commit
                .closed
                .iter()
                .map(|point| Load {
                    label: point.writers.map_or_else(String::new, |writers| rows::counted(writers, "writer")),
                    per_second: point.achieved,
                    latency: point.latency.summary(),
                })
                .collect(),
            knee: None,
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    let figure = Figure::new(
        "Records a second against p99, 1 to 1,024 writers",
        Knee { unit: "records/s".to_owned(), series, ..Knee::default() },
    )
    .caption("Farther right carries more; lower waits less.");
    Some(Section::new("throughput", "What group commit makes of it").with(figure))
}
