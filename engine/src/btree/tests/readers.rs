//! Views stay exact while the writer and checkpoints go on.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rand::RngExt;

use super::disk::memory_file;
use super::{Model, amount, assert_whole, change, dump, random, small_options, user_meta};
use crate::btree::{Planted, ReadTxn, Tree, TreeOptions};
use crate::file::File;

/// Writes, checkpoints and reads at once; what a reader finds wrong.
pub(crate) fn run(seed: u64, steps: u64, planted: Planted) -> Result<(), String> {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = Tree::open(Arc::clone(&file), TreeOptions { planted, ..small_options() }).unwrap();
    let (views, inbox) = channel::<(ReadTxn, Model)>();
    let inbox = Arc::new(Mutex::new(inbox));
    let (work, jobs) = channel::<crate::btree::Checkpoint>();
    let (finished, done) = channel();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                scope.spawn(move || {
                    loop {
                        let Ok((txn, model)) = inbox.lock().unwrap().recv() else { return Ok(()) };
                        // Twice: the second time pages have long been reused by others.
                        for _ in 0..2 {
                            match dump(&txn) {
                                Ok(found) if found == model => {}
                                Ok(_) => return Err("a view has changed".to_owned()),
                                Err(e) => return Err(e.to_string()),
                            }
                        }
                    }
                })
            })
            .collect();
        let checkpoints = scope.spawn(move || {
            for job in jobs {
                if finished.send(job.run(&mut |_| ())).is_err() {
                    return;
                }
            }
        });
        let random = &mut random(seed);
        let mut model = Model::new();
        let mut held = Vec::new();
        let mut wrote = || {
            for step in 0..steps {
                for _ in 0..random.random_range(1..60) {
                    change(random, &mut tree, &mut model, 400).map_err(|e| e.to_string())?;
                }
                tree.set_meta(user_meta(step));
                let txn = tree.publish();
                held.push((txn, model.clone()));
                if held.len() > 8 {
                    let view = held.swap_remove(random.random_range(0..held.len()));
                    if views.send(view).is_err() {
                        return Err("every reader has stopped".to_owned());
                    }
                }
                if let Some(checkpoint) = tree.begin_checkpoint() {
                    work.send(checkpoint).map_err(|e| e.to_string())?;
                }
                if let Ok(done) = done.try_recv() {
                    let done = done.map_err(|e| e.to_string())?;
                    tree.end_checkpoint(done).map_err(|e| e.to_string())?;
                }
            }
            Ok(())
        };
        // A planted fault may also end in a panic of the writer: that counts as found, too.
        let wrote = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut wrote));
        let mut result = wrote.unwrap_or_else(|_| Err("the writer stopped".to_owned()));
        for view in held {
            if views.send(view).is_err() {
                break;
            }
        }
        drop((views, work));
        for reader in readers {
            result = result.and(reader.join().unwrap_or_else(|_| Err("a reader stopped".to_owned())));
        }
        checkpoints.join().map_err(|_| "the checkpoint stopped".to_owned())?;
        result
    })?;
    assert_whole(&*file);
    Ok(())
}

#[test]
fn views_are_exact_while_others_write() {
    for seed in 0..amount("GRAVEN_TREE_READER_SEEDS", 3) {
        run(seed, amount("GRAVEN_TREE_READER_STEPS", 250), Planted::Nothing)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

#[test]
fn reuse_under_a_reader_is_found() {
    run(1, 250, Planted::ReuseUnderReader).expect_err("a page reused under a view must be found");
}
