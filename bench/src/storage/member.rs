//! A member without network and raft: the log and the engine, driven as the server drives them.
//!
//! One thread commits: it appends a batch to the log with one durable write, applies it, publishes a view, and does a
//! slice of upkeep before the next batch. A second thread writes checkpoints. When a checkpoint is due, how much a slice
//! may do and when the log is released follow `server/src/apply/maintain.rs`, so that what is measured is what runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::{Applied, Checkpoint, CheckpointDone, OsFile, Reader, Sizes, Store};
use wal::{Entry, HardState, Metadata, OsIo, Start, Wal};

use super::entry::{self, Batch, Change};
use crate::error::{Error, Result};

/// How a member is made.
#[derive(Clone, Debug)]
pub(crate) struct MemberOptions {
    pub(crate) wal: wal::Options,
    pub(crate) policy: Policy,
}

/// When the state is brought to disk; the server's own defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) dirty_bytes: usize,
    pub(crate) entries: u64,
    pub(crate) entry_spacing: Duration,
    pub(crate) interval: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            dirty_bytes: 64 << 20,
            entries: 10_000,
            entry_spacing: Duration::from_secs(5),
            interval: Duration::from_secs(60),
        }
    }
}

/// How long a slice of compaction may keep the commits.
const SLICE: Duration = Duration::from_millis(1);
/// Records in the first slice; later ones are sized by how long it took.
const FIRST_SLICE_RECORDS: usize = 256;
/// Entries that are applied between two views while the log is replayed.
const REPLAY_ENTRIES: usize = 64;
const TERM: u64 = 1;

pub(crate) struct Member {
    store: Store,
    wal: Wal,
    index: u64,
    policy: Policy,
    writer: Writer,
    last_checkpoint: Instant,
    slice_records: usize,
    last_seen: u64,
    counters: Counters,
}

/// What upkeep has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) checkpoints: u64,
    /// Records that compaction has dropped.
    pub(crate) dropped: u64,
    /// The longest turn of upkeep.
    pub(crate) longest_turn: Duration,
}

/// What opening took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opened {
    /// The engine's file, up to the first view.
    pub(crate) engine: Duration,
    /// Reading and checking the log's segments.
    pub(crate) log: Duration,
    /// Applying what the last checkpoint did not have.
    pub(crate) replay: Duration,
    /// Changes applied by it.
    pub(crate) changes: u64,
}

impl Member {
    /// A new one in an empty directory.
    pub(crate) fn create(dir: &Path, options: MemberOptions) -> Result<Member> {
        let log_dir = dir.join("wal");
        std::fs::create_dir(&log_dir).map_err(Error::io("create", &log_dir))?;
        let io = Arc::new(OsIo::new());
        let metadata = Metadata("graven-bench".into());
        let wal = Wal::create(&log_dir, io, metadata, Start::default(), options.wal)?;
        Member::with(open_store(dir)?, wal, 0, options.policy)
    }

    /// One that was there before, closed or killed.
    pub(crate) fn open(dir: &Path, options: MemberOptions) -> Result<(Member, Opened)> {
        let begun = Instant::now();
        let store = open_store(dir)?;
        let engine = begun.elapsed();
        let (wal, recovered) = Wal::open(&dir.join("wal"), Arc::new(OsIo::new()), options.wal)?;
        let log = begun.elapsed() - engine;
        let mut member = Member::with(store, wal, recovered.start.index, options.policy)?;
        let applied = member.store.applied().index;
        let mut changes = 0;
        for (number, entry) in recovered.entries.into_iter().filter(|entry| entry.index > applied).enumerate()
        {
            changes += member.apply(entry)? as u64;
            if number % REPLAY_ENTRIES == REPLAY_ENTRIES - 1 {
                member.store.publish();
            }
        }
        member.store.publish();
        member.index = member.wal.last_index();
        let replay = begun.elapsed() - engine - log;
        Ok((member, Opened { engine, log, replay, changes }))
    }

    fn with(store: Store, wal: Wal, index: u64, policy: Policy) -> Result<Member> {
        let last_seen = store.applied().index;
        Ok(Member {
            store,
            wal,
            index,
            policy,
            writer: Writer::start()?,
            last_checkpoint: Instant::now(),
            slice_records: FIRST_SLICE_RECORDS,
            last_seen,
            counters: Counters::default(),
        })
    }

