//! The page of a comparison.

use measure::report::{
    Bar, Bars, Block, Curve, Fact, Figure, Knee, KneeSeries, Load as Point, Page, Percentiles, Scale,
    Section, Verdict,
};
use measure::{Tone, units};

use super::document::{Document, Load, Server};
use super::table;

/// A page with the ratios, the pictures, and how it was measured.
pub(super) fn page(document: &Document) -> Page {
    let names: Vec<&str> = document.servers.iter().map(|server| server.name.as_str()).collect();
    let settings = &document.settings;
    let subtitle = format!(
        "{} rounds in turns on one disk, {} of each load after a warm-up of {}; medians",
        settings.rounds,
        units::seconds(settings.duration_seconds),
        units::seconds(settings.warm_up_seconds)
    );
    let mut sections = Vec::new();
    for name in load_names(document) {
        sections.push(section(document, name));
    }
    sections.push(cost(document));
    sections.push(Section::new("figures", "All figures").with(table::loads(document)));
    sections.push(conditions(document));
    Page {
        title: names.join(" and "),
        subtitle,
        verdict: Some(verdict(document)),
        facts: vec![
            Fact::new("machine", document.machine.line()),
            Fact::new("disk", table::floor(document)),
            Fact::new(
                "keys and values",
                format!(
                    "{} keys, values of {} bytes",
                    units::number(settings.key_space as f64),
                    settings.value_bytes
                ),
            ),
            Fact::new(
                "client",
                format!("one thread, {} clients a connection", settings.clients_per_connection),
            )
            .why("it shares the processors with the server"),
        ],
        sections,
        footer: format!("graven-bench {} compare", document.program),
    }
}

fn verdict(document: &Document) -> Verdict {
    let complaints: Vec<String> =
        table::cut_short(document).into_iter().chain(document.complaint.clone()).collect();
    if document.has_liar() {
        let headline = "Not comparable: not every server makes puts durable".to_owned();
        return Verdict { tone: Tone::Bad, headline, reasons: complaints, figures: Vec::new() };
    }
    let is_calm = complaints.is_empty() && disturbed(document).is_none();
    let tone = if is_calm { Tone::Good } else { Tone::Warn };
    let mut figures = Vec::new();
    for (server, load) in table::each(document) {
        if server.name != document.servers[0].name {
            let name =
                format!("{} against {}: {}", server.name, document.servers[0].name, table::name_of(load));
            figures.push(Fact::new(name, format!("{} x", table::ratio(document, server, load))));
        }
    }
    Verdict { tone, headline: headline(document), reasons: complaints, figures }
}

/// Who was never measured on a quiet disk: medians of disturbed turns are set against nobody's.
fn disturbed(document: &Document) -> Option<String> {
    let names: Vec<&str> = document.disturbed().map(|server| server.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    Some(format!(
        "not comparable: {} never had a quiet turn; measure again when nothing else uses the disk, or with more --rounds",
        names.join(" and ")
    ))
}

/// The fastest against the slowest, at the first load with the most clients.
pub(super) fn headline(document: &Document) -> String {
    if let Some(words) = disturbed(document) {
        return words;
    }
    let Some(first) = document.servers.first().and_then(|server| server.loads.first()) else {
        return "nothing was measured".to_owned();
    };
    let same = |load: &&Load| load.name == first.name;
    let clients = document.servers[0].loads.iter().filter(same).map(|load| load.clients).max();
    let mut rates: Vec<(&Server, &Load)> = table::each(document)
        .filter(|(_, load)| load.name == first.name && Some(load.clients) == clients)
        .collect();
    rates.sort_by(|(_, one), (_, other)| other.per_second.total_cmp(&one.per_second));
    match (rates.first(), rates.last()) {
        (Some((fast, most)), Some((slow, least))) if fast.name != slow.name => format!(
            "{}: {:.1} times the requests/s of {} at {}",
            fast.name,
            most.per_second / least.per_second,
            slow.name,
            table::name_of(most)
        ),
        _ => "only one server was measured".to_owned(),
    }
}

fn load_names(document: &Document) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for load in document.servers.iter().flat_map(|server| &server.loads) {
        if !names.contains(&load.name.as_str()) {
            names.push(&load.name);
        }
    }
    names
}

