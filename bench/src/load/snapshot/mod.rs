//! `snapshot`: the whole database as `Maintenance.Snapshot` streams it: how fast, is it whole, and what do puts suffer meanwhile?
//!
//! ```text
//! warm-up      --alone                                        the end: streams under way are read to theirs
//! |------------|----------------|-----------------------------|
//! puts ....................................................... (open loop, threads and connections of their own)
//!                               snapshot snapshot snapshot sna|pshot
//! ```
//!
//! What arrives is hashed and let go: memory does not grow with the database. A snapshot counts only when it is as long as was said at
//! its begin, each message says how much is left, and the SHA-256 behind it is that of what came.

mod arguments;
mod beside;
mod check;
mod probe;
mod streams;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use measure::units;

use super::plan::End;

pub(crate) use arguments::SnapshotArguments;
pub(super) use beside::Beside;
pub(super) use probe::probe;
pub(super) use streams::Streams;

/// What is streamed, and beside what.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotLoad {
    pub(crate) streams: usize,
    /// A second.
    pub(crate) puts: Option<f64>,
    /// Puts only, for so long.
    pub(crate) alone: Duration,
    /// How many snapshots are under way.
    pub(super) running: Arc<AtomicUsize>,
}

impl SnapshotLoad {
    pub(super) fn new(arguments: &SnapshotArguments) -> SnapshotLoad {
        SnapshotLoad {
            streams: arguments.streams as usize,
            puts: arguments.puts,
            alone: if arguments.puts.is_some() { arguments.alone } else { Duration::ZERO },
            running: Arc::default(),
        }
    }

    /// In words.
    pub(super) fn details(&self) -> Vec<String> {
        let mut words =
            vec![if self.streams == 1 { "1 stream".to_owned() } else { format!("{} streams", self.streams) }];
        if let Some(puts) = self.puts {
            words.push(format!("beside {} puts/s", units::number(puts)));
            words.push(format!("which are alone for the first {:?}", self.alone));
        }
        words
    }

    /// Of the seconds that count, those of one of the parts; none where there is only one.
    pub(super) fn part_seconds(&self, part: SnapshotPart, seconds: f64, end: End) -> Option<f64> {
        self.puts?;
        let alone = self.alone.as_secs_f64().min(seconds);
        // Behind the end streams are read to theirs, but no put is due.
        let puts = match end {
            End::After(duration) => duration.as_secs_f64().min(seconds),
            End::Total(_) => seconds,
        };
        Some(match part {
            SnapshotPart::Streams => seconds - alone,
            SnapshotPart::Alone => alone,
            SnapshotPart::Beside => (puts - alone).max(0.0),
        })
    }

    fn kinds(&self) -> &'static [&'static str] {
        if self.puts.is_some() { &KINDS } else { &KINDS[..PUT_ALONE] }
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotPart {
    Streams,
    Alone,
    Beside,
}

impl SnapshotPart {
    /// Of a kind's name.
    pub(super) fn of(kind: &str) -> SnapshotPart {
        match KINDS.iter().position(|name| *name == kind) {
            Some(PUT_ALONE) => SnapshotPart::Alone,
            Some(PUT_BESIDE) => SnapshotPart::Beside,
            _ => SnapshotPart::Streams,
        }
    }
}

impl PartialEq for SnapshotLoad {
    fn eq(&self, other: &SnapshotLoad) -> bool {
        (self.streams, self.puts, self.alone) == (other.streams, other.puts, other.alone)
    }
}

static KINDS: [&str; 4] = ["snapshot", "first byte of one", "put alone", "put beside snapshots"];
const SNAPSHOT: usize = 0;
const FIRST_BYTE: usize = 1;
const PUT_ALONE: usize = 2;
const PUT_BESIDE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// 500 puts a second of which 1,480 were made in the three seconds alone are 493 a second, not 184.
    #[test]
    fn each_row_has_the_time_that_was_its_own() {
        let alone = Duration::from_secs(3);
        let load = SnapshotLoad { streams: 1, puts: Some(500.0), alone, running: Arc::default() };
        let end = End::After(Duration::from_secs(8));
        let seconds = |name| load.part_seconds(SnapshotPart::of(name), 8.5, end).unwrap();
        assert_eq!(KINDS.map(seconds), [5.5, 5.5, 3.0, 5.0]);
        let cut_short = |name| load.part_seconds(SnapshotPart::of(name), 2.0, end).unwrap();
        assert_eq!(KINDS.map(cut_short), [0.0, 0.0, 2.0, 0.0]);
        let only = SnapshotLoad { puts: None, ..load };
        assert_eq!(only.part_seconds(SnapshotPart::Streams, 8.5, end), None);
    }
}
