//! What history takes in the file, and what compaction gives back.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::sync::Arc;

use engine::{Options, OsFile, Sizes, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(Arc::new(OsFile::open(&dir.path().join("db")).unwrap()), Options::default()).unwrap()
}

/// Puts values of these lengths to keys below `keys`, a batch at a time; returns the values' bytes.
fn fill(store: &mut Store, keys: usize, lengths: impl Iterator<Item = usize>, rng: &mut ChaCha8Rng) -> u64 {
    let mut bytes = 0;
    for (number, length) in lengths.enumerate() {
        let mut write = store.begin();
        write.put(format!("key {:05}", rng.random_range(0..keys)).as_bytes(), &vec![7; length], 0).unwrap();
        write.finish().unwrap();
        bytes += length as u64;
        if number % 16 == 0 {
            store.publish();
        }
        if number % 5000 == 4999 {
            checkpoint(store);
        }
    }
    bytes
}

fn checkpoint(store: &mut Store) {
    store.publish();
    if let Some(checkpoint) = store.begin_checkpoint() {
        let done = checkpoint.run(&mut |_| ()).unwrap();
        store.end_checkpoint(done).unwrap();
        store.publish();
    }
}

/// The second one frees what the first no longer contains.
fn settle(store: &mut Store) -> Sizes {
    for round in 0..2 {
        let mut write = store.begin();
        write.put(b"round", &[round], 0).unwrap();
        write.finish().unwrap();
        checkpoint(store);
    }
    store.sizes()
}

#[test]
fn records_of_any_size_take_little_more_than_their_bytes() {
    for (name, lengths, most) in
        [("4 KiB", 4096..4097, 1.08), ("mixed", 0..20_000, 1.05), ("256 B", 256..257, 1.27)]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(&dir);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let sizes: Vec<_> = (0..4000).map(|_| rng.random_range(lengths.clone())).collect();
        let bytes = fill(&mut store, 500, sizes.into_iter(), &mut rng);
        let ratio = settle(&mut store).in_use_bytes as f64 / bytes as f64;
        println!("{name}: {ratio:.3}");
        // Keys, revisions and the key index are in it, too: some 50 bytes a record.
        assert!(ratio < most, "{name}: {ratio:.3}");
    }
}

#[test]
fn compaction_and_packing_leave_what_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(&dir);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let keys = 2000;
    for round in 0..8 {
        fill(&mut store, keys, std::iter::repeat_n(300, 10_000), &mut rng);
        store.compact(store.revision()).unwrap();
        while store.compaction_pending() {
            store.compact_slice(500).unwrap();
            store.publish();
        }
        let Sizes { in_use_bytes, live_bytes, .. } = settle(&mut store);
        // No extent has lost more than half, but for those that have lost records since.
        assert!(in_use_bytes < live_bytes * 22 / 10, "round {round}: {in_use_bytes} for {live_bytes}");
    }
    while !store.repack_slice(10, 100_000).unwrap().done {
        store.publish();
    }
    let Sizes { in_use_bytes, live_bytes, .. } = settle(&mut store);
    assert!(in_use_bytes * 10 < live_bytes * 13, "{in_use_bytes} for {live_bytes}");
    // And these are what they say: keys, values, 50 bytes for each, and pages that are not full.
    assert!(live_bytes < keys as u64 * 380 * 14 / 10, "{live_bytes} for {keys} keys of 300 bytes");
    assert_eq!(store.reader().view().audit().unwrap(), [""; 0]);
}
