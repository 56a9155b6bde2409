//! A seeded run: random requests, compactions, checkpoints and restarts, compared with the model throughout.

use std::sync::Arc;
use std::thread::JoinHandle;

use engine::{Applied, CheckpointDone, Contents, Error, KeyRange, Options, OsFile, Store, View, Write};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::check::{self, Check, agree};
use super::model::Model;

/// What a seed decides besides the operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) keys: usize,
    /// Chance that a put or deletion goes to the first key.
    pub(crate) hot: f64,
    pub(crate) compact: f64,
    pub(crate) checkpoint: f64,
    pub(crate) restart: f64,
    /// Chance that all views that are kept are read through.
    pub(crate) look: f64,
    /// Chance that a value is an extent of its own, or fills much of one.
    pub(crate) large: f64,
    /// Chance of a slice of packing extents anew.
    pub(crate) repack: f64,
}

#[derive(Clone, Debug)]
enum Op {
    Put { key: Vec<u8>, value: Vec<u8>, lease: i64 },
    Delete(Vec<u8>),
    DeleteRange(KeyRange),
}

/// An entry of the log: what a restart applies again.
#[derive(Clone, Debug)]
enum Entry {
    Write(Vec<Op>),
    Compact(i64),
}

/// A view and what the model knew when it was taken.
struct Pinned {
    view: View,
    pending: bool,
}

pub(crate) struct Run {
    /// In memory: what is proved here has nothing to do with a device.
    file: std::fs::File,
    store: Store,
    model: Model,
    log: Vec<Entry>,
    /// Revision and compact revision after so many entries.
    states: Vec<(i64, i64)>,
    pinned: Vec<Pinned>,
    checkpoint: Option<JoinHandle<Result<CheckpointDone, Error>>>,
    keys: Vec<Vec<u8>>,
    shape: Shape,
    rng: ChaCha8Rng,
    /// Calls of the store so far that a model was asked about, or that changed something.
    pub(crate) operations: u64,
}

fn text(error: Error) -> String {
    error.to_string()
}

