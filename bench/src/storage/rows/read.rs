//! Point reads and long ranges from a checkpointed store, in memory or in the page cache. What is found is copied as an
//! answer would be.

use std::hint::black_box;
use std::time::{Duration, Instant};

use engine::{End, KeyRange, View};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Kind, Space};
use crate::error::{Error, Result};
use crate::storage::Bench;
use crate::storage::fill::fill;
use crate::storage::load;
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};

pub(super) const KIND: Kind = Kind {
    name: "read",
    title: "point get at latest; range of 10,000 x 256 B",
    minutes: 1.0,
    space: |sizes| Space {
        written: 3 * sizes.million * 400 + sizes.log_bytes(),
        at_once: 2 * sizes.million * 400 + sizes.log_bytes(),
    },
    run,
};

const VALUE: usize = 256;
const RANGE: usize = 10_000;
/// Reads between two looks at the clock.
const GETS: usize = 1_000;

const SPECS: [Spec; 2] = [
    Spec::at_most("point get with its record", "us", 2.0),
    Spec::at_least("keys/s of a range", "1/s", 5_000_000.0),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (rounds, round, keys) = (bench.sizes.rounds, bench.sizes.round, bench.sizes.million);
    let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
    fill(&bench.stop, &mut member, 0, keys, VALUE)?;
    member.settle()?;
    let view = member.reader().view();
    warm(&view)?;
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(rounds, Repeat::Yes, |bench| {
        let get = gets(bench, &view, keys, round, &mut rng)?;
        let range = ranges(bench, &view, keys, round, &mut rng)?;
        Ok([get, range])
    })?;
    drop(view);
    member.close()?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("{keys} keys of 48 B, random keys and starts, one thread, rounds of {round:?}"),
    ))
}

/// Reads everything once: checkpoints go past the page cache.
pub(super) fn warm(view: &View) -> Result<()> {
    let mut items = view.range(&KeyRange::prefix(load::PREFIX), 0);
    while let Some(item) = items.try_next()? {
        black_box(item.record()?);
    }
    Ok(())
}

/// Microseconds of one.
fn gets(bench: &Bench, view: &View, keys: u64, duration: Duration, rng: &mut ChaCha8Rng) -> Result<f64> {
    let mut key = Vec::new();
    let mut answer = Vec::new();
    let (mut count, mut took) = (0, Duration::ZERO);
    while took < duration {
        bench.stop.check()?;
        let wanted: Vec<Vec<u8>> = (0..GETS)
            .map(|_| {
                load::key(rng.random_range(0..keys), &mut key);
                key.clone()
            })
            .collect();
        let begun = Instant::now();
        for key in &wanted {
            let item =
                view.get(key, 0)?.ok_or_else(|| Error::Wrong("a key that was put is gone".to_owned()))?;
            answer.clear();
            answer.extend_from_slice(item.record()?);
            black_box(&answer);
        }
        took += begun.elapsed();
        count += GETS;
    }
    Ok(took.as_secs_f64() * 1e6 / count as f64)
}

/// Keys a second.
fn ranges(bench: &Bench, view: &View, keys: u64, duration: Duration, rng: &mut ChaCha8Rng) -> Result<f64> {
    let mut key = Vec::new();
    let mut answer = Vec::new();
    let (mut count, mut took) = (0, Duration::ZERO);
    while took < duration {
        bench.stop.check()?;
        load::key(rng.random_range(0..keys), &mut key);
        let range = KeyRange { start: key.clone().into(), end: End::Unbounded };
        let begun = Instant::now();
        count += page(view, &range, 0, RANGE, &mut answer)?;
        took += begun.elapsed();
        black_box(&answer);
    }
    Ok(count as f64 / took.as_secs_f64())
}

/// Copies the records of the first `limit` keys of a range; how many there were.
pub(super) fn page(
    view: &View,
    range: &KeyRange,
    at: i64,
    limit: usize,
    answer: &mut Vec<u8>,
) -> Result<usize> {
    answer.clear();
    let mut items = view.range(range, at);
    let mut count = 0;
    while count < limit
        && let Some(item) = items.try_next()?
    {
        answer.extend_from_slice(item.record()?);
        count += 1;
    }
    Ok(count)
}
