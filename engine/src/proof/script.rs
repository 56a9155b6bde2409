//! Scripts that drive a store: entries of a log, batches of them, and everything that goes on beside. The same entries
//! always have the same effect, so a store that lost its newest state gets it back by applying them again.
//!
//! Used by this crate's own tests and, by path, by those of the whole store.
#![allow(dead_code, reason = "the engine's own tests use one part, those of the whole store another")]

use std::sync::Arc;

use engine::{Applied, CompactError, Defragment, Error, KeyRange, Options, Store, View};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::{Disk, Note};

/// Keys a script uses.
const KEYS: u64 = 40;

/// How long the values of an entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Up to 120 bytes.
    Small,
    /// Small ones, some of a few pages.
    Mixed,
    /// Pages to tens of pages.
    Large,
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A few puts and deletions that follow from the seed.
    Write(u64, Values),
    /// Deletes a range that follows from the seed.
    DeleteRange(u64),
    /// Compacts at this revision, if it can be.
    Compact(i64),
}

impl Entry {
    /// Applies it as number `index`, after which the store is in state `state`.
    pub(crate) fn apply(self, store: &mut Store, index: u64, state: u64) -> Result<(), Error> {
        match self {
            Entry::Write(seed, values) => {
                let random = &mut ChaCha8Rng::seed_from_u64(seed);
                let mut write = store.begin();
                for _ in 0..random.random_range(1..5) {
                    let key = key(random.random_range(0..KEYS));
                    if random.random_range(0..4) == 0 {
                        write.delete(&key)?;
                    } else {
                        let lease = [0, 0, 5, 6][random.random_range(0..4)];
                        write.put(&key, &value(random, values), lease)?;
                    }
                }
                write.finish()?;
            }
            Entry::DeleteRange(seed) => {
                let first = seed % KEYS;
                let mut write = store.begin();
                for number in first..(first + KEYS / 3).min(KEYS) {
                    write.delete(&key(number))?;
                }
                write.finish()?;
            }
            Entry::Compact(revision) => match store.compact(revision) {
                Ok(()) | Err(CompactError::Compacted | CompactError::Future) => {}
            },
        }
        store.set_applied(Applied { index, term: state });
        Ok(())
    }
}

fn key(number: u64) -> Vec<u8> {
    match number % 8 {
        0 => [b"/registry/".to_vec(), vec![b'k'; number as usize * 11]].concat(),
        _ => format!("/registry/{}/{number:03}", ["pods", "leases"][number as usize % 2]).into_bytes(),
    }
}

fn value(random: &mut ChaCha8Rng, values: Values) -> Vec<u8> {
    let len = match (values, random.random_range(0..20)) {
        (Values::Mixed, 0) | (Values::Large, 0..14) => random.random_range(3000..15_000),
        (Values::Large, 14) => random.random_range(60_000..90_000),
        (Values::Mixed, 1..4) => random.random_range(500..2500),
        _ => random.random_range(0..120),
    };
    let byte: u8 = random.random();
    (0..len).map(|at: usize| (at as u8).wrapping_mul(7) ^ byte).collect()
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many entries, published as one batch.
    Batch(u64, Values),
    DeleteRange,
    /// Compacts at so many percent of what is not compacted.
    Compact(i64),
    /// Looks at so many records.
    Slice(usize),
    /// Until nothing is left to drop.
    Slices,
    Checkpoint,
    /// A checkpoint, with so many batches before it runs, while it does, and while it is taken over in slices.
    CheckpointBeside(u64),
    /// Packs extents anew of which more than so many percent were dropped, all of them.
    Repack(u8),
    /// Makes the file as short as it gets, in slices of so many pages, with batches and checkpoints between them.
    Defragment(usize),
    /// Keeps the newest view.
    Hold,
    /// Lets all kept views go.
    Release,
    ReleaseMemory,
    Reopen,
}

/// Where entries become durable before they are applied.
pub(crate) trait Log {
    /// What a failure is to the script.
    type Failure: From<Error>;

