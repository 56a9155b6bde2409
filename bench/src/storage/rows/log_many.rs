//! Many writers: whatever queued up during one durable write becomes durable with the next.

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use wal::{Entry, Metadata, OsIo, Start, Wal};

use super::log_one::RECORD;
use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::load::Values;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use crate::storage::writers::{Written, gathered, handed_over};
use measure::Scratch;

pub(super) const KIND: Kind = Kind {
    name: "wal-64",
    title: "WAL alone, 64 writers",
    minutes: 1.0,
    space: |sizes| Space {
        // Batches of at most 24 KiB, at most 20,000 a second.
        written: sizes.log_bytes()
            + (sizes.rounds as f64 * sizes.round.as_secs_f64() * 2.0 * 20_000.0 * 24_576.0) as u64,
        at_once: sizes.log_bytes(),
    },
    run,
};

const WRITERS: usize = 64;
/// After so many batches the log is told that what is older is not needed, as after a checkpoint.
const RELEASE_AFTER: u64 = 2_000;

const SPECS: [Spec; 5] = [
    Spec::at_least("records/s durable, batches gathered by the log's own thread", "1/s", 400_000.0),
    Spec::at_most("p99 of these", "us", 2_000.0),
    Spec::shown("records/s durable, writers on a thread of their own", "1/s"),
    Spec::shown("p50 of these", "us"),
    Spec::at_most("p99 of these", "us", 2_000.0),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (rounds, round) = (bench.sizes.rounds, bench.sizes.round);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(rounds, Repeat::Yes, |bench| {
        let own = with_log(bench, scratch.path(), |commit| gathered(WRITERS, round, &bench.stop, commit))?;
        let other =
            with_log(bench, scratch.path(), |commit| handed_over(WRITERS, round, &bench.stop, commit))?;
        Ok([
            own.per_second(),
            own.latencies.micros(0.99),
            other.per_second(),
            other.latencies.micros(0.5),
            other.latencies.micros(0.99),
        ])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("{WRITERS} requests outstanding, {RECORD} B a record, rounds of {round:?}"),
    ))
}

/// Runs writers on a new log. A batch is one entry, as the server makes it.
fn with_log(
    bench: &Bench,
    dir: &Path,
    writers: impl FnOnce(&mut dyn FnMut(usize) -> Result<()>) -> Result<Written>,
) -> Result<Written> {
    let dir = Scratch::create(dir.join("log"))?;
    let options = bench.sizes.wal(bench.method);
    let mut log = Wal::create(
        dir.path(),
        Arc::new(OsIo::new()),
        Metadata("graven-bench".into()),
        Start::default(),
        options,
    )?;
    let mut values = Values::new(2);
    let mut index = 0;
    let written = writers(&mut |count| {
        let mut data = BytesMut::with_capacity(count * (RECORD + 4));
        for _ in 0..count {
            data.put_u32_le(RECORD as u32);
            data.put_slice(values.next(RECORD));
        }
        index += 1;
        let entry = Entry { index, term: 1, kind: 0, data: data.freeze() };
        log.append(&wal::Batch { entries: &[entry], hard_state: None })?;
        if index % RELEASE_AFTER == 0 {
            log.release_before(index)?;
        }
        Ok(())
    })?;
    log.close()?;
    Ok(written)
}
