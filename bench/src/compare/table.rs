//! What a comparison found, for the terminal and the page.

use measure::{Align, Cell, Table, Tone, units};

use super::document::{Document, Load, Server};
use super::parity::Verdict;
use crate::load::Ending;

/// Every load with all its servers below each other.
pub(super) fn loads(document: &Document) -> Table {
    let mut columns = vec![("load", Align::Left), ("server", Align::Left)];
    let right = [
        "quiet turns",
        "requests/s",
        "least",
        "most",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "server CPU s per million",
        "client CPU s per million",
        "written per put",
        "anonymous memory",
        "mapped files",
    ];
    columns.extend(right.map(|name| (name, Align::Right)));
    let has_failures = each(document).any(|(_, load)| load.failed > 0);
    if has_failures {
        columns.push(("failed", Align::Right));
    }
    let mut table = Table::new(columns);
    for (server, load) in each(document) {
        let is_first = server.name == document.servers[0].name;
        let mut cells = vec![
            Cell::from(name_of(load)),
            Cell::from(server.name.clone()),
            Cell::new(
                format!("{} of {}", server.quiet_rounds, document.settings.rounds),
                if server.is_disturbed { Tone::Warn } else { Tone::Plain },
            ),
            Cell::new(units::rounded(load.per_second), Tone::Strong),
            Cell::from(units::rounded(load.least_per_second)),
            Cell::from(units::rounded(load.most_per_second)),
            if is_first { Cell::new("1", Tone::Faint) } else { Cell::from(ratio(document, server, load)) },
            Cell::from(units::micros(load.p50_us)),
            Cell::from(units::micros(load.p99_us)),
            Cell::from(units::micros(load.p999_us)),
            Cell::from(format!("{:.1}", load.cpu_per_million)),
            Cell::from(format!("{:.1}", load.client_cpu_per_million)),
            Cell::from(load.written_bytes.map_or_else(String::new, |bytes| units::bytes(bytes as u64))),
            Cell::from(units::bytes(load.rss_anon_bytes as u64)),
            Cell::from(units::bytes(load.rss_file_bytes as u64)),
        ];
        if has_failures {
            let tone = if load.failed > 0 { Tone::Bad } else { Tone::Faint };
            cells.push(Cell::new(units::number(load.failed as f64), tone));
        }
        table.row(cells);
    }
    table
}

/// A load's ratio to the first server's, marked where one of both was never measured on a quiet disk.
pub(super) fn ratio(document: &Document, server: &Server, load: &Load) -> String {
    let is_doubtful = server.is_disturbed || document.servers.first().is_some_and(|first| first.is_disturbed);
    format!("{:.2}{}", load.ratio, if is_doubtful { " (?)" } else { "" })
}

/// How each server's durability was judged.
pub(super) fn durability(document: &Document) -> Table {
    let columns = ["server", "version", "every put is synced", "how that was found out"];
    let mut table = Table::new(columns.map(|name| (name, Align::Left)));
    for server in &document.servers {
        let verdict = match server.durability.verdict {
            Verdict::Syncs => Cell::new("yes", Tone::Good),
            Verdict::DoesNotSync => Cell::new("no", Tone::Bad),
            Verdict::Unknown => Cell::new("unknown", Tone::Warn),
        };
        table.row([
            Cell::from(server.name.clone()),
            Cell::from(server.version.clone()),
            verdict,
            Cell::from(server.durability.how.clone()),
        ]);
    }
    table
}

/// How steady the disk was.
pub(super) fn floor(document: &Document) -> String {
    let floor = units::micros(document.floor_us);
    let mut text = format!("a durable write of 4 KiB takes {floor} on this disk (median of the probes)");
    let dropped = document.turns.iter().filter(|turn| turn.dropped).count();
    if dropped > 0 {
        text.push_str(&format!(
            "; {dropped} turns were dropped and measured again because that moved by more than 30 %"
        ));
    }
    for server in document.disturbed() {
        text.push_str(&format!(
            "; {} never had a quiet turn: its figures are of disturbed ones",
            server.name
        ));
    }
    text
}

/// What is missing, if the comparison did not come to its end.
pub(super) fn cut_short(document: &Document) -> Option<String> {
    let why = match &document.ending {
        Ending::Complete => return None,
        Ending::Interrupted => "interrupted",
        Ending::Lost(why) => why,
    };
    let turns = document.turns.iter().filter(|turn| !turn.dropped).count();
    let asked = document.servers.len() * document.settings.rounds as usize;
    Some(format!("the comparison was cut short after {turns} of {asked} turns: {why}"))
}

/// Loads with their servers, loads first.
pub(super) fn each(document: &Document) -> impl Iterator<Item = (&Server, &Load)> {
    let loads = document.servers.first().map_or(0, |server| server.loads.len());
    (0..loads).flat_map(|at| {
        document.servers.iter().filter_map(move |server| Some((server, server.loads.get(at)?)))
    })
}

/// `put, 64 clients`.
pub(super) fn name_of(load: &Load) -> String {
    let clients = if load.clients == 1 { "client" } else { "clients" };
    format!("{}, {} {clients}", load.name, units::number(f64::from(load.clients)))
}
