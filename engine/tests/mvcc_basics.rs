//! The store's promises one by one, on small examples.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::sync::Arc;

use engine::{
    Applied, ChangeKind, CompactError, HashProgress, KeyRange, OsFile, Revision, RevisionError, Store,
    SystemBucket, View,
};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let file = OsFile::open(&dir.path().join("db")).unwrap();
    let store = Store::open(Arc::new(file), engine::Options::default()).unwrap();
    (dir, store)
}

fn put(store: &mut Store, key: &str, value: &str, lease: i64) -> i64 {
    let mut write = store.begin();
    write.put(key.as_bytes(), value.as_bytes(), lease).unwrap();
    write.finish().unwrap().revision
}

fn delete(store: &mut Store, key: &str) -> i64 {
    let mut write = store.begin();
    write.delete(key.as_bytes()).unwrap();
    write.finish().unwrap().revision
}

fn view(store: &mut Store) -> View {
    store.publish();
    store.reader().view()
}

fn value(view: &View, key: &str, at: i64) -> Option<String> {
    let item = view.get(key.as_bytes(), at).unwrap()?;
    Some(String::from_utf8(item.value().unwrap().to_vec()).unwrap())
}

#[test]
fn a_fresh_store_is_at_revision_one() {
    let (_dir, mut store) = store();
    assert_eq!((store.revision(), store.compact_revision(), store.applied()), (1, -1, Applied::default()));
    let view = view(&mut store);
    assert_eq!(view.count(&KeyRange::all(), 0).unwrap(), 0);
    assert_eq!(view.check(0), Ok(1));
    assert_eq!(view.check(2), Err(RevisionError::Future { current_revision: 1 }));
    assert_eq!(put(&mut store, "a", "1", 0), 2);
}

#[test]
fn hashes_are_those_of_etcd() {
    let (_dir, mut store) = store();
    assert_eq!(view(&mut store).hash_kv(0).unwrap().hash, 1084519789);
    put(&mut store, "test-key", "test-value", 1);
    let hash = view(&mut store).hash_kv(0).unwrap();
    assert_eq!((hash.hash, hash.revision, hash.compact_revision), (645561629, 2, -1));
}

#[test]
fn versions_count_puts_of_a_generation() {
    let (_dir, mut store) = store();
    put(&mut store, "k", "1", 0);
    put(&mut store, "k", "2", 0);
    delete(&mut store, "k");
    put(&mut store, "k", "4", 0);
    let view = view(&mut store);
    let heads: Vec<_> = (1..=5)
        .map(|at| {
            view.get(b"k", at).unwrap().map(|item| (item.head.create, item.head.modified, item.head.version))
        })
        .collect();
    assert_eq!(heads, [None, Some((2, 2, 1)), Some((2, 3, 2)), None, Some((5, 5, 1))]);
}

#[test]
fn a_write_sees_itself_and_nobody_else_does() {
    let (_dir, mut store) = store();
    put(&mut store, "a", "1", 0);
    store.publish();
    let reader = store.reader();
    let mut write = store.begin();
    assert_eq!((write.start_revision(), write.current_revision()), (2, 2));
    write.put(b"b", b"2", 0).unwrap();
    assert!(write.delete(b"a").unwrap() && !write.delete(b"a").unwrap());
    assert_eq!(write.current_revision(), 3);
    assert!(write.view_current().get(b"a", 0).unwrap().is_none());
    assert!(write.view_current().get(b"a", 2).unwrap().is_some());
    assert_eq!(write.view_current().count(&KeyRange::all(), 0).unwrap(), 1);
    let finished = write.finish().unwrap();
    let changes: Vec<_> = finished.changes.iter().map(|change| (change.revision, change.kind)).collect();
    assert_eq!(changes, [(Revision::new(3, 0), ChangeKind::Put), (Revision::new(3, 1), ChangeKind::Delete)]);
    assert_eq!(finished.changes[1].record, &b"\x0a\x01a\x18\x03"[..]);
    assert_eq!(finished.changes[1].prev.map(|head| head.modified), Some(2));
    assert_eq!(reader.view().revision(), 2);
    assert!(reader.view().get(b"b", 0).unwrap().is_none());
    store.publish();
    assert_eq!(reader.view().revision(), 3);
    assert_eq!(value(&reader.view(), "b", 0).as_deref(), Some("2"));
}