impl Run {
    pub(crate) fn new(seed: u64, shape: Shape) -> Run {
        let memfd = rustix::fs::memfd_create("graven-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = std::fs::File::from(memfd);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys = (0..shape.keys).map(|number| random_key(number, &mut rng)).collect();
        Run {
            store: open(&file).unwrap(),
            file,
            model: Model::new(),
            log: Vec::new(),
            states: vec![(1, -1)],
            pinned: Vec::new(),
            checkpoint: None,
            keys,
            shape,
            rng,
            operations: 0,
        }
    }

    /// Runs so many steps and a last look at everything.
    #[allow(dead_code, reason = "the long runs count operations")]
    pub(crate) fn steps(&mut self, steps: usize) -> Check {
        for step in 0..steps {
            self.step().map_err(|error| format!("step {step}: {error}"))?;
        }
        self.end()
    }

    /// Runs until there were so many operations, and a last look at everything.
    #[allow(dead_code, reason = "the canaries count steps")]
    pub(crate) fn operations(&mut self, operations: u64) -> Check {
        for step in 0.. {
            if self.operations >= operations {
                break;
            }
            self.step().map_err(|error| format!("step {step}: {error}"))?;
        }
        self.end()
    }

    fn end(&mut self) -> Check {
        self.restart()?;
        while self.store.compaction_pending() {
            self.read_ahead()?;
            self.store.compact_slice(1000).map_err(text)?;
        }
        self.publish()?;
        self.look()
    }

    /// Reads what slices are going to look at, if they wait for that.
    fn read_ahead(&mut self) -> Check {
        let bytes = self.rng.random_range(1..100_000);
        let view = self.store.reader().view();
        let asked =
            [self.store.compaction_ahead(), self.store.repack_ahead(30), self.store.defragment_ahead()];
        for ahead in asked.into_iter().flatten() {
            let read = ahead.read(&view, bytes).map_err(text)?;
            self.store.warmed(read);
        }
        Ok(())
    }

    fn step(&mut self) -> Check {
        let Shape { compact, checkpoint, restart, repack, look, .. } = self.shape;
        if self.rng.random_bool(restart) {
            self.restart()?;
        }
        if self.rng.random_bool(checkpoint) {
            self.turn_checkpoint()?;
        }
        if self.rng.random_bool(compact) {
            let low = self.model.compact.max(0);
            let revision = self.rng.random_range(low - 1..=self.model.revision + 1);
            self.compact(revision)?;
        }
        if self.rng.random_bool(0.3) {
            self.read_ahead()?;
        }
        if self.store.compaction_pending() && self.rng.random_bool(0.3) {
            let records = self.rng.random_range(1..=40);
            self.store.compact_slice(records).map_err(text)?;
            self.operations += 1;
        }
        if self.rng.random_bool(0.005) {
            self.forget();
        }
        if self.rng.random_bool(checkpoint / 3.0) {
            self.store.defragment_begin().map_err(text)?;
        }
        if self.rng.random_bool(checkpoint) {
            let pages = self.rng.random_range(1..60);
            self.store.defragment_slice(pages).map_err(text)?;
            self.operations += 1;
        }
        if self.rng.random_bool(repack) {
            let (percent, bytes) = (self.rng.random_range(0..70), self.rng.random_range(1..200_000));
            self.store.repack_slice(percent, bytes).map_err(text)?;
            self.operations += 1;
        }
        self.write()?;
        if self.rng.random_bool(0.5) {
            self.publish()?;
        }
        if self.rng.random_bool(look) {
            self.look()?;
        }
        Ok(())
    }

    /// Lets the model forget what no kept view, and no restart from the last checkpoint, can ask for.
    fn forget(&mut self) {
        let durable = self.states[self.store.durable_applied().index as usize].1;
        let oldest = self.pinned.iter().map(|pinned| pinned.view.compact_revision()).fold(durable, i64::min);
        self.model.forget(oldest);
    }

    fn write(&mut self) -> Check {
        let mut ops = Vec::new();
        for _ in 0..[1, 1, 1, 2, 7][self.rng.random_range(0..5)] {
            let key = if self.rng.random_bool(self.shape.hot) {
                self.keys[0].clone()
            } else {
                self.keys[self.rng.random_range(0..self.keys.len())].clone()
            };
            ops.push(match self.rng.random_range(0..20) {
                0..=12 => {
                    let lengths = match self.rng.random_bool(self.shape.large) {
                        true => [
                            4_000, 17_000, 40_000, 65_000, 65_400, 65_536, 70_000, 90_000, 400_000, 1_572_864,
                        ],
                        false => [0, 8, 60, 60, 60, 60, 60, 600, 1500, 9000],
                    };
                    let mut value = vec![0; lengths[self.rng.random_range(0..10)]];
                    self.rng.fill(&mut value[..]);
                    let lease = [0, 0, 1, 2, 3, -7][self.rng.random_range(0..6)];
                    Op::Put { key, value, lease }
                }
                13..=17 => Op::Delete(key),
                18 => Op::DeleteRange(KeyRange::prefix(&key)),
                _ => Op::DeleteRange(check::random_range(&self.keys, &mut self.rng)),
            });
        }
        self.apply(Entry::Write(ops))
    }

    fn compact(&mut self, revision: i64) -> Check {
        let expected = match revision {
            _ if revision <= self.model.compact => Err(engine::CompactError::Compacted),
            _ if revision > self.model.revision => Err(engine::CompactError::Future),
            _ => Ok(()),
        };
        if expected.is_ok() {
            return self.apply(Entry::Compact(revision));
        }
        agree!(self.store.compact(revision), expected, "compact {revision}");
        Ok(())
    }

    /// Appends an entry to the log and applies it to both.
    fn apply(&mut self, entry: Entry) -> Check {
        match &entry {
            Entry::Write(ops) => self.apply_write(ops)?,
            Entry::Compact(revision) => {
                agree!(self.store.compact(*revision), Ok(()), "compact {revision}");
                self.model.compact = *revision;
            }
        }
        self.log.push(entry);
        self.states.push((self.model.revision, self.model.compact));
        agree!(self.store.revision(), self.model.revision, "revision");
        agree!(self.store.compact_revision(), self.model.compact, "compact revision");
        self.store.set_applied(Applied { index: self.log.len() as u64, term: 1 });
        Ok(())
    }

    fn apply_write(&mut self, ops: &[Op]) -> Check {
        let main = self.model.revision + 1;
        let before = self.model.records.len();
        let mut write = self.store.begin();
        for op in ops {
            self.operations += 1;
            apply_op(&mut write, op)?;
            for (key, put) in changes_of(&self.model, op, main) {
                self.model.change(main, &key, put.as_ref().map(|(value, lease)| (&value[..], *lease)));
            }
            agree!(write.start_revision(), main - 1, "start revision");
            agree!(write.current_revision(), self.model.revision, "current revision");
            if self.rng.random_bool(0.1) {
                self.operations += 2;
                let contents = write.view_current();
                check::check_reads(&contents, &self.model, 0, &self.keys, &mut self.rng)?;
                let at = self.rng.random_range(self.model.compact.max(1)..=self.model.revision);
                check::check_reads(&contents, &self.model, at, &self.keys, &mut self.rng)?;
            }
        }
        let finished = write.finish().map_err(text)?;
        agree!(finished.revision, self.model.revision, "header revision");
        let changes: Vec<_> = finished
            .changes
            .iter()
            .map(|change| {
                let (key, record) = (change.key.to_vec(), change.record.to_vec());
                (change.revision.main, change.revision.sub, change.kind, key, record, change.lease)
            })
            .collect();
        let expected: Vec<_> = self.model.records[before..].iter().map(check::change_of).collect();
        agree!(changes, expected, "changes");
        for change in &finished.changes {
            let first_of_key = |other: &&engine::Change| other.key == change.key;
            if finished.changes.iter().find(first_of_key) == Some(change) {
                let prev = self.model.get(&change.key, main - 1).map(|record| (record.main, record.sub));
                agree!(change.prev.map(|head| (head.modified, head.sub)), prev, "previous head");
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> Check {
        self.store.publish();
        let view = self.store.reader().view();
        agree!(view.revision(), self.model.revision, "published revision");
        agree!(view.compact_revision(), self.model.compact, "published compact revision");
        agree!(view.applied().index, self.log.len() as u64, "published applied index");
        let pinned = Pinned { view, pending: self.store.compaction_pending() };
        if self.pinned.len() < 5 {
            self.pinned.push(pinned);
        } else {
            let place = self.rng.random_range(0..self.pinned.len());
            self.pinned[place] = pinned;
        }
        Ok(())
    }

    /// Reads old and new views at random revisions. A view that was pinned before a compaction still shows
    /// what that compaction has dropped.
    fn look(&mut self) -> Check {
        for Pinned { view, pending } in &self.pinned {
            self.operations += 7;
            agree!(view.audit().map_err(text)?, [""; 0], "audit");
            let contents: Contents<'_> = view.contents();
            for _ in 0..4 {
                let at = self.rng.random_range(view.compact_revision().max(1)..=view.revision());
                check::check_reads(&contents, &self.model, at, &self.keys, &mut self.rng)?;
            }
            check::check_reads(&contents, &self.model, 0, &self.keys, &mut self.rng)?;
            check::check_view(view, &self.model, *pending, &mut self.rng)?;
        }
        Ok(())
    }

    /// Begins a checkpoint on another thread, or takes over the one that was begun.
    fn turn_checkpoint(&mut self) -> Check {
        self.operations += 1;
        match self.checkpoint.take() {
            Some(running) => {
                let done = running.join().expect("checkpoints do not panic").map_err(text)?;
                self.store.end_checkpoint(done).map_err(text)
            }
            None => {
                self.checkpoint =
                    self.store.begin_checkpoint().map(|job| std::thread::spawn(|| job.run(&mut |_| ())));
                Ok(())
            }
        }
    }

    /// The process ends, with or without the running checkpoint, and the log is applied to what the file has.
    fn restart(&mut self) -> Check {
        if let Some(running) = self.checkpoint.take() {
            running.join().expect("checkpoints do not panic").map_err(text)?;
        }
        self.pinned.clear();
        self.operations += 1;
        agree!(engine::check(&shared(&self.file)).map_err(text)?.findings, [], "check of the file");
        let revision = self.model.revision;
        self.store = open(&self.file).map_err(text)?;
        if self.rng.random_bool(0.5) {
            self.store.stay_warm();
        }
        let applied = self.store.applied().index as usize;
        agree!(self.store.durable_applied().index as usize, applied, "durable applied index");
        agree!(
            (self.store.revision(), self.store.compact_revision()),
            self.states[applied],
            "state after {applied} of {} entries",
            self.log.len()
        );
        let rest = self.log.split_off(applied);
        self.states.truncate(applied + 1);
        let (at, compact) = self.states[applied];
        self.model.revision = at;
        self.model.compact = compact;
        self.model.retain(|record| record.main <= at);
        for entry in rest {
            self.apply(entry)?;
        }
        agree!(self.model.revision, revision, "revision after the restart");
        self.publish()
    }
}

fn shared(file: &std::fs::File) -> OsFile {
    OsFile::new(file.try_clone().expect("a descriptor is free"))
}

fn open(file: &std::fs::File) -> Result<Store, Error> {
    Store::open(Arc::new(shared(file)), Options::default())
}

fn apply_op(write: &mut Write<'_>, op: &Op) -> Check {
    match op {
        Op::Put { key, value, lease } => write.put(key, value, *lease).map(drop).map_err(text),
        Op::Delete(key) => write.delete(key).map(drop).map_err(text),
        Op::DeleteRange(range) => {
            let found = check::seen(&write.view_current(), range, 0)?;
            found.iter().try_for_each(|(key, _, _)| write.delete(key).map(drop).map_err(text))
        }
    }
}

/// A key that is set to a value and lease, or deleted.
type Touched = (Vec<u8>, Option<(Vec<u8>, i64)>);

fn changes_of(model: &Model, op: &Op, main: i64) -> Vec<Touched> {
    match op {
        Op::Put { key, value, lease } => vec![(key.clone(), Some((value.clone(), *lease)))],
        Op::Delete(key) => vec![(key.clone(), None)],
        Op::DeleteRange(range) => {
            model.range(range, main).into_iter().map(|record| (record.key.clone(), None)).collect()
        }
    }
}

fn random_key(number: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let key = format!("/registry/{}/{number:03}", ["pods", "leases", "x"][number % 3]).into_bytes();
    match number % 7 {
        0 => vec![number as u8],
        1 => vec![0xff; number],
        2 => [vec![0; number % 5 + 1], key].concat(),
        3 => [key, (0..rng.random_range(0..600)).map(|_| rng.random()).collect()].concat(),
        _ => key,
    }
}
