//! A store on real threads: three read and audit what they hold, while the writer writes, compacts, packs anew, defragments
//! and takes checkpoints over in slices that another thread writes. Where debug assertions are on, freed pages are
//! filled with nonsense. How the threads meet is up to the machine; what each does is up to the seed.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use engine::{Checkpoint, CheckpointDone, Defragment, Error, File, KeyRange, Options, Store, View};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::memory_file;
use super::scaled;
use crate::btree::Planted;
use crate::planted::{Fault, here, replant};

const SEEDS: u64 = 6;
const STEPS: u64 = 400;
const READERS: usize = 3;
const KEYS: u64 = 80;

/// What was written: of every key its changes, by main revision. A value follows from its key and its length.
#[derive(Clone, Default)]
struct Model(BTreeMap<Vec<u8>, BTreeMap<i64, Option<Written>>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Written {
    create: i64,
    version: i64,
    lease: i64,
    bytes: usize,
}

impl Model {
    fn at(&self, key: &[u8], revision: i64) -> Option<(i64, Written)> {
        let (modified, written) = self.0.get(key)?.range(..=revision).next_back()?;
        Some((*modified, (*written)?))
    }

    fn put(&mut self, key: &[u8], revision: i64, lease: i64, bytes: usize) {
        let written = match self.at(key, revision) {
            Some((_, before)) => Written { version: before.version + 1, lease, bytes, ..before },
            None => Written { create: revision, version: 1, lease, bytes },
        };
        self.0.entry(key.to_vec()).or_default().insert(revision, Some(written));
    }

    fn delete(&mut self, key: &[u8], revision: i64) {
        self.0.entry(key.to_vec()).or_default().insert(revision, None);
    }

    /// Forgets what nobody may ask for any more.
    fn compact(&mut self, revision: i64) {
        for changes in self.0.values_mut() {
            let oldest = changes.range(..=revision).next_back().map(|(at, _)| *at);
            if let Some(oldest) = oldest {
                *changes = changes.split_off(&oldest);
            }
        }
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("/registry/{}/{number:04}", ["pods", "leases"][number as usize % 2]).into_bytes()
}

fn value(key: &[u8], bytes: usize) -> Vec<u8> {
    let salt = crc32c::crc32c(key) as usize ^ bytes;
    (0..bytes).map(|at| (at.wrapping_mul(31) ^ salt) as u8).collect()
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Everything a view shows at `revision`: keys, heads, values and counts.
fn compare(view: &View, model: &Model, revision: i64) -> Result<(), Problem> {
    let expected: Vec<_> = model.0.keys().filter_map(|key| Some((key, model.at(key, revision)?))).collect();
    let (mut walk, mut found) = (view.range(&KeyRange::all(), revision), 0);
    while let Some(item) = walk.try_next()? {
        let Some((key, (modified, written))) = expected.get(found) else {
            return Err(Problem(format!("at {revision}: more keys than were written")));
        };
        let head = (item.head.create, item.head.modified, item.head.version, item.head.lease);
        let same = item.key == key.as_slice()
            && head == (written.create, *modified, written.version, written.lease)
            && item.value()? == value(key, written.bytes);
        ensure(same, || format!("at {revision}: {:?} is not what was written", item.key))?;
        found += 1;
    }
    ensure(found == expected.len(), || format!("at {revision}: {found} keys of {}", expected.len()))?;
    let count = view.count(&KeyRange::all(), revision)?;
    ensure(count == found as u64, || format!("at {revision}: {count} counted, {found} walked"))?;
    Ok(())
}

/// What a thread found wrong.
#[derive(Debug)]
struct Problem(String);

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem(error.to_string())
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem(text)
    }
}

/// Looks at everything a view shows, twice: pages that nobody else needs are reused in between.
fn look(view: &View, model: &Model) -> Result<(), Problem> {
    let (oldest, newest) = (view.compact_revision().max(1), view.revision());
    for _ in 0..2 {
        for revision in [newest, oldest, i64::midpoint(oldest, newest)] {
            compare(view, model, revision)?;
        }
        let findings = view.audit()?;
        ensure(findings.is_empty(), || format!("audit at {newest}: {findings:?}"))?;
        let since = view.compact_revision().max(0) + 1;
        let mut changes = 0;
        for change in view.changes(since) {
            let change = change?;
            let written = model.0.get(change.key).and_then(|changes| changes.get(&change.revision.main));
            ensure(written.is_some(), || format!("{:?} was never written", change.revision))?;
            changes += 1;
        }
        let expected: usize = model.0.values().map(|changes| changes.range(since..).count()).sum();
        ensure(changes == expected, || format!("{changes} changes of {expected}"))?;
    }
    Ok(())
}

/// How often things happened that must not be missing.
#[derive(Debug, Default)]
struct Met {
    views: u64,
    checkpoints: u64,
    swap_slices: u64,
    compactions: u64,
    defragmented: u64,
    cuts: u64,
}

impl std::ops::AddAssign for Met {
    fn add_assign(&mut self, other: Met) {
        self.views += other.views;
        self.checkpoints += other.checkpoints;
        self.swap_slices += other.swap_slices;
        self.compactions += other.compactions;
        self.defragmented += other.defragmented;
        self.cuts += other.cuts;
    }
}

struct Writer {
    store: Store,
    model: Model,
    random: ChaCha8Rng,
    met: Met,
    checkpoints: Sender<Checkpoint>,
    done: Receiver<Result<CheckpointDone, Error>>,
    /// A checkpoint is on its way, or is being taken over; since so many steps.
    running: Option<u32>,
    file_bytes: u64,
    swapping: bool,
    defragmenting: bool,
}

impl Writer {
    fn step(&mut self) -> Result<(), Problem> {
        for _ in 0..self.random.random_range(1..6) {
            self.write()?;
        }
        if self.random.random_range(0..10) == 0 {
            self.compact()?;
        }
        if self.store.compaction_pending() {
            self.store.compact_slice(self.random.random_range(1..60))?;
        }
        if self.random.random_range(0..4) == 0 {
            self.store.repack_slice(20, 20_000)?;
        }
        self.defragment()?;
        self.store.publish();
        self.checkpoint()?;
        self.note_length();
        Ok(())
    }

    fn write(&mut self) -> Result<(), Problem> {
        // Now and then most of it goes, so that there is something to make shorter.
        let clears = self.random.random_range(0..120) == 0;
        let changes = if clears { KEYS } else { self.random.random_range(1..6) };
        let mut write = self.store.begin();
        let revision = write.start_revision() + 1;
        let mut done = std::collections::BTreeSet::new();
        for change in 0..changes {
            let key = key(if clears { change } else { self.random.random_range(0..KEYS) });
            // One change of a key in a request: the model knows main revisions only.
            if !done.insert(key.clone()) {
                continue;
            }
            if clears || self.random.random_range(0..5) == 0 {
                if write.delete(&key)? {
                    self.model.delete(&key, revision);
                }
                continue;
            }
            let bytes = match self.random.random_range(0..20) {
                0 => self.random.random_range(4_000..30_000),
                1..5 => self.random.random_range(300..3_000),
                _ => self.random.random_range(0..200),
            };
            let lease = [0, 0, 5, 6][self.random.random_range(0..4)];
            write.put(&key, &value(&key, bytes), lease)?;
            self.model.put(&key, revision, lease, bytes);
        }
        write.finish()?;
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Problem> {
        let (low, high) = (self.store.compact_revision().max(0), self.store.revision());
        let revision = low + (high - low) * self.random.random_range(30..=100) / 100;
        if self.store.compact(revision).is_ok() {
            self.model.compact(revision);
            self.met.compactions += 1;
        }
        Ok(())
    }

    fn note_length(&mut self) {
        let file_bytes = self.store.sizes().file_bytes;
        self.met.cuts += u64::from(file_bytes < self.file_bytes);
        self.file_bytes = file_bytes;
    }

    fn defragment(&mut self) -> Result<(), Problem> {
        if !self.defragmenting && self.random.random_range(0..30) == 0 {
            self.store.defragment_begin()?;
            self.defragmenting = true;
        }
        if self.defragmenting {
            let slice = self.store.defragment_slice(self.random.random_range(1..60))?;
            if matches!(slice, Defragment::Done { .. }) {
                self.defragmenting = false;
                self.met.defragmented += 1;
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Problem> {
        if self.swapping {
            self.swapping = self.store.swap_slice(self.random.random_range(5..50))?;
            self.met.swap_slices += 1;
            if !self.swapping {
                self.running = None;
                self.store.publish();
            }
            return Ok(());
        }
        if let Some(steps) = &mut self.running {
            *steps += 1;
            // How many there are must not be up to the machine.
            let done = match self.done.try_recv() {
                Err(_) if *steps < 4 => return Ok(()),
                Err(_) => self.done.recv().map_err(|e| Problem(e.to_string()))?,
                Ok(done) => done,
            };
            self.take(done)
        } else if let Some(checkpoint) = self.store.begin_checkpoint() {
            self.running = Some(0);
            self.met.checkpoints += 1;
            self.checkpoints.send(checkpoint).map_err(|e| Problem(e.to_string()))
        } else {
            Ok(())
        }
    }

    fn take(&mut self, done: Result<CheckpointDone, Error>) -> Result<(), Problem> {
        self.store.swap_begin(done?);
        self.swapping = true;
        Ok(())
    }

    /// Without readers, to the end: checkpoints complete, and the file as short as it gets.
    fn finish(&mut self) -> Result<(), Problem> {
        while self.running.is_some() {
            if !self.swapping {
                let done = self.done.recv().map_err(|e| Problem(e.to_string()))?;
                self.take(done)?;
            }
            self.checkpoint()?;
        }
        self.store.defragment_begin()?;
        for _ in 0..1000 {
            let slice = self.store.defragment_slice(50)?;
            self.store.publish();
            self.note_length();
            match slice {
                Defragment::Done { .. } => return look(&self.store.reader().view(), &self.model),
                Defragment::More => {}
                Defragment::NeedsCheckpoint => {
                    if let Some(checkpoint) = self.store.begin_checkpoint() {
                        self.store.end_checkpoint(checkpoint.run(&mut |_| ())?)?;
                        self.store.publish();
                    }
                }
            }
        }
        Err(Problem("defragmenting does not end".into()))
    }
}

/// Writes and reads at once; what was found wrong.
fn run(seed: u64, steps: u64) -> Result<Met, String> {
    let fault = here();
    let file: Arc<dyn File> = Arc::new(memory_file());
    let options = Options { reserve_bytes: 256 << 20, grow_bytes: 64 << 10 };
    let store = Store::open(Arc::clone(&file), options).map_err(|e| e.to_string())?;
    let (views, inbox): (SyncSender<(View, Model)>, _) = sync_channel(READERS);
    let inbox = Arc::new(Mutex::new(inbox));
    let (checkpoints, jobs) = channel::<Checkpoint>();
    let (finished, done) = channel();
    let mut writer = Writer {
        store,
        model: Model::default(),
        random: ChaCha8Rng::seed_from_u64(seed),
        met: Met::default(),
        checkpoints,
        done,
        running: None,
        file_bytes: 0,
        swapping: false,
        defragmenting: false,
    };
    let met = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                scope.spawn(move || {
                    replant(fault);
                    loop {
                        let Ok((view, model)) = inbox.lock().unwrap().recv() else { return Ok(()) };
                        look(&view, &model)?;
                    }
                })
            })
            .collect();
        drop(inbox);
        let checkpoints = scope.spawn(move || {
            replant(fault);
            for job in jobs {
                if finished.send(job.run(&mut |_| std::thread::yield_now())).is_err() {
                    return;
                }
            }
        });
        let write = || {
            // Some are kept for long before somebody looks.
            let mut held = Vec::new();
            for _ in 0..steps {
                writer.step()?;
                if writer.random.random_range(0..2) == 0 {
                    held.push((writer.store.reader().view(), writer.model.clone()));
                }
                let many = [2, 12][usize::from(writer.random.random_range(0..3) == 0)];
                while held.len() > many {
                    let view = held.swap_remove(writer.random.random_range(0..held.len()));
                    views.send(view).map_err(|_| Problem("every reader has stopped".into()))?;
                    writer.met.views += 1;
                }
            }
            drop((held, views));
            writer.finish()?;
            Ok(writer)
        };
        // A planted fault may also end in a panic: that counts as found, too.
        let wrote = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
        let mut result = wrote.unwrap_or_else(|_| Err(Problem("the writer stopped".into())));
        for reader in readers {
            let read = reader.join().unwrap_or_else(|_| Err(Problem("a reader stopped".into())));
            result = result.and_then(|writer| read.map(|()| writer));
        }
        // The writer is gone by now, and with it the last job.
        let result = result.map(|writer| writer.met);
        let ended = checkpoints.join().map_err(|_| Problem("the checkpoint stopped".into()));
        let result = result.and_then(|met| ended.map(|()| met));
        result.map_err(|Problem(text)| text)
    })?;
    let report = engine::check(&*file).map_err(|e| e.to_string())?;
    ensure(report.findings.is_empty(), || format!("check: {:?}", report.findings))?;
    Ok(met)
}

#[test]
fn views_of_a_store_are_exact_while_everything_goes_on() {
    let mut all = Met::default();
    for seed in 0..scaled(SEEDS) {
        let met = run(seed, STEPS).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        println!("seed {seed}: {met:?}");
        all += met;
    }
    let least = [all.views / 20, all.checkpoints / 5, all.swap_slices / 20, all.compactions / 5];
    assert!(least.iter().all(|amount| *amount >= SEEDS), "{all:?}");
    assert!(all.defragmented > 0 && all.cuts > 0, "{all:?}");
}

#[test]
fn reuse_under_a_reader_of_a_store_is_found() {
    replant(Some(Fault::Tree(Planted::ReuseUnderReader)));
    let found = (0..SEEDS).find_map(|seed| run(seed, STEPS).err().map(|e| (seed, e)));
    replant(None);
    println!("found: {found:?}");
    assert!(found.is_some(), "a page reused under a view must be found");
}
