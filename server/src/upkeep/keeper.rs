//! Upkeep as the driver does it: a little in every turn.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{CheckpointDone, Store, View};
use replication::Maintenance;

use super::background::Background;
use super::policy::{CheckpointPolicy, Load, Schedule};
use super::pressure::Gauge;
use super::slices::{Slices, Work};
use super::writer::Writer;
use crate::lease::Clock;
use crate::maintenance::Hashes;
use crate::metrics::Metrics;

/// What upkeep works with besides the store.
pub struct Parts {
    /// When to store the state.
    pub checkpoints: CheckpointPolicy,
    /// The time.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where everybody finds how full memory is.
    pub gauge: Arc<Gauge>,
}

/// Keeps the store small and its log short.
pub struct Upkeep {
    schedule: Schedule,
    slices: Slices,
    writer: Writer,
    background: Background,
    clock: Clock,
    metrics: Arc<Metrics>,
    gauge: Arc<Gauge>,
    compacting_since: Option<Instant>,
    /// Memory of a checkpoint that has just ended may be given back.
    release: bool,
}

impl Upkeep {
    /// Starts the threads that belong to it.
    pub fn start(parts: Parts) -> io::Result<Upkeep> {
        let Parts { checkpoints, clock, metrics, gauge } = parts;
        let now = clock();
        Ok(Upkeep {
            schedule: Schedule::new(checkpoints, now),
            slices: Slices::new(now),
            writer: Writer::start(Arc::clone(&clock), metrics.disk_backend_commit_duration_seconds.clone())?,
            background: Background::start()?,
            clock,
            metrics,
            gauge,
            compacting_since: None,
            release: false,
        })
    }

    /// Computes the hash at a compaction, in the background.
    pub(crate) fn hash(&mut self, before: View, revision: i64, hashes: Arc<Hashes>) {
        self.background.hash(before, revision, hashes);
    }

    /// Whether a hash is being computed.
    pub(crate) fn is_hashing(&self) -> bool {
        self.background.is_hashing()
    }

    /// One turn, at most about a millisecond.
    pub(crate) fn turn(&mut self, store: &mut Store) -> Result<Maintenance, engine::Error> {
        let mut maintenance = Maintenance::default();
        self.background.collect()?;
        if let Some(done) = self.writer.finished() {
            maintenance.release_before = Some(self.end_checkpoint(store, done?)?);
        }
        let now = (self.clock)();
        self.slices.saw(store.applied().index, now);
        let load = self.schedule.policy().load(store.checkpoint_due().dirty_bytes);
        self.gauge.set(load);
        self.writer.set_hurry(load > Load::Normal);
        if let Some(allowance) = self.slices.allowance(now, load > Load::Normal) {
            maintenance.again_soon = self.work(store, now, allowance)?;
        }
        self.begin_checkpoint(store);
        Ok(maintenance)
    }

    /// Slices of whatever there is to do, until the time is up; whether there is more.
    fn work(
        &mut self,
        store: &mut Store,
        begun: Instant,
        allowance: Duration,
    ) -> Result<bool, engine::Error> {
        let mut more = false;
        let mut now = begun;
        for work in self.slices.order() {
            if !self.is_wanted(work, store, now) {
                continue;
            }
            if now.saturating_duration_since(begun) >= allowance {
                more = true;
                break;
            }
            more |= self.slice(work, store)?;
            let ended = (self.clock)();
            self.slices.took(work, ended.saturating_duration_since(now), allowance);
            now = ended;
        }
        self.slices.ended(now, now.saturating_duration_since(begun));
        Ok(more)
    }

    fn is_wanted(&self, work: Work, store: &Store, now: Instant) -> bool {
        match work {
            Work::Swap | Work::Defragment => false,
            Work::Compact => store.compaction_pending(),
            // While requests come in, what is free now is needed again until the next checkpoint.
            Work::Release => self.release || self.slices.is_quiet(now),
        }
    }

    /// True if there is more of it to do.
    fn slice(&mut self, work: Work, store: &mut Store) -> Result<bool, engine::Error> {
        match work {
            Work::Swap | Work::Defragment => Ok(false),
            Work::Compact => self.compact(store, self.slices.size(Work::Compact)),
            Work::Release => {
                self.release = false;
                Ok(store.release_memory())
            }
        }
    }

    /// True if there is more to do.
    fn compact(&mut self, store: &mut Store, records: usize) -> Result<bool, engine::Error> {
        let begun = (self.clock)();
        let slice = store.compact_slice(records)?;
        let since = *self.compacting_since.get_or_insert(begun);
        let ended = (self.clock)();
        let milliseconds = |time: Duration| time.as_millis() as f64;
        self.metrics.debugging_mvcc_db_compaction_keys_total.inc_by(slice.removed as u64);
        self.metrics
            .debugging_mvcc_db_compaction_pause_duration_milliseconds
            .observe(milliseconds(ended - begun));
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

    /// Takes over what was written; the first entry that the log still has to keep.
    fn end_checkpoint(&mut self, store: &mut Store, done: CheckpointDone) -> Result<u64, engine::Error> {
        store.end_checkpoint(done)?;
        // The view that readers have still holds what is on disk now in memory.
        store.publish();
        self.release = true;
        self.schedule.completed();
        let durable = store.durable_applied();
        tracing::info!(index = durable.index, term = durable.term, "saved snapshot");
        Ok(durable.index + 1)
    }

    fn begin_checkpoint(&mut self, store: &mut Store) {
        if self.writer.is_running() {
            return;
        }
        let now = (self.clock)();
        if !self.schedule.is_due(now, store.checkpoint_due(), false) {
            return;
        }
        self.schedule.begun(now);
        if let Some(checkpoint) = store.begin_checkpoint() {
            self.writer.begin(checkpoint);
        }
    }
}
