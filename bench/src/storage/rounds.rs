//! Rounds of a row: the device is probed between them, and a round that saw the device change is measured again.

use std::time::Instant;

use super::Bench;
use super::report::{FloorAround, Measure, Rounds, Row, Spec};
use crate::error::Result;
use measure::Probe;

/// What a row has measured so far.
pub(crate) struct Rows<'b, const N: usize> {
    bench: &'b mut Bench,
    specs: [Spec; N],
    values: [Vec<f64>; N],
    rounds: Rounds,
    before: Probe,
    last: Probe,
    begun: Instant,
}

/// Whether a round that saw the device change is measured again, at most once for each that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Yes,
    /// It takes too long; it counts, and is marked.
    No,
}

impl<'b, const N: usize> Rows<'b, N> {
    /// Probes the device, and begins.
    pub(crate) fn begin(bench: &'b mut Bench, specs: [Spec; N]) -> Result<Self> {
        let begun = Instant::now();
        let before = bench.probe()?;
        let values = std::array::from_fn(|_| Vec::new());
        Ok(Rows { bench, specs, values, rounds: Rounds::default(), before, last: before, begun })
    }

    /// Measures so many rounds; each gives a value for each spec, or NaN for what it could not measure.
    pub(crate) fn measure(
        &mut self,
        count: usize,
        repeat: Repeat,
        mut round: impl FnMut(&mut Bench) -> Result<[f64; N]>,
    ) -> Result<()> {
        let repeats = if repeat == Repeat::Yes { count } else { 0 };
        while self.rounds.kept < count {
            self.bench.stop.check()?;
            let values = round(self.bench)?;
            let after = self.bench.probe()?;
            let moved = after.moved(&self.last);
            self.last = after;
            if moved && self.rounds.repeated < repeats {
                self.rounds.repeated += 1;
                continue;
            }
            self.rounds.unsteady += usize::from(moved);
            self.rounds.kept += 1;
            for (all, value) in self.values.iter_mut().zip(values) {
                all.push(value);
            }
        }
        Ok(())
    }

    /// The row, judged.
    pub(crate) fn end(self, name: &str, title: &str, conditions: String) -> Row {
        let measures = self.specs.into_iter().zip(self.values);
        Row {
            name: name.to_owned(),
            title: title.to_owned(),
            conditions,
            floor: FloorAround {
                before: self.before,
                after: self.last,
                moved: self.last.moved(&self.before),
            },
            rounds: self.rounds,
            seconds: self.begun.elapsed().as_secs_f64(),
            skipped: None,
            measures: measures.map(|(spec, values)| Measure::new(spec, values)).collect(),
        }
    }
}

/// A row that was not measured, and why.
pub(crate) fn skipped(name: &str, title: &str, why: &str) -> Row {
    Row {
        name: name.to_owned(),
        title: title.to_owned(),
        conditions: String::new(),
        floor: FloorAround::default(),
        rounds: Rounds::default(),
        seconds: 0.0,
        skipped: Some(why.to_owned()),
        measures: Vec::new(),
    }
}
