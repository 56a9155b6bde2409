//! One writer: every record waits for its own durable write, so the log can be no faster than the device. How close it
//! comes, against an own probe and, where it is installed, fio on the same layout of file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use measure::Latencies;
use wal::{Entry, Metadata, OsIo, Start, Wal};

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::load::Values;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use measure::Probe;
use measure::Scratch;
use measure::fio;

pub(super) const KIND: Kind = Kind {
    name: "wal-1",
    title: "WAL alone, 1 writer, 300-byte records",
    minutes: 1.0,
    space: |sizes| Space {
        // A block a record, of at most 20,000 a second; fio writes its file and as much over it.
        written: sizes.log_bytes()
            + (sizes.rounds as f64 * sizes.round.as_secs_f64() * 3.0 * 20_000.0 * 4096.0) as u64,
        at_once: sizes.log_bytes() + sizes.floor_bytes,
    },
    run,
};

/// Parts of a round.
const PIECES: u32 = 6;
/// Bytes of a record.
pub(super) const RECORD: usize = 300;

const SPECS: [Spec; 9] = [
    Spec::shown("records/s", "1/s"),
    Spec::shown("p50", "us"),
    Spec::shown("p99", "us"),
    Spec::at_least("of the own probe's rate", "", 0.9),
    Spec::at_most("p99, times the own probe's", "", 1.5),
    Spec::shown("own probe, 4 KiB durable writes/s", "1/s"),
    Spec::at_least("of fio's rate", "", 0.9),
    Spec::at_most("p99, times fio's", "", 1.5),
    Spec::shown("fio, 4 KiB durable writes/s", "1/s"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let has_fio = fio::is_installed();
    let (rounds, round) = (bench.sizes.rounds, bench.sizes.round);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(rounds, Repeat::Yes, |bench| {
        let mut log = Log::create(bench, scratch.path())?;
        let mut floor = Side::default();
        // In turn and in short pieces: what disturbs the machine disturbs both.
        for _ in 0..PIECES {
            floor.add(bench.floor.overwrite(round / PIECES, &bench.stop)?);
            log.append(bench, round / PIECES)?;
        }
        let (floor, log) = (floor.probe(), log.close()?);
        let fio = match has_fio {
            true => Some(fio::durable_writes(scratch.path(), bench.sizes.floor_bytes, round)?),
            false => None,
        };
        let fio = fio.unwrap_or(Probe { per_second: f64::NAN, p50_us: f64::NAN, p99_us: f64::NAN });
        Ok([
            log.per_second,
            log.p50_us,
            log.p99_us,
            log.per_second / floor.per_second,
            log.p99_us / floor.p99_us,
            floor.per_second,
            log.per_second / fio.per_second,
            log.p99_us / fio.p99_us,
            fio.per_second,
        ])
    })?;
    let beside = if has_fio { "fio" } else { "fio is not installed: its lines are not measured" };
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("{RECORD} B a record, rounds of {round:?}; beside it {beside}"),
    ))
}

/// What one of the two has done in its pieces of a round.
struct Side {
    latencies: Latencies,
    took: Duration,
}

impl Default for Side {
    fn default() -> Side {
        Side { latencies: Latencies::new(), took: Duration::ZERO }
    }
}

impl Side {
    fn add(&mut self, (latencies, took): (Latencies, Duration)) {
        self.latencies.merge(&latencies);
        self.took += took;
    }

    fn probe(&self) -> Probe {
        Probe::of(&self.latencies, self.took)
    }
}

struct Log {
    dir: Scratch,
    wal: Wal,
    values: Values,
    side: Side,
}

impl Log {
    fn create(bench: &Bench, dir: &Path) -> Result<Log> {
        let dir = Scratch::create(dir.join("log"))?;
        let options = bench.sizes.wal(bench.method);
        let metadata = Metadata("graven-bench".into());
        let wal = Wal::create(dir.path(), Arc::new(OsIo::new()), metadata, Start::default(), options)?;
        Ok(Log { dir, wal, values: Values::new(1), side: Side::default() })
    }

    fn append(&mut self, bench: &Bench, duration: Duration) -> Result<()> {
        let mut latencies = Latencies::new();
        let begun = Instant::now();
        let mut last = begun;
        while last - begun < duration {
            bench.stop.check()?;
            let data = Bytes::copy_from_slice(self.values.next(RECORD));
            let entry = Entry { index: self.wal.last_index() + 1, term: 1, kind: 0, data };
            self.wal.append(&wal::Batch { entries: &[entry], hard_state: None })?;
            let now = Instant::now();
            latencies.record(now - last);
            last = now;
        }
        self.side.add((latencies, last - begun));
        Ok(())
    }

    fn close(self) -> Result<Probe> {
        self.wal.close()?;
        drop(self.dir);
        Ok(self.side.probe())
    }
}
