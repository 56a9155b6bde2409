//! Random histories against the obvious implementation.
//!
//! `GRAVEN_MVCC_SEEDS` and `GRAVEN_MVCC_STEPS` set the size, `GRAVEN_MVCC_SEED` the first seed.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod check;
mod model;
mod run;

use run::{Run, Shape};

fn size(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_histories_agree_with_the_model() {
    let first = size("GRAVEN_MVCC_SEED", 1);
    for seed in first..first + size("GRAVEN_MVCC_SEEDS", 6) {
        let shape = Shape {
            keys: [3, 40, 150][seed as usize % 3],
            hot: [0.0, 0.6, 0.2][seed as usize % 3],
            compact: [0.02, 0.0015, 0.1, 0.0][seed as usize % 4],
            checkpoint: 0.03,
            restart: 0.004,
            large: [0.0, 0.004, 0.03][seed as usize % 3],
            repack: [0.1, 0.0][seed as usize % 2],
        };
        let mut run = Run::new(seed, shape);
        run.steps(size("GRAVEN_MVCC_STEPS", 1200) as usize)
            .unwrap_or_else(|error| panic!("seed {seed}, {shape:?}: {error}"));
    }
}
