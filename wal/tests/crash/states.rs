//! Every state that a power cut can leave: at each operation that makes something durable, which of the sectors and names that
//! were not yet may be there. All combinations where they are few, random ones where they are many.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::disk::{Change, Disk, Image, Op, SECTOR, dir};
use crate::planted::{Fault, must_find};
use crate::programme::{each_seed, scaled};
use crate::wal::{Options, exists};
use crate::workload::{Life, Model, Promise, open};

/// Up to so many pending sectors, all subsets of them.
const ALL_SUBSETS: usize = 10;
/// Random subsets above.
const SUBSETS: usize = 100;
/// One state in so many is also crashed while it is being recovered.
const TWICE: u64 = 40;

/// What the device holds at a moment, and what it may hold beyond.
struct Device {
    durable: Image,
    sectors: Vec<(usize, usize, Arc<[u8]>, usize)>,
    changes: Vec<Change>,
}

impl Device {
    fn new(image: Image) -> Self {
        Self { durable: image, sectors: Vec::new(), changes: Vec::new() }
    }

    /// Sectors of a write that are not on the device yet.
    fn pend(&mut self, file: usize, offset: usize, bytes: &Arc<[u8]>) {
        for at in (0..bytes.len()).step_by(SECTOR) {
            let new = &bytes[at..at + SECTOR];
            let under = self.durable.files[file].get(offset + at..offset + at + SECTOR);
            let same = under.map_or(new.iter().all(|&byte| byte == 0), |under| under == new);
            let before = self.sectors.iter().any(|(f, o, ..)| (*f, *o) == (file, offset + at));
            if !same || before {
                self.sectors.push((file, offset + at, Arc::clone(bytes), at));
            }
        }
    }

    /// The operation has ended.
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Change(change) => {
                if let Change::Create(_, file) = change {
                    self.durable.files.resize(self.durable.files.len().max(file + 1), Arc::default());
                }
                self.changes.push(change.clone());
            }
            Op::SyncDir => {
                for change in self.changes.drain(..) {
                    change.apply(&mut self.durable.names);
                }
            }
            Op::Write { file, offset, bytes, durable: true } => {
                // What was written there before and was still pending is overwritten.
                let covered = *offset..offset + bytes.len();
                self.sectors.retain(|(f, o, ..)| f != file || !covered.contains(o));
                self.durable.put(*file, *offset, bytes);
            }
            Op::Write { file, offset, bytes, durable: false } => self.pend(*file, *offset, bytes),
            Op::Sync(file) => {
                for (f, offset, bytes, at) in &self.sectors {
                    if f == file {
                        self.durable.put(*f, *offset, &bytes[*at..at + SECTOR]);
                    }
                }
                self.sectors.retain(|(f, ..)| f != file);
            }
            Op::Resize(file, bytes) => Arc::make_mut(&mut self.durable.files[*file]).resize(*bytes, 0),
            Op::Promise(_) => {}
        }
    }

    /// Directories that some of the pending changes give: each possible where those before it that it needs were done.
    fn directories(&self, rng: &mut ChaCha8Rng) -> Vec<BTreeMap<PathBuf, usize>> {
        let count = self.changes.len();
        let mut found = Vec::new();
        let all = count <= 6;
        for draw in 0..if all { 1 << count } else { 64 } {
            let mut names = self.durable.names.clone();
            let kept = |at: usize, rng: &mut ChaCha8Rng| {
                if all { draw >> at & 1 == 1 } else { rng.random_bool(0.5) }
            };
            let possible = (0..count).all(|at| !kept(at, rng) || self.changes[at].apply(&mut names));
            if possible && !found.contains(&names) {
                found.push(names);
            }
        }
        found
    }

    fn image(&self, names: &BTreeMap<PathBuf, usize>, keep: impl Fn(usize) -> bool) -> Image {
        let mut image = Image { files: self.durable.files.clone(), names: names.clone() };
        for (number, (file, offset, bytes, at)) in self.sectors.iter().enumerate() {
            if keep(number) {
                image.put(*file, *offset, &bytes[*at..at + SECTOR]);
            }
        }
        image
    }

    /// All states that a crash at this moment may leave, or some.
    fn states(&self, rng: &mut ChaCha8Rng, most: usize) -> Vec<Image> {
        let directories = self.directories(rng);
        let sectors = self.sectors.len();
        let few = sectors <= ALL_SUBSETS && directories.len() << sectors <= most;
        let mut states = Vec::new();
        if few {
            for names in &directories {
                for subset in 0..1_u32 << sectors {
                    states.push(self.image(names, |number| subset >> number & 1 == 1));
                }
            }
            return states;
        }
        for draw in 0..most.min(SUBSETS) {
            let names = &directories[rng.random_range(0..directories.len())];
            let likely = [0.0, 1.0, 0.1, 0.5, 0.9][draw.min(2 + draw % 3)];
            let subset: Vec<bool> = (0..sectors).map(|_| rng.random_bool(likely)).collect();
            states.push(self.image(names, |number| subset[number]));
        }
        states
    }
}

