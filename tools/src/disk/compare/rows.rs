//! What is put side by side.

use measure::Tone;
use measure::units::{micros, number, rounded};

use super::Disk;
use crate::disk::document::{Document, Ending};
use crate::disk::predict::CLIENTS;
use crate::disk::verdict::Answer;

/// Runs of one disk differ by less.
const NOISE: f64 = 1.1;
/// Writers whose latency and rate are shown.
const WRITERS: [usize; 3] = [1, 64, 1024];

/// One measure of every disk.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) values: Vec<Value>,
    /// How a figure is written.
    pub(super) text: fn(f64) -> String,
    better: Better,
}

/// Of one disk.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Its run did not measure it.
    None,
    /// Not to be compared by size.
    Text(String, Tone),
    Figure(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Higher,
    Lower,
}

impl Row {
    /// The disk that is better than every other by more than noise.
    pub(super) fn best(&self) -> Option<usize> {
        let figures = || {
            self.values.iter().enumerate().filter_map(|(number, value)| match value {
                Value::Figure(figure) => Some((number, *figure)),
                Value::None | Value::Text(..) => None,
            })
        };
        let ahead = |one: f64, other: f64| match self.better {
            Better::Higher => one > other * NOISE,
            Better::Lower => one * NOISE < other,
        };
        figures().count().gt(&1).then_some(())?;
        let wins =
            |number: usize, figure| figures().all(|(other, than)| other == number || ahead(figure, than));
        figures().find(|(number, figure)| wins(*number, *figure)).map(|(number, _)| number)
    }
}

/// From what the disk is to what it is worth.
pub(super) fn all(disks: &[Disk]) -> Vec<Row> {
    let of = |name: &str, value: &dyn Fn(&Document) -> Option<Value>| Row {
        name: name.to_owned(),
        values: disks.iter().map(|disk| value(&disk.document).unwrap_or(Value::None)).collect(),
        text: micros,
        better: Better::Lower,
    };
    let rate = |row: Row| Row { text: rounded, better: Better::Higher, ..row };

    let mut rows = vec![of("verdict", &verdict)];
    if disks.iter().any(|disk| disk.document.ending != Ending::Complete) {
        rows.push(of("run", &|document| {
            Some(match document.ending {
                Ending::Complete => Value::Text("complete".to_owned(), Tone::Plain),
                Ending::Interrupted => Value::Text("interrupted".to_owned(), Tone::Warn),
                Ending::Unfinished => Value::Text("failed or killed".to_owned(), Tone::Warn),
            })
        }));
    }
    for fact in ["device", "file_system"] {
        rows.push(of(&fact.replace('_', " "), &|document| {
            let found = document.environment.as_ref()?.facts.iter().find(|one| one.name == fact)?;
            Some(Value::Text(found.value.clone(), Tone::Plain))
        }));
    }
    rows.push(of("durable writes by", &|document| {
        Some(Value::Text(document.commit.as_ref()?.method.clone(), Tone::Plain))
    }));
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        rows.push(of(&format!("{name} of a sync, 1 writer"), &|document| {
            Some(Value::Figure(closed(document, 1)?.sync.micros(share)))
        }));
    }
    for writers in WRITERS {
        let name = format!("records/s, {}", counted(writers, "writer"));
        rows.push(rate(of(&name, &|document| Some(Value::Figure(closed(document, writers)?.achieved)))));
    }
    rows.push(rate(of("records/s at the knee", &|document| {
        Some(Value::Figure(document.commit.as_ref()?.knee?.per_second))
    })));
    for clients in CLIENTS {
        let name = format!("predicted puts/s, {}", counted(clients, "client"));
        rows.push(rate(of(&name, &|document| {
            Some(Value::Figure(document.prediction.as_ref()?.at(clients)?.per_second))
        })));
    }
    rows.push(of("p99 beside the worst neighbor", &|document| {
        let beside = document.disturbance.as_ref()?.beside.iter();
        beside.map(|slices| slices.latency.micros(0.99)).max_by(f64::total_cmp).map(Value::Figure)
    }));
    // Sentences: they stand below the table.
    rows.push(of("found over time", &|document| {
        Some(match document.over_time.as_ref()?.findings.len() {
            0 => Value::Text("nothing".to_owned(), Tone::Plain),
            1 => Value::Text("1 thing".to_owned(), Tone::Warn),
            some => Value::Text(format!("{some} things"), Tone::Warn),
        })
    }));
    rows
}

/// `1 client`, `1,000 clients`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", number(count as f64), if count == 1 { "" } else { "s" })
}

/// The closed loop of so many writers.
pub(super) fn closed(document: &Document, writers: usize) -> Option<&crate::disk::commit::Point> {
    document.commit.as_ref()?.closed.iter().find(|point| point.writers == Some(writers))
}

fn verdict(document: &Document) -> Option<Value> {
    let outcome = document.verdict.as_ref()?.outcome;
    let tone = match outcome {
        Answer::Fit => Tone::Good,
        Answer::Unfit => Tone::Bad,
        Answer::CouldNotTell => Tone::Warn,
    };
    Some(Value::Text(outcome.text().to_owned(), tone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better, values: &[f64]) -> Row {
        let values = values.iter().map(|value| Value::Figure(*value)).collect();
        Row { name: String::new(), values, text: micros, better }
    }

    #[test]
    fn the_best_is_ahead_of_all_by_more_than_noise() {
        assert_eq!(row(Better::Higher, &[100.0, 130.0, 90.0]).best(), Some(1));
        assert_eq!(row(Better::Lower, &[100.0, 130.0, 80.0]).best(), Some(2));
        assert_eq!(row(Better::Higher, &[100.0, 105.0]).best(), None, "that is noise");
        assert_eq!(row(Better::Higher, &[100.0]).best(), None, "nothing to compare with");
        let mut absent = row(Better::Lower, &[100.0, 10.0]);
        absent.values[1] = Value::None;
        assert_eq!(absent.best(), None);
    }
}
