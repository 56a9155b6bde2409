//! Thirty times the data: do puts get slower, does memory grow?

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::drive::{Driven, Pace, drive, for_duration};
use crate::storage::fill::{fill, random_puts};
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use measure::machine::status_bytes;

pub(super) const KIND: Kind = Kind {
    name: "large",
    title: "30 GB of 4 KiB values: put p99 against that at 1 GB; anonymous memory",
    minutes: 11.0,
    space: |sizes| {
        // Two halves of a minute at half of 80,000 puts a second; nothing is compacted.
        let puts = (sizes.minute + sizes.round * 2).as_secs_f64() * 40_000.0 * 4300.0;
        Space {
            written: sizes.large_set_bytes * 5 / 2 + puts as u64 * 2 + sizes.log_bytes(),
            at_once: sizes.large_set_bytes * 11 / 10 + puts as u64 + sizes.log_bytes(),
        }
    },
    run,
};

const VALUE: usize = 4096;
/// What may come and go with the load, in MB.
const MEMORY_NOISE_MB: f64 = 32.0;

const SPECS: [Spec; 7] = [
    Spec::at_most("put p99, times that of the small set", "", 1.5),
    Spec::at_most("anonymous memory more than with the small set", "MB", MEMORY_NOISE_MB),
    Spec::shown("p99, small set", "us"),
    Spec::shown("p99, large set", "us"),
    Spec::shown("anonymous memory, small set", "MB"),
    Spec::shown("anonymous memory, large set", "MB"),
    Spec::shown("load, half of the small set's peak", "1/s"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let small = (bench.sizes.small_set_bytes / VALUE as u64).max(1);
    let large = (bench.sizes.large_set_bytes / VALUE as u64).max(small + 1);
    let each = bench.sizes.minute / 2;
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(1, Repeat::No, |bench| {
        let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
        fill(&bench.stop, &mut member, 0, small, VALUE)?;
        let next = random_puts(small, VALUE, 50);
        let peak = drive(&mut member, Pace::Callers(64), &bench.stop, next, for_duration(bench.sizes.round))?;
        let load = peak.per_second() / 2.0;
        let (at_small, small_memory) = part(bench, &mut member, small, load)?;
        fill(&bench.stop, &mut member, small, large - small, VALUE)?;
        let (at_large, large_memory) = part(bench, &mut member, large, load)?;
        member.close()?;
        let p99 = |driven: &Driven| driven.latencies.micros(0.99);
        Ok([
            p99(&at_large) / p99(&at_small),
            large_memory - small_memory,
            p99(&at_small),
            p99(&at_large),
            small_memory,
            large_memory,
            load,
        ])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "{small} and {large} values of 4 KiB, random puts at random moments for {each:?} each; memory of the \
             process after a checkpoint"
        ),
    ))
}

/// The load on so many keys, and megabytes of anonymous memory once it has settled.
fn part(bench: &Bench, member: &mut Member, keys: u64, load: f64) -> Result<(Driven, f64)> {
    member.settle()?;
    let next = random_puts(keys, VALUE, 51);
    let driven =
        drive(member, Pace::PerSecond(load), &bench.stop, next, for_duration(bench.sizes.minute / 2))?;
    member.settle()?;
    let memory = status_bytes("self", "RssAnon").map_or(f64::NAN, |bytes| bytes as f64 / 1e6);
    Ok((driven, memory))
}
