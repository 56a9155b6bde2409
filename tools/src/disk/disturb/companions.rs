//! Who else uses the disk.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use measure::{Aligned, Error, Result, Stop};
use rustix::fs::Advice;
use wal::{Access, Io, Method, OsIo};

/// A checkpoint's pieces, its rate, and the bytes after which it ends with a sync; as in the server.
const PIECE: usize = 256 << 10;
const RATE: f64 = 100e6;
/// A snapshot is sent no faster than a good network takes it; faster, the reader would rather be a test of the memory.
const READ_RATE: f64 = 500e6;
const CHECKPOINT: u64 = 16 << 20;
/// A pause that the disk has made by itself is not made up for beyond this.
const MOST_CREDIT: Duration = Duration::from_millis(50);
/// The file that is read, and the checkpoint's.
const FILE: u64 = 128 << 20;
/// What the neighbor appends, and where it begins its file anew.
const APPENDED: usize = 4096;
const NEIGHBORS_FILE: u64 = 16 << 20;
/// All files together.
pub(super) const AT_ONCE: u64 = FILE + CHECKPOINT + NEIGHBORS_FILE;

/// What they write in so long a time each.
pub(super) fn written(time: Duration) -> u64 {
    FILE + (time.as_secs_f64() * (RATE + 50e6)) as u64
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Checkpoint,
    Reader,
    Neighbor,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Checkpoint => "checkpoint",
            Kind::Reader => "reader",
            Kind::Neighbor => "neighbor",
        }
    }
}

/// One with its file.
pub(super) struct Companion {
    kind: Kind,
    path: PathBuf,
}

impl Companion {
    pub(super) const ALL: [Kind; 3] = [Kind::Checkpoint, Kind::Reader, Kind::Neighbor];

    /// Makes their files in a directory.
    pub(super) fn prepare(dir: &Path, stop: &Stop) -> Result<Vec<Companion>> {
        let all = Companion::ALL.map(|kind| Companion { kind, path: dir.join(kind.name()) });
        let sizes = [CHECKPOINT, FILE, 0];
        let io = OsIo::new();
        let piece = Aligned::new(PIECE);
        for (companion, size) in all.iter().zip(sizes).filter(|(_, size)| *size > 0) {
            let failed = |error| Error::io("write", &companion.path)(error);
            let mut file = io.open(&companion.path, Access::Create, Method::Auto).map_err(failed)?;
            file.allocate(size).map_err(failed)?;
            for offset in (0..size).step_by(PIECE) {
                stop.check()?;
                file.write(offset, piece.as_slice()).map_err(failed)?;
            }
            file.sync().map_err(failed)?;
        }
        Ok(all.into())
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Runs something while this one is at work; how many bytes a second it moved. It may look at how many that are.
    pub(super) fn beside<T>(&mut self, run: impl FnOnce(&AtomicU64) -> T) -> Result<(T, f64)> {
        let work = Work::default();
        let begun = Instant::now();
        let (result, worked) = thread::scope(|scope| {
            let working = scope.spawn(|| self.work(&work));
            let result = run(&work.moved);
            work.ended.store(true, Ordering::Relaxed);
            (result, working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        worked.map_err(Error::io("use", &self.path))?;
        Ok((result, work.moved.into_inner() as f64 / begun.elapsed().as_secs_f64()))
    }

    fn work(&self, work: &Work) -> io::Result<()> {
        match self.kind {
            Kind::Checkpoint => checkpoint(&self.path, work),
            Kind::Reader => read(&self.path, work),
            Kind::Neighbor => sync_all_the_time(&self.path, work),
        }
    }
}

/// Between a companion and whoever it accompanies.
#[derive(Default)]
struct Work {
    ended: AtomicBool,
    /// Bytes.
    moved: AtomicU64,
}

impl Work {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    /// How many bytes were moved before these.
    fn moved(&self, bytes: usize) -> u64 {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed)
    }
}

fn checkpoint(path: &Path, work: &Work) -> io::Result<()> {
    let mut file = OsIo::new().open(path, Access::Write, Method::Auto)?;
    let mut piece = Aligned::new(PIECE);
    piece.as_mut_slice().fill(0x5a);
    let (mut written, mut due) = (0, Instant::now());
    while work.goes_on() {
        file.write(written % CHECKPOINT, piece.as_slice())?;
        written = work.moved(PIECE) + PIECE as u64;
        if written.is_multiple_of(CHECKPOINT) {
            file.sync()?;
        }
        pause(&mut due, RATE);
    }
    Ok(())
}

/// Between two pieces, so that so many bytes a second are moved.
fn pause(due: &mut Instant, rate: f64) {
    let now = Instant::now();
    let earliest = now.checked_sub(MOST_CREDIT).unwrap_or(now);
    *due = (*due).max(earliest) + Duration::from_secs_f64(PIECE as f64 / rate);
    thread::sleep(due.saturating_duration_since(now));
}

fn read(path: &Path, work: &Work) -> io::Result<()> {
    let file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    let (mut read, mut due) = (0, Instant::now());
    while work.goes_on() {
        if read % FILE == 0 {
            // What is in memory would not be read from the disk. Where the kernel keeps it, the reader is a light one.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
        match file.read_at(&mut piece, read % FILE)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => read = work.moved(bytes) + bytes as u64,
        }
        pause(&mut due, READ_RATE);
    }
    Ok(())
}

fn sync_all_the_time(path: &Path, work: &Work) -> io::Result<()> {
    let mut file = File::create(path)?;
    let piece = [0x5a; APPENDED];
    let mut length = 0;
    while work.goes_on() {
        file.write_all(&piece)?;
        file.sync_all()?;
        work.moved(APPENDED);
        length += APPENDED as u64;
        if length >= NEIGHBORS_FILE {
            file = File::create(path)?;
            length = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_works_until_it_is_told_to_end() {
        let dir = tempfile::tempdir().unwrap();
        for mut companion in Companion::prepare(dir.path(), &Stop::default()).unwrap() {
            let begun = Instant::now();
            let first = |moved: &AtomicU64| {
                while moved.load(Ordering::Relaxed) == 0 {
                    assert!(begun.elapsed() < Duration::from_secs(60), "it does nothing");
                    thread::yield_now();
                }
            };
            let ((), moved) = companion.beside(first).unwrap();
            assert!(moved > 0.0, "{:?}", companion.kind());
        }
    }

    #[test]
    fn a_file_that_is_gone_is_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut companions = Companion::prepare(dir.path(), &Stop::default()).unwrap();
        std::fs::remove_file(dir.path().join("reader")).unwrap();
        let error = companions[1].beside(|_| ()).unwrap_err().to_string();
        assert!(error.contains("reader"), "{error}");
    }
}
