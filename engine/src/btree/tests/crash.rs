//! What a power cut could leave: any subset of the writes since the last sync, any sector of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::disk::{Disk, Op, apply, holding};
use super::{Model, amount, change, checkpoint, dump, random, small_options, user_meta};
use crate::btree::{Planted, Tree, TreeOptions};
use crate::file::File;
use crate::limits::PAGE_BYTES;

/// Crashes in a row.
const DEPTH: u32 = 2;

/// States by the number in their user meta.
type States = BTreeMap<u64, Model>;

/// A run of the tree on a recording disk, and what it stored.
struct Recorded {
    /// The file before.
    image: Vec<u8>,
    ops: Vec<Op>,
    /// Syncs that opening took: one when it created the file.
    created: usize,
    states: States,
}

/// Changes and checkpoints on `image`, whose content is `model`.
fn record(random: &mut ChaCha8Rng, image: &[u8], model: &Model, first: u64, planted: Planted) -> Recorded {
    let disk = Disk::new(image);
    let options = TreeOptions { planted, ..small_options() };
    let mut tree = Tree::open(Arc::clone(&disk) as Arc<dyn File>, options).unwrap();
    let created = disk.ops().iter().filter(|op| matches!(op, Op::Sync)).count();
    let mut model = model.clone();
    let mut states = States::from([(u64::from_le_bytes(*tree.meta().first_chunk().unwrap()), model.clone())]);
    for number in first..first + random.random_range(2..5) {
        for _ in 0..random.random_range(1..60) {
            change(random, &mut tree, &mut model, 300).unwrap();
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        states.insert(number, model.clone());
        if random.random_range(0..3) == 0 {
            // The writer goes on while the checkpoint runs.
            let begun = tree.begin_checkpoint().expect("there is something new");
            for _ in 0..random.random_range(1..20) {
                change(random, &mut tree, &mut model, 300).unwrap();
            }
            tree.publish();
            tree.end_checkpoint(begun.run(&mut |_| ()).unwrap()).unwrap();
        } else {
            checkpoint(&mut tree).unwrap();
        }
    }
    Recorded { image: image.to_vec(), ops: disk.ops(), created, states }
}

/// One operation since the last sync, no larger than a page.
fn units(ops: &[Op]) -> Vec<Op> {
    let mut units = Vec::new();
    for op in ops {
        match op {
            Op::Write { offset, bytes } => {
                let pages = bytes.chunks(PAGE_BYTES).zip((*offset..).step_by(PAGE_BYTES));
                units.extend(pages.map(|(bytes, offset)| Op::Write { offset, bytes: bytes.to_vec() }));
            }
            other => units.push(other.clone()),
        }
    }
    units
}

/// Every image a power cut could leave in one interval between syncs while those are few, else `most` of them.
fn images(random: &mut ChaCha8Rng, durable: &[u8], units: &[Op], few: usize, most: u64) -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    let mut make = |keep: &dyn Fn(usize) -> bool, torn: Option<&mut ChaCha8Rng>| {
        let mut image = durable.to_vec();
        let mut torn = torn;
        for (index, unit) in units.iter().enumerate() {
            if keep(index) {
                apply(&mut image, unit, || torn.as_mut().is_none_or(|random| random.random()));
            }
        }
        images.push(image);
    };
    if units.len() <= few {
        for subset in 0..1u64 << units.len() {
            make(&|index| subset >> index & 1 == 1, None);
        }
    } else {
        for _ in 0..most / 2 {
            let density = random.random_range(1..16);
            let kept: Vec<bool> = units.iter().map(|_| random.random_range(0..16) < density).collect();
            make(&|index| kept[index], None);
        }
        // The writes in order up to a point, as most disks do it.
        for _ in 0..most / 4 {
            let end = random.random_range(0..=units.len());
            make(&|index| index < end, None);
        }
    }
    for _ in 0..most / 4 {
        let kept: Vec<bool> = units.iter().map(|_| random.random_range(0..4) > 0).collect();
        make(&|index| kept[index], Some(random));
    }
    images
}

/// Opens what is left, and says which state it is.
fn recover(image: &[u8], states: &States, allowed: [u64; 2]) -> Result<u64, String> {
    let file = holding(image);
    let mut tree = Tree::open(Arc::clone(&file), small_options()).map_err(|e| format!("open: {e}"))?;
    let number = u64::from_le_bytes(*tree.meta().first_chunk().unwrap());
    if !allowed.contains(&number) {
        return Err(format!("state {number} where {allowed:?} were possible"));
    }
    let found = dump(&tree.publish()).map_err(|e| format!("read: {e}"))?;
    if found != states[&number] {
        return Err(format!("state {number} is not what was stored"));
    }
    let report = crate::btree::check(&*file).map_err(|e| format!("check: {e}"))?;
    if !report.findings.is_empty() {
        return Err(format!("check: {:?}", report.findings));
    }
    Ok(number)
}

/// Crashes a recorded run at every interval; one survivor of each goes on and crashes again.
fn crash(random: &mut ChaCha8Rng, run: &Recorded, depth: u32) -> Result<u64, String> {
    let mut durable = run.image.clone();
    let numbers: Vec<u64> = run.states.keys().copied().collect();
    let mut tried = 0;
    // Data and meta page each end with a sync; a new file begins with one of its own.
    let mut completed = 0;
    let intervals: Vec<&[Op]> = run.ops.split(|op| matches!(op, Op::Sync)).collect();
    for (interval, ops) in intervals.iter().enumerate() {
        let last = numbers[completed];
        let next = numbers.get(completed + 1).copied().unwrap_or(last);
        let (few, most) = if depth == DEPTH { (10, 64) } else { (3, 8) };
        let images = images(random, &durable, &units(ops), few, most);
        let survivor = random.random_range(0..images.len());
        for (at, image) in images.into_iter().enumerate() {
            tried += 1;
            let number = recover(&image, &run.states, [last, next])
                .map_err(|e| format!("interval {interval} of {}: {e}", intervals.len()))?;
            if depth > 0 && at == survivor {
                let again = record(random, &image, &run.states[&number], 1000 + number, Planted::Nothing);
                tried += crash(random, &again, depth - 1).map_err(|e| format!("again: {e}"))?;
            }
        }
        for op in *ops {
            apply(&mut durable, op, || true);
        }
        completed = if interval < run.created { 0 } else { (interval - run.created).div_ceil(2) };
        completed = completed.min(numbers.len() - 1);
    }
    Ok(tried)
}

fn programme(planted: Planted, states: u64) -> Result<u64, String> {
    let mut tried = 0;
    for seed in 0.. {
        let random = &mut random(seed);
        let empty = record(random, &[], &Model::new(), 1, planted);
        tried += crash(random, &empty, DEPTH).map_err(|e| format!("seed {seed}: {e}"))?;
        if tried >= states {
            println!("{tried} states of {} runs", seed + 1);
            break;
        }
    }
    Ok(tried)
}

#[test]
fn every_state_opens_to_a_checkpoint() {
    let states = amount("GRAVEN_TREE_CRASH_STATES", 20_000);
    assert!(programme(Planted::Nothing, states).unwrap() >= states);
}

#[test]
fn a_meta_page_before_its_data_is_found() {
    let error = programme(Planted::MetaBeforeData, 20_000).expect_err("a missing sync must be found");
    println!("{error}");
}

#[test]
fn reuse_before_the_next_checkpoint_is_found() {
    let error = programme(Planted::ReuseBeforeDurable, 20_000).expect_err("early reuse must be found");
    println!("{error}");
}
