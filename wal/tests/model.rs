//! Random appends, truncations, releases, seals, reopenings and power cuts against a naive model, in memory and with every
//! method on real files.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{MemIo, Model, entry, metadata, size};
use wal::{Batch, Entry, Fill, HardState, Io, Method, Options, OsIo, Start, Upkeep, Wal};

enum Disk {
    Memory(MemIo),
    Real(OsIo),
}

impl Disk {
    fn io(&self) -> Arc<dyn Io> {
        match self {
            Self::Memory(io) => Arc::new(io.clone()),
            Self::Real(io) => Arc::new(io.clone()),
        }
    }
}

fn play(disk: &mut Disk, dir: &Path, options: &Options, seed: u64, steps: u64) {
    let what = format!("seed {seed}, {options:?}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let start = Start { index: rng.random_range(0..3) * 100, term: 1 };
    let mut wal = Wal::create(dir, disk.io(), metadata(), start, options.clone()).unwrap();
    let mut model = Model::default();
    let mut term = 1;
    let mut released_before = start.index + 1;
    let mut recorded_before = released_before;
    for step in 0..steps {
        let what = format!("{what}, step {step}");
        match rng.random_range(0..100) {
            0..70 => {
                let mut first = wal.last_index() + 1;
                if rng.random_range(0..10) == 0 {
                    first = rng.random_range(wal.first_index().max(released_before)..=first);
                    term += 1;
                }
                let entries: Vec<Entry> = (first..first + rng.random_range(0..5))
                    .map(|index| {
                        let largest = [30, 300, 1600][rng.random_range(0..3)];
                        entry(index, term, rng.random_range(0..largest))
                    })
                    .collect();
                let hard_state = rng.random_bool(0.3).then(|| HardState {
                    term,
                    vote: rng.random_range(0..4),
                    commit: step,
                });
                wal.append(&Batch { entries: &entries, hard_state }).unwrap();
                model.append(&entries, hard_state);
                if !entries.is_empty() || hard_state.is_some() {
                    recorded_before = released_before;
                }
            }
            70..78 => {
                let from = released_before.min(wal.last_index() + 1);
                released_before = rng.random_range(from..=wal.last_index() + 1);
                wal.release_before(released_before).unwrap();
                model.entries.retain(|entry| entry.index >= wal.first_index());
            }
            78..86 => {
                wal.seal().unwrap();
                recorded_before = released_before;
            }
            _ => {
                let first = wal.first_index();
                drop(wal);
                if let Disk::Memory(io) = disk
                    && rng.random_bool(0.5)
                {
                    *disk = Disk::Memory(io.power_cut(seed + step));
                }
                let (opened, recovered) = Wal::open(dir, disk.io(), options.clone())
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(recovered.start.index < first, "{what}");
                assert_eq!(recovered.torn_tail, None, "{what}");
                assert_eq!(recovered.metadata, metadata());
                let kept: Vec<_> =
                    recovered.entries.iter().filter(|entry| entry.index >= first).cloned().collect();
                assert_eq!(kept, model.entries, "{what}");
                assert_eq!(recovered.hard_state, model.hard_state, "{what}");
                assert_eq!(opened.last_index(), model.entries.last().map_or(first - 1, |entry| entry.index));
                wal = opened;
                // What had not been recorded is not released yet.
                released_before = recorded_before.max(wal.first_index());
                recorded_before = released_before;
                wal.release_before(released_before).unwrap();
                model.entries = recovered.entries;
                model.entries.retain(|entry| entry.index >= wal.first_index());
            }
        }
    }
}

#[test]
fn in_memory() {
    for seed in 0..size("GRAVEN_WAL_MODEL_SEEDS", 60) {
        let options = Options {
            segment_bytes: 8192 << (seed % 3),
            spares: (seed % 4) as usize,
            ..support::options(8192)
        };
        play(&mut Disk::Memory(MemIo::default()), support::dir(), &options, seed, 400);
    }
}

#[test]
fn on_real_files_with_every_method() {
    for (seed, method) in [Method::Auto, Method::Ring, Method::DirectDsync, Method::Dsync, Method::Fdatasync]
        .into_iter()
        .enumerate()
    {
        for (upkeep, fill) in [(Upkeep::Inline, Fill::Zeros { pace: 0 }), (Upkeep::Thread, Fill::Allocate)] {
            let dir = tempfile::tempdir().unwrap();
            let options = Options { segment_bytes: 16384, method, upkeep, fill, ..Options::default() };
            play(&mut Disk::Real(OsIo::new()), dir.path(), &options, seed as u64, 150);
        }
    }
}
