//! Readers, the writer and a checkpoint under thousands of schedules: whoever looks at a page may lose the processor
//! right there. It is the real code that runs, pinning, publishing and taking back pages included; what is simulated is
//! who goes on. Orders of memory accesses within one machine are not explored: they rest on `Arc` and `ArcSwap`.

use std::cell::Cell;
use std::sync::Arc;

use shuttle::thread;

use engine::{File, Options, Store};

use super::disk::memory_file;
use super::scaled;
use crate::btree::Planted;
use crate::planted::{Fault, replant};

const SCHEDULES: u64 = 10_000;
const KEYS: u8 = 8;

thread_local! {
    static EXPLORED: Cell<bool> = const { Cell::new(false) };
}

/// A page is looked at: under a schedule, somebody else may go on.
pub(crate) fn step() {
    if EXPLORED.get() {
        thread::yield_now();
    }
}

fn overwrite(store: &mut Store, number: u8) {
    let mut write = store.begin();
    for key in 0..KEYS {
        write.put(&[key], &[number; 700], 0).unwrap();
    }
    write.finish().unwrap();
    store.publish();
}

/// Every batch overwrites every key with its number: a view that shows two numbers is none.
fn one_schedule() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut store = Store::open(file, Options { reserve_bytes: 16 << 20, grow_bytes: 16 << 10 }).unwrap();
    overwrite(&mut store, 1);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = store.reader();
            thread::spawn(move || {
                let mut newest = 0;
                for _ in 0..3 {
                    let view = reader.view();
                    assert!(view.revision() >= newest, "a view goes back");
                    newest = view.revision();
                    let number = (newest - 1) as u8;
                    for key in 0..KEYS {
                        let key = [key];
                        let item = view.get(&key, 0).unwrap().expect("no key is ever deleted");
                        assert_eq!(item.value().unwrap(), [number; 700], "a view has changed");
                    }
                }
            })
        })
        .collect();
    store.stay_warm();
    store.defragment_begin().unwrap();
    for number in 2..6 {
        overwrite(&mut store, number);
        shorten(&mut store);
        let Some(checkpoint) = store.begin_checkpoint() else { continue };
        let running = thread::spawn(move || checkpoint.run(&mut |_| thread::yield_now()));
        overwrite_older(&mut store);
        let done = running.join().unwrap().unwrap();
        store.swap_begin(done);
        while store.swap_slice(2).unwrap() {
            store.publish();
        }
        store.publish();
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

/// A slice of defragmentation, which moves what another thread has read through a view of its own.
fn shorten(store: &mut Store) {
    let ahead = store.defragment_ahead();
    let reader = store.reader();
    let read = ahead.map(|ahead| thread::spawn(move || ahead.read(&reader.view(), 1 << 20)));
    store.defragment_slice(3).unwrap();
    store.publish();
    if let Some(read) = read {
        store.warmed(read.join().unwrap().unwrap());
    }
    store.defragment_slice(8).unwrap();
    store.publish();
}

/// Compacts beside the checkpoint, so that pages of history are taken back, too.
fn overwrite_older(store: &mut Store) {
    store.compact(store.revision() - 1).unwrap();
    while !store.compact_slice(5).unwrap().done {
        if let Some(ahead) = store.compaction_ahead() {
            let read = ahead.read(&store.reader().view(), 4096).unwrap();
            store.warmed(read);
        }
    }
    store.publish();
}

fn explore(schedules: u64) {
    EXPLORED.set(true);
    let mut config = shuttle::Config::new();
    // Pages are copied on the stack.
    config.stack_size = 1 << 20;
    let scheduler = shuttle::scheduler::RandomScheduler::new(schedules as usize);
    let runner = shuttle::Runner::new(scheduler, config);
    let explored = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runner.run(one_schedule)));
    EXPLORED.set(false);
    if let Err(panic) = explored {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn no_schedule_shows_a_view_anything_else() {
    explore(scaled(SCHEDULES));
    println!("{} schedules", scaled(SCHEDULES));
}

#[test]
fn reuse_under_a_reader_is_found_by_a_schedule() {
    replant(Some(Fault::Tree(Planted::ReuseUnderReader)));
    let explored = std::panic::catch_unwind(|| explore(SCHEDULES));
    replant(None);
    assert!(explored.is_err(), "a page reused under a view must be found");
}
