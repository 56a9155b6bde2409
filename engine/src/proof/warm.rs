//! What slices of upkeep look at was read and verified before by somebody else: the writer verifies no page itself.

use std::cell::Cell;
use std::sync::Arc;

use engine::{Ahead, CompactError, Defragment, File, Store};

use super::disk::memory_file;
use super::script::options;

thread_local! {
    static VERIFIED: Cell<u64> = const { Cell::new(0) };
}

/// A page, or a run, is looked at for the first time on this thread.
pub(crate) fn verified() {
    VERIFIED.set(VERIFIED.get() + 1);
}

fn key(number: u64) -> Vec<u8> {
    format!("/registry/pods/{number:05}").into_bytes()
}

fn checkpoint(store: &mut Store) {
    if let Some(checkpoint) = store.begin_checkpoint() {
        store.end_checkpoint(checkpoint.run(&mut |_| ()).unwrap()).unwrap();
        store.publish();
    }
}

/// A history of some megabytes of which most is of no use, on disk.
fn history(file: &Arc<dyn File>) -> i64 {
    let mut store = Store::open(Arc::clone(file), options()).unwrap();
    for round in 0..6u64 {
        for number in 0..600 {
            let mut write = store.begin();
            if round > 0 && (number + round) % 5 == 0 {
                write.delete(&key(number)).unwrap();
            } else {
                write.put(&key(number), &vec![round as u8; (number * 7 % 900) as usize], 0).unwrap();
            }
            write.finish().unwrap();
        }
        store.publish();
        checkpoint(&mut store);
    }
    store.revision()
}

/// Everything that the slices do, with the file opened anew before each kind, so that nothing is verified.
struct Run {
    file: Arc<dyn File>,
    store: Store,
    warm: bool,
    /// Pages that the slices verified themselves.
    verified: u64,
    slices: u64,
}

impl Run {
    fn open(file: Arc<dyn File>, warm: bool) -> Run {
        let store = Store::open(Arc::clone(&file), options()).unwrap();
        let mut run = Run { file, store, warm, verified: 0, slices: 0 };
        run.begin();
        run
    }

    fn begin(&mut self) {
        if self.warm {
            self.store.stay_warm();
        }
    }

    fn reopen(&mut self) {
        self.store.publish();
        checkpoint(&mut self.store);
        self.store = Store::open(Arc::clone(&self.file), options()).unwrap();
        self.begin();
    }

    fn slice<T>(&mut self, slice: impl FnOnce(&mut Store) -> T) -> T {
        let before = VERIFIED.get();
        let result = slice(&mut self.store);
        self.verified += VERIFIED.get() - before;
        self.slices += 1;
        self.store.publish();
        result
    }

    /// On a thread of its own, as the server does it; a little at a time.
    fn read(&mut self, ahead: Option<Ahead>) {
        let Some(ahead) = ahead else { return };
        let reader = self.store.reader();
        let read = std::thread::spawn(move || ahead.read(&reader.view(), 40_000).unwrap());
        self.store.warmed(read.join().unwrap());
    }

    fn compact(&mut self, revision: i64) -> Result<(), CompactError> {
        self.store.compact(revision)?;
        self.store.publish();
        assert_eq!(self.store.compaction_is_cold(), self.warm);
        loop {
            let ahead = self.store.compaction_ahead();
            self.read(ahead);
            if self.slice(|store| store.compact_slice(50).unwrap()).done {
                return Ok(());
            }
        }
    }

    fn repack(&mut self) {
        assert_eq!(self.store.repack_is_cold(), self.warm);
        loop {
            let ahead = self.store.repack_ahead(5);
            self.read(ahead);
            if self.slice(|store| store.repack_slice(5, 30_000).unwrap()).done {
                return;
            }
        }
    }

    fn defragment(&mut self) {
        self.store.defragment_begin().unwrap();
        for _ in 0..10_000 {
            let ahead = self.store.defragment_ahead();
            self.read(ahead);
            match self.slice(|store| store.defragment_slice(20).unwrap()) {
                Defragment::More => {}
                Defragment::NeedsCheckpoint => checkpoint(&mut self.store),
                Defragment::Done { .. } => return,
            }
        }
        panic!("defragmenting does not end");
    }
}

/// Pages that slices verified, how many slices there were, and what the store is afterwards.
fn run(warm: bool) -> (u64, u64, (u32, u64)) {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let revision = history(&file);
    let mut run = Run::open(file, warm);
    run.compact(revision - 900).unwrap();
    run.compact(revision).unwrap();
    run.reopen();
    run.repack();
    // What was freed is free for the next checkpoint but one.
    run.reopen();
    run.reopen();
    run.defragment();
    let view = run.store.reader().view();
    assert_eq!(view.audit().unwrap(), Vec::<String>::new());
    let sizes = run.store.sizes();
    println!("warm {warm}: {} verified in {} slices, {sizes:?}", run.verified, run.slices);
    (run.verified, run.slices, (view.hash_all().unwrap(), sizes.live_bytes))
}

#[test]
fn slices_verify_nothing_that_was_read_before() {
    let (cold, _, same) = run(false);
    let (warm, slices, found) = run(true);
    assert_eq!(found.0, same.0, "the store's contents do not depend on it");
    assert!(found.1.abs_diff(same.1) < same.1 / 10, "nor does its size: {} and {}", found.1, same.1);
    assert!(cold > 50, "without it they do: {cold}");
    assert!(slices > 50, "{slices}");
    // A merge of two pages looks at a neighbor.
    assert!(warm * 20 < cold, "{warm} where {cold} are without");
}

#[test]
fn a_slice_does_nothing_before_something_was_read() {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let revision = history(&file);
    let mut run = Run::open(file, true);
    run.store.compact(revision).unwrap();
    run.store.publish();
    let slice = run.slice(|store| store.compact_slice(1000).unwrap());
    assert_eq!((slice.removed, slice.done, run.verified), (0, false, 0));
    // What was read for the compaction before says nothing about this one.
    let stale = run.store.compaction_ahead().unwrap().read(&run.store.reader().view(), 1 << 20).unwrap();
    let mut write = run.store.begin();
    write.put(b"new", b"", 0).unwrap();
    write.finish().unwrap();
    run.store.publish();
    run.store.compact(revision + 1).unwrap();
    run.store.warmed(stale);
    assert!(run.store.compaction_is_cold());
}
