//! The file gets shorter while it is written to, read and brought to disk, and nothing else changes.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::disk::{holding, memory_file};
use super::{Model, amount, assert_whole, change, checkpoint, dump, open, random, small_options, user_meta};
use crate::btree::{Defragment, Planted, Tree, TreeOptions, Weight};
use crate::file::File;
use crate::limits::PAGE_BYTES;
use crate::schema::{self, Bucket};

/// Most of everything goes.
fn thin_out(random: &mut ChaCha8Rng, tree: &mut Tree, model: &mut Model) {
    let keys: Vec<_> = model.keys().filter(|_| random.random_range(0..10) > 0).cloned().collect();
    for (bucket, key) in keys {
        assert!(tree.delete(Bucket(bucket), &key).unwrap());
        model.remove(&(bucket, key));
    }
    tree.publish();
    checkpoint(tree).unwrap();
}

fn checkpoint_in_slices(
    random: &mut ChaCha8Rng,
    tree: &mut Tree,
    mut between: impl FnMut(&mut ChaCha8Rng, &mut Tree),
) {
    let begun = tree.begin_checkpoint().expect("one was asked for");
    between(random, tree);
    let done = begun.run(&mut |_| ()).unwrap();
    tree.swap_begin(done);
    while tree.swap_slice(random.random_range(1..8)).unwrap() {
        between(random, tree);
    }
    tree.publish();
}

/// The state before the newest one can be opened, too, should the newest meta page be damaged.
fn older_is_whole(file: &dyn File) -> Result<(), String> {
    let len = file.len().unwrap() as usize;
    let mut image = file.map(1 << 30).unwrap().bytes(0, len).to_vec();
    let generation = crate::btree::check(file).unwrap().generation;
    let newest = (generation % 2) as usize * PAGE_BYTES;
    image[newest..newest + PAGE_BYTES].fill(0);
    let report = crate::btree::check(&*holding(&image)).map_err(|e| e.to_string())?;
    assert_eq!(report.generation + 1, generation);
    report.findings.first().map_or(Ok(()), |finding| Err(finding.reason.clone()))
}

