//! Compaction while requests come in: does anybody notice?

use std::time::Duration;

use super::{Kind, Space};
use measure::Latencies;

use crate::error::Result;
use crate::storage::Bench;
use crate::storage::drive::{Pace, drive, for_duration};
use crate::storage::fill::{fill, random_puts};
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use crate::storage::upkeep::Counters;

pub(super) const KIND: Kind = Kind {
    name: "compaction",
    title: "compaction of 1 M revisions under 50 % load",
    minutes: 6.0,
    space: |sizes| {
        let puts = ((sizes.minute + 2 * sizes.round).as_secs_f64() * 150_000.0) as u64 + 5 * sizes.million;
        Space {
            written: sizes.long_rounds as u64 * (puts * 1024 + sizes.log_bytes()),
            at_once: puts * 700 + sizes.log_bytes(),
        }
    },
    run,
};

const VALUE: usize = 256;

const SPECS: [Spec; 12] = [
    Spec::at_most("p99 of puts while it runs, times that of the minute before", "", 1.2),
    Spec::shown("p99 of the minute before", "us"),
    Spec::shown("p99 while it runs", "us"),
    Spec::shown("longest of the minute before", "us"),
    Spec::shown("longest while it runs", "us"),
    Spec::shown("longest durable write of the minute before", "us"),
    Spec::shown("longest durable write while it runs", "us"),
    Spec::shown("longest turn of upkeep of the minute before", "us"),
    Spec::shown("longest turn of upkeep while it runs", "us"),
    Spec::shown("records dropped", ""),
    Spec::shown("it takes", "s"),
    Spec::shown("load, half of the peak", "1/s"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let (rounds, keys, minute) = (bench.sizes.long_rounds, bench.sizes.million, bench.sizes.minute);
    let mut rows = Rows::begin(bench, SPECS)?;
    let mut seed = 20;
    let mut slices = Counters::default();
    rows.measure(rounds, Repeat::No, |bench| {
        let scratch = bench.dir.fresh(kind.name)?;
        let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
        let (stop, round) = (&bench.stop, bench.sizes.round);
        // Every key twice: so many records are useless from here on.
        fill(stop, &mut member, 0, keys, VALUE)?;
        fill(stop, &mut member, 0, keys, VALUE)?;
        let compact_to = member.revision();
        member.settle()?;
        seed += 1;
        let mut next = random_puts(keys, VALUE, seed);
        let peak = drive(&mut member, Pace::Callers(64), stop, &mut next, for_duration(round))?;
        let load = Pace::PerSecond(peak.per_second() / 2.0);
        member.forget_longest();
        let before = drive(&mut member, load, stop, &mut next, for_duration(minute))?;
        let (dropped, calm) = (member.counters().dropped, member.longest());
        member.forget_longest();
        member.compact(compact_to)?;
        let during = drive(&mut member, load, stop, &mut next, |progress| !progress.member.is_compacting())?;
        let (ended, longest) = (member.counters(), member.longest());
        slices = ended;
        member.close()?;
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let p99 = |latencies: &Latencies| latencies.micros(0.99);
        Ok([
            p99(&during.latencies) / p99(&before.latencies),
            p99(&before.latencies),
            p99(&during.latencies),
            micros(before.latencies.longest()),
            micros(during.latencies.longest()),
            micros(calm.append),
            micros(longest.append),
            micros(calm.upkeep),
            micros(longest.upkeep),
            (ended.dropped - dropped) as f64,
            during.took.as_secs_f64(),
            peak.per_second() / 2.0,
        ])
    })?;
    let Counters { swap, compact, .. } = slices;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "{keys} keys of 48 B, 256-B values; requests come at random moments at half of the peak with 64 callers; \
             {minute:?} before, then the compaction of what was useless before that; in the last round the longest \
             slice of compaction {:?} of CPU ({:?} by the clock), of taking over a checkpoint {:?} ({:?})",
            compact.cpu, compact.time, swap.cpu, swap.time
        ),
    ))
}
