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

    fn kinds(&self) -> &'static [&'static str] {
        if self.puts.is_some() { &KINDS } else { &KINDS[..PUT_ALONE] }
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
