//! The log under test: made once, used by all phases that need it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use measure::{Error, Result, Scratch, WalMethod};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wal::{Entry, HardState, Metadata, Method, OsIo, Start, Wal};

use super::RECORD;
use super::schedule::Waiting;
use super::series::Series;
use crate::disk::qualify::{Cost, Session};

/// Bytes a second that a point writes at most; it ends early on a disk that is faster.
pub(super) const MOST_A_SECOND: u64 = 300_000_000;
/// After so many bytes the log is told that what is older is not needed, as after a checkpoint.
const RELEASE_BYTES: u64 = 32 << 20;
/// The log's files at one time: the segment in use, the next one, those released last, and two spares.
const SEGMENTS: u64 = 6;
/// Records of a batch at most: what the server puts into one entry.
pub(super) const MOST_RECORDS: usize = (1 << 20) / (RECORD + 4);
/// Content that does not compress.
const NOISE_BYTES: usize = (1 << 20) + 61;

/// A log and what was seen of it since the run began.
pub(crate) struct Rig {
    log: Wal,
    index: u64,
    unreleased: u64,
    noise: Vec<u8>,
    cursor: usize,
    pub(crate) series: Series,
    /// Goes after the log.
    dir: Scratch,
}

/// What loads of so long a time write.
pub(crate) fn cost(time: Duration) -> Cost {
    Cost {
        written: (time.as_secs_f64() * MOST_A_SECOND as f64) as u64,
        at_once: SEGMENTS * wal::Options::default().segment_bytes,
        time,
    }
}

impl Rig {
    /// The session's; made when it is first asked for.
    pub(crate) fn of(session: &mut Session) -> Result<&mut Rig> {
        if session.rig.is_none() {
            let method = session.method();
            let dir = session.dir.fresh("log")?;
            session.rig = Some(Rig::create(dir, method, session.begun)?);
        }
        Ok(session.rig.as_mut().expect("it was made above"))
    }

    /// In an empty directory.
    fn create(dir: Scratch, method: Method, begun: Instant) -> Result<Rig> {
        let io = Arc::new(OsIo::new());
        let options = wal::Options { method, ..wal::Options::default() };
        let metadata = Metadata("graven-disk".into());
        let mut log = Wal::create(dir.path(), io, metadata, Start::default(), options)?;
        // What is measured is the commit, not how a young log makes its files.
        log.await_segment()?;
        let mut noise = vec![0; NOISE_BYTES];
        ChaCha8Rng::seed_from_u64(1).fill(&mut noise[..]);
        let series = Series::new(begun, dir.path());
        Ok(Rig { log, index: 0, unreleased: 0, noise, cursor: 0, series, dir })
    }

    /// How writes are made durable, and what was refused.
    pub(crate) fn method(&self) -> String {
        let chosen = self.log.stats().chosen;
        let name = WalMethod::from(chosen.method).name();
        match chosen.refused {
            Some(why) => format!("{name} ({why})"),
            None => name,
        }
    }

    /// Bytes written to the log, and durable writes.
    pub(super) fn written(&self) -> (u64, u64) {
        let stats = self.log.stats();
        (stats.bytes, stats.syncs)
    }

    /// Makes so many records durable with one write; how long that took by itself.
    pub(super) fn commit(&mut self, records: usize, waiting: &mut Waiting) -> Result<Duration> {
        let entry = Entry { index: self.index + 1, term: 1, kind: 0, data: self.records(records) };
        let hard_state = HardState { term: 1, vote: 1, commit: self.index };
        let bytes = entry.data.len() as u64;
        let began = Instant::now();
        let entries = std::slice::from_ref(&entry);
        self.log.append(&wal::Batch { entries, hard_state: Some(hard_state) }).map_err(failed)?;
        let took = began.elapsed();
        self.index += 1;
        self.series.note(began, took, bytes, waiting);
        self.unreleased += bytes;
        if self.unreleased >= RELEASE_BYTES {
            self.unreleased = 0;
            self.log.release_before(self.index)?;
        }
        Ok(took)
    }

    /// Waits until what earlier loads have left behind is done: the log's own upkeep, and what the file system has put off (freed
    /// space that it still has to give back).
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.log.settle().map_err(failed)?;
        settle_files(self.dir.path())
    }

    fn records(&mut self, count: usize) -> bytes::Bytes {
        let mut data = BytesMut::with_capacity(count * (RECORD + 4));
        for _ in 0..count {
            if self.cursor + RECORD > self.noise.len() {
                self.cursor = self.cursor % 61 + 1;
            }
            data.put_u32_le(RECORD as u32);
            data.put_slice(&self.noise[self.cursor..self.cursor + RECORD]);
            self.cursor += RECORD;
        }
        data.freeze()
    }
}

/// Waits until the file system that holds a directory has nothing left to write.
pub(crate) fn settle_files(dir: &Path) -> Result<()> {
    let opened = File::open(dir).map_err(Error::io("open", dir))?;
    rustix::fs::syncfs(opened).map_err(|error| Error::io("sync the file system of", dir)(error.into()))
}

fn failed(error: wal::Error) -> Error {
    match error {
        wal::Error::NoSegment { .. } => Error::Usage(format!("the disk is full: {error}")),
        other => Error::Wal(other),
    }
}
