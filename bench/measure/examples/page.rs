//! A page with every kind of block and picture, from made-up figures: what tests/pages looks at in a browser.
//!
//! `cargo run -p graven-measure --example page -- page.html`

use std::time::Duration;

use measure::report::{
    Bar, Bars, Better, Block, Curve, Fact, Figure, HeatMap, Knee, KneeSeries, Line, Lines, Load, Matrix,
    MatrixCell, MatrixRow, Page, Percentiles, Scale, Section, Span, Threshold, Verdict,
};
use measure::{Align, Arrivals, Cell, Latencies, Summary, Table, Timeline, Tone};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: page FILE")?;
    Ok(std::fs::write(path, page().html())?)
}

fn page() -> Page {
    Page {
        title: "An example of every picture".to_owned(),
        subtitle: "Made-up figures; no disk was measured".to_owned(),
        verdict: Some(Verdict {
            tone: Tone::Good,
            headline: "Fit for Kubernetes of 1,000 nodes".to_owned(),
            reasons: vec![
                "A durable write takes 310 us in the median and 1.9 ms at p99; etcd's guidance asks for 10 ms.".to_owned(),
                "From second 31 on the disk is three times slower: its burst credit is used up.".to_owned(),
            ],
            figures: vec![
                Fact::new("p99 of a durable write", "1.9 ms").tone(Tone::Good),
                Fact::new("puts/s at 64 clients", "12,300"),
                Fact::new("worst stall", "1.1 s").tone(Tone::Warn),
            ],
        }),
        facts: vec![
            Fact::new("device", "vda (write back cache, FUA 1)").why("Without FUA a sync needs a flush of the whole cache."),
            Fact::new("file system", "ext4 (rw,relatime,discard,data=ordered,errors=remount-ro,stripe=128,commit=30)"),
            Fact::new("io_uring", "refused").why("The log falls back to RWF_DSYNC, a system call more for each commit.").tone(Tone::Warn),
        ],
        sections: vec![matrix(), commit(), time(), tables()],
        footer: "Made by cargo run -p graven-measure --example page.".to_owned(),
    }
}

/// Latencies around a value, with a tail.
fn latencies(micros: f64, count: usize, seed: u64) -> Latencies {
    let mut latencies = Latencies::new();
    let mut before = Duration::ZERO;
    for at in Arrivals::poisson(1e6 / micros, seed).take(count) {
        let tail = if latencies.count() % 199 == 7 { 9 } else { 1 };
        latencies.record(Duration::from_nanos((micros * 600.0) as u64) + (at - before) * tail / 3);
        before = at;
    }
    latencies
}

