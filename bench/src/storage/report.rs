//! What was measured, as values, as JSON and as a table.

use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use measure::machine::Machine;
use measure::units::number;
use measure::{Probe, median};

/// Of the JSON file. A reader refuses what is newer.
pub(crate) const FORMAT: u32 = 1;

/// Everything one run has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// Of graven-bench.
    pub(crate) version: String,
    /// Sizes for a smoke test: the figures say nothing.
    pub(crate) quick: bool,
    /// Where it was measured.
    pub(crate) machine: Machine,
    /// In the order of the goals.
    pub(crate) rows: Vec<Row>,
}

/// One row of the goals: measures that were taken together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// As `--only` knows it.
    pub(crate) name: String,
    /// In words.
    pub(crate) title: String,
    /// Sizes and counts.
    pub(crate) conditions: String,
    /// The device before and after.
    pub(crate) floor: FloorAround,
    /// Rounds that count, rounds that were repeated because the floor had moved, and rounds that count although it had.
    pub(crate) rounds: Rounds,
    /// Seconds it took, preparations included.
    pub(crate) seconds: f64,
    /// Why it was not measured.
    pub(crate) skipped: Option<String>,
    /// What was measured.
    pub(crate) measures: Vec<Measure>,
}

/// The device's floor around a row.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FloorAround {
    pub(crate) before: Probe,
    pub(crate) after: Probe,
    /// They differ by more than 30 %.
    pub(crate) moved: bool,
}

/// How often a row was measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rounds {
    pub(crate) kept: usize,
    pub(crate) repeated: usize,
    pub(crate) unsteady: usize,
}

/// One figure of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// The store that was measured, where several are compared; else empty.
    pub(crate) of: String,
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) goal: Option<Goal>,
    /// One for each round that has it.
    pub(crate) values: Vec<f64>,
    /// Of the values; nothing when there are none.
    pub(crate) median: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// A bound to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// What came of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Reached,
    Missed,
    /// No goal: shown beside.
    Shown,
    /// There is no value.
    NotMeasured,
}

/// What a row will measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// See [`Measure::of`].
    pub(crate) of: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Option<Goal>,
}

impl Spec {
    /// A figure without a goal.
    pub(crate) const fn shown(what: &'static str, unit: &'static str) -> Spec {
        Spec { of: "", what, unit, goal: None }
    }

    pub(crate) const fn at_least(what: &'static str, unit: &'static str, bound: f64) -> Spec {
        Spec { of: "", what, unit, goal: Some(Goal::AtLeast(bound)) }
    }

    pub(crate) const fn at_most(what: &'static str, unit: &'static str, bound: f64) -> Spec {
        Spec { of: "", what, unit, goal: Some(Goal::AtMost(bound)) }
    }
}

impl Measure {
    /// Judges the median. Values that are not numbers were not measured.
    pub(crate) fn new(spec: Spec, values: Vec<f64>) -> Measure {
        let Spec { of, what, unit, goal } = spec;
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let median = median(&values);
        let verdict = match (goal, median) {
            (_, None) => Verdict::NotMeasured,
            (None, _) => Verdict::Shown,
            (Some(Goal::AtLeast(bound)), Some(value)) if value >= bound => Verdict::Reached,
            (Some(Goal::AtMost(bound)), Some(value)) if value <= bound => Verdict::Reached,
            _ => Verdict::Missed,
        };
        Measure {
            of: of.to_owned(),
            what: what.to_owned(),
            unit: unit.to_owned(),
            goal,
            median,
            min: values.iter().copied().reduce(f64::min),
            max: values.iter().copied().reduce(f64::max),
            values,
            verdict,
        }
    }
}

impl Report {
    /// Reads what an earlier run has written.
    pub(crate) fn read(path: &Path) -> Result<Report> {
        let refused = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
        let report: Report = serde_json::from_str(&text)
            .map_err(|error| refused(format!("is not a report of this graven-bench: {error}")))?;
        if report.format > FORMAT {
            return Err(refused(format!("has format {}, this graven-bench reads {FORMAT}", report.format)));
        }
        Ok(report)
    }

