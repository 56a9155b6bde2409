//! What pictures show, as values, and the table behind each: who can't see the picture reads that.

use crate::latencies::{Latencies, Summary};
use crate::table::{Align, Cell, Table, Tone};
use crate::timeline::Timeline;
use crate::units;

/// A picture with its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The finding: `p99 stays below 2 ms up to 64 writers`.
    pub title: String,
    /// How to read it; may be empty.
    pub caption: String,
    /// What is drawn.
    pub picture: Picture,
}

impl Figure {
    /// Without a caption.
    pub fn new(title: impl Into<String>, picture: impl Into<Picture>) -> Figure {
        Figure { title: title.into(), caption: String::new(), picture: picture.into() }
    }

    /// How to read it.
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Figure {
        self.caption = caption.into();
        self
    }
}

/// A kind of picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    /// Latency by percentile.
    Percentiles(Percentiles),
    /// Latency over time.
    HeatMap(HeatMap),
    /// Throughput against latency.
    Knee(Knee),
    /// Rows by columns, colored by value.
    Matrix(Matrix),
    /// One value a row.
    Bars(Bars),
    /// Values over time or over another measure.
    Lines(Lines),
}

/// A bound that the reader compares with, in the unit of the axis of values (microseconds for latencies).
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Where.
    pub at: f64,
    /// `10 ms: etcd's guidance`.
    pub label: String,
}

/// A stretch of time with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Seconds since the start.
    pub from: f64,
    /// Seconds since the start.
    pub to: f64,
    /// `stall`, `rate limit`.
    pub label: String,
}

/// Latency (logarithmic) against 1 - percentile (logarithmic): each further nine takes the same room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// In the order of the colors.
    pub curves: Vec<Curve>,
    /// In microseconds.
    pub thresholds: Vec<Threshold>,
}

/// Latencies with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// At the end of the curve.
    pub name: String,
    /// What it shows.
    pub latencies: Latencies,
}

/// Time by latency (logarithmic), colored by count, with lines of p50 and p99.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// What it shows.
    pub timeline: Timeline,
    /// Stretches to point at.
    pub spans: Vec<Span>,
    /// In microseconds.
    pub thresholds: Vec<Threshold>,
}

/// Throughput against latency (logarithmic), with the knee marked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knee {
    /// What is counted: `syncs/s`, `puts/s`.
    pub unit: String,
    /// One is drawn with p50, p99 and p99.9; several with their p99.
    pub series: Vec<KneeSeries>,
    /// In microseconds.
    pub thresholds: Vec<Threshold>,
}

/// Loads from light to heavy.
#[derive(Clone, Debug, PartialEq)]
pub struct KneeSeries {
    /// At the end of the curve.
    pub name: String,
    /// In the order in which they are joined.
    pub loads: Vec<Load>,
    /// Which of them is the knee.
    pub knee: Option<usize>,
}

/// One load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// `64 writers`, `2,000/s offered`.
    pub label: String,
    /// What was reached.
    pub per_second: f64,
    /// At that.
    pub latency: Summary,
}

/// Which end of a scale is the good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Better {
    /// Rates.
    #[default]
    Higher,
    /// Latencies.
    Lower,
}

/// Rows by columns, each cell colored by its value among those of its column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Over the names of the rows: `method`.
    pub corner: String,
    /// Sizes.
    pub columns: Vec<String>,
    /// Methods.
    pub rows: Vec<MatrixRow>,
    /// What the figures are: `writes/s`.
    pub unit: String,
    /// Which values get the strong color.
    pub better: Better,
}

/// One row of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixRow {
    /// To the left.
    pub name: String,
    /// Rows with the same group stand together under its name; empty for none.
    pub group: String,
    /// A cell for each column; none where nothing was measured.
    pub cells: Vec<Option<MatrixCell>>,
}

/// One figure of a matrix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatrixCell {
    /// Decides the color.
    pub value: f64,
    /// Below the figure, small: `+-3 %`. May be empty.
    pub note: String,
    /// Marked as the best of its column, or as one that can't be told from the best.
    pub winner: bool,
}

/// A bar for each value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// Of the values; `us` values are written in the unit that fits.
    pub unit: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
    /// In the same unit.
    pub thresholds: Vec<Threshold>,
    /// Linear bars begin at zero; logarithmic ones somewhere below the smallest.
    pub scale: Scale,
}

/// One bar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// To the left.
    pub name: String,
    /// How long.
    pub value: f64,
    /// Lowest and highest seen, as a whisker.
    pub range: Option<(f64, f64)>,
    /// Its color.
    pub tone: Tone,
}

/// How values become places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences take equal room.
    #[default]
    Linear,
    /// Equal ratios do.
    Log,
}

/// Values over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// Of the horizontal axis: `seconds`, `batch bytes`.
    pub x: String,
    /// Of the vertical axis; `us` values are written in the unit that fits.
    pub unit: String,
    /// Vertical.
    pub scale: Scale,
    /// In the order of the colors.
    pub lines: Vec<Line>,
    /// Stretches to point at.
    pub spans: Vec<Span>,
    /// In the unit of the values.
    pub thresholds: Vec<Threshold>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// At its end.
    pub name: String,
    /// Joined in this order; a value that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
}

macro_rules! pictures {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Picture {
            fn from(picture: $kind) -> Picture {
                Picture::$kind(picture)
            }
        }
    )*};
}