fn matrix() -> Section {
    let methods = ["write + fdatasync", "RWF_DSYNC", "O_DIRECT + DSYNC", "io_uring linked, depth 4"];
    let row = |group: &str, number: usize, name: &str| {
        let value = |column: usize| 3000.0 / (1.0 + column as f64 * 0.45) * (1.0 + number as f64 * 0.23);
        let cell =
            |column| MatrixCell { value: value(column), note: "+-3 %".to_owned(), winner: number == 3 };
        let cells = (0..8).map(|column| (group == "written" || column < 6).then(|| cell(column))).collect();
        MatrixRow { name: name.to_owned(), group: group.to_owned(), cells }
    };
    let rows = ["written", "sparse"].into_iter();
    let rows =
        rows.flat_map(|group| methods.iter().enumerate().map(move |(number, name)| row(group, number, name)));
    let picture = Matrix {
        corner: "method".to_owned(),
        columns: ["512 B", "1 KiB", "4 KiB", "8 KiB", "32 KiB", "128 KiB", "512 KiB", "1 MiB"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
        unit: "writes/s".to_owned(),
        better: Better::Higher,
    };
    let bars = Bars {
        unit: "us".to_owned(),
        bars: vec![
            Bar {
                name: "fdatasync of a written block".to_owned(),
                value: 420.0,
                range: Some((380.0, 510.0)),
                tone: Tone::Plain,
            },
            Bar {
                name: "O_DIRECT + DSYNC".to_owned(),
                value: 310.0,
                range: Some((290.0, 340.0)),
                tone: Tone::Strong,
            },
            Bar { name: "a new block".to_owned(), value: 1210.0, range: None, tone: Tone::Warn },
        ],
        thresholds: vec![Threshold { at: 1000.0, label: "1 ms".to_owned() }],
        scale: Scale::Linear,
    };
    Section::new("matrix", "Linked writes through io_uring are the fastest")
        .with("Each figure is the median of interleaved rounds.")
        .with(Figure::new("Linked writes win at every size", picture).caption("Median of five rounds."))
        .with(Figure::new("New blocks cost three times as much", bars).caption("Whiskers span the rounds."))
}

fn commit() -> Section {
    let load = |writers: usize| {
        let per_second = 20_000.0 * (1.0 - (-(writers as f64) / 40.0).exp());
        let p50_us = 260.0 + writers as f64 * 18.0;
        let latency = Summary {
            count: 90_000,
            mean_us: p50_us,
            p50_us,
            p99_us: p50_us * 2.6,
            p999_us: p50_us * 7.0,
            max_us: p50_us * 30.0,
            ..Summary::default()
        };
        Load { label: writers.to_string(), per_second, latency }
    };
    let loads: Vec<Load> = [1, 4, 16, 64, 256, 1024].map(load).to_vec();
    let threshold = || vec![Threshold { at: 10_000.0, label: "10 ms: etcd's guidance for p99".to_owned() }];
    let knee = Knee {
        unit: "appends/s".to_owned(),
        series: vec![KneeSeries { name: "closed loop".to_owned(), loads: loads.clone(), knee: Some(3) }],
        thresholds: threshold(),
    };
    let slower =
        loads.iter().map(|load| Load { per_second: load.per_second * 0.6, ..load.clone() }).collect();
    let two = Knee {
        unit: "appends/s".to_owned(),
        series: vec![
            KneeSeries { name: "alone".to_owned(), loads, knee: Some(3) },
            KneeSeries { name: "beside a neighbor that syncs".to_owned(), loads: slower, knee: Some(2) },
        ],
        thresholds: Vec::new(),
    };
    let curves = Percentiles {
        curves: vec![
            Curve { name: "1 writer".to_owned(), latencies: latencies(300.0, 200_000, 1) },
            Curve { name: "64 writers".to_owned(), latencies: latencies(900.0, 100_000, 2) },
            Curve {
                name: "64 writers beside a neighbor that syncs".to_owned(),
                latencies: latencies(2100.0, 50_000, 3),
            },
        ],
        thresholds: threshold(),
    };
    Section::new("commit", "64 writers are the knee")
        .with(
            Figure::new("Beyond 64 writers more load buys only waiting", knee)
                .caption("Numbers at the median's points are writers."),
        )
        .with(Figure::new("A neighbor takes 40 % of it", two).caption("p99; rings mark the knees."))
        .with(
            Figure::new("p99 stays below 10 ms even beside a neighbor", curves)
                .caption("Each further nine takes the same room."),
        )
}

fn time() -> Section {
    let mut timeline = Timeline::new();
    let mut line = Vec::new();
    for second in 0..240_u64 {
        let slow = if second >= 131 { 3.0 } else { 1.0 };
        for (number, part) in latencies(400.0 * slow, 1500, second).histogram().iter_recorded().enumerate() {
            let at = Duration::from_secs(second) + Duration::from_micros(number as u64);
            for _ in 0..part.count_since_last_iteration() {
                timeline.record_at(at, Duration::from_nanos(part.value_iterated_to()));
            }
        }
        if second % 60 == 50 {
            timeline.record_at(Duration::from_secs(second), Duration::from_millis(1100));
        }
        line.push((second as f64, 2400.0 / slow + (second % 7) as f64 * 31.0));
    }
    let span = |from, to, label: &str| Span { from, to, label: label.to_owned() };
    let spans = vec![
        span(50.0, 51.5, "stall of a second"),
        span(110.0, 111.5, "stall of a second"),
        span(131.0, 240.0, "rate limit from second 131"),
    ];
    let heat = HeatMap { timeline, spans: spans.clone(), thresholds: Vec::new() };
    let lines = Lines {
        x: "seconds".to_owned(),
        unit: "syncs/s".to_owned(),
        lines: vec![Line { name: "syncs".to_owned(), points: line }],
        spans,
        ..Lines::default()
    };
    Section::new("time", "The burst credit ends after 131 seconds")
        .with(Block::Note(Tone::Warn, "From second 131 on every sync takes three times as long.".to_owned()))
        .with(
            Figure::new("Three times slower from second 131 on", heat)
                .caption("Darker (in dark mode brighter) where more requests were."),
        )
        .with(Figure::new("The rate falls to a third", lines))
}

fn tables() -> Section {
    let mut table = Table::new([
        ("for", Align::Left),
        ("asks", Align::Right),
        ("found", Align::Right),
        ("verdict", Align::Left),
    ]);
    table.row([
        Cell::from("etcd's guidance, p99"),
        "10 ms".into(),
        "1.9 ms".into(),
        Cell::new("fit", Tone::Good),
    ]);
    table.row([
        Cell::from("Kubernetes of 5,000 nodes"),
        "2 ms".into(),
        "2.4 ms".into(),
        Cell::new("unfit", Tone::Bad),
    ]);
    Section::new("verdict-table", "Fit for all but 5,000 nodes").with(table)
}