fn run(seed: u64, load: u64, planted: Planted) -> Result<(), String> {
    println!("seed {seed}, {load} changes a step");
    let random = &mut random(seed);
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = Tree::open(Arc::clone(&file), TreeOptions { planted, ..small_options() }).unwrap();
    let mut model = Model::new();
    for number in 0..12 {
        for _ in 0..1200 {
            change(random, &mut tree, &mut model, 20_000).unwrap();
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    thin_out(random, &mut tree, &mut model);
    let before = tree.file_bytes();
    let mut held = Vec::new();
    let mut slices = 0;
    tree.defragment_begin();
    loop {
        slices += 1;
        assert!(slices < 20_000, "it ends");
        for _ in 0..random.random_range(0..=load) {
            change(random, &mut tree, &mut model, 200).unwrap();
        }
        let moved = tree.defragment_slice(random.random_range(1..40)).unwrap();
        let txn = tree.publish();
        if random.random_range(0..8) == 0 {
            held.push((txn, model.clone()));
        }
        if !held.is_empty() && random.random_range(0..4) == 0 {
            let (txn, model) = held.remove(0);
            assert_eq!(dump(&txn).unwrap(), model, "a view sees what it saw");
        }
        match moved {
            Defragment::More => {}
            Defragment::Done => break,
            Defragment::NeedsCheckpoint => {
                let changes = load.min(3);
                checkpoint_in_slices(random, &mut tree, |random, tree| {
                    for _ in 0..random.random_range(0..=changes) {
                        change(random, tree, &mut model, 200).unwrap();
                    }
                });
                assert_whole(&*file);
                older_is_whole(&*file)?;
            }
        }
    }
    assert_eq!(file.len().unwrap(), tree.file_bytes());
    for (txn, model) in held {
        assert_eq!(dump(&txn).unwrap(), model, "a view sees what it saw");
    }
    assert_eq!(dump(&tree.publish()).unwrap(), model);
    let (after, in_use) = (tree.file_bytes(), tree.in_use_bytes());
    println!("{before} bytes, then {after}, {in_use} in use, {slices} slices");
    if load == 0 {
        assert!(after < in_use + in_use / 4 + 40 * PAGE_BYTES as u64);
    }
    assert!(after < before * 3 / 4);
    tree.publish();
    checkpoint(&mut tree).unwrap();
    drop(tree);
    assert_whole(&*file);
    assert_eq!(dump(&open(&file).unwrap().publish()).unwrap(), model);
    Ok(())
}

#[test]
fn the_file_gets_shorter_and_nothing_else_changes() {
    for seed in 0..amount("GRAVEN_TREE_DEFRAGMENT_SEEDS", 6) {
        let load = [0, 0, 4, 30][seed as usize % 4];
        run(seed, load, Planted::Nothing).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

#[test]
fn a_cut_before_both_meta_pages_agree_is_found() {
    println!("{}", run(0, 0, Planted::CutTooEarly).expect_err("the older state must be found cut"));
}

/// Where a cut is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// The process ends when one meta page knows of the shorter file.
    OneMetaPage,
    /// It ends when both do, and the file has not been cut.
    BothMetaPages,
    /// The process goes on and begins anew.
    BegunAnew,
}

fn leave_a_cut_alone(gap: Gap) {
    println!("{gap:?}");
    let random = &mut random(9);
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut model = Model::new();
    for _ in 0..3000 {
        change(random, &mut tree, &mut model, 6000).unwrap();
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    thin_out(random, &mut tree, &mut model);
    let step = |tree: &mut Tree| {
        let moved = tree.defragment_slice(64).unwrap();
        tree.publish();
        moved
    };
    let cuts = |tree: &Tree| tree.defragmenter.as_ref().is_some_and(|run| run.cuts());
    let long = file.len().unwrap();
    tree.defragment_begin();
    while !cuts(&tree) {
        if step(&mut tree) == Defragment::NeedsCheckpoint && !cuts(&tree) {
            checkpoint(&mut tree).unwrap();
            tree.publish();
        }
    }
    checkpoint(&mut tree).unwrap();
    assert_eq!(file.len().unwrap(), long, "one meta page knows of the long file");
    if gap == Gap::BothMetaPages {
        tree.publish();
        assert_eq!(step(&mut tree), Defragment::NeedsCheckpoint);
        checkpoint(&mut tree).unwrap();
        assert!(file.len().unwrap() < long / 2);
        drop(tree);
        file.set_len(long).unwrap();
        tree = open(&file).unwrap();
    } else if gap == Gap::OneMetaPage {
        drop(tree);
        tree = open(&file).unwrap();
    }
    tree.publish();
    assert_eq!(tree.file_bytes(), long);
    tree.defragment_begin();
    loop {
        match step(&mut tree) {
            Defragment::More => {}
            Defragment::Done => break,
            Defragment::NeedsCheckpoint => {
                checkpoint(&mut tree).unwrap();
                assert_whole(&*file);
                older_is_whole(&*file).unwrap();
            }
        }
        tree.publish();
    }
    assert_eq!(tree.file_bytes(), file.len().unwrap());
    assert!(tree.file_bytes() < long / 2, "{} of {long} bytes", tree.file_bytes());
    assert_eq!(dump(&tree.publish()).unwrap(), model);
    assert_whole(&*file);
}

#[test]
fn a_cut_that_was_left_alone_is_made_up_for() {
    for gap in [Gap::OneMetaPage, Gap::BothMetaPages, Gap::BegunAnew] {
        leave_a_cut_alone(gap);
    }
}

#[test]
fn a_view_that_is_held_keeps_what_it_sees() {
    let random = &mut random(5);
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut model = Model::new();
    for _ in 0..4000 {
        change(random, &mut tree, &mut model, 6000).unwrap();
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    let held = (tree.publish(), model.clone());
    thin_out(random, &mut tree, &mut model);
    let defragment = |tree: &mut Tree| {
        tree.defragment_begin();
        loop {
            let moved = tree.defragment_slice(64).unwrap();
            tree.publish();
            match moved {
                Defragment::More => {}
                Defragment::NeedsCheckpoint => checkpoint(tree).unwrap(),
                Defragment::Done => break tree.file_bytes(),
            }
            tree.publish();
        }
    };
    let kept = defragment(&mut tree);
    assert_eq!(dump(&held.0).unwrap(), held.1);
    drop(held);
    let cut = defragment(&mut tree);
    assert!(cut < kept / 2, "{kept} bytes while the view was held, then {cut}");
    assert_eq!(dump(&tree.publish()).unwrap(), model);
    assert_whole(&*file);
}

#[test]
fn large_values_move_and_little_is_dirty_at_a_time() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = Tree::open(Arc::clone(&file), small_options()).unwrap();
    let value = |number: u64| vec![number as u8; 16_000 + number as usize % 7 * 8000];
    for number in 0..2000u64 {
        tree.put(schema::REVISIONS, &number.to_be_bytes(), &value(number), Weight::Live).unwrap();
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    for number in (0..2000u64).filter(|number| number % 4 != 3) {
        tree.delete(schema::REVISIONS, &number.to_be_bytes()).unwrap();
    }
    tree.publish();
    checkpoint(&mut tree).unwrap();
    let before = tree.file_bytes();
    tree.defragment_begin();
    loop {
        let moved = tree.defragment_slice(64).unwrap();
        assert!(tree.dirty_bytes() < 17 << 20);
        tree.publish();
        match moved {
            Defragment::More => {}
            Defragment::NeedsCheckpoint => checkpoint(&mut tree).unwrap(),
            Defragment::Done => break,
        }
        tree.publish();
    }
    let (after, in_use) = (tree.file_bytes(), tree.in_use_bytes());
    println!("{before} bytes, then {after}, {in_use} in use");
    assert!(after * 10 < in_use * 13);
    for number in (0..2000u64).filter(|number| number % 4 == 3) {
        assert_eq!(
            tree.get(schema::REVISIONS, &number.to_be_bytes()).unwrap(),
            Some(value(number).as_slice())
        );
    }
    assert_whole(&*file);
}

/// Holes are too small for what lies behind them: they are not looked through for every value.
#[test]
fn holes_that_fit_nothing_are_searched_once() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = Tree::open(Arc::clone(&file), small_options()).unwrap();
    let mut put = |numbers: std::ops::Range<u64>, pages: usize| {
        for number in numbers {
            let value = vec![number as u8; pages * PAGE_BYTES - 100];
            tree.put(schema::REVISIONS, &number.to_be_bytes(), &value, Weight::Live).unwrap();
        }
        tree.publish();
        checkpoint(&mut tree).unwrap();
        tree.publish();
    };
    // Every other one goes, so that the holes stay apart.
    put(0..200, 40);
    put(200..300, 65);
    for number in (0..200u64).step_by(2) {
        tree.delete(schema::REVISIONS, &number.to_be_bytes()).unwrap();
    }
    for _ in 0..2 {
        tree.publish();
        tree.set_meta(user_meta(tree.generation()));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    tree.publish();
    tree.defragment_begin();
    let (mut most, mut checkpoints) = (0, 1);
    loop {
        let moved = tree.defragment_slice(64).unwrap();
        most = most.max(tree.defragmenter.as_ref().map_or(0, |run| run.looked));
        tree.publish();
        match moved {
            Defragment::More => {}
            Defragment::NeedsCheckpoint => {
                checkpoint(&mut tree).unwrap();
                checkpoints += 1;
            }
            Defragment::Done => break,
        }
        tree.publish();
    }
    println!("{most} holes looked at, {checkpoints} checkpoints");
    assert!((1..=400 * checkpoints).contains(&most), "{most} holes looked at, {checkpoints} checkpoints");
    assert_whole(&*file);
}

/// Many holes, each too small, before the first that fits: a slice looks at so many of them and no more, and the
/// next goes on behind.
#[test]
fn a_slice_looks_at_so_many_holes_and_the_next_goes_on_behind() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = Tree::open(Arc::clone(&file), small_options()).unwrap();
    let put = |tree: &mut Tree, numbers: std::ops::Range<u64>, pages: usize| {
        for number in numbers {
            let value = vec![number as u8; pages * PAGE_BYTES - 100];
            tree.put(schema::REVISIONS, &number.to_be_bytes(), &value, Weight::Live).unwrap();
        }
        tree.publish();
        checkpoint(tree).unwrap();
        tree.publish();
    };
    put(&mut tree, 0..2000, 2);
    put(&mut tree, 2000..2020, 9);
    put(&mut tree, 2020..2100, 9);
    let keep = |number: &u64| (*number < 2000 && number.is_multiple_of(2)) || *number >= 2080;
    for number in (0..2100u64).filter(|number| !keep(number)) {
        tree.delete(schema::REVISIONS, &number.to_be_bytes()).unwrap();
    }
    for _ in 0..2 {
        tree.publish();
        tree.set_meta(user_meta(tree.generation()));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    tree.publish();
    let before = tree.file_bytes();
    tree.defragment_begin();
    let (mut looked, mut slices) = (0, 0);
    loop {
        slices += 1;
        assert!(slices < 20_000, "it ends");
        let moved = tree.defragment_slice(2).unwrap();
        let now = tree.defragmenter.as_ref().map_or(0, |run| run.looked);
        assert!(now.saturating_sub(looked) <= 2 * 64, "{} holes in a slice", now - looked);
        looked = now;
        tree.publish();
        match moved {
            Defragment::More => {}
            Defragment::NeedsCheckpoint => checkpoint(&mut tree).unwrap(),
            Defragment::Done => break,
        }
        tree.publish();
    }
    println!("{slices} slices, {before} bytes, then {}", tree.file_bytes());
    assert!(tree.file_bytes() < before * 9 / 10);
    for number in (0..2100u64).filter(keep) {
        let found = tree.get(schema::REVISIONS, &number.to_be_bytes()).unwrap();
        assert_eq!(found.map(|value| value[0]), Some(number as u8), "{number}");
    }
    assert_whole(&*file);
}
