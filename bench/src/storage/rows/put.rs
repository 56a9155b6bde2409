//! Engine and log together: what a put costs without network and raft, checkpoints running.

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::drive::{Pace, drive, for_duration, wait_for_room};
use crate::storage::entry::Batch;
use crate::storage::fill::{fill, random_puts};
use crate::storage::member::Member;
use crate::storage::overlap::overlapped;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use crate::storage::writers::handed_over;
use measure::machine::own_major_faults;

pub(super) const KIND: Kind = Kind {
    name: "put",
    title: "engine + WAL put (no network), 64 callers, 256 B",
    minutes: 1.5,
    space: |sizes| {
        let data = sizes.million * 400;
        // At most 400,000 puts a second, 1 KiB each with log and checkpoints.
        let puts = (sizes.rounds as f64 * 3.0 * sizes.round.as_secs_f64() * 400_000.0) as u64;
        Space {
            written: 3 * data + puts * 1024 + sizes.log_bytes(),
            at_once: 2 * data + puts * 400 + sizes.log_bytes(),
        }
    },
    run,
};

const CALLERS: usize = 64;
const VALUE: usize = 256;

const SPECS: [Spec; 13] = [
    Spec::at_least("puts/s, batches gathered by the committing thread", "1/s", 250_000.0),
    Spec::at_most("CPU of a put on the committing thread", "us", 4.0),
    Spec::shown("CPU of a put, all threads", "us"),
    Spec::shown("p50", "us"),
    Spec::shown("p99", "us"),
    Spec::shown("p99.9", "us"),
    Spec::shown("page faults that read the disk, of 1,000 puts", ""),
    Spec::shown("puts/s, callers on a thread of their own", "1/s"),
    Spec::shown("p50 of these", "us"),
    Spec::shown("p99 of these", "us"),
    Spec::shown("puts/s, each batch of half of the callers applied while the other's is written", "1/s"),
    Spec::shown("p50 of these", "us"),
    Spec::shown("p99 of these", "us"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (rounds, round, keys) = (bench.sizes.rounds, bench.sizes.round, bench.sizes.million);
    let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
    fill(&bench.stop, &mut member, 0, keys, VALUE)?;
    member.settle()?;
    let mut rows = Rows::begin(bench, SPECS)?;
    let mut seed = 0;
    rows.measure(rounds, Repeat::Yes, |bench| {
        seed += 1;
        let next = random_puts(keys, VALUE, seed);
        let faults = own_major_faults();
        let own = drive(&mut member, Pace::Callers(CALLERS), &bench.stop, next, for_duration(round))?;
        let faults = match (own_major_faults(), faults) {
            (Some(after), Some(before)) => (after - before) as f64 * 1000.0 / own.requests as f64,
            _ => f64::NAN,
        };
        let mut next = random_puts(keys, VALUE, seed + 1000);
        let mut batch = Batch::default();
        let other = handed_over(CALLERS, round, &bench.stop, |count| {
            wait_for_room(&mut member, &bench.stop)?;
            (0..count).for_each(|_| next(&mut batch));
            member.commit(&mut batch)?;
            member.upkeep().map(drop)
        })?;
        let next = random_puts(keys, VALUE, seed + 2000);
        let halves = overlapped(member.parts(), CALLERS, round, &bench.stop, next)?;
        Ok([
            own.per_second(),
            own.cpu_micros_each(),
            own.cpu_of_all_micros_each(),
            own.latencies.micros(0.5),
            own.latencies.micros(0.99),
            own.latencies.micros(0.999),
            faults,
            other.per_second(),
            other.latencies.micros(0.5),
            other.latencies.micros(0.99),
            halves.per_second(),
            halves.latencies.micros(0.5),
            halves.latencies.micros(0.99),
        ])
    })?;
    let checkpoints = member.counters().checkpoints;
    member.close()?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("random puts on {keys} keys of 48 B, rounds of {round:?}, {checkpoints} checkpoints in all"),
    ))
}