    /// Appends entries; the first one has number `first`.
    fn append(&mut self, first: u64, entries: &[Entry]) -> Result<(), Self::Failure>;
    /// A checkpoint of everything up to `index` is durable.
    fn checkpointed(&mut self, index: u64) -> Result<(), Self::Failure>;
    /// Readers see this now.
    fn published(&mut self, _view: &View) {}
}

/// No log: what no checkpoint holds is lost.
pub(crate) struct NoLog;

impl Log for NoLog {
    type Failure = Error;

    fn append(&mut self, _: u64, _: &[Entry]) -> Result<(), Error> {
        Ok(())
    }

    fn checkpointed(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

/// A store under a script.
pub(crate) struct Machine<L> {
    pub(crate) disk: Arc<Disk>,
    pub(crate) store: Store,
    pub(crate) log: L,
    pub(crate) random: ChaCha8Rng,
    /// Everything published so far that a checkpoint may hold, by state.
    pub(crate) states: std::collections::BTreeMap<u64, u32>,
    held: Vec<(View, u32)>,
    state: u64,
}

pub(crate) fn options() -> Options {
    Options { reserve_bytes: 64 << 20, grow_bytes: 16 << 10 }
}

impl<L: Log> Machine<L> {
    /// Takes over an open store whose state is number `state`.
    pub(crate) fn new(disk: Arc<Disk>, store: Store, log: L, seed: u64) -> Machine<L> {
        let state = store.applied().term;
        let mut machine = Machine {
            disk,
            store,
            log,
            random: ChaCha8Rng::seed_from_u64(seed),
            states: Default::default(),
            held: Vec::new(),
            state,
        };
        machine.remember();
        machine
    }

    pub(crate) fn step(&mut self, step: Step) -> Result<(), L::Failure> {
        match step {
            Step::Batch(entries, values) => {
                let entries: Vec<_> =
                    (0..entries).map(|_| Entry::Write(self.random.random(), values)).collect();
                self.batch(&entries)
            }
            Step::DeleteRange => {
                let seed = self.random.random();
                self.batch(&[Entry::DeleteRange(seed)])
            }
            Step::Compact(percent) => {
                let (low, high) = (self.store.compact_revision().max(0), self.store.revision());
                self.batch(&[Entry::Compact(low + (high - low) * percent / 100)])
            }
            Step::Slice(records) => {
                self.store.compact_slice(records)?;
                self.publish()
            }
            Step::Slices => {
                while !self.store.compact_slice(7)?.done {}
                self.publish()
            }
            Step::Checkpoint => self.checkpoint(0),
            Step::CheckpointBeside(batches) => self.checkpoint(batches),
            Step::Repack(percent) => {
                while !self.store.repack_slice(percent, 20_000)?.done {}
                self.publish()
            }
            Step::Defragment(pages) => self.defragment(pages),
            Step::Hold => {
                let view = self.store.reader().view();
                let print = fingerprint(&view)?;
                self.held.push((view, print));
                Ok(())
            }
            Step::Release => {
                for (view, print) in self.held.drain(..) {
                    assert_eq!(fingerprint(&view)?, print, "a view has changed");
                }
                Ok(())
            }
            Step::ReleaseMemory => {
                while self.store.release_memory() {}
                Ok(())
            }
            // The caller opens again: only it knows how.
            Step::Reopen => Ok(()),
        }
    }

    fn batch(&mut self, entries: &[Entry]) -> Result<(), L::Failure> {
        let first = self.store.applied().index + 1;
        self.log.append(first, entries)?;
        for (index, entry) in (first..).zip(entries) {
            entry.apply(&mut self.store, index, self.state)?;
        }
        self.publish()
    }

    /// Applies an entry that the log has and the store has not.
    pub(crate) fn replay(&mut self, index: u64, entry: Entry) -> Result<(), L::Failure> {
        Ok(entry.apply(&mut self.store, index, self.state)?)
    }

    /// Publishes what was replayed.
    pub(crate) fn show(&mut self) -> Result<(), L::Failure> {
        self.publish()
    }

    fn publish(&mut self) -> Result<(), L::Failure> {
        self.state += 1;
        self.store.set_applied(Applied { term: self.state, ..self.store.applied() });
        self.store.publish();
        self.log.published(&self.store.reader().view());
        Ok(())
    }

    fn checkpoint(&mut self, batches: u64) -> Result<(), L::Failure> {
        let (state, index) = (self.state, self.store.applied().index);
        let Some(checkpoint) = self.store.begin_checkpoint() else { return Ok(()) };
        self.remember();
        self.disk.note(Note::Begun(state));
        self.beside(batches)?;
        let (mut left, mut beside) = (batches, Ok(()));
        let done = checkpoint.run(&mut |_| {
            if left > 0 && beside.is_ok() {
                left -= 1;
                beside = self.beside(1);
            }
        });
        beside?;
        let done = done?;
        self.disk.note(Note::Durable(state));
        if batches == 0 {
            self.store.end_checkpoint(done)?;
        } else {
            self.store.swap_begin(done);
            while self.store.swap_slice(3)? {
                self.beside(1)?;
            }
        }
        self.publish()?;
        self.log.checkpointed(index)
    }

    fn defragment(&mut self, pages: usize) -> Result<(), L::Failure> {
        self.store.defragment_begin()?;
        // Views that are held may keep it from its end: it is given up then, as a server does.
        for _ in 0..60 {
            match self.store.defragment_slice(pages)? {
                Defragment::Done { .. } => break,
                Defragment::More => self.publish()?,
                Defragment::NeedsCheckpoint => {
                    self.publish()?;
                    self.checkpoint(1)?;
                }
            }
        }
        self.publish()
    }

    fn beside(&mut self, batches: u64) -> Result<(), L::Failure> {
        (0..batches).try_for_each(|_| self.step(Step::Batch(2, Values::Mixed)))
    }

    fn remember(&mut self) {
        let print = fingerprint(&self.store.reader().view()).expect("what was just written can be read");
        self.states.insert(self.state, print);
    }
}

/// A sum over everything that can be read of a view, records that compaction has not come to yet included.
pub(crate) fn fingerprint(view: &View) -> Result<u32, Error> {
    let mut sum = 0;
    let mut add = |bytes: &[u8]| sum = crc32c::crc32c_append(sum, bytes);
    add(&view.revision().to_le_bytes());
    add(&view.compact_revision().to_le_bytes());
    add(&view.applied().index.to_le_bytes());
    let mut range = view.range(&KeyRange::all(), 0);
    while let Some(item) = range.try_next()? {
        add(item.key);
        add(item.record()?);
        add(&item.head.sub.to_le_bytes());
    }
    for change in view.changes(0) {
        let change = change?;
        add(&change.revision.sub.to_le_bytes());
        add(change.record);
    }
    for lease in [5, 6] {
        view.lease_keys(lease)?.iter().for_each(|key| add(key));
    }
    // At an older revision, by the way that count takes.
    let middle = i64::midpoint(view.compact_revision().max(1), view.revision());
    add(&view.count(&KeyRange::all(), middle)?.to_le_bytes());
    Ok(sum)
}

/// A script of so many steps that follows from chance.
pub(crate) fn random_script(random: &mut ChaCha8Rng, steps: usize) -> Vec<Step> {
    let values = |random: &mut ChaCha8Rng| match random.random_range(0..12) {
        0 => Values::Large,
        1..6 => Values::Small,
        _ => Values::Mixed,
    };
    (0..steps)
        .map(|_| match random.random_range(0..32) {
            0..11 => Step::Batch(random.random_range(1..12), values(random)),
            11..13 => Step::DeleteRange,
            13..16 => Step::Compact(random.random_range(10..=100)),
            16..18 => Step::Slice(random.random_range(1..40)),
            18 => Step::Slices,
            19 => Step::Repack(random.random_range(1..60)),
            20 => Step::Defragment(random.random_range(1..30)),
            21..24 => Step::Checkpoint,
            24..27 => Step::CheckpointBeside(random.random_range(1..4)),
            27 => Step::Hold,
            28 => Step::Release,
            29 => Step::ReleaseMemory,
            _ => Step::Reopen,
        })
        .collect()
}
