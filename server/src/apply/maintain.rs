//! Upkeep between batches: checkpoints, compaction in slices, and what runs on the background thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use engine::{Checkpoint, CheckpointDone, Store, View};
use replication::Maintenance;

use crate::lease::Clock;
use crate::maintenance::Hashes;
use crate::metrics::Metrics;

/// When the state is brought to disk. Whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// Bytes of changes in memory.
    pub dirty_bytes: usize,
    /// Entries since the last one (`--snapshot-count`).
    pub entries: u64,
    /// Least time between two checkpoints that only the number of entries asks for: with one client an entry is one
    /// put, and bringing pages to disk every second would cost more than a longer replay.
    pub entry_spacing: Duration,
    /// Time since the last one, if anything changed.
    pub interval: Duration,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        CheckpointPolicy {
            dirty_bytes: 64 << 20,
            entries: 10_000,
            entry_spacing: Duration::ZERO,
            interval: Duration::from_secs(60),
        }
    }
}

/// How long a slice of compaction may keep the driver.
const SLICE: Duration = Duration::from_millis(1);

/// Records in the first slice; later ones are sized by how long it took.
const FIRST_SLICE_RECORDS: usize = 256;

/// Work for the background thread.
enum Job {
    Checkpoint(Box<Checkpoint>),
    Hash(View, i64, Arc<Hashes>),
}

/// What came of it.
enum Done {
    Checkpoint(Box<CheckpointDone>),
    Hash,
}

/// Keeps the store small and its log short.
pub(super) struct Upkeep {
    policy: CheckpointPolicy,
    clock: Clock,
    last_checkpoint: Instant,
    checkpointing: bool,
    hashing: usize,
    slice_records: usize,
    compacting_since: Option<Instant>,
    /// The applied index at the last turn.
    last_seen: u64,
    metrics: Arc<Metrics>,
    jobs: Sender<Job>,
    done: Receiver<Result<Done, engine::Error>>,
    /// Jobs that could not be handed over: the thread is gone, which only a damaged store or a panic explains.
    lost: VecDeque<&'static str>,
}

impl Upkeep {
    pub(super) fn new(policy: CheckpointPolicy, clock: Clock, metrics: Arc<Metrics>) -> Upkeep {
        let (jobs, work) = channel::<Job>();
        let (report, done) = channel();
        let (time, duration) = (Arc::clone(&clock), metrics.disk_backend_commit_duration_seconds.clone());
        // Ends when the machine is dropped and with it the sending end of its jobs.
        let spawned = thread::Builder::new().name("graven-upkeep".into()).spawn(move || {
            for job in work {
                let result = match job {
                    Job::Checkpoint(checkpoint) => {
                        let begun = time();
                        let result = checkpoint.run(&mut |_| ());
                        duration.observe(time().saturating_duration_since(begun).as_secs_f64());
                        result.map(|done| Done::Checkpoint(Box::new(done)))
                    }
                    Job::Hash(view, revision, hashes) => hashes.compute(&view, revision).map(|()| Done::Hash),
                };
                if report.send(result).is_err() {
                    break;
                }
            }
        });
        let mut lost = VecDeque::new();
        if spawned.is_err() {
            lost.push_back("the upkeep thread could not be started");
        }
        let last_checkpoint = clock();
        Upkeep {
            policy,
            clock,
            last_checkpoint,
            checkpointing: false,
            hashing: 0,
            slice_records: FIRST_SLICE_RECORDS,
            compacting_since: None,
            last_seen: 0,
            metrics,
            jobs,
            done,
            lost,
        }
    }

    /// Computes the hash at a compaction, in the background.
    pub(super) fn hash(&mut self, before: View, revision: i64, hashes: Arc<Hashes>) {
        if self.jobs.send(Job::Hash(before, revision, hashes)).is_ok() {
            self.hashing += 1;
        }
    }

    /// Whether a hash is being computed.
    pub(super) fn is_hashing(&self) -> bool {
        self.hashing > 0
    }

    /// One turn, at most about a millisecond.
    pub(super) fn turn(&mut self, store: &mut Store) -> Result<Maintenance, engine::Error> {
        let mut maintenance = Maintenance::default();
        if let Some(what) = self.lost.pop_front() {
            tracing::error!(what);
        }
        while let Ok(done) = self.done.try_recv() {
            match done? {
                Done::Checkpoint(done) => {
                    store.end_checkpoint(*done)?;
                    // The view that readers have still holds what is on disk now in memory.
                    store.publish();
                    self.checkpointing = false;
                    let durable = store.durable_applied();
                    tracing::info!(index = durable.index, term = durable.term, "saved snapshot");
                    maintenance.release_before = Some(durable.index + 1);
                }
                Done::Hash => self.hashing -= 1,
            }
        }
        let idle = self.is_idle(store);
        if store.compaction_pending() {
            maintenance.again_soon = self.compact(store)?;
        } else if idle || maintenance.release_before.is_some() {
            // While requests come in, what is free now is needed again until the next checkpoint.
            maintenance.again_soon = store.release_memory();
        }
        self.begin_checkpoint(store);
        Ok(maintenance)
    }

    /// Whether nothing was applied since the last turn.
    fn is_idle(&mut self, store: &Store) -> bool {
        let index = store.applied().index;
        std::mem::replace(&mut self.last_seen, index) == index
    }

    /// True if there is more to do.
    fn compact(&mut self, store: &mut Store) -> Result<bool, engine::Error> {
        let begun = (self.clock)();
        let slice = store.compact_slice(self.slice_records)?;
        let since = *self.compacting_since.get_or_insert(begun);
        let ended = (self.clock)();
        let took = ended - begun;
        let milliseconds = |time: Duration| time.as_millis() as f64;
        self.metrics.debugging_mvcc_db_compaction_keys_total.inc_by(slice.removed as u64);
        self.metrics.debugging_mvcc_db_compaction_pause_duration_milliseconds.observe(milliseconds(took));
        if took > SLICE {
            self.slice_records = (self.slice_records / 2).max(16);
        } else if took < SLICE / 2 {
            self.slice_records = (self.slice_records * 2).min(1 << 16);
        }
        // Pages that a slice has emptied are free only once a view without them is published; and nothing may be
        // applied for long, so that without this the scan's end would not become durable.
        store.publish();
        if slice.done {
            self.compacting_since = None;
            let total = milliseconds(ended - since);
            self.metrics.debugging_mvcc_db_compaction_total_duration_milliseconds.observe(total);
            self.metrics.compaction_ended();
            tracing::info!(compact_revision = store.compact_revision(), "finished scheduled compaction");
        }
        Ok(!slice.done)
    }

    fn begin_checkpoint(&mut self, store: &mut Store) {
        if self.checkpointing {
            return;
        }
        let pressure = store.checkpoint_due();
        let now = (self.clock)();
        let since = now.duration_since(self.last_checkpoint);
        let due = pressure.dirty_bytes >= self.policy.dirty_bytes
            || (pressure.entries >= self.policy.entries && since >= self.policy.entry_spacing)
            || (pressure.entries > 0 && since >= self.policy.interval);
        if !due {
            return;
        }
        self.last_checkpoint = now;
        if let Some(checkpoint) = store.begin_checkpoint() {
            self.checkpointing = self.jobs.send(Job::Checkpoint(Box::new(checkpoint))).is_ok();
        }
    }
}
