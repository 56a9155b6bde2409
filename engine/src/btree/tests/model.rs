//! Random operations beside a `BTreeMap`.

use std::ops::Bound;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::disk::memory_file;
use super::{
    Model, assert_whole, change, checkpoint, dump, open, random, random_key, random_value, user_meta, weight,
};
use crate::btree::{ReadTxn, Tree, Weight};
use crate::file::File;
use crate::proof::{on_all_cores, scaled};
use crate::schema::{self, Bucket};

fn run(seed: u64, steps: u64, keys: u64) {
    let random = &mut random(seed);
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut model = Model::new();
    let mut number = 0;
    let mut old: Vec<(ReadTxn, Model)> = Vec::new();
    for step in 0..steps {
        match random.random_range(0..1000) {
            0..600 => change(random, &mut tree, &mut model, keys).unwrap(),
            600..900 => put_at(random, &mut tree, &mut model, keys),
            900..940 => point(random, &tree, &model, keys),
            940..960 => range(random, &tree, &model, keys),
            960..985 => {
                number += 1;
                tree.set_meta(user_meta(number));
                let txn = tree.publish();
                assert_eq!(txn.meta(), &user_meta(number));
                if random.random_range(0..4) == 0 {
                    old.push((txn, model.clone()));
                }
                if old.len() > 6 {
                    let (txn, model) = old.swap_remove(random.random_range(0..old.len()));
                    assert_eq!(dump(&txn).unwrap(), model, "seed {seed} step {step}: an old view");
                }
            }
            985..995 => {
                let mut begun = tree.begin_checkpoint();
                for _ in 0..random.random_range(0..50) {
                    change(random, &mut tree, &mut model, keys).unwrap();
                    if random.random_range(0..10) == 0 {
                        tree.publish();
                    }
                }
                if let Some(begun) = begun.take() {
                    let done = begun.run(&mut |_| ()).unwrap();
                    for _ in 0..random.random_range(0..50) {
                        change(random, &mut tree, &mut model, keys).unwrap();
                    }
                    tree.end_checkpoint(done).unwrap();
                    assert_whole(&*file);
                }
            }
            995..997 => {
                number += 1;
                tree.set_meta(user_meta(number));
                tree.publish();
                checkpoint(&mut tree).unwrap();
                assert_eq!(tree.dirty_bytes(), 0, "everything is on disk");
                old.clear();
                drop(tree);
                tree = open(&file).unwrap();
                assert_eq!(tree.meta(), &user_meta(number), "seed {seed} step {step}");
                assert_eq!(dump(&tree.publish()).unwrap(), model, "seed {seed} step {step}: reopened");
            }
            997 if random.random_range(0..10) == 0 => {
                // As large as the largest request.
                let (key, value) =
                    (random_key(random, keys), vec![step as u8; random.random_range(0..3 << 19)]);
                tree.put(Bucket(1), &key, &value, Weight::Live).unwrap();
                model.insert((1, key), (value, true));
            }
            _ => {
                // Most of a range goes at once.
                let from = random_key(random, keys);
                let bucket = Bucket(random.random_range(0..3));
                let range = (bucket.0, from)..(bucket.0 + 1, Vec::new());
                for (_, key) in model.range(range).map(|(key, _)| key.clone()).take(300).collect::<Vec<_>>() {
                    assert!(tree.delete(bucket, &key).unwrap());
                    model.remove(&(bucket.0, key));
                }
            }
        }
    }
    for (txn, model) in old {
        assert_eq!(dump(&txn).unwrap(), model, "seed {seed}: an old view at the end");
    }
    assert_eq!(dump(&tree.publish()).unwrap(), model, "seed {seed}: at the end");
}

