//! How long opening a log takes.
//!
//! ```text
//! cargo run --release -p graven-wal --example open_speed -- DIR [ROUNDS]
//! ```
//!
//! Three logs of 300-byte entries: nearly empty; the newest segment half full; four full segments. In the last two, a frame holds 16
//! entries (`few`) or one. Reads are direct, so that the page cache does not matter but for the file system's own blocks.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wal::{Batch, Entry, Metadata, Method, NextSegment, Options, OsIo, Start, Wal};

const RECORD: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = Path::new(arguments.first().expect("a directory"));
    let rounds = arguments.get(1).map_or(5, |rounds| rounds.parse().unwrap());
    measure(dir, "nearly empty", 16, 16, rounds);
    measure(dir, "half a segment", 100_000, 16, rounds);
    measure(dir, "half a segment, frames of one", 60_000, 1, rounds);
    measure(dir, "four segments", 800_000, 16, rounds);
}

fn measure(dir: &Path, what: &str, entries: u64, batch: u64, rounds: usize) {
    let log = dir.join(format!("log-{}", std::process::id()));
    std::fs::create_dir(&log).unwrap();
    // The kind of write that is fastest to fill with; opening does not depend on it.
    let options = Options { method: Method::Dsync, ..Options::default() };
    let mut wal =
        Wal::create(&log, Arc::new(OsIo::new()), Metadata::default(), Start::default(), options.clone())
            .unwrap();
    let data = Bytes::from((0..RECORD).map(|at| at as u8 | 1).collect::<Vec<_>>());
    for first in (1..=entries).step_by(batch as usize) {
        let entries: Vec<Entry> = (first..first + batch)
            .map(|index| Entry { index, term: 1, kind: 0, data: data.clone() })
            .collect();
        wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
    }
    settle(&wal);
    wal.close().unwrap();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        let (wal, recovered) = Wal::open(&log, Arc::new(OsIo::new()), options.clone()).unwrap();
        times.push(started.elapsed());
        assert_eq!(recovered.entries.len() as u64, entries);
        settle(&wal);
    }
    std::fs::remove_dir_all(&log).unwrap();
    times.sort_unstable();
    let median = times[rounds / 2];
    println!(
        "{what:<30} {entries:>7} entries: best {:>6.1} ms, median {:>6.1} ms, {:>8.0} entries/s",
        times[0].as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3,
        entries as f64 / median.as_secs_f64()
    );
}

/// Waits until the next segment is ready, so that only opening is measured.
fn settle(wal: &Wal) {
    while wal.stats().next_segment == NextSegment::Preparing {
        std::thread::sleep(Duration::from_millis(20));
    }
}
