//! The disturbance's part of tables and pages.

use measure::report::{Bar, Bars, Figure, Picture, Scale, Section};
use measure::units::{bytes, micros, rounded};
use measure::{Align, Table};

use super::{Disturbance, Slices};
use crate::disk::document::Document;

pub(super) fn table(document: &Document) -> String {
    document.disturbance.as_ref().map_or(String::new(), |disturbance| {
        let rate = rounded(disturbance.rate);
        format!(
            "Under disturbance, {rate} records/s offered; times of records (ratio: to alone)\n{}",
            slices(disturbance)
        )
    })
}

fn all(disturbance: &Disturbance) -> impl Iterator<Item = &Slices> {
    std::iter::once(&disturbance.alone).chain(&disturbance.beside)
}

fn slices(disturbance: &Disturbance) -> Table {
    let mut table = Table::new([
        ("beside", Align::Left),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("max", Align::Right),
        ("p99 ratio", Align::Right),
        ("sync p99", Align::Right),
        ("it moves", Align::Right),
    ]);
    for one in all(disturbance) {
        let latency = one.latency.summary();
        table.row([
            one.name.clone(),
            micros(latency.p50_us),
            micros(latency.p99_us),
            micros(latency.p999_us),
            micros(latency.max_us),
            format!("{:.1}", one.ratio(&disturbance.alone)),
            if one.sync.count() > 0 { micros(one.sync.micros(0.99)) } else { String::new() },
            format!("{}/s", bytes(one.companion_bytes as u64)),
        ]);
    }
    table
}

/// For the page.
pub(crate) fn section(document: &Document) -> Option<Section> {
    let disturbance = document.disturbance.as_ref()?;
    let worst = disturbance
        .beside
        .iter()
        .max_by(|one, other| one.ratio(&disturbance.alone).total_cmp(&other.ratio(&disturbance.alone)))?;
    let title =
        format!("Beside the {} the p99 is {:.1} times as long", worst.name, worst.ratio(&disturbance.alone));
    let bars = all(disturbance).map(|one| Bar {
        name: one.name.clone(),
        value: one.latency.micros(0.99),
        range: Some((one.latency.micros(0.5), one.latency.micros(0.999))),
        ..Bar::default()
    });
    let bars = Bars { unit: "us".into(), bars: bars.collect(), scale: Scale::Log, ..Bars::default() };
    Some(
        Section::new("disturbance", title)
            .with("The same load, a quarter of the knee and at most 20,000 records a second, alone and beside what a member of a cluster meets: Graven's own checkpoint, a reader of a large file, and another program that syncs all the time. The slices are interleaved.")
            .with(
                Figure::new(
                    format!(
                        "Beside the {} 99 % of the records take at most {}, alone {}",
                        worst.name,
                        micros(worst.latency.micros(0.99)),
                        micros(disturbance.alone.latency.micros(0.99))
                    ),
                    Picture::Bars(bars),
                )
                .caption("p99 of records; the lines reach from p50 to p99.9. The scale is logarithmic."),
            )
            .with(slices(disturbance)),
    )
}
