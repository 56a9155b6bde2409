//! The prediction's part of tables and pages.

use measure::report::Section;
use measure::units::{micros, percent, rounded};
use measure::{Align, Table};

use super::Prediction;
use crate::disk::document::Document;

pub(super) fn table(document: &Document) -> String {
    document.prediction.as_ref().map_or(String::new(), |prediction| {
        format!("A real Graven here, puts of 256 bytes, clients on this machine\n{}", puts(prediction))
    })
}

fn puts(prediction: &Prediction) -> Table {
    let mut table = Table::new([
        ("clients", Align::Right),
        ("puts/s", Align::Right),
        ("mean", Align::Right),
        ("puts a sync", Align::Right),
        ("disk idle", Align::Right),
    ]);
    for one in &prediction.puts {
        table.row([
            one.clients.to_string(),
            rounded(one.per_second),
            micros(one.mean_us),
            format!("{:.1}", one.batch),
            percent(one.disk_idle),
        ]);
    }
    table
}

/// For the page.
pub(crate) fn section(document: &Document) -> Option<Section> {
    let prediction = document.prediction.as_ref()?;
    let many = prediction.at(64)?;
    let title = format!("A server would reach {} puts a second with 64 clients", rounded(many.per_second));
    let machine = prediction.machine;
    Some(
        Section::new("prediction", title)
            .with("From the log's own syncs by the size of a batch, and from what CPU costs on this machine: what a put takes is known, and scaled by three short measurements. Clients and server share this machine.")
            .with(puts(prediction))
            .with(format!(
                "Measured of this machine: {} cores, a round trip over loopback with a durable write {} at the median, a wake-up {}, a socket's system calls {}, a piece of work {}.",
                machine.cores, micros(prediction.lone.micros(0.5)), micros(machine.wake_us), micros(machine.pass_us), micros(machine.work_us)
            )),
    )
}