/// What was made and opened.
#[derive(Default)]
struct Count {
    states: u64,
    twice: u64,
    torn: u64,
}

struct Explorer<'a> {
    options: &'a Options,
    rng: ChaCha8Rng,
    count: Count,
}

impl Explorer<'_> {
    /// Crashes at each moment of what was recorded. `depth` 1 also crashes some recoveries.
    fn explore(
        &mut self,
        start: Image,
        ops: &[Op],
        mut promise: Arc<Promise>,
        depth: u32,
    ) -> Result<(), String> {
        let mut device = Device::new(start);
        let most = if depth > 0 { 1024 } else { 6 };
        for (number, op) in ops.iter().enumerate() {
            if let Op::Promise(made) = op {
                promise = Arc::clone(made);
                continue;
            }
            let boundary = matches!(op, Op::Write { durable: true, .. } | Op::Sync(_) | Op::SyncDir);
            if boundary {
                let pending = device.sectors.len();
                if let Op::Write { file, offset, bytes, .. } = op {
                    device.pend(*file, *offset, bytes);
                }
                self.check_all(&device, &promise, depth, most)
                    .map_err(|words| format!("operation {number}: {words}"))?;
                device.sectors.truncate(pending);
            }
            device.apply(op);
        }
        self.check_all(&device, &promise, depth, most).map_err(|words| format!("at the end: {words}"))
    }

    fn check_all(
        &mut self,
        device: &Device,
        promise: &Promise,
        depth: u32,
        most: usize,
    ) -> Result<(), String> {
        for image in device.states(&mut self.rng, most) {
            self.check(image, promise, depth)?;
        }
        Ok(())
    }

    fn check(&mut self, image: Image, promise: &Promise, depth: u32) -> Result<(), String> {
        if depth > 0 {
            self.count.states += 1;
        } else {
            self.count.twice += 1;
        }
        let disk = Disk::of(image.clone());
        if !exists(dir(), &disk).map_err(|error| error.to_string())? {
            return if promise.created { Err("the log is gone".to_owned()) } else { Ok(()) };
        }
        let (wal, recovered) = open(&disk, self.options).map_err(|error| format!("refused: {error}"))?;
        let model = promise.check(&recovered)?.clone();
        self.count.torn += u64::from(recovered.torn_tail.is_some());
        drop(wal);
        let (_, again) =
            open(&disk, self.options).map_err(|error| format!("refused the second time: {error}"))?;
        if again.entries != recovered.entries || again.hard_state != recovered.hard_state {
            return Err("opened twice, it holds something else".to_owned());
        }
        if depth > 0 && self.rng.random_range(0..TWICE) == 0 {
            self.again(image, promise, model)?;
        }
        Ok(())
    }

    /// The recovery, and what is written after it, crashes too.
    fn again(&mut self, image: Image, promise: &Promise, model: Model) -> Result<(), String> {
        let disk = Disk::recording(image.clone());
        let seed = self.rng.random_range(0..u64::MAX);
        let mut life = Life::again(disk.clone(), self.options.clone(), promise.clone(), seed);
        life.resume(3).map_err(|words| format!("going on: {words}"))?;
        // Which of the two it is was settled by what is on the device.
        let mut settled = promise.clone();
        settled.settle(model);
        self.explore(image, &disk.ops(), Arc::new(settled), 0)
            .map_err(|words| format!("a second crash: {words}"))
    }
}

/// One life, crashed everywhere.
fn run(seed: u64) -> Result<[u64; 3], String> {
    let disk = Disk::recording(Image::default());
    let mut life = Life::new(disk.clone(), seed);
    life.run(26).map_err(|error| error.to_string())?;
    let options = life.options.clone();
    let mut explorer =
        Explorer { options: &options, rng: ChaCha8Rng::seed_from_u64(seed), count: Count::default() };
    explorer.explore(Image::default(), &disk.ops(), Arc::default(), 1)?;
    Ok([explorer.count.states, explorer.count.twice, explorer.count.torn])
}

#[test]
fn power_cuts() {
    let seeds = scaled(800);
    let [states, twice, torn] = each_seed(seeds, run).unwrap_or_else(|words| panic!("{words}"));
    println!("{seeds} workloads: {states} crash states, {twice} of a second crash, {torn} torn writes cut");
    assert!(states + twice >= scaled(100_000) && twice * 10 >= states && torn * 4 >= states);
}

#[test]
fn planted_faults_are_found() {
    for fault in [
        Fault::AcknowledgesFirst,
        Fault::KeepsOldHeader,
        Fault::ForgetsDirectory,
        Fault::ReleasesEarly,
        Fault::ShowsEarly,
    ] {
        must_find(fault, || (0..40).try_for_each(|seed| run(seed).map(|_| ())));
    }
}
