//! Ways of making a write durable, against each other: how the file's space came to be, which calls are made, how many bytes.
//!
//! * *Rounds.* A round visits every cell once, in a new order each time (shuffled, seeded); a visit is a few writes. So whatever
//!   else the machine does meets all cells alike. The first writes of a visit, as many as are in flight at a time, meet what the
//!   cell before it left behind and do not count.
//! * *Figures.* Each visit gives one median. A cell's figure is the median of those, and its interval is taken from their
//!   order (`statistics.rs`), so that nothing is assumed about their distribution.
//! * *Space.* Unwritten and unallocated space is that only once: such files are walked through with strides of at least a block
//!   of the file system, and renewed outside the measurement (`places.rs`).
//! * *Refusals.* What the kernel or the file system does not do is a cell that says why.

mod measured;
mod places;
mod rounds;
mod show;
mod statistics;
mod tokio_writer;
mod ways;

use std::time::{Duration, Instant};

use measure::Result;
use measure::units::micros;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use wal::OsIo;

pub(crate) use measured::{Cell, Extents, Matrix, Picked};
pub(crate) use show::section;
pub(crate) use ways::Way;

use super::qualify::{Cost, Phase, Session, Settings};
use super::terminal::note;
use rounds::Rounds;

pub(crate) const PHASE: Phase = Phase {
    name: "matrix",
    about: "which way of making a write durable is fastest here",
    cost,
    run,
    table: show::table,
};

/// Bytes of the writes that are compared.
pub(crate) const SIZES: [usize; 6] = [512, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Time for the rounds, and the most of them: on a fast disk it is over sooner.
const TIME: Duration = Duration::from_secs(60);
const ROUNDS: f64 = 60.0;
/// An interval of 95 % needs six values.
const FEWEST_ROUNDS: usize = 6;

/// The order of visits does not depend on the day.
const SEED: u64 = 0x6d61_7472_6978;

fn rounds(settings: &Settings) -> usize {
    ((ROUNDS * settings.scale) as usize).max(FEWEST_ROUNDS)
}

fn cost(settings: &Settings) -> Cost {
    let written = Rounds::bytes(rounds(settings)) + places::BYTES;
    Cost { written, at_once: places::BYTES, time: settings.scaled(TIME) }
}

fn run(session: &mut Session) -> Result<()> {
    let settings = &session.settings;
    let scratch = session.dir.fresh("matrix")?;
    let probe = wal::probe(scratch.path(), &OsIo::new(), Instant::now);
    let generator = ChaCha8Rng::seed_from_u64(SEED);
    let mut all = Rounds::prepare(scratch.path(), generator)?;
    let begun = Instant::now();
    let time = settings.scaled(TIME);
    let most = rounds(settings);
    let mut done = 0;
    // Slow disks get fewer rounds, but never none.
    while done < most && (done == 0 || begun.elapsed() < time) {
        let visit_time = time / (FEWEST_ROUNDS * all.cells()) as u32;
        all.round(done, visit_time, &session.stop)?;
        done += 1;
        if done == 1 || done % 10 == 0 {
            note(format_args!("matrix: {done} of up to {most} rounds"));
        }
    }
    let mut matrix = Matrix { seed: SEED, rounds: done, cells: all.results(), picked: None };
    matrix.picked = Some(Picked::of(&probe, &matrix));
    if let Some(best) = matrix.find(Extents::Written, Way::DirectDsync, 4096).and_then(Cell::measured) {
        note(format_args!("matrix: 4 KiB, written space, direct-dsync: {}", micros(best.median_us)));
    }
    session.document.matrix = Some(matrix);
    Ok(())
}
