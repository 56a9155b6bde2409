//! Counting and paging a million keys, at the latest revision and some way back.

use std::hint::black_box;
use std::time::{Duration, Instant};

use engine::{End, KeyRange, View};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::read::{page, warm};
use super::{Kind, Space};
use crate::error::{Error, Result};
use crate::storage::Bench;
use crate::storage::drive::{Pace, drive, for_requests};
use crate::storage::fill::fill;
use crate::storage::load::{self, Values};
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};

pub(super) const KIND: Kind = Kind {
    name: "count",
    title: "count of a prefix of 1 M keys; page of 500 with exact count; the same 3,000 revisions back",
    minutes: 1.0,
    space: |sizes| Space {
        written: 3 * sizes.million * 400 + sizes.log_bytes(),
        at_once: 2 * sizes.million * 400 + sizes.log_bytes(),
    },
    run,
};

const VALUE: usize = 256;
const PAGE: usize = 500;
const BACK: i64 = 3_000;

const SPECS: [Spec; 4] = [
    Spec::at_most("count of the prefix", "us", 10.0),
    Spec::at_most("page of 500 with exact count", "us", 120.0),
    Spec::at_most("count, 3,000 revisions back", "us", 1_000.0),
    Spec::at_most("page of 500 with exact count, 3,000 revisions back", "us", 1_000.0),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (rounds, round, keys) = (bench.sizes.rounds, bench.sizes.round, bench.sizes.million);
    let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
    fill(&bench.stop, &mut member, 0, keys, VALUE)?;
    member.settle()?;
    let then = member.revision();
    change(bench, &mut member, keys)?;
    let view = member.reader().view();
    let back = view.revision() - BACK;
    assert!(back >= then && back < view.revision(), "the changes fill the revisions looked back at");
    warm(&view)?;
    let prefix = KeyRange::prefix(load::PREFIX);
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(rounds, Repeat::Yes, |bench| {
        let each = round / 4;
        let latest = time(bench, each, || counted(&view, &prefix, 0).map(drop))?;
        let page_latest = time(bench, each, || paged(&view, &prefix, 0, keys, &mut rng))?;
        let older = time(bench, each, || counted(&view, &prefix, back).map(drop))?;
        let page_older = time(bench, each, || paged(&view, &prefix, back, keys, &mut rng))?;
        Ok([latest, page_latest, older, page_older])
    })?;
    drop(view);
    member.close()?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "{keys} keys of 48 B, 256-B values; of the last {BACK} changes a tenth create and a tenth delete"
        ),
    ))
}

/// Puts on existing keys, and some that create and delete, as a cluster at work makes them.
fn change(bench: &Bench, member: &mut Member, keys: u64) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut values = Values::new(8);
    let (mut key, mut number) = (Vec::new(), 0);
    let next = |batch: &mut crate::storage::entry::Batch| {
        number += 1;
        match number % 10 {
            0 => {
                load::key(keys + number, &mut key);
                batch.put(&key, values.next(VALUE));
            }
            5 => {
                // Each at most once, so that every deletion finds its key and takes a revision.
                load::key(number / 10, &mut key);
                batch.delete(&key);
            }
            _ => {
                load::key(rng.random_range(keys / 2..keys), &mut key);
                batch.put(&key, values.next(VALUE));
            }
        }
    };
    drive(member, Pace::Callers(64), &bench.stop, next, for_requests(BACK as u64 + 1)).map(drop)
}

fn counted(view: &View, range: &KeyRange, at: i64) -> Result<u64> {
    Ok(black_box(view.count(range, at)?))
}

fn paged(view: &View, prefix: &KeyRange, at: i64, keys: u64, rng: &mut ChaCha8Rng) -> Result<()> {
    let (mut key, mut answer) = (Vec::new(), Vec::with_capacity(PAGE * 400));
    load::key(rng.random_range(0..keys), &mut key);
    let End::Before(end) = prefix.end.clone() else {
        return Err(Error::Wrong("the prefix has no end".to_owned()));
    };
    let rest = KeyRange { start: key.into(), end: End::Before(end) };
    page(view, &rest, at, PAGE, &mut answer)?;
    counted(view, &rest, at)?;
    black_box(&answer);
    Ok(())
}

/// Microseconds of one, the median.
fn time(bench: &Bench, duration: Duration, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut all = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < duration || all.is_empty() {
        bench.stop.check()?;
        let begun = Instant::now();
        operation()?;
        all.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}
