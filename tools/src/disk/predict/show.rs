//! The prediction's part of tables and pages.

use measure::report::{Curve, Figure, Percentiles, Picture, Section};
use measure::units::{micros, number, percent, rounded};
use measure::{Align, Table};

use super::{Prediction, Puts};
use crate::disk::document::Document;

pub(super) fn table(document: &Document) -> String {
    document.prediction.as_ref().map_or(String::new(), |prediction| {
        let mut text =
            format!("A real Graven here, puts of 256 bytes, clients on this machine\n{}\n", puts(prediction));
        for line in lines(prediction) {
            text += &format!("  {line}\n");
        }
        text
    })
}

fn puts(prediction: &Prediction) -> Table {
    let mut table = Table::new([
        ("clients", Align::Right),
        ("puts/s", Align::Right),
        ("mean", Align::Right),
        ("p99", Align::Right),
        ("puts a sync", Align::Right),
        ("disk idle", Align::Right),
        ("CPU a put", Align::Right),
    ]);
    // Version 1 of the document knew neither percentiles nor CPU.
    for one in &prediction.puts {
        table.row([
            rounded(one.clients as f64),
            rounded(one.per_second),
            micros(one.mean_us),
            one.latency.as_ref().map_or(String::new(), |latency| micros(latency.micros(0.99))),
            number(one.batch),
            percent(one.disk_idle),
            if one.server_cpu_us > 0.0 { micros(one.server_cpu_us) } else { String::new() },
        ]);
    }
    table
}

/// What has to be known about the figures.
fn lines(prediction: &Prediction) -> Vec<String> {
    let Some(connections) = prediction.connections else {
        return vec![
            "Computed from a model by an earlier graven-disk; newer ones measure a server".to_owned(),
        ];
    };
    let mut lines = vec![format!(
        "Measured: a member in a process of its own, its log by {}, under the load of graven-bench put with {}",
        prediction.method,
        if connections == 1 { "one connection".to_owned() } else { format!("{connections} connections") }
    )];
    lines.extend(prediction.puts.iter().filter_map(uneven));
    let others = prediction.puts.iter().map(|one| one.others_cpu).fold(0.0, f64::max);
    if others > OTHERS {
        let others = (others * 100.0).round();
        lines.push(format!(
            "Others used up to {others} % of this machine's CPU meanwhile: an idle one reaches more"
        ));
    }
    if let Some(level) = prediction.level {
        let sustained = micros(level.sustained_us);
        lines.push(if level.scaled > 1.0 {
            format!(
                "Of the lower level that the disk fell to (syncs of {sustained}): it had recovered to {} when the member was loaded, \
                 and the rates are brought down by that",
                micros(level.seen_us)
            )
        } else {
            format!("Of the lower level that the disk fell to: syncs of {sustained}, {} here", micros(level.seen_us))
        });
    }
    lines
}

/// Share of the CPU from which on others are felt.
const OTHERS: f64 = 0.1;
/// Seconds that differ by so much make a rate a guess.
const UNEVEN: f64 = 1.5;

/// How far the whole seconds of a load lie apart, if that is far.
fn uneven(one: &Puts) -> Option<String> {
    // The last second is seldom a whole one.
    let whole = &one.by_second[..one.by_second.len().saturating_sub(1)];
    let (least, most) = (*whole.iter().min()?, *whole.iter().max()?);
    (most as f64 > least as f64 * UNEVEN).then(|| {
        let clients = if one.clients == 1 {
            "1 client".to_owned()
        } else {
            format!("{} clients", rounded(one.clients as f64))
        };
        format!(
            "Uneven with {clients}: between {} and {} puts in a second",
            rounded(least as f64),
            rounded(most as f64)
        )
    })
}

/// For the page.
pub(crate) fn section(document: &Document) -> Option<Section> {
    let prediction = document.prediction.as_ref()?;
    let many = prediction.at(64)?;
    let title = format!("A server reaches {} puts a second with 64 clients", rounded(many.per_second));
    let mut section = Section::new("prediction", title);
    if prediction.connections.is_some() {
        section = section.with("A member was started on this disk as a process of its own and loaded as graven-bench put loads one. Each client sends its next put as soon as the last is answered; clients and server share this machine. Near 0 % idle the disk decides, near 100 % the CPU.");
    }
    section = section.with(puts(prediction));
    let curves: Vec<Curve> = prediction
        .puts
        .iter()
        .filter_map(|one| Some((one, one.latency.clone()?)))
        .map(|(one, latencies)| Curve {
            name: if one.clients == 1 {
                "1 client".to_owned()
            } else {
                format!("{} clients", rounded(one.clients as f64))
            },
            latencies,
        })
        .collect();
    if !curves.is_empty() {
        let title = many.latency.as_ref().map_or("Latency of a put".to_owned(), |latency| {
            format!("99 % of the puts of 64 clients take at most {}", micros(latency.micros(0.99)))
        });
        let picture = Percentiles { curves, ..Percentiles::default() };
        section = section.with(
            Figure::new(title, Picture::Percentiles(picture))
                .caption("Latency of a put by its percentile, as its client sees it. Each further nine takes the same room."),
        );
    }
    for line in lines(prediction) {
        section = section.with(format!("{line}."));
    }
    Some(section)
}
