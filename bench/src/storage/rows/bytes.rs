//! What a put costs the device in bytes: log, checkpoints and what the file system adds.

use std::path::Path;
use std::time::Duration;

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::drive::{Pace, drive, for_duration};
use crate::storage::fill::{fill, random_puts};
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use measure::machine::own_written_bytes;

pub(super) const KIND: Kind = Kind {
    name: "bytes",
    title: "device bytes per put: 256 B values at 64 clients; 1 KiB values",
    minutes: 2.5,
    space: |sizes| {
        let puts = (sizes.long_rounds as f64 * PART_ROUNDS * sizes.round.as_secs_f64() * 300_000.0) as u64;
        Space {
            written: 3 * sizes.million * 1600 + puts * 3000 + sizes.log_bytes(),
            at_once: 2 * sizes.million * 1200 + puts * 1200 / sizes.long_rounds as u64 + sizes.log_bytes(),
        }
    },
    run,
};

const CALLERS: usize = 64;
/// A part is as long as so many rounds, so that it has several checkpoints.
const PART_ROUNDS: f64 = 3.0;

const SPECS: [Spec; 4] = [
    Spec::at_most("256 B values: bytes a put, counted at the device", "B", 700.0),
    Spec::at_most("256 B values: bytes a put, counted for the process", "B", 700.0),
    Spec::at_most("1 KiB values: times the value, counted at the device", "", 2.2),
    Spec::at_most("1 KiB values: times the value, counted for the process", "", 2.2),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (rounds, keys) = (bench.sizes.long_rounds, bench.sizes.million);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(rounds, Repeat::Yes, |bench| {
        let small = written(bench, scratch.path(), 256)?;
        let large = written(bench, scratch.path(), 1024)?;
        Ok([small.device, small.process, large.device / 1024.0, large.process / 1024.0])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "random puts on {keys} keys of 48 B, {CALLERS} callers, up to the checkpoint after the last put; the device counts \
             what others write, too"
        ),
    ))
}

/// Bytes written per put.
struct Written {
    device: f64,
    process: f64,
}

fn written(bench: &Bench, dir: &Path, value_bytes: usize) -> Result<Written> {
    let dir = measure::Scratch::create(dir.join("member"))?;
    let keys = bench.sizes.million;
    let mut member = Member::create(dir.path(), bench.sizes.member(bench.method))?;
    fill(&bench.stop, &mut member, 0, keys, value_bytes)?;
    member.settle()?;
    let count = || {
        let device = bench.device.as_ref().and_then(|device| device.written_bytes());
        [device, own_written_bytes()].map(|bytes| bytes.map_or(f64::NAN, |bytes| bytes as f64))
    };
    let part = Duration::from_secs_f64(bench.sizes.round.as_secs_f64() * PART_ROUNDS);
    let before = count();
    let next = random_puts(keys, value_bytes, 9);
    let driven = drive(&mut member, Pace::Callers(CALLERS), &bench.stop, next, for_duration(part))?;
    member.checkpoint()?;
    let after = count();
    member.close()?;
    let each = |place: usize| (after[place] - before[place]) / driven.requests as f64;
    Ok(Written { device: each(0), process: each(1) })
}
