//! What the file keeps of overwritten values, when nobody asks for a defragmentation.

use std::time::{Duration, Instant};

use engine::AutoDefragment;

use super::{Kind, Space};
use crate::error::Result;
use crate::storage::Bench;
use crate::storage::drive::{Pace, drive, for_requests};
use crate::storage::fill::{fill, random_puts};
use crate::storage::member::Member;
use crate::storage::report::{Row, Spec};
use crate::storage::rounds::{Repeat, Rows};

pub(super) const KIND: Kind = Kind {
    name: "file-size",
    title: "file after 10 M overwrites of 100 k keys and a compaction, no manual defragmentation",
    minutes: 2.5,
    space: |sizes| Space {
        written: sizes.overwrites * 1200 + sizes.log_bytes(),
        at_once: sizes.overwrites * 450 + sizes.log_bytes(),
    },
    run,
};

const KEY: usize = 48;
const VALUE: usize = 256;
/// Between two turns of a member that nobody asks anything.
const NAP: Duration = Duration::from_millis(1);

/// How long the automatic mode may find nothing to do before this ends: longer than it waits before it does anything.
const PATIENCE: Duration = Duration::from_secs(15);

const SPECS: [Spec; 5] = [
    Spec::at_most("file, times live data", "", 1.3),
    Spec::shown("file, times bytes of keys and values", ""),
    Spec::shown("file", "MB"),
    Spec::shown("live data", "MB"),
    Spec::shown("file before the compaction", "MB"),
];

fn run(kind: &Kind, bench: &mut Bench) -> Result<Row> {
    let scratch = bench.dir.fresh(kind.name)?;
    let (overwrites, keys) = (bench.sizes.overwrites, bench.sizes.overwritten_keys);
    let mut rows = Rows::begin(bench, SPECS)?;
    rows.measure(1, Repeat::No, |bench| {
        let mut member = Member::create(scratch.path(), bench.sizes.member(bench.method))?;
        fill(&bench.stop, &mut member, 0, keys, VALUE)?;
        let next = random_puts(keys, VALUE, 41);
        drive(&mut member, Pace::Callers(256), &bench.stop, next, for_requests(overwrites))?;
        member.settle()?;
        let before = member.sizes();
        member.compact(member.revision())?;
        member.settle()?;
        keep_small(bench, &mut member)?;
        let after = member.sizes();
        member.close()?;
        let (file, live) = (after.file_bytes as f64, after.live_bytes as f64);
        let stored = (keys * (KEY + VALUE) as u64) as f64;
        Ok([file / live, file / stored, file / 1e6, live / 1e6, before.file_bytes as f64 / 1e6])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("{overwrites} random puts of 256 B on {keys} keys of 48 B, then one compaction at the newest revision \
             and what the automatic defragmentation makes of it"),
    ))
}

/// The automatic mode as the server has it, until there is nothing more that it would do.
fn keep_small(bench: &Bench, member: &mut Member) -> Result<()> {
    let mut idle_since = Instant::now();
    let mut auto = AutoDefragment::new(idle_since);
    let mut run = None;
    while idle_since.elapsed() < PATIENCE {
        bench.stop.check()?;
        let (now, sizes) = (Instant::now(), member.sizes());
        if member.is_defragmenting() {
            idle_since = now;
        } else if let Some(before) = run.take() {
            auto.ended(now, before, sizes);
        } else if auto.is_due(now, sizes, member.revision()) {
            run = Some(sizes);
            member.defragment();
        }
        if !member.upkeep()? {
            std::thread::sleep(NAP);
        }
    }
    Ok(())
}
