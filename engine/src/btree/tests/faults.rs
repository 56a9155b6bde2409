//! The first failure of the disk ends all writing, and what is on disk is a checkpoint.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::disk::holding;
use super::{Model, amount, assert_whole, change, checkpoint, dump, open, random, small_options, user_meta};
use crate::btree::{Planted, Tree, TreeOptions, Weight};
use crate::error::Error;
use crate::file::File;
use crate::proof::disk::{Disk, Fault, Image, Op};
use crate::schema;

/// States that were stored, and whether the run came to its end.
fn script(random: &mut ChaCha8Rng, disk: &Arc<Disk>, states: &mut Vec<Model>) -> Result<(), Error> {
    states.push(Model::new());
    let mut tree = Tree::open(Arc::clone(disk) as Arc<dyn File>, small_options())?;
    let mut model = Model::new();
    for number in 1..5 {
        for _ in 0..40 {
            change(random, &mut tree, &mut model, 200)?;
        }
        tree.set_meta(user_meta(number));
        let txn = tree.publish();
        states.push(model.clone());
        let mut result = checkpoint(&mut tree);
        if matches!(result, Err(Error::NoSpace { .. })) {
            // Once only, and then there is some.
            result = checkpoint(&mut tree);
        }
        if let Err(e) = result {
            assert!(matches!(e, Error::Io { .. }), "{e}");
            poisoned(&mut tree);
            assert_eq!(dump(&txn).unwrap(), model, "readers go on");
            return Err(e);
        }
    }
    Ok(())
}

fn poisoned(tree: &mut Tree) {
    assert!(matches!(tree.put(schema::KEYS, b"k", b"v", Weight::Live), Err(Error::Poisoned)));
    assert!(matches!(tree.delete(schema::KEYS, b"k"), Err(Error::Poisoned)));
    tree.publish();
    assert!(tree.begin_checkpoint().is_none());
}

/// What is left opens to the last completed state or the one being written.
fn assert_survived(image: &[u8], states: &[Model], what: &str) {
    let file = holding(image);
    let mut tree = open(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
    let number = u64::from_le_bytes(*tree.meta().first_chunk().unwrap()) as usize;
    assert!(number + 2 >= states.len(), "{what}: state {number} of {}", states.len());
    assert_eq!(dump(&tree.publish()).unwrap(), states[number], "{what}");
    assert_whole(&*file);
}

#[test]
fn failure_at_every_operation() {
    let mut runs = 0;
    for seed in 0..amount("GRAVEN_TREE_FAULT_SEEDS", 3) {
        for fault in [Fault::Eio, Fault::Enospc, Fault::Short] {
            for number in 0.. {
                let disk = Disk::new(Image::default());
                disk.fail_at(number, fault);
                let mut states = Vec::new();
                let result = script(&mut random(seed), &disk, &mut states);
                let what = format!("seed {seed}, {fault:?} at operation {number}");
                let failed = disk.failed();
                if result.is_ok() && failed.as_ref().is_some_and(Op::takes_space) && fault == Fault::Enospc {
                    // No space once is no failure.
                    continue;
                }
                assert_eq!(result.is_err(), failed.is_some(), "{what}");
                if result.is_ok() {
                    assert!(number > 10, "{what}: the script has that many operations");
                    break;
                }
                assert_survived(&disk.image().files[0], &states, &what);
                runs += 1;
                // The sync failed and the kernel dropped what it could not write.
                let ops = disk.journal();
                let synced = ops.iter().rposition(|op| matches!(op, Op::Sync { .. })).map_or(0, |at| at + 1);
                let mut image = Image::of_database(Vec::new());
                for op in &ops[..synced] {
                    image.apply(op);
                }
                assert_survived(&image.files[0], &states, &format!("{what}, unsynced writes lost"));
            }
        }
    }
    println!("{runs} failures");
}

/// Checkpoints on a disk that is full from its `number`th growth on, until it is not. False when it never mattered.
pub(crate) fn full_script(seed: u64, number: usize, planted: Planted) -> Result<bool, String> {
    let random = &mut random(seed);
    let disk = Disk::new(Image::default());
    let options = TreeOptions { planted, ..small_options() };
    let mut tree = Tree::open(Arc::clone(&disk) as Arc<dyn File>, options).map_err(|e| e.to_string())?;
    disk.full_from(number);
    let mut model = Model::new();
    let mut was_full = false;
    for state in 1..8 {
        for _ in 0..60 {
            change(random, &mut tree, &mut model, 300).unwrap();
        }
        tree.set_meta(user_meta(state));
        let txn = tree.publish();
        match checkpoint(&mut tree) {
            Ok(()) => continue,
            Err(Error::NoSpace { wanted_bytes, .. }) => assert!(wanted_bytes > 0),
            Err(e) => return Err(e.to_string()),
        }
        was_full = true;
        assert_eq!(dump(&txn).unwrap(), model, "readers go on");
        // The state before is what the file holds, and another attempt meets the same end.
        let report = crate::btree::check(&*holding(&disk.image().files[0])).map_err(|e| e.to_string())?;
        if let Some(finding) = report.findings.first() {
            return Err(finding.reason.clone());
        }
        change(random, &mut tree, &mut model, 300).unwrap();
        tree.publish();
        assert!(matches!(checkpoint(&mut tree), Err(Error::NoSpace { .. })));
        if state % 2 == 0 {
            // One that was begun and dropped makes no difference.
            drop(tree.begin_checkpoint().expect("nothing runs"));
        }
        disk.full_from(usize::MAX);
        checkpoint(&mut tree).map_err(|e| e.to_string())?;
        disk.full_from(number);
    }
    drop(tree.publish());
    let file = holding(&disk.image().files[0]);
    let report = crate::btree::check(&*file).map_err(|e| e.to_string())?;
    if let Some(finding) = report.findings.first() {
        return Err(finding.reason.clone());
    }
    let mut reopened = open(&file).unwrap();
    assert_eq!(dump(&reopened.publish()).unwrap(), model);
    // What the writer knows to be free is all that is free.
    let (known, found) = (tree.in_use_bytes(), reopened.in_use_bytes());
    if known != found { Err(format!("{known} bytes in use, {found} when opened")) } else { Ok(was_full) }
}

#[test]
fn a_full_disk_is_not_the_end() {
    for seed in 0..amount("GRAVEN_TREE_FAULT_SEEDS", 3) {
        let mut number = 0;
        while full_script(seed, number, Planted::Nothing)
            .unwrap_or_else(|e| panic!("seed {seed}, growth {number}: {e}"))
        {
            number += 1;
        }
        assert!(number > 5, "seed {seed}: the file grows that often");
    }
}

#[test]
fn pages_lost_on_a_full_disk_are_found() {
    let found = (0..10).find_map(|number| full_script(0, number, Planted::LeakWithoutSpace).err());
    println!("{}", found.expect("pages that are lost must be found"));
}