/// One kind of load: rates, the knee, the tails.
fn section(document: &Document, name: &str) -> Section {
    let mine = || table::each(document).filter(|(_, load)| load.name == name);
    let bar = |server: &Server, load: &Load, value, range| {
        let tone = if server.name == document.servers[0].name { Tone::Strong } else { Tone::Plain };
        Bar { name: format!("{}, {}", server.name, load.clients), value, range, tone }
    };
    let rates = mine().map(|(server, load)| {
        bar(server, load, load.per_second, Some((load.least_per_second, load.most_per_second)))
    });
    let rates = Bars { unit: "requests/s".to_owned(), bars: rates.collect(), ..Bars::default() };
    let tails = mine().map(|(server, load)| bar(server, load, load.p99_us, None)).collect();
    let tails = Bars { unit: "us".to_owned(), bars: tails, scale: Scale::Log, ..Bars::default() };
    let mut section = Section::new(name, format!("Load: {name}"))
        .with(
            Figure::new("Requests a second, by server and number of clients", rates)
                .caption("Medians; whiskers from the slowest to the fastest round."),
        )
        .with(
            Figure::new("99th percentile of the latency", tails)
                .caption("Medians of the rounds, closed loop."),
        );
    let series: Vec<KneeSeries> = document
        .servers
        .iter()
        .map(|server| KneeSeries {
            name: server.name.clone(),
            loads: points(server, name),
            knee: knee(server, name),
        })
        .collect();
    if series.iter().all(|series| series.loads.len() > 1) {
        let knee = Knee { unit: "requests/s".to_owned(), series, ..Knee::default() };
        section = section.with(
            Figure::new("Throughput against latency", knee)
                .caption("One point a number of clients; to the right and down is better."),
        );
    }
    let most = mine().map(|(_, load)| load.clients).max();
    let curves = mine()
        .filter(|(_, load)| Some(load.clients) == most)
        .map(|(server, load)| Curve { name: server.name.clone(), latencies: load.latency.clone() })
        .collect();
    let curves = Percentiles { curves, ..Percentiles::default() };
    section.with(Figure::new(
        format!("Latencies with {} clients, all rounds together", most.unwrap_or(0)),
        curves,
    ))
}

fn points(server: &Server, name: &str) -> Vec<Point> {
    let mut loads: Vec<&Load> = server.loads.iter().filter(|load| load.name == name).collect();
    loads.sort_by_key(|load| load.clients);
    let point = |load: &&Load| Point {
        label: clients_text(load.clients),
        per_second: load.per_second,
        latency: load.latency.summary(),
    };
    loads.iter().map(point).collect()
}

fn clients_text(clients: u32) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

/// The first number of clients with nearly all the throughput there is: beyond it only waiting grows.
fn knee(server: &Server, name: &str) -> Option<usize> {
    const NEARLY: f64 = 0.9;
    let points = points(server, name);
    let most = points.iter().map(|point| point.per_second).fold(0.0, f64::max);
    points.iter().position(|point| point.per_second >= most * NEARLY)
}

fn cost(document: &Document) -> Section {
    let bars = |of: fn(&Load) -> Option<f64>| -> Vec<Bar> {
        let bar = |(server, load): (&Server, &Load)| {
            let name = format!("{}: {}", server.name, table::name_of(load));
            let tone = if server.name == document.servers[0].name { Tone::Strong } else { Tone::Plain };
            Some(Bar { name, value: of(load)?, range: None, tone })
        };
        table::each(document).filter_map(bar).collect()
    };
    let of = |unit: &str, bars| Bars { unit: unit.to_owned(), bars, ..Bars::default() };
    let mut section = Section::new("cost", "What it costs the server").with(
        Figure::new(
            "CPU seconds of the server for a million requests",
            of("s", bars(|load| Some(load.cpu_per_million))),
        )
        .caption("User and system time of all its processes."),
    );
    let written = bars(|load| load.written_bytes);
    if !written.is_empty() {
        section = section.with(Figure::new("Bytes written for each put", of("B", written)));
    }
    section.with(Figure::new(
        "Anonymous memory behind each load, MiB",
        of("MiB", bars(|load| Some(load.rss_anon_bytes / f64::from(1 << 20)))),
    ))
}

fn conditions(document: &Document) -> Section {
    let mut section = Section::new("conditions", "How it was measured").with(table::durability(document));
    if let Some(complaint) = &document.complaint {
        section = section.with(Block::Note(Tone::Warn, complaint.clone()));
    }
    let commands: Vec<Fact> = document
        .servers
        .iter()
        .map(|server| Fact::new(server.name.clone(), server.command.clone()))
        .collect();
    section.with(commands).with(table::floor(document))
}