    /// Replaces the file in one step, so that a run that ends early leaves the rows before.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Wrong(format!("the report is no JSON: {error}")))?;
        text.push('\n');
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".part");
        let temporary = Path::new(&temporary);
        fs::write(temporary, text).map_err(Error::io("write", temporary))?;
        fs::rename(temporary, path).map_err(Error::io("rename", temporary))
    }

    /// For a terminal; legible as Markdown too.
    pub(crate) fn table(&self) -> String {
        let mut table = markdown();
        table.set_header(["row", "measure", "goal", "median [min..max]", "floor before/after", "verdict"]);
        let mut compared = String::new();
        for row in &self.rows {
            if let Some(why) = &row.skipped {
                table.add_row([&*row.name, &*row.title, "", "", "", &*format!("SKIPPED: {why}")]);
            }
            let floor = row.floor_text();
            for (number, measure) in row.measures.iter().filter(|measure| measure.of.is_empty()).enumerate() {
                let (name, floor) = if number == 0 { (&*row.name, &*floor) } else { ("", "") };
                let goal = measure.goal.map_or_else(String::new, |goal| goal.to_string());
                table.add_row([
                    name,
                    &measure.label(),
                    &goal,
                    &measure.value_text(),
                    floor,
                    measure.verdict.text(),
                ]);
            }
            if row.measures.iter().any(|measure| !measure.of.is_empty()) {
                compared.push_str(&format!(
                    "\n\n{}: {} (floor {floor})\n\n{}",
                    row.name,
                    row.title,
                    row.comparison()
                ));
            }
        }
        for column in [2, 3] {
            align_right(&mut table, column);
        }
        if table.row_count() == 0 {
            return compared.trim_start().to_owned();
        }
        format!("{table}{compared}")
    }
}

impl Row {
    /// The floor around it, and in how many of its rounds it changed all the same.
    fn floor_text(&self) -> String {
        match self.rounds.unsteady {
            0 => self.floor.to_string(),
            unsteady => format!("{}, {unsteady} of {} rounds unsteady", self.floor, self.rounds.kept),
        }
    }

    /// A column for each store that was compared.
    fn comparison(&self) -> Table {
        let mut stores: Vec<&str> = Vec::new();
        let mut figures: Vec<String> = Vec::new();
        for measure in &self.measures {
            if !stores.contains(&&*measure.of) {
                stores.push(&measure.of);
            }
            if !figures.contains(&measure.label()) {
                figures.push(measure.label());
            }
        }
        let mut table = markdown();
        table.set_header(std::iter::once("median [min..max]").chain(stores.iter().copied()));
        for figure in figures {
            let of = |store: &&str| {
                let found = self.measures.iter().find(|one| one.of == *store && one.label() == figure);
                found.map_or_else(String::new, |measure| match measure.verdict {
                    Verdict::NotMeasured => measure.verdict.text().to_owned(),
                    _ => measure.value_text(),
                })
            };
            table.add_row(std::iter::once(figure.clone()).chain(stores.iter().map(of)));
        }
        for column in 1..=stores.len() {
            align_right(&mut table, column);
        }
        table
    }
}

impl Measure {
    fn label(&self) -> String {
        match &*self.unit {
            "" => self.what.clone(),
            unit => format!("{} ({unit})", self.what),
        }
    }

    fn value_text(&self) -> String {
        match (self.median, self.min, self.max) {
            (Some(median), Some(min), Some(max)) if self.values.len() > 1 => {
                format!("{} [{}..{}]", number(median), number(min), number(max))
            }
            (Some(median), ..) => number(median),
            _ => String::new(),
        }
    }
}

fn markdown() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Reached => "reached",
            Verdict::Missed => "MISSED",
            Verdict::Shown => "",
            Verdict::NotMeasured => "not measured",
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goal::AtLeast(bound) => write!(f, ">= {}", number(*bound)),
            Goal::AtMost(bound) => write!(f, "<= {}", number(*bound)),
        }
    }
}

impl std::fmt::Display for FloorAround {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.moved { ", MOVED" } else { "" };
        write!(f, "{:.0}/{:.0} us{mark}", self.before.p50_us, self.after.p50_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_judged() {
        let judged = |goal, values: &[f64]| {
            let spec = Spec { goal: Some(goal), ..Spec::shown("x", "") };
            Measure::new(spec, values.to_vec()).verdict
        };
        assert_eq!(judged(Goal::AtMost(2.0), &[1.0, 2.0, 9.0]), Verdict::Reached);
        assert_eq!(judged(Goal::AtMost(2.0), &[1.0, 2.1, 9.0]), Verdict::Missed);
        assert_eq!(judged(Goal::AtLeast(2.0), &[1.0, 3.0]), Verdict::Reached);
        assert_eq!(judged(Goal::AtLeast(2.0), &[1.0, 2.9]), Verdict::Missed);
        assert_eq!(judged(Goal::AtLeast(2.0), &[f64::NAN]), Verdict::NotMeasured);
    }
}
