//! Random histories against the obvious implementation.
//!
//! `GRAVEN_CRASH_SCALE` multiplies the number of seeds, `GRAVEN_MVCC_SEED` is the first one.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod check;
#[path = "../../src/proof/cores.rs"]
mod cores;
mod model;
mod run;

use run::{Run, Shape};

const SEEDS: u64 = 20;
const OPERATIONS: u64 = 100_000;

#[test]
fn random_histories_agree_with_the_model() {
    let first = std::env::var("GRAVEN_MVCC_SEED").map_or(1, |text| text.parse().expect("a number"));
    let done = cores::on_all_cores(first..first + cores::scaled(SEEDS), |seed| {
        let shape = Shape {
            keys: [3, 40, 150][seed as usize % 3],
            hot: [0.0, 0.6, 0.2][seed as usize % 3],
            compact: [0.02, 0.0015, 0.1, 0.001][seed as usize % 4],
            checkpoint: 0.03,
            restart: 0.002,
            look: 0.004,
            large: [0.0, 0.0003, 0.001][seed as usize % 3],
            repack: [0.02, 0.0][seed as usize % 2],
        };
        let mut run = Run::new(seed, shape);
        run.operations(OPERATIONS).map_err(|error| format!("{shape:?}: {error}"))?;
        Ok(run.operations)
    })
    .unwrap();
    println!("{} seeds, {} operations", done.len(), done.iter().sum::<u64>());
    assert!(done.len() as u64 >= SEEDS && done.iter().all(|operations| *operations >= OPERATIONS));
}
