//! The read-only look at a file says what the store said, changes nothing, and takes nothing else for a store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;

use engine::{Applied, Error, Options, OsFile, Store};

fn checkpoint(store: &mut Store) {
    store.publish();
    let done = store.begin_checkpoint().unwrap().run(&mut |_| {}).unwrap();
    store.end_checkpoint(done).unwrap();
}

#[test]
fn shows_what_the_store_had() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut store = Store::open(Arc::new(OsFile::open(&path).unwrap()), Options::default()).unwrap();
    for round in 1..=3 {
        for key in 0..50 {
            let mut write = store.begin();
            write.put(format!("{key}").as_bytes(), &vec![round; 700 * usize::from(round)], 0).unwrap();
            write.finish().unwrap();
        }
        store.set_applied(Applied { index: u64::from(round) * 50, term: 2 });
        if round == 2 {
            store.compact(40).unwrap();
        }
        checkpoint(&mut store);
    }
    let (revision, sizes) = (store.revision(), store.sizes());
    drop(store);
    let before = fs::read(&path).unwrap();

    let file = Arc::new(OsFile::open_read_only(&path).unwrap());
    let found = engine::inspect(&*file).unwrap();
    let newest = *found.newest().unwrap();
    assert_eq!((newest.generation, newest.revision, newest.compact_revision), (3, revision, 40));
    assert_eq!((newest.applied, newest.compaction_pending), (Applied { index: 150, term: 2 }, true));
    assert_eq!(found.metas[0].as_ref().unwrap().applied.index, 100);
    assert_eq!(found.file_bytes, sizes.file_bytes);
    let report = found.verdict.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.buckets["keys"].entries, 50);
    assert!(report.holes.longest <= report.free_pages && report.holes.count <= report.free_pages);
    for bucket in report.buckets.values() {
        assert!(bucket.bytes <= bucket.pages * 4096, "{bucket:?}");
    }
    assert_eq!(engine::audit(file).unwrap(), [""; 0]);
    assert!(fs::read(&path).unwrap() == before, "the file changed");
}

#[test]
fn a_short_file_of_something_else_is_not_taken_for_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    for text in ["dear diary", &"x".repeat(4096), &"y".repeat(5000)] {
        fs::write(&path, text).unwrap();
        let opened = Store::open(Arc::new(OsFile::open(&path).unwrap()), Options::default());
        assert!(matches!(opened.err(), Some(Error::Foreign(_))), "{} bytes", text.len());
        let looked = OsFile::open_read_only(&path).unwrap();
        assert!(engine::inspect(&looked).unwrap().verdict.is_err() && engine::applied(&looked).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, "").unwrap();
    assert_eq!(engine::audit(Arc::new(OsFile::open_read_only(&path).unwrap())).unwrap(), [""; 0]);
    assert_eq!(fs::read(&path).unwrap(), b"");
}
