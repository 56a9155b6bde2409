//! A kernel that denies io_uring, as most container runtimes make it: the log falls back, says so and works.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use wal::{Batch, Entry, Fill, Metadata, Method, Options, OsIo, Start, Upkeep, Wal};

const CHILD: &str = "GRAVEN_WAL_REFUSED_RING";
/// The number of `io_uring_setup`, the same on all architectures.
const IO_URING_SETUP: i64 = 425;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

#[test]
fn falls_back_where_the_ring_is_refused() {
    for errno in [EPERM, ENOSYS] {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
            .env(CHILD, format!("{errno} {}", dir.path().display()))
            .status()
            .unwrap();
        assert!(status.success(), "errno {errno}");
        assert!(dir.path().join("passed").exists(), "the child ran its test");
    }
}

/// Runs only as a child of the test above: the filter stays with the process.
#[test]
fn child() {
    let Ok(variable) = std::env::var(CHILD) else { return };
    let (errno, dir) = variable.split_once(' ').unwrap();
    let errno: u32 = errno.parse().unwrap();
    let dir = std::path::Path::new(dir);
    let filter = SeccompFilter::new(
        BTreeMap::from([(IO_URING_SETUP, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        TargetArch::try_from(std::env::consts::ARCH).unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();

    for method in [Method::Ring, Method::Auto] {
        let log = dir.join(format!("{method:?}"));
        std::fs::create_dir(&log).unwrap();
        let options = Options {
            segment_bytes: 8192,
            method,
            upkeep: Upkeep::Thread,
            fill: Fill::Allocate,
            ..Options::default()
        };
        let io = Arc::new(OsIo::new());
        let mut wal =
            Wal::create(&log, io.clone(), Metadata::default(), Start::default(), options.clone()).unwrap();
        let entries: Vec<Entry> = (1..=40)
            .map(|index| Entry { index, term: 1, kind: 0, data: Bytes::from(vec![7; 300]) })
            .collect();
        for entry in &entries {
            wal.append(&Batch { entries: std::slice::from_ref(entry), hard_state: None }).unwrap();
        }
        let chosen = wal.stats().chosen;
        assert_ne!(chosen.method, Method::Ring);
        if method == Method::Ring {
            let refused = chosen.refused.unwrap();
            assert!(
                refused.contains("io_uring") && refused.contains(&format!("(os error {errno})")),
                "{refused}"
            );
        }
        wal.close().unwrap();
        let (_, recovered) = Wal::open(&log, io, options).unwrap();
        assert_eq!(recovered.entries, entries);
    }
    std::fs::write(dir.join("passed"), "").unwrap();
}
