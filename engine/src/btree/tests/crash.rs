//! What a power cut could leave: any subset of the sectors written since the last sync, and again while what was left
//! is opened and written on.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Model, change, checkpoint, random, random_key, small_options, user_meta};
use crate::btree::{Planted, ReadTxn, Tree, TreeOptions, Weight};
use crate::file::File;
use crate::proof::disk::{Disk, Image, Medium, Note};
use crate::proof::lives::{Life, Recorded, Tried, crash, sum};
use crate::proof::states::Amount;
use crate::proof::{on_all_cores, scaled};
use crate::schema::Bucket;

/// Runs of the programme, and the least number of states they make: of these a tenth are crashes during recovery.
const RUNS: u64 = 120;
const LEAST: u64 = 60_000;

/// States by the number in their user meta.
type States = BTreeMap<u64, Model>;
/// Changes and checkpoints on `start`, whose content is state `opened`, `model`.
fn record(
    random: &mut ChaCha8Rng,
    start: Image,
    opened: u64,
    model: &Model,
    planted: Planted,
) -> Recorded<States> {
    let disk = Disk::new(start.clone());
    disk.note(Note::Durable(opened));
    let options = TreeOptions { planted, ..small_options() };
    let mut tree = Tree::open(Arc::clone(&disk) as Arc<dyn File>, options).unwrap();
    let mut model = model.clone();
    let mut states = States::from([(opened, model.clone())]);
    for number in opened + 1..opened + random.random_range(3..6) {
        for _ in 0..random.random_range(1..50) {
            change(random, &mut tree, &mut model, 200).unwrap();
        }
        if random.random_range(0..6) == 0 {
            delete_range(random, &mut tree, &mut model);
        }
        // Half of the time the file is being made shorter, which takes several checkpoints.
        if random.random_range(0..4) == 0 {
            tree.defragment_begin();
        }
        for _ in 0..random.random_range(1..8) {
            tree.defragment_slice(16).unwrap();
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        states.insert(number, model.clone());
        disk.note(Note::Begun(number));
        if random.random_range(0..3) == 0 {
            // The writer goes on while the checkpoint runs.
            let begun = tree.begin_checkpoint().expect("there is something new");
            for _ in 0..random.random_range(1..20) {
                change(random, &mut tree, &mut model, 200).unwrap();
            }
            tree.publish();
            let done = begun.run(&mut |_| ()).unwrap();
            disk.note(Note::Durable(number));
            tree.end_checkpoint(done).unwrap();
        } else {
            checkpoint(&mut tree).unwrap();
            disk.note(Note::Durable(number));
        }
    }
    Recorded { start, journal: disk.journal(), states }
}

fn delete_range(random: &mut ChaCha8Rng, tree: &mut Tree, model: &mut Model) {
    let (bucket, from) = (random.random_range(0..3u8), random_key(random, 200));
    let range = (bucket, from)..(bucket + 1, Vec::new());
    for (_, key) in model.range(range).map(|(key, _)| key.clone()).take(80).collect::<Vec<_>>() {
        assert!(tree.delete(Bucket(bucket), &key).unwrap());
        model.remove(&(bucket, key));
    }
}

/// Whether a state is exactly the model: keys, values, weights.
fn same(txn: &ReadTxn, model: &Model) -> Result<bool, crate::Error> {
    let mut expected = model.iter();
    for bucket in 0..3 {
        let mut cursor = txn.cursor(Bucket(bucket));
        let mut more = cursor.first()?;
        while more {
            let Some(((of, key), (value, live))) = expected.next() else { return Ok(false) };
            let weight = if *live { Weight::Live } else { Weight::Dead };
            if (*of, key.as_slice()) != (bucket, cursor.key())
                || cursor.value()? != value
                || cursor.weight() != weight
            {
                return Ok(false);
            }
            more = cursor.next()?;
        }
    }
    Ok(expected.next().is_none())
}

/// Opens what is left twice, and says which state it is.
fn recover(medium: &mut Medium, image: &Image, states: &States, allowed: &[u64]) -> Result<u64, String> {
    let file = medium.show(&image.files[0]);
    for opening in 1..=2 {
        let before = file.changes();
        let mut tree = Tree::open(Arc::clone(&file) as Arc<dyn File>, small_options())
            .map_err(|e| format!("open: {e}"))?;
        let number = u64::from_le_bytes(*tree.meta().first_chunk().unwrap());
        if !allowed.contains(&number) {
            return Err(format!("state {number} where {allowed:?} were possible"));
        }
        if file.changes() != before {
            // Only the creation of a file writes, and only once.
            if opening == 2 || number != 0 {
                return Err(format!("opening {opening} of state {number} wrote to the file"));
            }
            medium.reread();
            continue;
        }
        match same(&tree.publish(), &states[&number]) {
            Ok(true) => {}
            Ok(false) => return Err(format!("state {number} is not what was stored")),
            Err(e) => return Err(format!("read: {e}")),
        }
        drop(tree);
        let report = crate::btree::check(&*file).map_err(|e| format!("check: {e}"))?;
        if !report.findings.is_empty() {
            return Err(format!("check: {:?}", report.findings));
        }
        return Ok(number);
    }
    Err("the second opening wrote to the file".into())
}

/// The tree's file.
struct OfTree;

impl Life for OfTree {
    type States = States;

    const FIRST: Amount = Amount { all_up_to: 8, most: 80 };
    const GOES_ON: u32 = 3;

    fn recover(
        medium: &mut Medium,
        image: &Image,
        states: &States,
        allowed: &[u64],
        _: usize,
    ) -> Result<u64, String> {
        recover(medium, image, states, allowed)
    }

    fn again(
        random: &mut ChaCha8Rng,
        image: Image,
        number: u64,
        states: &States,
    ) -> Result<Recorded<States>, String> {
        Ok(record(random, image, number, &states[&number], Planted::Nothing))
    }
}

pub(crate) fn programme(planted: Planted, runs: u64) -> Result<Tried, String> {
    let tried = on_all_cores(0..runs, |seed| {
        let random = &mut random(seed);
        let empty = record(random, Image::of_database(Vec::new()), 0, &Model::new(), planted);
        let mut tried = Tried::default();
        crash::<OfTree>(random, &mut Medium::new(), &empty, 0, &mut tried)?;
        Ok(tried)
    })?;
    Ok(sum(&tried))
}

#[test]
fn every_state_opens_to_a_checkpoint() {
    let tried = programme(Planted::Nothing, scaled(RUNS)).unwrap();
    let all: u64 = tried.iter().sum();
    println!("{all} states of the tree's file, by crashes in a row: {tried:?}");
    assert!(all >= scaled(LEAST), "{all}");
    assert!((tried[1] + tried[2]) * 10 >= all && tried[2] * 100 >= all, "{tried:?}");
}

#[test]
fn a_meta_page_before_its_data_is_found() {
    let error = programme(Planted::MetaBeforeData, RUNS).expect_err("a missing sync must be found");
    println!("{error}");
}

#[test]
fn reuse_before_the_next_checkpoint_is_found() {
    let error = programme(Planted::ReuseBeforeDurable, RUNS).expect_err("early reuse must be found");
    println!("{error}");
}
