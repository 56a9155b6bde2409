//! A member without network and raft: the log and the engine, driven as the server drives them.
//!
//! One thread commits: it appends a batch to the log with one durable write, applies it, publishes a view, and does a
//! slice of upkeep before the next batch (`upkeep.rs`). A second thread writes checkpoints (`writer.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{CheckpointPolicy, OsFile, Reader, Sizes, Store};
use wal::{Entry, HardState, Metadata, OsIo, Passage, Start, Wal};

use super::entry::Batch;
use super::replay::{self, Replay};
use super::upkeep::{Counters, Upkeep};
use crate::error::{Error, Result};

/// How a member is made.
#[derive(Clone, Debug)]
pub(crate) struct MemberOptions {
    pub(crate) wal: wal::Options,
    pub(crate) policy: CheckpointPolicy,
}

/// Of everything in the log.
pub(crate) const TERM: u64 = 1;

pub(crate) struct Member {
    store: Store,
    wal: Wal,
    index: u64,
    upkeep: Upkeep,
    longest: Longest,
}

/// A member taken apart, for who drives log and store himself (`overlap.rs`).
pub(crate) struct Parts<'m> {
    pub(crate) store: &'m mut Store,
    pub(crate) wal: &'m mut Wal,
    /// Of the last entry.
    pub(crate) index: &'m mut u64,
    pub(crate) upkeep: &'m mut Upkeep,
}

/// The longest parts of a turn of the committing thread, by the clock; not of the same turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    /// The durable write.
    pub(crate) append: Duration,
    /// Applying the batch, and the view of it.
    pub(crate) apply: Duration,
    /// Upkeep behind it.
    pub(crate) upkeep: Duration,
}

/// What opening took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opened {
    /// The engine's file, up to the first view.
    pub(crate) engine: Duration,
    /// Reading the log, and applying what the last checkpoint did not have.
    pub(crate) tail: Duration,
    /// What of it went into applying; the rest was spent waiting for the log.
    pub(crate) applying: Duration,
    /// Changes applied.
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
        let mut store = open_store(dir)?;
        let engine = begun.elapsed();
        let after = store.applied().index;
        let mut replay = Replay::new(&mut store);
        let show = &mut |passage: Passage| replay.follow(&passage);
        let io = Arc::new(OsIo::new());
        let (wal, recovered) = Wal::open_following(&dir.join("wal"), io, options.wal, after, show)?;
        let (changes, applying) = replay.finish(&recovered.entries)?;
        let tail = begun.elapsed() - engine;
        let index = wal.last_index();
        Ok((Member::with(store, wal, index, options.policy)?, Opened { engine, tail, applying, changes }))
    }

    fn with(store: Store, wal: Wal, index: u64, policy: CheckpointPolicy) -> Result<Member> {
        Ok(Member { store, wal, index, upkeep: Upkeep::start(policy)?, longest: Longest::default() })
    }

    /// Makes a batch durable, applies it and shows it to readers; the batch is empty afterwards.
    pub(crate) fn commit(&mut self, batch: &mut Batch) -> Result<()> {
        if batch.len() == 0 {
            return Ok(());
        }
        let entry = Entry { index: self.index + 1, term: TERM, kind: 0, data: batch.finish() };
        let hard_state = HardState { term: TERM, vote: 1, commit: self.index };
        let entries = std::slice::from_ref(&entry);
        let begun = Instant::now();
        self.wal.append(&wal::Batch { entries, hard_state: Some(hard_state) })?;
        let durable = Instant::now();
        self.index = entry.index;
        replay::apply(&mut self.store, &entry)?;
        self.store.publish();
        self.longest.append = self.longest.append.max(durable - begun);
        self.longest.apply = self.longest.apply.max(durable.elapsed());
        Ok(())
    }

    pub(crate) fn parts(&mut self) -> Parts<'_> {
        let Member { store, wal, index, upkeep, .. } = self;
        Parts { store, wal, index, upkeep }
    }

    /// One turn of upkeep, at most about a millisecond; whether there is more to do at once.
    pub(crate) fn upkeep(&mut self) -> Result<bool> {
        let begun = Instant::now();
        let turn = self.upkeep.turn(&mut self.store)?;
        if let Some(index) = turn.release_before {
            self.wal.release_before(index)?;
        }
        self.longest.upkeep = self.longest.upkeep.max(begun.elapsed());
        Ok(turn.again)
    }

    /// So many changes are in memory that the server would refuse requests.
    pub(crate) fn is_full(&self) -> bool {
        self.upkeep.is_full(&self.store)
    }

    /// Makes `revision` the oldest that can be read; the rest follows in slices of upkeep.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<()> {
        self.store.compact(revision).map_err(|error| Error::Wrong(format!("compaction: {error}")))
    }

    /// Whether compaction has slices left to do.
    pub(crate) fn is_compacting(&self) -> bool {
        self.store.compaction_pending()
    }

    /// Begins to make the file as short as it gets, in slices of upkeep.
    pub(crate) fn defragment(&mut self) {
        self.upkeep.defragment();
    }

    /// Whether that has not ended.
    pub(crate) fn is_defragmenting(&self) -> bool {
        self.upkeep.is_defragmenting()
    }

    /// Brings everything to disk and finishes all upkeep, without regard for anybody who waits.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.upkeep.compact(&mut self.store)?;
        // The first writes the state, the second what ending the first has freed.
        self.checkpoint()?;
        self.checkpoint()?;
        Ok(self.wal.seal()?)
    }

    /// A checkpoint of all there is, now.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        self.store.publish();
        let index = self.upkeep.checkpoint(&mut self.store)?;
        Ok(self.wal.release_before(index)?)
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

    /// Has the longest slices counted from now on.
    pub(crate) fn forget_longest(&mut self) {
        self.longest = Longest::default();
        self.upkeep.forget_longest();
    }

    /// Since the start, or since that.
    pub(crate) fn longest(&self) -> Longest {
        self.longest
    }

    /// Of upkeep.
    pub(crate) fn counters(&self) -> Counters {
        self.upkeep.counters()
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