#[test]
fn a_write_that_changes_nothing_takes_no_revision() {
    let (_dir, mut store) = store();
    assert_eq!(delete(&mut store, "missing"), 1);
    assert_eq!(put(&mut store, "a", "", 0), 2);
}

#[test]
#[should_panic(expected = "dropped unfinished")]
fn half_a_write_is_never_published() {
    let (_dir, mut store) = store();
    store.begin().put(b"a", b"1", 0).unwrap();
    store.publish();
}

#[test]
fn the_longest_key_fits_and_a_longer_one_changes_nothing() {
    let (_dir, mut store) = store();
    let longest = "k".repeat(engine::MAX_KEY_BYTES);
    assert_eq!(put(&mut store, &longest, "1", 7), 2);
    let longer = longest.clone() + "k";
    let mut write = store.begin();
    assert!(matches!(write.put(longer.as_bytes(), b"", 0), Err(engine::Error::Limit { .. })));
    assert!(!write.delete(longer.as_bytes()).unwrap());
    assert_eq!(write.finish().unwrap().revision, 2);
    let view = view(&mut store);
    assert!(view.get(longer.as_bytes(), 0).unwrap().is_none());
    assert_eq!(view.lease_keys(7).unwrap(), std::slice::from_ref(&longest));
    let range = KeyRange::from_etcd(longest.into(), longer.into());
    assert_eq!(view.count(&range, 0).unwrap(), 1);
}

#[test]
fn leases_follow_their_keys() {
    let (_dir, mut store) = store();
    put(&mut store, "b", "", 7);
    put(&mut store, "a", "", 7);
    put(&mut store, "c", "", 8);
    assert_eq!(view(&mut store).lease_keys(7).unwrap(), ["a", "b"]);
    put(&mut store, "a", "", 8);
    put(&mut store, "b", "", 0);
    assert_eq!(view(&mut store).lease_keys(7).unwrap(), [""; 0]);
    delete(&mut store, "c");
    assert_eq!(view(&mut store).lease_keys(8).unwrap(), ["a"]);
}

#[test]
fn compaction_hides_at_once_and_drops_in_slices() {
    let (_dir, mut store) = store();
    for revision in 2..=6 {
        put(&mut store, "k", &revision.to_string(), 0);
    }
    delete(&mut store, "k");
    assert_eq!(store.compact(8), Err(CompactError::Future));
    store.compact(5).unwrap();
    assert_eq!(store.compact(5), Err(CompactError::Compacted));
    let before = view(&mut store);
    assert_eq!(before.check(4), Err(RevisionError::Compacted { compact_revision: 5 }));
    let hash = before.hash_kv(0).unwrap();
    let mut removed = 0;
    while store.compaction_pending() {
        removed += store.compact_slice(1).unwrap().removed;
    }
    assert_eq!(removed, 3);
    let after = view(&mut store);
    assert_eq!(after.hash_kv(0).unwrap(), hash);
    assert_eq!([5, 6, 7].map(|at| value(&after, "k", at)), [Some("5".into()), Some("6".into()), None]);
    let changes: Vec<_> = after.changes(0).map(|change| change.unwrap().revision.main).collect();
    assert_eq!(changes, [5, 6, 7]);
}

#[test]
fn a_tombstone_at_the_compact_revision_stays_until_the_next() {
    let (_dir, mut store) = store();
    put(&mut store, "k", "1", 0);
    delete(&mut store, "k");
    store.compact(3).unwrap();
    assert_eq!(store.compact_slice(100).unwrap().removed, 1);
    assert_eq!(view(&mut store).changes(0).count(), 1);
    put(&mut store, "other", "1", 0);
    store.compact(4).unwrap();
    assert_eq!(store.compact_slice(100).unwrap().removed, 1);
    assert_eq!(view(&mut store).changes(0).count(), 1);
}

