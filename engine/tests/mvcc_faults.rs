//! A disk that fails at its n-th operation, for every n: the store stops, and what it had made durable is
//! enough to go on.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Applied, Error, File, KeyRange, Map, Options, OsFile, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Fails one operation that changes the file, having done half of it.
struct FailingFile {
    file: OsFile,
    operations: AtomicU64,
    fails_at: u64,
}

impl FailingFile {
    fn new(path: &Path, fails_at: u64) -> Arc<FailingFile> {
        let file = OsFile::open(path).unwrap();
        Arc::new(FailingFile { file, operations: AtomicU64::new(0), fails_at })
    }

    fn fails(&self) -> bool {
        self.operations.fetch_add(1, Ordering::Relaxed) + 1 == self.fails_at
    }
}

impl File for FailingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.fails() {
            self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(io::Error::other("planted"));
        }
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if self.fails() { Err(io::Error::other("planted")) } else { self.file.sync() }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if self.fails() { Err(io::Error::other("planted")) } else { self.file.set_len(bytes) }
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        self.file.map(reserve)
    }
}

/// An entry of the log.
enum Entry {
    Put(Vec<u8>, Vec<u8>, i64),
    Delete(Vec<u8>),
    Compact(i64),
}

fn log(entries: usize, rng: &mut ChaCha8Rng) -> Vec<Entry> {
    let mut revision = 1;
    let mut log = Vec::new();
    for _ in 0..entries {
        let key = format!("key {:02}", rng.random_range(0..20)).into_bytes();
        log.push(match rng.random_range(0..10) {
            // Not every entry makes a revision: some deletions find nothing. Half of them is always there.
            0 => Entry::Compact(revision / 2),
            1..=3 => Entry::Delete(key),
            _ => {
                revision += 1;
                let length = [5, 300, 6000][rng.random_range(0..3)];
                Entry::Put(key, vec![revision as u8; length], rng.random_range(0..3))
            }
        });
    }
    log
}

fn apply(store: &mut Store, log: &[Entry]) {
    let index = store.applied().index;
    match &log[index as usize] {
        Entry::Compact(revision) => {
            let _ = store.compact(*revision);
        }
        Entry::Put(key, value, lease) => {
            let mut write = store.begin();
            write.put(key, value, *lease).unwrap();
            write.finish().unwrap();
        }
        Entry::Delete(key) => {
            let mut write = store.begin();
            write.delete(key).unwrap();
            write.finish().unwrap();
        }
    }
    store.set_applied(Applied { index: index + 1, term: 1 });
    store.publish();
}

/// Applies the rest of the log with a slice of compaction after each entry and a checkpoint after every
/// few; returns the first storage error.
fn run(store: &mut Store, log: &[Entry]) -> Result<(), Error> {
    while store.applied().index < log.len() as u64 {
        apply(store, log);
        store.compact_slice(2)?;
        if store.applied().index.is_multiple_of(11) {
            store.publish();
            if let Some(checkpoint) = store.begin_checkpoint() {
                let applied = store.applied();
                store.end_checkpoint(checkpoint.run(&mut |_| ())?)?;
                assert_eq!(store.durable_applied(), applied);
            }
        }
    }
    Ok(())
}

/// Everything that a client could see, and the records that are left.
fn fingerprint(store: &mut Store) -> (Vec<u32>, Vec<u64>, Vec<Vec<u8>>, Vec<usize>) {
    while store.compaction_pending() {
        store.compact_slice(7).unwrap();
    }
    store.publish();
    let view = store.reader().view();
    let readable = || view.compact_revision().max(1)..=view.revision();
    let hashes = readable().map(|at| view.hash_kv(at).unwrap().hash).collect();
    let counts = readable().map(|at| view.count(&KeyRange::all(), at).unwrap()).collect();
    let history = view.changes(0).map(|change| change.unwrap().record.to_vec()).collect();
    let leases = (1..3).map(|lease| view.lease_keys(lease).unwrap().len()).collect();
    (hashes, counts, history, leases)
}

#[test]
fn a_fault_at_any_operation_loses_nothing_durable() {
    let seed = std::env::var("GRAVEN_MVCC_SEED").map_or(1, |text| text.parse().unwrap());
    println!("seed {seed}");
    let log = log(80, &mut ChaCha8Rng::seed_from_u64(seed));
    let dir = tempfile::tempdir().unwrap();
    let whole = FailingFile::new(&dir.path().join("whole"), 0);
    let mut store = Store::open(whole.clone(), Options::default()).unwrap();
    run(&mut store, &log).unwrap();
    let expected = fingerprint(&mut store);
    let operations = whole.operations.load(Ordering::Relaxed);
    assert!(operations > 20, "{operations} operations are no test");

    for fails_at in 1..=operations {
        let path = dir.path().join(format!("fails at {fails_at}"));
        let opened = Store::open(FailingFile::new(&path, fails_at), Options::default());
        let durable = match opened {
            Err(_) => 0,
            Ok(mut store) => {
                let error = run(&mut store, &log).expect_err("the fault is met");
                assert!(error.to_string().contains("planted"), "{error}");
                store.durable_applied().index
            }
        };
        let mut store = Store::open(FailingFile::new(&path, 0), Options::default())
            .unwrap_or_else(|error| panic!("after a fault at {fails_at}: {error}"));
        let applied = store.applied().index;
        assert!(applied >= durable, "fault at {fails_at}: {applied} applied, {durable} had been durable");
        run(&mut store, &log).unwrap();
        assert_eq!(fingerprint(&mut store), expected, "after a fault at {fails_at}");
        std::fs::remove_file(&path).unwrap();
    }
}
