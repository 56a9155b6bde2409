//! The matrix in the terminal and on a page.

use measure::report::{self, Better, Figure, MatrixCell, MatrixRow, Section};
use measure::units::{micros, number};

use super::measured::{Cell, Extents, Matrix, Measured, Outcome};
use super::statistics::CONFIDENCE;
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
    let mut out = "Ways of making a write durable: median in microseconds, and by how many percent\n\
                   its interval reaches from it.\n"
        .to_owned();
    wrapped(&intervals(matrix), 80).iter().for_each(|line| out += &format!("{line}\n"));
    let mut reasons: Vec<&str> = Vec::new();
    for extents in Extents::ALL {
        out += &format!("\n{}\n{:<14}", extents.title(), "");
        SIZES.iter().for_each(|&bytes| out += &format!("{:>11}", head(bytes)));
        out += "\n";
        for way in Way::ALL {
            out += &format!("{:<14}", format!("{}{}", if way.is_logs() { "+ " } else { "  " }, way.name()));
            for bytes in SIZES {
                let text = match matrix.find(extents, way, bytes).map(|cell| &cell.outcome) {
                    Some(Outcome::Measured(found)) => cell_text(found),
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
    out += "+ ways that the log can use (--method; the server's --wal-sync-method)\n";
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

/// `87  4%`, or `87    ~` without an interval; above a hundred milliseconds in thousands, so that a column is enough.
fn cell_text(found: &Measured) -> String {
    let median = match found.median_us {
        0.0..100_000.0 => format!("{:.0}", found.median_us),
        _ => format!("{:.0}k", found.median_us / 1e3),
    };
    match has_interval(found) {
        true => format!("{median} {:>3.0}%", (found.spread() * 100.0).min(999.0)),
        false => format!("{median}    ~"),
    }
}

/// Of fewer visits the widest interval holds the true median less often.
fn has_interval(found: &Measured) -> bool {
    found.coverage >= CONFIDENCE
}

/// How sure the intervals are. Large writes take part in fewer rounds, and a slow disk gets through few.
fn intervals(matrix: &Matrix) -> String {
    let measured = || matrix.cells.iter().filter_map(Cell::measured);
    let sure = measured().filter(|found| has_interval(found)).map(|found| found.coverage);
    let (least, most) = (sure.clone().fold(1.0, f64::min), sure.clone().fold(0.0, f64::max));
    let of = format!("of {} rounds' medians", matrix.rounds);
    // Never more than it is: 95.9 % are 95.
    let percent = |share: f64| (share * 100.0).floor();
    let range = match percent(least) == percent(most) {
        true => format!("{:.0} %", percent(least)),
        false => format!("{:.0} to {:.0} %", percent(least), percent(most)),
    };
    match (sure.count(), measured().all(has_interval)) {
        (0, _) => format!("There are no intervals (~): the visits {of} are too few."),
        (_, true) => {
            format!("The intervals, from the order {of}, hold the true medians in {range} of cases.")
        }
        (_, false) => {
            format!(
                "The intervals, from the order {of}, hold the true medians in {range} of cases; where the visits were too few there is none (~)."
            )
        }
    }
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
                let note = match has_interval(measured) {
                    true => format!("{} to {}", micros(measured.low_us), micros(measured.high_us)),
                    false => "~".to_owned(),
                };
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
        "Median of one durable write. {} With two or four writes at a time one takes longer, and more of them are done.",
        intervals(matrix)
    ));
    section = section.with(figure);
    for way in Way::ALL {
        let why: Vec<_> = matrix.cells.iter().filter(|cell| cell.way == way).filter_map(reason).collect();
        if let Some((first, cell)) = why.first() {
            let of = if why.len() == 1 { head(cell.bytes) } else { format!("{} cells", why.len()) };
            section = section.with(format!("{}: {of} not possible: {first}.", way.name()).as_str());
        }
    }
    let ways: Vec<_> = Way::ALL.iter().map(|way| report::Fact::new(way.name(), about(*way))).collect();
    Some(section.with(ways))
}

fn about(way: Way) -> String {
    let log = if way.is_logs() { "one of the log's methods" } else { "none of the log's methods" };
    format!("{}; {log}", way.about())
}

fn reason(cell: &Cell) -> Option<(&str, &Cell)> {
    match &cell.outcome {
        Outcome::NotPossible(why) => Some((why, cell)),
        Outcome::Measured(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::estimate;
    use super::*;

    /// A matrix of one way, with so many visits at each size.
    fn matrix(visits: [usize; 6]) -> Matrix {
        let cell = |(bytes, visits): (usize, usize)| {
            let values: Vec<f64> = (0..visits).map(|visit| 100.0 + visit as f64).collect();
            let found = estimate(&values).unwrap();
            Cell {
                extents: Extents::Written,
                way: Way::Fdatasync,
                bytes,
                outcome: Outcome::Measured(Measured {
                    median_us: found.median,
                    low_us: found.low,
                    high_us: found.high,
                    coverage: found.coverage,
                    p99_us: 200.0,
                    per_second: 1e4,
                    writes: 12,
                    visits,
                }),
            }
        };
        let cells = SIZES.into_iter().zip(visits).map(cell).collect();
        Matrix { rounds: visits[0], cells, ..Matrix::default() }
    }

    #[test]
    fn an_interval_is_shown_where_it_is_one_and_with_its_own_certainty() {
        let mut document = Document::new(std::path::Path::new("/data"), false);
        document.matrix = Some(matrix([10, 10, 10, 10, 3, 3]));
        let text = table(&document);
        let flat = |text: &str| text.replace('\n', " ");
        assert!(flat(&text).contains("hold the true medians in 97 % of cases; where the visits"), "{text}");
        let row = text.lines().find(|line| line.starts_with("+ fdatasync")).unwrap();
        assert_eq!((row.matches('%').count(), row.matches('~').count()), (4, 2), "{row}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // Who reads that none of the log's is faster sees which are the log's.
        let logs: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("+ ")?.split(' ').next()).collect();
        assert_eq!(logs[..4], ["fdatasync", "dsync", "direct-dsync", "ring"], "{text}");
        document.matrix = Some(matrix([20, 20, 20, 20, 7, 7]));
        let text = table(&document);
        assert!(flat(&text).contains("in 95 to 98 % of") && !text.contains('~'), "{text}");
        // Of a slow disk's five rounds even the widest interval is not sure enough.
        document.matrix = Some(matrix([5, 5, 5, 5, 1, 1]));
        let text = table(&document);
        assert!(flat(&text).contains("no intervals (~)") && !flat(&text).contains("% of cases"), "{text}");
        assert!(!format!("{:?}", section(&document)).contains("95 %"));
    }
}
