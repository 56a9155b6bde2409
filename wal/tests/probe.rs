//! The probe over real files, over a disk where methods fail, and within its time.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{MemIo, dir};
use wal::{Access, Chosen, File, Io, Method, OsIo, probe};

#[test]
fn real_files() {
    let dir = tempfile::tempdir().unwrap();
    let probe = probe(dir.path(), &OsIo::new(), Instant::now);
    let methods: Vec<_> = probe.rows.iter().map(|row| row.method).collect();
    assert_eq!(methods, [Method::DirectDsync, Method::Dsync, Method::Fdatasync, Method::Ring]);
    for row in &probe.rows {
        if let Ok(timing) = &row.outcome {
            assert!(timing.writes > 0 && timing.median <= timing.p99, "{row:?}");
        }
    }
    let fdatasync = &probe.rows[2];
    assert!(fdatasync.outcome.is_ok(), "every file system can do this: {fdatasync:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays behind");
}

thread_local! {
    /// The time, which only writes move.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn now() -> Instant {
    let now = NOW.get().unwrap_or_else(Instant::now);
    NOW.set(Some(now));
    now
}

/// What a method's writes take, or how they fail.
#[derive(Clone, Copy)]
enum Behavior {
    Takes(u64),
    Fails,
    Short,
    FallsBack,
    NotOpened,
}

/// A disk in memory on which each method behaves as it is told.
struct Planted {
    disk: MemIo,
    behaviors: [(Method, Behavior); 4],
}

struct PlantedFile {
    file: Box<dyn File>,
    method: Method,
    behavior: Behavior,
}

impl Io for Planted {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>> {
        let behavior = self.behaviors.iter().find(|(m, _)| *m == method).unwrap().1;
        if access == Access::Write && matches!(behavior, Behavior::NotOpened) {
            return Err(io::Error::from_raw_os_error(1));
        }
        Ok(Box::new(PlantedFile { file: self.disk.open(path, access, method)?, method, behavior }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
}

impl File for PlantedFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.behavior {
            Behavior::Fails => return Err(io::Error::from_raw_os_error(5)),
            Behavior::Short => return Ok(512),
            Behavior::Takes(micros) => NOW.set(Some(now() + Duration::from_micros(micros))),
            Behavior::FallsBack | Behavior::NotOpened => {}
        }
        self.file.write_durable(offset, bytes)
    }
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }
    fn chosen(&self) -> Chosen {
        match self.behavior {
            Behavior::FallsBack => {
                Chosen { method: Method::Fdatasync, refused: Some("no such thing".into()) }
            }
            _ => Chosen { method: self.method, refused: None },
        }
    }
}

fn planted(direct: Behavior, dsync: Behavior, fdatasync: Behavior, ring: Behavior) -> Planted {
    Planted {
        disk: MemIo::default(),
        behaviors: [
            (Method::DirectDsync, direct),
            (Method::Dsync, dsync),
            (Method::Fdatasync, fdatasync),
            (Method::Ring, ring),
        ],
    }
}

#[test]
fn a_method_that_fails_is_a_row_that_says_why() {
    use Behavior::{Fails, FallsBack, NotOpened, Short, Takes};
    let found = probe(dir(), &planted(Takes(100), Takes(100), Takes(60), Takes(90)), now);
    assert_eq!(found.picked, Method::Fdatasync);
    let timing = found.rows[2].outcome.as_ref().unwrap();
    assert_eq!((timing.median, timing.writes), (Duration::from_micros(60), 48));

    let found = probe(dir(), &planted(Fails, Short, Takes(200), FallsBack), now);
    assert_eq!(found.picked, Method::Fdatasync);
    for (row, words) in [(0, "os error 5"), (1, "short write, 512 of 4096"), (3, "no such thing")] {
        let why = found.rows[row].outcome.as_ref().unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    let found = probe(dir(), &planted(NotOpened, NotOpened, NotOpened, NotOpened), now);
    assert_eq!(found.picked, Method::Auto);
    assert!(found.rows.iter().all(|row| row.outcome.as_ref().unwrap_err().contains("os error 1")));

    let full = planted(Takes(1), Takes(1), Takes(1), Takes(1));
    full.disk.set_full(true);
    let found = probe(dir(), &full, now);
    assert_eq!(found.picked, Method::Auto);
    assert!(found.rows.iter().all(|row| row.outcome.as_ref().unwrap_err().contains("os error 28")));
}

#[test]
fn a_slow_disk_ends_it_early() {
    use Behavior::Takes;
    let start = now();
    // Rounds of 32 ms.
    let found = probe(dir(), &planted(Takes(4000), Takes(4000), Takes(7000), Takes(1000)), now);
    let took = now() - start;
    assert!(took >= Duration::from_millis(250) && took <= Duration::from_millis(264), "{took:?}");
    assert_eq!(found.picked, Method::Ring);
    // So slow that it can't be told what is fastest.
    let found = probe(dir(), &planted(Takes(40_000), Takes(40_000), Takes(70_000), Takes(1000)), now);
    assert_eq!(found.picked, Method::Auto);
}
