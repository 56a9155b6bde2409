//! The matrix in the terminal and on a page.

use measure::report::{self, Better, Figure, MatrixCell, MatrixRow, Section};
use measure::units::{micros, number};

use super::measured::{Cell, Extents, Outcome};
use super::{SIZES, Way};
use crate::disk::document::Document;
use crate::disk::terminal::wrapped;

/// Sizes as heads of columns.
fn head(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// For each kind of space one table, at most 80 columns wide.
pub(super) fn table(document: &Document) -> String {
    let Some(matrix) = &document.matrix else { return String::new() };
    let mut out = format!(
        "Ways of making a write durable: median in microseconds, and by how many percent\n\
         its 95 % interval (from the order of {} rounds' medians) reaches from it.\n",
        matrix.rounds
    );
    let mut reasons: Vec<&str> = Vec::new();
    for extents in Extents::ALL {
        out += &format!("\n{}\n{:<14}", extents.title(), "");
        SIZES.iter().for_each(|&bytes| out += &format!("{:>11}", head(bytes)));
        out += "\n";
        for way in Way::ALL {
            out += &format!("{:<14}", way.name());
            for bytes in SIZES {
                let text = match matrix.find(extents, way, bytes).map(|cell| &cell.outcome) {
                    Some(Outcome::Measured(found)) => cell_text(found.median_us, found.spread()),
                    Some(Outcome::NotPossible(why)) => {
                        let known = reasons.iter().position(|reason| reason == why).unwrap_or_else(|| {
                            reasons.push(why);
                            reasons.len() - 1
                        });
                        format!("[{}]", known + 1)
                    }
                    None => String::new(),
                };
                out += &format!("{text:>11}");
            }
            out += "\n";
        }
    }
    for (index, why) in reasons.iter().enumerate() {
        let text = format!("[{}] not possible: {why}", index + 1);
        wrapped(&text, 80).iter().for_each(|line| out += &format!("{line}\n"));
    }
    out += "\nDurable writes a second of 4 KiB, written space:\n  ";
    let rates: Vec<String> = [Way::DirectDsync, Way::Ring, Way::Ring2, Way::Ring4]
        .into_iter()
        .filter_map(|way| {
            let found = matrix.find(Extents::Written, way, 4096)?.measured()?;
            Some(format!("{} {}", way.name(), number(found.per_second.round())))
        })
        .collect();
    out += &rates.join(", ");
    out += "\n";
    if let Some(picked) = &matrix.picked {
        wrapped(&capital(&picked.text), 80).iter().for_each(|line| out += &format!("{line}\n"));
    }
    out
}

/// `87  4%`; above ten milliseconds in thousands, so that a column is enough.
fn cell_text(median_us: f64, spread: f64) -> String {
    let median = match median_us {
        0.0..100_000.0 => format!("{median_us:.0}"),
        _ => format!("{:.0}k", median_us / 1e3),
    };
    format!("{median} {:>3.0}%", (spread * 100.0).min(999.0))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The same as a colored picture.
pub(crate) fn section(document: &Document) -> Option<Section> {
    let matrix = document.matrix.as_ref()?;
    let title = match &matrix.picked {
        Some(picked) => capital(&picked.text),
        None => "Ways of making a write durable".to_owned(),
    };
    let mut section = Section::new("matrix", title).with(
        "Each cell is one way of making a write durable. Rounds visit all cells in a new order each time, so that \
         whatever else the machine does meets all alike; a figure is the median of the rounds' medians.",
    );
    let best = |extents, bytes| {
        let found = Way::ALL.iter().filter(|way| way.depth() == 1);
        let found =
            found.filter_map(|&way| Some((way, matrix.find(extents, way, bytes)?.measured()?.median_us)));
        found.min_by(|one, other| one.1.total_cmp(&other.1))
    };
    let mut rows = Vec::new();
    for extents in Extents::ALL {
        for way in Way::ALL {
            let cell = |bytes| {
                let found: &Cell = matrix.find(extents, way, bytes)?;
                let measured = found.measured()?;
                let note = format!("{} to {}", micros(measured.low_us), micros(measured.high_us));
                let winner = way.depth() == 1
                    && best(extents, bytes).is_some_and(|(_, median_us)| median_us == measured.median_us);
                Some(MatrixCell { value: measured.median_us, note, winner })
            };
            let cells = SIZES.map(cell).into();
            rows.push(MatrixRow { name: way.name().to_owned(), group: extents.title().to_owned(), cells });
        }
    }
    let picture = report::Matrix {
        corner: "way".to_owned(),
        columns: SIZES.map(head).into(),
        rows,
        unit: "us".to_owned(),
        better: Better::Lower,
    };
    let title = match best(Extents::Written, 4096) {
        Some((way, median_us)) => {
            format!("4 KiB are durable fastest by {}: in {}", way.name(), micros(median_us))
        }
        None => "Median of one durable write".to_owned(),
    };
    let figure = Figure::new(title, picture).caption(format!(
        "Median of one durable write, with the interval that holds the true median in 95 % of cases, from the order of {} rounds' medians. With two or \
         four writes at a time one takes longer, and more of them are done.",
        matrix.rounds
    ));
    section = section.with(figure);
    for way in Way::ALL {
        let why: Vec<_> = matrix.cells.iter().filter(|cell| cell.way == way).filter_map(reason).collect();
        if let Some((first, cell)) = why.first() {
            let of = if why.len() == 1 { head(cell.bytes) } else { format!("{} cells", why.len()) };
            section = section.with(format!("{}: {of} not possible: {first}.", way.name()).as_str());
        }
    }
    let ways: Vec<_> = Way::ALL.iter().map(|way| report::Fact::new(way.name(), way.about())).collect();
    Some(section.with(ways))
}

fn reason(cell: &Cell) -> Option<(&str, &Cell)> {
    match &cell.outcome {
        Outcome::NotPossible(why) => Some((why, cell)),
        Outcome::Measured(_) => None,
    }
}