/// A put that follows the way its look has gone. Now and then other changes come between both.
fn put_at(random: &mut ChaCha8Rng, tree: &mut Tree, model: &mut Model, keys: u64) {
    let (bucket, key) = (Bucket(random.random_range(0..3)), random_key(random, keys));
    let (value, live) = (random_value(random), random.random_range(0..4) > 0);
    let (found, way) = tree.find(bucket, &key).unwrap();
    let expected = model.get(&(bucket.0, key.clone())).map(|(value, _)| value.as_slice());
    assert_eq!(found, expected, "what the way leads to");
    for _ in 0..[0, 0, 0, 1, 5][random.random_range(0..5)] {
        match random.random_range(0..8) {
            0 => drop(tree.publish()),
            _ => change(random, tree, model, keys).unwrap(),
        }
    }
    tree.put_at(way, &value, weight(live)).unwrap();
    model.insert((bucket.0, key), (value, live));
}

fn point(random: &mut ChaCha8Rng, tree: &Tree, model: &Model, keys: u64) {
    let (bucket, key) = (random.random_range(0..3), random_key(random, keys));
    let expected = model.get(&(bucket, key.clone())).map(|(value, _)| value.as_slice());
    assert_eq!(tree.get(Bucket(bucket), &key).unwrap(), expected);
}

fn range(random: &mut ChaCha8Rng, tree: &Tree, model: &Model, keys: u64) {
    let bucket = random.random_range(0..3);
    let mut ends = [random_key(random, keys), random_key(random, keys)];
    ends.sort();
    let [low, high] = ends;
    let inside = |key: &Vec<u8>| *key >= low && *key < high;
    let entries = model.iter().filter(|((b, _), _)| *b == bucket).map(|((_, key), entry)| (key, entry));
    let expected: Vec<_> = entries.filter(|(key, _)| inside(key)).collect();
    let bounds = (Bound::Included(low.as_slice()), Bound::Excluded(high.as_slice()));
    let live = expected.iter().filter(|(_, (_, live))| *live).count() as u64;
    assert_eq!(tree.count(Bucket(bucket), bounds.0, bounds.1).unwrap(), live);
    let mut cursor = tree.cursor(Bucket(bucket));
    let mut more = cursor.seek(&low).unwrap();
    for (key, (value, _)) in &expected {
        assert!(more);
        assert_eq!((cursor.key(), cursor.value().unwrap()), (key.as_slice(), value.as_slice()));
        more = cursor.next().unwrap();
    }
    assert!(!more || cursor.key() >= high.as_slice());
    // Backwards from the end, live entries only.
    let mut more =
        if cursor.seek(&high).unwrap() { cursor.prev_live().unwrap() } else { cursor.last().unwrap() };
    if more && cursor.weight() == Weight::Dead {
        more = cursor.prev_live().unwrap();
    }
    for (key, _) in expected.iter().rev().filter(|(_, (_, live))| *live) {
        assert!(more);
        assert_eq!(cursor.key(), key.as_slice());
        more = cursor.prev_live().unwrap();
    }
    assert!(!more || cursor.key() < low.as_slice());
}

/// A few short runs; stops at what it finds.
pub(crate) fn programme() -> Result<(), String> {
    (0..4).for_each(|seed| run(seed, 2000, 60));
    Ok(())
}

/// Seeds, and operations of each.
const SEEDS: u64 = 20;
const OPERATIONS: u64 = 100_000;

#[test]
fn agrees_with_a_map() {
    let seeds = scaled(SEEDS);
    on_all_cores(0..seeds, |seed| {
        run(seed, OPERATIONS, [1200, 200, 60, 20][seed as usize % 4]);
        Ok(())
    })
    .unwrap();
    println!("{seeds} seeds, {} operations", seeds * OPERATIONS);
}

#[test]
fn appending_leaves_full_pages() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let value = [7; 100];
    for number in 0..20_000u64 {
        tree.put(schema::REVISIONS, &number.to_be_bytes(), &value, Weight::Live).unwrap();
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    let report = crate::btree::check(&*file).unwrap();
    // A cell is 4 + 4..8 + 100 bytes and its slot 6: 34 to 35 entries a page, and a few branches.
    let pages = report.buckets["revisions"].pages;
    assert!(pages < 20_000 / 34 + 12, "{pages} pages");
}