#[test]
fn system_buckets_keep_what_they_are_given() {
    let (_dir, mut store) = store();
    store.system_put(SystemBucket::Lease, b"2", b"two").unwrap();
    store.system_put(SystemBucket::Lease, b"1", b"one").unwrap();
    store.system_put(SystemBucket::Alarm, b"1", b"alarm").unwrap();
    let view = view(&mut store);
    assert_eq!(view.system_get(SystemBucket::Lease, b"2").unwrap(), Some(&b"two"[..]));
    let lease = view.system_range(SystemBucket::Lease).unwrap();
    assert_eq!(lease, [("1".into(), "one".into()), ("2".into(), "two".into())]);
    assert!(store.system_delete(SystemBucket::Lease, b"1").unwrap());
    assert!(!store.system_delete(SystemBucket::Lease, b"1").unwrap());
    assert_eq!(store.system_get(SystemBucket::Lease, b"1").unwrap(), None);
}

/// That no checkpoint begins may mean that there is nothing to store, or that it can't be stored.
#[test]
fn what_is_stored_is_told_from_what_is_not() {
    let (_dir, mut store) = store();
    assert!(store.is_stored(), "an empty store is in its file");
    put(&mut store, "k", "v", 0);
    assert!(!store.is_stored() && store.begin_checkpoint().is_none(), "it is not published");
    store.publish();
    assert!(!store.is_stored());
    let checkpoint = store.begin_checkpoint().unwrap();
    assert!(!store.is_stored() && store.begin_checkpoint().is_none(), "one is under way");
    let done = checkpoint.run(&mut |_| ()).unwrap();
    store.end_checkpoint(done).unwrap();
    store.publish();
    assert!(store.is_stored() && store.begin_checkpoint().is_none());
    put(&mut store, "k", "w", 0);
    store.publish();
    assert!(!store.is_stored());
}

#[test]
fn older_views_are_known_as_long_as_somebody_holds_them() {
    let (_dir, mut store) = store();
    let first = view(&mut store);
    assert_eq!(store.held_views().count(), 0, "the newest hinders nobody");
    put(&mut store, "a", "1", 0);
    let (second, again) = (view(&mut store), first.clone());
    put(&mut store, "a", "2", 0);
    store.publish();
    let revisions = |store: &Store| store.held_views().map(|held| held.revision).collect::<Vec<_>>();
    assert_eq!(revisions(&store), [1, 2]);
    let number = store.held_views().next().unwrap().number;
    drop(first);
    assert_eq!(store.held_views().next().unwrap().number, number, "it has two holders");
    drop((again, second));
    assert_eq!(revisions(&store), [] as [i64; 0]);
}

#[test]
fn a_hash_may_be_made_in_slices_of_newer_and_newer_views() {
    let (_dir, mut store) = store();
    for at in 0..20 {
        put(&mut store, &format!("k{}", at % 5), &at.to_string(), 0);
    }
    delete(&mut store, "k1");
    store.compact(8).unwrap();
    while !store.compact_slice(100).unwrap().done {}
    let first = view(&mut store);
    let (whole, at_compaction) = (first.hash_kv(15).unwrap(), first.hash_at_compaction(15).unwrap());
    let mut walk = first.hash_begin(15).unwrap();
    let mut held = first.hash_begin_at_compaction(15).unwrap();
    drop(first);
    let mut slices = 0;
    let found = loop {
        put(&mut store, "k2", "later", 0);
        slices += 1;
        match view(&mut store).hash_slice(&mut walk, 2).unwrap() {
            HashProgress::More => {}
            done => break done,
        }
    };
    assert_eq!(found, HashProgress::Done(whole));
    assert!(slices > 3, "{slices}");
    // A compaction that nobody held back overtakes the one and not the other.
    store.compact(15).unwrap();
    let mut overtaken = walk;
    assert_eq!(view(&mut store).hash_slice(&mut overtaken, 2).unwrap(), HashProgress::Overtaken);
    assert_eq!(view(&mut store).hash_slice(&mut held, 100).unwrap(), HashProgress::Done(at_compaction));
}
