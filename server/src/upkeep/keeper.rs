//! Upkeep as the driver does it: a little in every turn.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{
    AutoDefragment, CheckpointDone, CheckpointPolicy, Load, Reader, Schedule, Slices, Store, Wish, Work,
};
use replication::Maintenance;

use super::background::{Background, News};
use super::defragment::{Defragmenter, Defragments};
use super::error::Error;
use super::events::{Event, Events};
use super::long_views::LongViews;
use super::pressure::Gauge;
use super::scrub::{Damage, ScrubParts, Scrubber};
use super::writer::Writer;
use crate::lease::Clock;
use crate::maintenance::Hashes;
use crate::metrics::Metrics;

/// What upkeep works with besides the store.
pub struct Parts {
    /// When to store the state.
    pub checkpoints: CheckpointPolicy,
    /// Whether the engine's file is kept small without being asked.
    pub auto_defragment: bool,
    /// What is read again and verified, if anything.
    pub scrub: Option<ScrubParts>,
    /// The time.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where everybody finds how full memory is.
    pub gauge: Arc<Gauge>,
    /// Who asks for the file to be defragmented.
    pub defragments: Arc<Defragments>,
    /// From when on a view that somebody holds is told.
    pub long_view: Duration,
    /// Who wants to know what has come to its end.
    pub events: Events,
}

/// Keeps the store small and its log short.
pub struct Upkeep {
    schedule: Schedule,
    slices: Slices,
    writer: Writer,
    background: Background,
    /// Waits for the next turn: before the first, the log may not be open.
    scrubber: Option<Box<Scrubber>>,
    clock: Clock,
    metrics: Arc<Metrics>,
    gauge: Arc<Gauge>,
    defragmenter: Defragmenter,
    /// The log is damaged and has not begun anew yet; what goes on reading once it has.
    log_damage: Option<Box<Scrubber>>,
    events: Events,
    long_views: LongViews,
    compacting_since: Option<Instant>,
    /// What a checkpoint has written is not referred to everywhere yet.
    swapping: bool,
    /// Memory of a checkpoint that has just ended may be given back.
    release: bool,
}

impl Upkeep {
    /// Starts the threads that belong to it.
    pub fn start(parts: Parts) -> io::Result<Upkeep> {
        let Parts {
            checkpoints,
            auto_defragment,
            scrub,
            clock,
            metrics,
            gauge,
            defragments,
            long_view,
            events,
        } = parts;
        let now = clock();
        let scrubber = scrub.map(|parts| {
            Box::new(Scrubber::new(parts, Arc::clone(&clock), Arc::clone(&metrics), Arc::clone(&events)))
        });
        let auto = auto_defragment.then(|| AutoDefragment::new(now));
        Ok(Upkeep {
            schedule: Schedule::new(checkpoints, now),
            slices: Slices::new(now),
            writer: Writer::start(metrics.disk_backend_commit_duration_seconds.clone())?,
            background: Background::start()?,
            scrubber,
            defragmenter: Defragmenter::new(defragments, auto, Arc::clone(&metrics), Arc::clone(&events)),
            log_damage: None,
            long_views: LongViews::new(long_view, now),
            events,
            clock,
            metrics,
            gauge,
            compacting_since: None,
            swapping: false,
            release: false,
        })
    }

    /// Computes the hash at a compaction, in the background. What the compaction makes useless stays until then.
    pub(crate) fn hash(&mut self, reader: Reader, revision: i64, hashes: Arc<Hashes>) {
        self.background.hash(reader.view(), reader, revision, hashes);
    }

    /// Whether a hash is being computed.
    pub(crate) fn is_hashing(&self) -> bool {
        self.background.is_hashing()
    }

    /// Whether so many changes are in memory that a running member takes no more.
    pub(crate) fn is_full(&self, store: &Store) -> bool {
        self.schedule.policy().load(store.checkpoint_due().dirty_bytes) >= Load::Full
    }

    /// One turn, at most about a millisecond.
    pub(crate) fn turn(&mut self, store: &mut Store) -> Result<Maintenance, Error> {
        let mut maintenance = Maintenance::default();
        store.stay_warm();
        if let Some(scrubber) = self.scrubber.take() {
            self.background.scrub(scrubber);
        }
        while let Some(news) = self.background.collect()? {
            match news {
                News::Warmed(ahead) => store.warmed(ahead),
                News::Damaged(damage, scrubber) => self.note_damage(damage, scrubber)?,
            }
        }
        let now = (self.clock)();
        if let Some(done) = self.writer.finished() {
            maintenance.release_before = self.end_checkpoint(store, done, now)?;
        }
        self.slices.saw(store.applied().index, now);
        self.defragmenter.look(store, now);
        if self.long_views.is_due(now) {
            self.tell_long_views(store, now);
        }
        let policy = self.schedule.policy();
        let dirty_bytes = store.checkpoint_due().dirty_bytes;
        let (load, rate) = (policy.load(dirty_bytes), policy.rate(dirty_bytes));
        // What only views still see takes memory as well, though no checkpoint can help it.
        let memory = policy.load(usize::try_from(store.memory_bytes()).unwrap_or(usize::MAX));
        if self.gauge.set(memory) {
            (self.events)(Event::MemoryLoad);
        }
        self.writer.set_rate(rate);
        if let Some(allowance) = self.slices.allowance(now, load >= Load::Urgent) {
            maintenance.again_soon = self.work(store, now, allowance)?;
        }
        self.warm(store);
        if self.log_damage.is_some() {
            maintenance.log_damaged = true;
            // Again in every turn: nobody but the log's owner knows whether that is all there is in it.
            maintenance.release_before = Some(store.durable_applied().index + 1);
        }
        self.begin_checkpoint(store);
        Ok(maintenance)
    }

