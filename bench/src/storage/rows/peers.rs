//! Other embedded stores on the load of an etcd.

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::peers::{self, BboltProgram, METRICS, NAMES, Plan};
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};
use crate::terminal::note;
use measure::Scratch;

pub(super) const KIND: Kind = Kind {
    name: "peers",
    title: "other embedded stores on an etcd-shaped load",
    minutes: 5.0,
    space: |sizes| Space {
        // Copy-on-write trees write many pages for a small commit.
        written: sizes.long_rounds as u64 * 5 * (sizes.peer_puts * 6_000 + sizes.log_bytes()),
        at_once: sizes.peer_puts * 4_000 + sizes.log_bytes(),
    },
    run,
};

const COUNT: usize = NAMES.len() * METRICS.len();

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let plan =
        Plan { puts: bench.sizes.peer_puts, keys: bench.sizes.peer_keys, reads: bench.sizes.peer_reads };
    if cfg!(not(feature = "peers")) {
        note(
            "peers: redb, LMDB and fjall are NOT MEASURED: this graven-bench was built without `--features peers`",
        );
    }
    let built = Scratch::create(scratch.path().join("build"))?;
    let bbolt = BboltProgram::build(built.path())?;
    if let Err(why) = &bbolt {
        note(format_args!("peers: bbolt is NOT MEASURED: {why}"));
    }
    let bbolt = bbolt.ok();
    let rounds = bench.sizes.long_rounds;
    let specs: [Spec; COUNT] = std::array::from_fn(|place| Spec {
        of: NAMES[place / METRICS.len()],
        ..METRICS[place % METRICS.len()]
    });
    let mut rows = Rows::begin(bench, specs)?;
    let mut number = 0;
    rows.measure(rounds, Repeat::No, |bench| {
        let mut values = [f64::NAN; COUNT];
        // Whoever went first goes last in the next round.
        for turn in 0..NAMES.len() {
            let place = (turn + number) % NAMES.len();
            let dir = Scratch::create(scratch.path().join("store"))?;
            if let Some(outcome) = peers::run(NAMES[place], bench, bbolt.as_ref(), &plan, dir.path())? {
                let own = place * METRICS.len()..(place + 1) * METRICS.len();
                values[own].copy_from_slice(&outcome.values());
            }
        }
        number += 1;
        Ok(values)
    })?;
    let Plan { puts, keys, reads } = plan;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!(
            "{puts} puts of 256 B on {keys} keys of 48 B, {reads} point reads; each store with its own durable commits; one \
             store after the other in each round"
        ),
    ))
}