pictures!(Percentiles, HeatMap, Knee, Matrix, Bars, Lines);

/// A value of an axis or a bar in words.
pub(crate) fn value_text(value: f64, unit: &str) -> String {
    match unit {
        "us" => units::micros(value),
        "" => units::rounded(value),
        unit => format!("{} {unit}", units::rounded(value)),
    }
}

impl Picture {
    /// The same as a table.
    pub fn table(&self) -> Table {
        match self {
            Picture::Percentiles(picture) => picture.table(),
            Picture::HeatMap(picture) => picture.table(),
            Picture::Knee(picture) => picture.table(),
            Picture::Matrix(picture) => picture.table(),
            Picture::Bars(picture) => picture.table(),
            Picture::Lines(picture) => picture.table(),
        }
    }
}

fn latency_columns(first: &str, more: &[&str]) -> Table {
    let names = [first].into_iter().chain(more.iter().copied());
    let names = names.chain(["count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    Table::new(names.enumerate().map(|(number, name)| match number {
        0 => (name, Align::Left),
        _ => (name, Align::Right),
    }))
}

fn latency_cells(summary: &Summary) -> Vec<String> {
    let mut cells = vec![units::number(summary.count as f64)];
    cells.extend(summary.times_us().map(units::micros));
    cells
}

impl Percentiles {
    fn table(&self) -> Table {
        let mut table = latency_columns("", &[]);
        for curve in &self.curves {
            let mut cells = vec![curve.name.clone()];
            cells.extend(latency_cells(&curve.latencies.summary()));
            table.row(cells);
        }
        table
    }
}

/// More rows than these nobody reads: longer times are put together.
const TIME_ROWS: usize = 60;

impl HeatMap {
    fn table(&self) -> Table {
        let mut table = latency_columns("seconds", &[]);
        let interval = self.timeline.interval().as_secs_f64();
        let together = self.timeline.len().div_ceil(TIME_ROWS).max(1);
        let intervals: Vec<Latencies> = self.timeline.intervals().collect();
        for (number, some) in intervals.chunks(together).enumerate() {
            let mut sum = Latencies::new();
            some.iter().for_each(|one| sum.merge(one));
            let from = number as f64 * together as f64 * interval;
            let to = from + some.len() as f64 * interval;
            let mut cells = vec![format!("{} to {}", units::number(from), units::number(to))];
            cells.extend(latency_cells(&sum.summary()));
            table.row(cells);
        }
        table
    }
}

impl Knee {
    fn table(&self) -> Table {
        let mut table = latency_columns("load", &[&self.unit]);
        for series in &self.series {
            for (number, load) in series.loads.iter().enumerate() {
                let knee = if series.knee == Some(number) { " (knee)" } else { "" };
                let name = match &*series.name {
                    "" => format!("{}{knee}", load.label),
                    name => format!("{name}, {}{knee}", load.label),
                };
                let mut cells = vec![name, units::rounded(load.per_second)];
                cells.extend(latency_cells(&load.latency));
                table.row(cells);
            }
        }
        table
    }
}

impl Matrix {
    pub(crate) fn table(&self) -> Table {
        let columns = self.columns.iter().map(|name| (name.clone(), Align::Right));
        let mut table = Table::new([(self.corner.clone(), Align::Left)].into_iter().chain(columns));
        for row in &self.rows {
            let name = match &*row.group {
                "" => row.name.clone(),
                group => format!("{group}: {}", row.name),
            };
            let cells = row.cells.iter().map(|cell| match cell {
                None => Cell::new("-", Tone::Faint),
                Some(cell) => {
                    let mark = if cell.winner { " *" } else { "" };
                    let text = format!("{}{mark}", value_text(cell.value, self.cell_unit()));
                    Cell::new(text, if cell.winner { Tone::Strong } else { Tone::Plain })
                }
            });
            table.row([name.into()].into_iter().chain(cells));
        }
        table
    }

    /// Latencies are written with their unit; a rate's stands in the caption alone.
    pub(crate) fn cell_unit(&self) -> &str {
        if self.unit == "us" { "us" } else { "" }
    }
}

impl Bars {
    fn table(&self) -> Table {
        let mut table = Table::new([
            ("", Align::Left),
            ("value", Align::Right),
            ("lowest", Align::Right),
            ("highest", Align::Right),
        ]);
        for bar in &self.bars {
            let text = |value| value_text(value, &self.unit);
            let (low, high) = bar.range.map(|(low, high)| (text(low), text(high))).unwrap_or_default();
            table.row([bar.name.clone(), text(bar.value), low, high]);
        }
        table
    }
}

impl Lines {
    fn table(&self) -> Table {
        let columns = self.lines.iter().map(|line| (line.name.clone(), Align::Right));
        let mut table = Table::new([(self.x.clone(), Align::Left)].into_iter().chain(columns));
        let mut places: Vec<f64> =
            self.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let step = places.len().div_ceil(TIME_ROWS).max(1);
        for x in places.into_iter().step_by(step) {
            let values = self.lines.iter().map(|line| {
                let found = line.points.iter().find(|(at, y)| *at == x && y.is_finite());
                found.map_or_else(String::new, |(_, y)| value_text(*y, &self.unit))
            });
            table.row([units::number(x)].into_iter().chain(values));
        }
        table
    }
}