#[test]
fn deletes_give_pages_back() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let key = |number: u64| format!("key-{number:08}").into_bytes();
    for number in 0..20_000 {
        tree.put(schema::KEYS, &key(number), &[1; 60], Weight::Live).unwrap();
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    let before = crate::btree::check(&*file).unwrap().buckets["keys"].pages;
    // Every page keeps a few of its keys: without merging not one page would go.
    for number in (0..20_000).filter(|number| number % 20 != 0) {
        assert!(tree.delete(schema::KEYS, &key(number)).unwrap());
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    let after = crate::btree::check(&*file).unwrap().buckets["keys"].pages;
    assert!(after * 6 < before, "{before} pages, then {after} with a twentieth of the keys");
    for number in (0..20_000).filter(|number| number % 20 == 0) {
        assert!(tree.delete(schema::KEYS, &key(number)).unwrap());
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    assert_eq!(crate::btree::check(&*file).unwrap().buckets["keys"], Default::default());
    assert_whole(&*file);
}

#[test]
fn overwriting_keeps_the_file_small() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut sizes = Vec::new();
    for round in 0..30u8 {
        for number in 0..2000u64 {
            tree.put(schema::KEYS, &number.to_be_bytes(), &[round; 100], Weight::Live).unwrap();
        }
        tree.put(schema::KEYS, b"large", &vec![round; 300_000], Weight::Live).unwrap();
        tree.publish();
        checkpoint(&mut tree).unwrap();
        sizes.push(tree.file_bytes());
    }
    // Two states and some slack, whatever the number of rounds.
    assert_eq!(sizes[5], sizes[29], "{sizes:?}");
    assert_whole(&*file);
}

#[test]
fn a_view_that_is_held_holds_only_what_it_sees() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut sizes = Vec::new();
    let mut held = None;
    for round in 0..30u8 {
        for number in 0..2000u64 {
            tree.put(schema::KEYS, &number.to_be_bytes(), &[round; 100], Weight::Live).unwrap();
        }
        tree.put(schema::KEYS, b"large", &vec![round; 300_000], Weight::Live).unwrap();
        let txn = tree.publish();
        checkpoint(&mut tree).unwrap();
        if round == 3 {
            held = Some((txn, dump(&tree.publish()).unwrap()));
        }
        sizes.push(tree.file_bytes());
    }
    // One state more than without the view, and not one more each round.
    assert_eq!(sizes[8], sizes[29], "{sizes:?}");
    let (txn, contents) = held.expect("round 3 has passed");
    assert_eq!(dump(&txn).unwrap(), contents);
}

#[test]
fn views_that_are_let_go_one_publish_late_hold_nothing() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut reader = None;
    let mut sizes = Vec::new();
    for round in 0..600u64 {
        tree.put(schema::KEYS, &(round % 5).to_be_bytes(), &round.to_le_bytes(), Weight::Live).unwrap();
        // As a store's readers do: the view before is theirs until they are given this one.
        reader = Some(tree.publish());
        sizes.push(tree.memory_bytes());
    }
    assert_eq!(sizes[10], sizes[599], "{sizes:?}");
    drop(reader);
}

#[test]
fn large_values_are_one_slice() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let value: Vec<u8> = (0..3 << 20).map(|at: u32| (at >> 3) as u8).collect();
    tree.put(schema::REVISIONS, b"k", &value, Weight::Live).unwrap();
    assert_eq!(tree.get(schema::REVISIONS, b"k").unwrap(), Some(value.as_slice()));
    let txn = tree.publish();
    checkpoint(&mut tree).unwrap();
    assert_eq!(txn.get(schema::REVISIONS, b"k").unwrap(), Some(value.as_slice()));
    drop(tree);
    let mut tree = open(&file).unwrap();
    assert_eq!(tree.publish().get(schema::REVISIONS, b"k").unwrap(), Some(value.as_slice()));
    let limits = [
        tree.put(schema::KEYS, &[0; 1801], b"", Weight::Live),
        tree.put(schema::KEYS, b"k", &vec![0; (64 << 20) + 1], Weight::Live),
    ];
    assert!(limits.iter().all(|result| matches!(result, Err(crate::Error::Limit { .. }))));
}
