//! The first failure of the disk ends all writing, and what is on disk is a checkpoint.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::disk::holding;
use super::{Model, amount, assert_whole, change, checkpoint, dump, open, random, small_options, user_meta};
use crate::btree::{Tree, Weight};
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
        if let Err(e) = checkpoint(&mut tree) {
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
                assert_eq!(result.is_err(), disk.failed().is_some(), "{what}");
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
