//! Opening after `kill -9`: the engine's file, and what the log has beyond the last checkpoint.

use super::{Kind, Space};
use crate::error::{Error, Result};
use crate::storage::Bench;
use crate::storage::child::{Worker, look};
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};

pub(super) const MILLION: Kind = Kind {
    name: "open-1m",
    title: "open after kill -9, 1 M keys",
    minutes: 0.5,
    space: |sizes| space(sizes.million, sizes.log_bytes()),
    run: |kind, bench| run(kind, bench, bench.sizes.million, specs(0.2)),
};

pub(super) const TEN_MILLION: Kind = Kind {
    name: "open-10m",
    title: "open after kill -9, 10 M keys",
    minutes: 2.5,
    space: |sizes| space(sizes.ten_million, sizes.log_bytes()),
    run: |kind, bench| run(kind, bench, bench.sizes.ten_million, specs(0.4)),
};

const fn specs(seconds: f64) -> [Spec; 6] {
    [
        Spec::at_most("engine open and first count of all keys", "s", seconds),
        Spec::at_least("log tail read and applied", "1/s", 500_000.0),
        Spec::shown("changes in the tail", ""),
        Spec::shown("of that, waiting for the log", "s"),
        Spec::shown("in all", "s"),
        Spec::shown("in all, at the first opening", "s"),
    ]
}

fn space(keys: u64, log_bytes: u64) -> Space {
    // Log and checkpoints of the fill, then some seconds of puts.
    Space { written: 3 * keys * 400 + (6 << 30) + log_bytes, at_once: 2 * keys * 400 + (2 << 30) + log_bytes }
}

fn run(kind: &Kind, bench: &mut Bench, keys: u64, specs: [Spec; 6]) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (rounds, work) = (bench.sizes.long_rounds, bench.sizes.round);
    let acknowledged = Worker::start(bench, scratch.path(), keys)?.kill_after(bench, work)?;
    // What checkpoints wrote last is not in the page cache: they go past it. The rounds find it there.
    let first = look(bench, scratch.path(), keys)?;
    let first = first.engine_seconds + first.tail_seconds;
    let mut rows = Rows::begin(bench, specs)?;
    // Opening writes nothing into the files, so that every round opens the same.
    rows.measure(rounds, Repeat::Yes, |bench| {
        let look = look(bench, scratch.path(), keys)?;
        if look.revision < acknowledged || look.keys != keys {
            return Err(Error::Wrong(format!(
                "acknowledged writes are lost: revision {} of {acknowledged}, {} of {keys} keys",
                look.revision, look.keys
            )));
        }
        Ok([
            look.engine_seconds,
            look.changes as f64 / look.tail_seconds,
            look.changes as f64,
            look.tail_seconds - look.applying_seconds,
            look.engine_seconds + look.tail_seconds,
            first,
        ])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "{keys} keys of 48 B, 256-B values; killed {work:?} into random puts of 64 callers; a new process each time, \
             with the files in the page cache but for the first; nothing acknowledged was lost"
        ),
    ))
}
