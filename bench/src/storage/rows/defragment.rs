//! Defragmentation while requests come in: does anybody notice, and what does it take of the disk?

use std::time::Duration;

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::drive::{Pace, drive, for_duration, for_requests};
use crate::storage::entry::Batch;
use crate::storage::fill::{fill, random_puts};
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use crate::storage::{Bench, load};

pub(super) const KIND: Kind = Kind {
    name: "defragment",
    title: "defragment 4 GB with 75 % free under 50 % load",
    minutes: 5.0,
    space: |sizes| {
        let puts = (sizes.minute * 2 + sizes.round).as_secs_f64() * 150_000.0;
        Space {
            written: sizes.defragment_bytes * 7 / 2 + puts as u64 * 1024 + sizes.log_bytes(),
            at_once: sizes.defragment_bytes * 5 / 4 + puts as u64 * 400 + sizes.log_bytes(),
        }
    },
    run,
};

/// Of the values that fill the file, and of those that are put meanwhile.
const LARGE_VALUE: usize = 4096;
const VALUE: usize = 256;
/// Of so many keys one is kept.
const KEPT: u64 = 4;

const SPECS: [Spec; 13] = [
    Spec::at_most("longest request while it runs, more than the p99.9 of the minute before", "us", 5_000.0),
    Spec::at_most("largest the file was meanwhile, times before", "", 2.0),
    Spec::shown("p99.9 of the minute before", "us"),
    Spec::shown("p99.9 while it runs", "us"),
    Spec::shown("longest while it runs", "us"),
    Spec::shown("it takes", "s"),
    Spec::shown("file before", "MB"),
    Spec::shown("file after", "MB"),
    Spec::shown("file after, times live data", ""),
    Spec::shown("longest durable write meanwhile", "us"),
    Spec::shown("longest turn of upkeep meanwhile", "us"),
    Spec::shown("longest slice meanwhile, CPU", "us"),
    Spec::shown("longest slice meanwhile, by the clock", "us"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let keys = (bench.sizes.defragment_bytes / LARGE_VALUE as u64).max(KEPT);
    let minute = bench.sizes.minute;
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(1, Repeat::No, |bench| {
        let stop = &bench.stop;
        let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
        fill(stop, &mut member, 0, keys, LARGE_VALUE)?;
        delete_most(bench, &mut member, keys)?;
        member.compact(member.revision())?;
        member.settle()?;

        let mut next = random_puts(keys / KEPT, VALUE, 61);
        let peak = drive(&mut member, Pace::Callers(64), stop, &mut next, for_duration(bench.sizes.round))?;
        let load = Pace::PerSecond(peak.per_second() / 2.0);
        let before = drive(&mut member, load, stop, &mut next, for_duration(minute))?;
        let at_first = member.sizes();
        member.forget_longest();
        member.defragment();
        let mut largest = at_first.file_bytes;
        let during = drive(&mut member, load, stop, &mut next, |progress| {
            largest = largest.max(progress.member.sizes().file_bytes);
            !progress.member.is_defragmenting()
        })?;
        let at_last = member.sizes();
        let (counters, longest_parts) = (member.counters(), member.longest());
        member.close()?;
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let p999 = before.latencies.micros(0.999);
        let longest = during.latencies.longest().as_nanos() as f64 / 1e3;
        Ok([
            longest - p999,
            largest as f64 / at_first.file_bytes as f64,
            p999,
            during.latencies.micros(0.999),
            longest,
            during.took.as_secs_f64(),
            at_first.file_bytes as f64 / 1e6,
            at_last.file_bytes as f64 / 1e6,
            at_last.file_bytes as f64 / at_last.live_bytes as f64,
            micros(longest_parts.append),
            micros(longest_parts.upkeep),
            micros(counters.defragment.cpu.max(counters.swap.cpu)),
            micros(counters.defragment.time.max(counters.swap.time)),
        ])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "{keys} values of 4 KiB, of which all but every fourth are deleted and compacted; then 256-B puts at random moments \
             at half of the peak, {minute:?} before"
        ),
    ))
}

fn delete_most(bench: &Bench, member: &mut Member, keys: u64) -> Result<()> {
    let deleted = keys - keys.div_ceil(KEPT);
    let (mut number, mut key) = (0, Vec::new());
    let next = |batch: &mut Batch| {
        number += 1;
        if number % KEPT == 0 {
            number += 1;
        }
        // Beyond the last one to delete there is nothing to find: the last batch is a whole one.
        load::key(number, &mut key);
        batch.delete(&key);
    };
    drive(member, Pace::Callers(256), &bench.stop, next, for_requests(deleted)).map(drop)
}
