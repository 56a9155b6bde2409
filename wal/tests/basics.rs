//! What an append promises, over real files and every method.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use wal::{Batch, Entry, Error, Fill, HardState, Metadata, Method, Options, OsIo, Start, Upkeep, Wal};

const METHODS: [Method; 5] =
    [Method::Auto, Method::Ring, Method::DirectDsync, Method::Dsync, Method::Fdatasync];

fn options(method: Method) -> Options {
    Options {
        segment_bytes: 16 << 10,
        method,
        upkeep: Upkeep::Inline,
        fill: Fill::Allocate,
        ..Options::default()
    }
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let data: Vec<u8> = (0..bytes).map(|i| (index as usize * 31 + i) as u8).collect();
    Entry { index, term, kind: (index % 3) as u8, data: Bytes::from(data) }
}

fn create(dir: &Path, options: Options) -> Wal {
    let metadata = Metadata(Bytes::from_static(b"cluster 1 member 2"));
    Wal::create(dir, Arc::new(OsIo::new()), metadata, Start::default(), options).unwrap()
}

fn put(wal: &mut Wal, entries: &[Entry]) {
    wal.append(&Batch { entries, hard_state: None }).unwrap();
}

#[test]
fn entries_hard_state_and_metadata_come_back() {
    for method in METHODS {
        let dir = tempfile::tempdir().unwrap();
        let mut wal = create(dir.path(), options(method));
        let mut expected = Vec::new();
        for index in 1..=200 {
            let entries = [entry(index, 1 + index / 50, index as usize * 7 % 900)];
            let hard_state =
                (index % 10 == 0).then_some(HardState { term: 1 + index / 50, vote: 3, commit: index - 1 });
            wal.append(&Batch { entries: &entries, hard_state }).unwrap();
            expected.extend(entries);
        }
        assert!(wal.stats().rotations > 4, "{method:?}");
        drop(wal);
        for _ in 0..2 {
            let (wal, recovered) = Wal::open(dir.path(), Arc::new(OsIo::new()), options(method)).unwrap();
            assert_eq!(recovered.entries, expected, "{method:?}");
            assert_eq!(recovered.hard_state, Some(HardState { term: 5, vote: 3, commit: 199 }));
            assert_eq!(recovered.metadata.0, "cluster 1 member 2");
            assert_eq!(recovered.torn_tail, None);
            assert_eq!((wal.first_index(), wal.last_index()), (1, 200));
        }
    }
}

#[test]
fn a_later_frame_replaces_a_conflicting_suffix() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = create(dir.path(), options(Method::Auto));
    put(&mut wal, &[entry(1, 1, 10), entry(2, 1, 20), entry(3, 1, 30)]);
    put(&mut wal, &[entry(2, 2, 40)]);
    assert_eq!(wal.last_index(), 2);
    let error = wal.append(&Batch { entries: &[entry(4, 2, 1)], hard_state: None }).unwrap_err();
    assert!(matches!(error, Error::Order { found: 4, lowest: 1, highest: 3 }), "{error}");
    put(&mut wal, &[entry(3, 2, 50)]);
    drop(wal);
    let (_, recovered) = Wal::open(dir.path(), Arc::new(OsIo::new()), options(Method::Auto)).unwrap();
    assert_eq!(recovered.entries, [entry(1, 1, 10), entry(2, 2, 40), entry(3, 2, 50)]);
}

#[test]
fn released_segments_are_used_again_and_the_hard_state_stays() {
    for upkeep in [Upkeep::Inline, Upkeep::Thread] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { upkeep, ..options(Method::Auto) };
        let mut wal = create(dir.path(), options.clone());
        let state = HardState { term: 1, vote: 1, commit: 0 };
        wal.append(&Batch { entries: &[], hard_state: Some(state) }).unwrap();
        for index in 1..=400 {
            put(&mut wal, &[entry(index, 1, 300)]);
            if index % 50 == 0 {
                wal.release_before(index - 20).unwrap();
            }
        }
        // The last release is recorded by the next frame, which is this seal.
        wal.seal().unwrap();
        assert!(wal.first_index() > 300);
        let first = wal.first_index();
        let stats = wal.stats();
        assert_eq!(stats.upkeep_failures, 0);
        assert_eq!(stats.entries, 400);
        drop(wal);
        let files = std::fs::read_dir(dir.path()).unwrap().count() as u64;
        assert!(files <= stats.segments + 1 + 2 + 1, "{files} files for {} segments", stats.segments);
        let (wal, recovered) = Wal::open(dir.path(), Arc::new(OsIo::new()), options).unwrap();
        assert_eq!(wal.first_index(), first);
        assert_eq!(recovered.start, Start { index: first - 1, term: 1 });
        assert_eq!(recovered.entries, (first..=400).map(|index| entry(index, 1, 300)).collect::<Vec<_>>());
        assert_eq!(recovered.hard_state, Some(state));
    }
}

#[test]
fn refusals_leave_the_log_usable() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Wal::open(dir.path(), Arc::new(OsIo::new()), options(Method::Auto)).err().unwrap();
    assert!(matches!(missing, Error::NotFound { .. }));
    let mut wal = create(dir.path(), options(Method::Auto));
    let again = Wal::create(
        dir.path(),
        Arc::new(OsIo::new()),
        Metadata::default(),
        Start::default(),
        options(Method::Auto),
    );
    assert!(matches!(again.err().unwrap(), Error::Exists { .. }));
    let huge = wal.append(&Batch { entries: &[entry(1, 1, 20_000)], hard_state: None }).unwrap_err();
    assert!(matches!(huge, Error::TooLarge { .. }) && !huge.is_fatal(), "{huge}");
    put(&mut wal, &[entry(1, 1, 1)]);
    wal.seal().unwrap();
    let syncs = wal.stats().syncs;
    wal.seal().unwrap();
    assert_eq!(wal.stats().syncs, syncs, "sealing twice writes once");
    wal.close().unwrap();
}