    /// Makes a batch durable, applies it and shows it to readers; the batch is empty afterwards.
    pub(crate) fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        if batch.len() == 0 {
            return Ok(());
        }
        let entry = Entry { index: self.index + 1, term: TERM, kind: 0, data: batch.finish() };
        let hard_state = HardState { term: TERM, vote: 1, commit: self.index };
        let entries = std::slice::from_ref(&entry);
        self.wal.append(&wal::Batch { entries, hard_state: Some(hard_state) })?;
        self.index = entry.index;
        self.apply(entry)?;
        self.store.publish();
        Ok(())
    }

    fn apply(&mut self, entry: Entry) -> Result<usize> {
        let store = &mut self.store;
        let count = entry::for_each(entry.data, |change| {
            let mut write = store.begin();
            match change {
                Change::Put { key, value } => drop(write.put(&key, &value, 0)?),
                Change::Delete { key } => drop(write.delete(&key)?),
            }
            write.finish()?;
            Ok(())
        })?;
        store.set_applied(Applied { index: entry.index, term: entry.term });
        Ok(count)
    }

    /// One turn of upkeep, at most about a millisecond; whether there is more to do at once.
    pub(crate) fn upkeep(&mut self) -> Result<bool> {
        let begun = Instant::now();
        let mut released = false;
        while let Some(done) = self.writer.done()? {
            self.end_checkpoint(done)?;
            released = true;
        }
        let index = self.store.applied().index;
        let idle = std::mem::replace(&mut self.last_seen, index) == index;
        let mut again = false;
        if self.store.compaction_pending() {
            again = self.compact_slice()?;
        } else if idle || released {
            again = self.store.release_memory();
        }
        if self.checkpoint_is_due(begun) {
            self.begin_checkpoint(begun);
        }
        self.counters.longest_turn = self.counters.longest_turn.max(begun.elapsed());
        Ok(again)
    }

    fn compact_slice(&mut self) -> Result<bool> {
        let begun = Instant::now();
        let slice = self.store.compact_slice(self.slice_records)?;
        let took = begun.elapsed();
        self.counters.dropped += slice.removed as u64;
        if took > SLICE {
            self.slice_records = (self.slice_records / 2).max(16);
        } else if took < SLICE / 2 {
            self.slice_records = (self.slice_records * 2).min(1 << 16);
        }
        self.store.publish();
        Ok(!slice.done)
    }

    fn checkpoint_is_due(&self, now: Instant) -> bool {
        if self.writer.is_busy() {
            return false;
        }
        let pressure = self.store.checkpoint_due();
        let since = now.saturating_duration_since(self.last_checkpoint);
        pressure.dirty_bytes >= self.policy.dirty_bytes
            || (pressure.entries >= self.policy.entries && since >= self.policy.entry_spacing)
            || (pressure.entries > 0 && since >= self.policy.interval)
    }

    fn begin_checkpoint(&mut self, now: Instant) {
        self.last_checkpoint = now;
        if let Some(checkpoint) = self.store.begin_checkpoint() {
            self.writer.write(checkpoint);
        }
    }

    fn end_checkpoint(&mut self, done: CheckpointDone) -> Result<()> {
        self.store.end_checkpoint(done)?;
        self.store.publish();
        self.counters.checkpoints += 1;
        self.wal.release_before(self.store.durable_applied().index + 1)?;
        Ok(())
    }

    /// Makes `revision` the oldest that can be read; the rest follows in slices of upkeep.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<()> {
        self.store.compact(revision).map_err(|error| Error::Wrong(format!("compaction: {error}")))
    }

    /// Whether compaction has slices left to do.
    pub(crate) fn is_compacting(&self) -> bool {
        self.store.compaction_pending()
    }

    /// Brings everything to disk and finishes all upkeep, without regard for anybody who waits.
    pub(crate) fn settle(&mut self) -> Result<()> {
        while self.store.compaction_pending() {
            self.compact_slice()?;
        }
        self.store.publish();
        // The first writes the state, the second what ending the first has freed.
        self.checkpoint()?;
        self.checkpoint()?;
        while self.store.release_memory() {}
        Ok(self.wal.seal()?)
    }

    /// A checkpoint of all there is, now.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        if let Some(done) = self.writer.wait()? {
            self.end_checkpoint(done)?;
        }
        self.begin_checkpoint(Instant::now());
        if let Some(done) = self.writer.wait()? {
            self.end_checkpoint(done)?;
        }
        Ok(())
    }

    /// Ends the log; the engine's file keeps what the last checkpoint gave it.
    pub(crate) fn close(self) -> Result<()> {
        Ok(self.wal.close()?)
    }

    /// Where readers find the newest view.
    pub(crate) fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.store.revision()
    }

    /// Of the engine's file.
    pub(crate) fn sizes(&self) -> Sizes {
        self.store.sizes()
    }

    /// Of upkeep.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }
}

/// The engine's file of a member.
pub(crate) fn engine_file(dir: &Path) -> PathBuf {
    dir.join("db")
}

fn open_store(dir: &Path) -> Result<Store> {
    let path = engine_file(dir);
    let file = OsFile::open(&path).map_err(Error::io("open", &path))?;
    Ok(Store::open(Arc::new(file), engine::Options::default())?)
}

/// The thread that writes checkpoints.
struct Writer {
    jobs: Option<Sender<Checkpoint>>,
    results: Receiver<std::result::Result<CheckpointDone, engine::Error>>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start() -> Result<Writer> {
        let (jobs, work) = channel::<Checkpoint>();
        let (report, results) = channel();
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                for checkpoint in work {
                    if report.send(checkpoint.run()).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Error::Wrong(format!("no thread for checkpoints: {error}")))?;
        Ok(Writer { jobs: Some(jobs), results, busy: false, thread: Some(thread) })
    }

    fn is_busy(&self) -> bool {
        self.busy
    }

    fn write(&mut self, checkpoint: Checkpoint) {
        let jobs = self.jobs.as_ref().expect("only dropping takes it");
        self.busy = jobs.send(checkpoint).is_ok();
    }

    /// What is finished, if anything is.
    fn done(&mut self) -> Result<Option<CheckpointDone>> {
        let Ok(result) = self.results.try_recv() else { return Ok(None) };
        self.busy = false;
        Ok(Some(result?))
    }

    /// Waits for what is being written.
    fn wait(&mut self) -> Result<Option<CheckpointDone>> {
        if !self.busy {
            return Ok(None);
        }
        let result =
            self.results.recv().map_err(|_| Error::Wrong("the checkpoint thread is gone".to_owned()))?;
        self.busy = false;
        Ok(Some(result?))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has panicked, or it has nothing to say.
            let _ = thread.join();
        }
    }
}
