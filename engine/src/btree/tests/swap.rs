//! The swap stopped after every slice, with changes, publishes and views in between.

use std::ops::Bound;
use std::sync::Arc;

use rand::RngExt;

use super::disk::memory_file;
use super::{Model, amount, assert_whole, change, dump, random, random_key, small_options, user_meta};
use crate::btree::page::Ref;
use crate::btree::{Planted, ReadTxn, Tree, TreeOptions};
use crate::file::File;
use crate::limits::PAGE_BYTES;
use crate::schema::Bucket;

/// Pages of memory that the working state refers to, found by looking.
fn in_memory(tree: &Tree, page: Ref) -> usize {
    let Some(slot) = page.slot() else { return 0 };
    let page = tree.arena_page(slot);
    let below = (0..page.len()).map(|index| match page.is_leaf() {
        true => page.run(index).filter(|run| run.page.slot().is_some()).map_or(0, |run| run.pages() as usize),
        false => in_memory(tree, page.child(index).page),
    });
    1 + below.sum::<usize>()
}

fn audit(random: &mut rand_chacha::ChaCha8Rng, tree: &Tree, model: &Model, keys: u64) -> Result<(), String> {
    for bucket in 0..3 {
        let key = random_key(random, keys);
        let below = model.range((bucket, Vec::new())..(bucket, key.clone()));
        let live = below.filter(|(_, (_, live))| *live).count() as u64;
        let rank = tree.count(Bucket(bucket), Bound::Unbounded, Bound::Excluded(&key));
        if rank.as_ref().ok() != Some(&live) {
            return Err(format!("rank {rank:?} where {live} keys are below"));
        }
        let value = tree.get(Bucket(bucket), &key).map_err(|e| e.to_string())?;
        if value != model.get(&(bucket, key)).map(|(value, _)| value.as_slice()) {
            return Err("a value has changed".into());
        }
    }
    Ok(())
}

pub(crate) fn run(seed: u64, checkpoints: u64, keys: u64, planted: Planted) -> Result<u64, String> {
    let random = &mut random(seed);
    let file: Arc<dyn File> = Arc::new(memory_file());
    let options = TreeOptions { planted, ..small_options() };
    let mut tree = Tree::open(Arc::clone(&file), options).map_err(|e| e.to_string())?;
    let mut model = Model::new();
    let mut held: Vec<(ReadTxn, Model)> = Vec::new();
    let mut slices = 0;
    for number in 0..checkpoints {
        for _ in 0..random.random_range(1..400) {
            change(random, &mut tree, &mut model, keys).map_err(|e| e.to_string())?;
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        let begun = tree.begin_checkpoint().expect("something is new");
        for _ in 0..random.random_range(0..200) {
            change(random, &mut tree, &mut model, keys).map_err(|e| e.to_string())?;
            if random.random_range(0..20) == 0 {
                tree.publish();
            }
        }
        let done = begun.run(&mut |_| ()).map_err(|e| e.to_string())?;
        tree.swap_begin(done);
        let changes = random.random_range(0..12);
        loop {
            for _ in 0..random.random_range(0..=changes) {
                change(random, &mut tree, &mut model, keys).map_err(|e| e.to_string())?;
            }
            if random.random_range(0..3) == 0 {
                held.push((tree.publish(), model.clone()));
            }
            if held.len() > 4 {
                let (txn, model) = held.swap_remove(random.random_range(0..held.len()));
                if dump(&txn).map_err(|e| e.to_string())? != model {
                    return Err("a view has changed".into());
                }
            }
            assert!(tree.begin_checkpoint().is_none(), "no checkpoint before the swap is through");
            audit(random, &tree, &model, keys)?;
            slices += 1;
            if !tree.swap_slice(random.random_range(1..4)).map_err(|e| e.to_string())? {
                break;
            }
        }
        let found: usize = tree.roots.iter().map(|root| in_memory(&tree, root.page)).sum();
        if found * PAGE_BYTES != tree.dirty_bytes() {
            return Err(format!("{found} pages in memory, {} bytes accounted", tree.dirty_bytes()));
        }
        if dump(&tree.publish()).map_err(|e| e.to_string())? != model {
            return Err("the contents have changed".into());
        }
        assert_whole(&*file);
    }
    held.clear();
    tree.publish();
    while tree.release_memory() {}
    if tree.memory_bytes() != tree.dirty_bytes() as u64 {
        return Err(format!("{} bytes of memory for {}", tree.memory_bytes(), tree.dirty_bytes()));
    }
    Ok(slices)
}

#[test]
fn a_swap_may_stop_anywhere() {
    let mut slices = 0;
    for seed in 0..amount("GRAVEN_TREE_SWAP_SEEDS", 12) {
        let keys = if seed % 3 == 0 { 200 } else { 3000 };
        slices += run(seed, 12, keys, Planted::Nothing).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    println!("{slices} slices");
    assert!(slices > 1000);
}

#[test]
fn a_swap_that_skips_is_found() {
    let skips = || (0..10).find_map(|seed| run(seed, 12, 3000, Planted::SwapSkips).err());
    // A slot that is let go of and still referred to may also stop the writer.
    let found = std::panic::catch_unwind(skips).unwrap_or_else(|_| Some("the writer stopped".into()));
    println!("{}", found.expect("references that were left out must be found"));
}
