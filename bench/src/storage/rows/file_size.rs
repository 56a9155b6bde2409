//! What the file keeps of overwritten values, when nobody asks for a defragmentation.

use std::time::Duration;

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

const VALUE: usize = 256;
/// Between two turns of a member that nobody asks anything.
const NAP: Duration = Duration::from_millis(1);

const SPECS: [Spec; 4] = [
    Spec::at_most("file, times live data", "", 1.3),
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
        // The automatic mode has seen too large a file; that it waits for some seconds first is left out.
        member.defragment();
        while member.is_defragmenting() {
            bench.stop.check()?;
            if !member.upkeep()? {
                std::thread::sleep(NAP);
            }
        }
        let after = member.sizes();
        member.close()?;
        let (file, live) = (after.file_bytes as f64, after.live_bytes as f64);
        Ok([file / live, file / 1e6, live / 1e6, before.file_bytes as f64 / 1e6])
    })?;
    Ok(rows.end(
        kind.name,
        kind.title,
        format!("{overwrites} random puts of 256 B on {keys} keys of 48 B, then one compaction at the newest revision \
             and what the automatic defragmentation makes of it"),
    ))
}