    /// The engine's damage stops the member at once; the log is replaced: see `scrub`.
    fn note_damage(&mut self, damage: Damage, scrubber: Box<Scrubber>) -> Result<(), Error> {
        self.metrics.scrub_damage_total.inc();
        match damage {
            Damage::Engine(error) => {
                tracing::error!(%error, "stored bytes were read again and are damaged");
                Err(error.into())
            }
            Damage::Log(error) => {
                tracing::error!(
                    %error,
                    "stored bytes of the log were read again and are damaged; nothing is written until the state is stored and the log begun anew"
                );
                self.log_damage = Some(scrubber);
                Ok(())
            }
        }
    }

    /// None of the log's damaged bytes are needed any more.
    pub(crate) fn log_renewed(&mut self) {
        if let Some(mut scrubber) = self.log_damage.take() {
            tracing::warn!(
                "the state is stored and the log begun anew, nothing is lost; the disk should be looked at"
            );
            self.metrics.log_renewals_total.inc();
            scrubber.begin_anew();
            self.scrubber = Some(scrubber);
            (self.events)(Event::LogRenewed);
        }
    }

    fn tell_long_views(&mut self, store: &Store, now: Instant) {
        for (view, age) in self.long_views.look(store.held_views(), now) {
            self.metrics.long_views_total.inc();
            tracing::warn!(
                revision = view.revision,
                current_revision = store.revision(),
                ?age,
                "a view of the store is held for long: what it sees can't be used again"
            );
            (self.events)(Event::LongView { revision: view.revision });
        }
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
            let full = self.slice(work, store, now)?;
            more |= full;
            let ended = (self.clock)();
            self.slices.took(work, ended.saturating_duration_since(now), allowance, full);
            now = ended;
        }
        self.slices.ended(now, now.saturating_duration_since(begun));
        Ok(more)
    }

    fn is_wanted(&self, work: Work, store: &Store, now: Instant) -> bool {
        match work {
            Work::Swap => self.swapping,
            Work::Compact => {
                store.compaction_pending() && !self.background.is_hashing() && !store.compaction_is_cold()
            }
            Work::Defragment => self.defragmenter.wants_slice(store, now),
            // While requests come in, what is free now is needed again until the next checkpoint.
            Work::Release => self.release || self.slices.is_quiet(now),
        }
    }

    /// Has the next stretch read that slices are going to look at.
    fn warm(&mut self, store: &Store) {
        if self.background.is_warming() {
            return;
        }
        if let Some(ahead) = store.compaction_ahead().or_else(|| self.defragmenter.ahead(store)) {
            self.background.warm(ahead, store.reader());
        }
    }

    /// True if there is more of it to do at once.
    fn slice(&mut self, work: Work, store: &mut Store, now: Instant) -> Result<bool, engine::Error> {
        let size = self.slices.size(work);
        match work {
            Work::Swap => self.swap(store, size),
            Work::Compact => self.compact(store, size),
            Work::Defragment => self.defragmenter.slice(store, size, now),
            Work::Release => {
                self.release = false;
                Ok(store.release_memory())
            }
        }
    }

    fn swap(&mut self, store: &mut Store, pages: usize) -> Result<bool, engine::Error> {
        let more = store.swap_slice(pages)?;
        // The view that readers have still holds what is on disk now in memory.
        store.publish();
        if !more {
            self.swapping = false;
            self.release = true;
            self.defragmenter.checkpoint_completed();
        }
        Ok(more)
    }

    /// True if there is more to do at once.
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
        Ok(!slice.done && !store.compaction_is_cold())
    }

    /// Takes over what was written; the first entry that the log still has to keep. Without space for the file nothing
    /// was written, and it is tried again: reads go on, and writes as long as memory and log take them.
    fn end_checkpoint(
        &mut self,
        store: &mut Store,
        done: Result<CheckpointDone, engine::Error>,
        now: Instant,
    ) -> Result<Option<u64>, engine::Error> {
        let done = match done {
            Ok(done) => done,
            Err(error @ (engine::Error::NoSpace { .. } | engine::Error::Limit { .. })) => {
                self.metrics.checkpoint_no_space_total.inc();
                let (pause, first) = self.schedule.found_no_space(now);
                if first {
                    tracing::error!(%error, retry_in = ?pause, "no space to store the state: what was written since stays in memory and log");
                } else {
                    tracing::debug!(%error, retry_in = ?pause, "still no space to store the state");
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        store.swap_begin(done);
        self.swapping = true;
        if self.schedule.completed() {
            tracing::info!("there is space to store the state again");
        }
        let durable = store.durable_applied();
        tracing::info!(index = durable.index, term = durable.term, "saved snapshot");
        Ok(Some(durable.index + 1))
    }

    fn begin_checkpoint(&mut self, store: &mut Store) {
        if self.writer.is_running() || self.swapping {
            return;
        }
        let now = (self.clock)();
        let wish = match self.log_damage {
            Some(_) => Wish::Now,
            None => self.defragmenter.wants_checkpoint(),
        };
        if !self.schedule.is_due(now, store.checkpoint_due(), wish) {
            return;
        }
        match store.begin_checkpoint() {
            Some(checkpoint) => {
                self.schedule.begun(now);
                self.writer.begin(checkpoint);
            }
            None if store.is_stored() => {
                self.schedule.begun(now);
                self.defragmenter.checkpoint_completed();
            }
            // Something is not published yet, or storage has failed: nothing has become durable.
            None => {}
        }
    }
}
