//! Logs that earlier releases wrote stay readable: `fixtures/` holds one of each format.
//!
//! `GRAVEN_WRITE_FIXTURE=1 cargo test -p graven-wal --test format` writes the current one, when there is a new format.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::entry;
use wal::{Batch, Fill, HardState, Metadata, Options, OsIo, SegmentContent, Start, Upkeep, Wal, inspect};

const LAST: u64 = 44;
/// Entries below were released.
const FIRST: u64 = 16;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn options() -> Options {
    Options { segment_bytes: 8192, upkeep: Upkeep::Inline, fill: Fill::Allocate, ..Options::default() }
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Several segments, one of them in a file that was used before, a replaced suffix, hard states, a seal.
fn write(dir: &Path) {
    let metadata = Metadata("cluster 1 member 2".into());
    let mut wal = Wal::create(dir, Arc::new(OsIo::new()), metadata, Start::default(), options()).unwrap();
    let put = |wal: &mut Wal, index: u64, term: u64| {
        let state = HardState { term, vote: 2, commit: index - 1 };
        let hard_state = index.is_multiple_of(5).then_some(state);
        let entries = [entry(index, term, (index as usize * 131) % 700)];
        wal.append(&Batch { entries: &entries, hard_state }).unwrap();
    };
    for index in 1..=30 {
        put(&mut wal, index, 1);
    }
    wal.release_before(20).unwrap();
    for index in 28..=LAST {
        put(&mut wal, index, 2);
    }
    wal.close().unwrap();
}

#[test]
fn version_1() {
    let fixture = fixture();
    if std::env::var_os("GRAVEN_WRITE_FIXTURE").is_some() {
        fs::create_dir_all(&fixture).unwrap();
        write(&fixture);
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture, dir.path());
    let walk = inspect(dir.path(), Arc::new(OsIo::new())).unwrap();
    let begun =
        walk.segments.iter().filter(|segment| matches!(segment.content, SegmentContent::Frames { .. }));
    assert!(begun.count() >= 2);
    for round in 0..2 {
        let (mut wal, recovered) = Wal::open(dir.path(), Arc::new(OsIo::new()), options()).unwrap();
        assert_eq!(recovered.metadata.0, "cluster 1 member 2");
        assert_eq!(recovered.start, Start { index: FIRST - 1, term: 1 });
        let state = HardState { term: 2, vote: 2, commit: 39 };
        assert_eq!((recovered.hard_state, recovered.torn_tail), (Some(state), None));
        let term = |index| if index < 28 { 1 } else { 2 };
        let bytes = |index: u64| if index > LAST { 10 } else { (index as usize * 131) % 700 };
        let expected: Vec<_> =
            (FIRST..=LAST + round).map(|index| entry(index, term(index), bytes(index))).collect();
        assert_eq!(recovered.entries, expected);
        // It goes on where it was.
        wal.append(&Batch { entries: &[entry(LAST + round + 1, 2, 10)], hard_state: None }).unwrap();
    }
}

/// What is written today is what was written then, byte by byte: a change of the format needs a new version and a new fixture.
#[test]
fn the_format_has_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let files = |dir: &Path| {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap())
            .map(|f| (f.file_name(), fs::read(f.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    assert!(files(dir.path()) == files(&fixture()), "another format than that of the fixture");
}
