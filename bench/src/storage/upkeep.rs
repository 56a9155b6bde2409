//! What the server does between batches to keep its store small and its log short, here for the member without a server:
//! by the same policies of the engine and in the same order as in `server/src/upkeep/`, without its metrics and warnings.

use std::time::{Duration, Instant};

use engine::{
    CheckpointPolicy, Defragment, Defragmentation, Load, Schedule, Slices, Store, WARM_BYTES, Wish, Work,
};
use measure::cpu;

use super::warmer::Warmer;
use super::writer::Writer;
use crate::error::Result;

/// What upkeep has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) checkpoints: u64,
    /// Records that compaction has dropped.
    pub(crate) dropped: u64,
    /// The longest slices.
    pub(crate) swap: Longest,
    pub(crate) compact: Longest,
    pub(crate) defragment: Longest,
}

/// Of slices of one kind; not of the same one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    /// By the clock.
    pub(crate) time: Duration,
    /// Of the thread's own time, which a busy machine does not lengthen.
    pub(crate) cpu: Duration,
}

impl Longest {
    fn saw(&mut self, time: Duration, cpu: Duration) {
        *self = Longest { time: self.time.max(time), cpu: self.cpu.max(cpu) };
    }
}

/// Keeps one store.
pub(crate) struct Upkeep {
    schedule: Schedule,
    slices: Slices,
    writer: Writer,
    warmer: Warmer,
    defragmentation: Option<Defragmentation>,
    swapping: bool,
    release: bool,
    counters: Counters,
}

/// What a turn leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// There is more to do at once.
    pub(crate) again: bool,
    /// The log is not needed before this index.
    pub(crate) release_before: Option<u64>,
}

impl Upkeep {
    pub(crate) fn start(policy: CheckpointPolicy) -> Result<Upkeep> {
        let now = Instant::now();
        Ok(Upkeep {
            schedule: Schedule::new(policy, now),
            slices: Slices::new(now),
            writer: Writer::start()?,
            warmer: Warmer::start()?,
            defragmentation: None,
            swapping: false,
            release: false,
            counters: Counters::default(),
        })
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Of the longest slices from now on.
    pub(crate) fn forget_longest(&mut self) {
        let Counters { checkpoints, dropped, .. } = self.counters;
        self.counters = Counters { checkpoints, dropped, ..Counters::default() };
    }

    /// One turn, at most about a millisecond.
    pub(crate) fn turn(&mut self, store: &mut Store) -> Result<Turn> {
        let now = Instant::now();
        let mut turn = Turn::default();
        store.stay_warm();
        if let Some(ahead) = self.warmer.finished()? {
            store.warmed(ahead);
        }
        if let Some(done) = self.writer.finished()? {
            store.swap_begin(done);
            self.swapping = true;
            self.schedule.completed();
            self.counters.checkpoints += 1;
            turn.release_before = Some(store.durable_applied().index + 1);
        }
        self.slices.saw(store.applied().index, now);
        let dirty_bytes = store.checkpoint_due().dirty_bytes;
        let policy = self.schedule.policy();
        self.writer.set_rate(policy.rate(dirty_bytes));
        if let Some(allowance) = self.slices.allowance(now, policy.load(dirty_bytes) >= Load::Urgent) {
            turn.again = self.work(store, now, allowance)?;
        }
        self.warm(store)?;
        self.begin_if_due(store, now);
        Ok(turn)
    }

    /// Slices of whatever there is to do, until the time is up; whether there is more.
    fn work(&mut self, store: &mut Store, begun: Instant, allowance: Duration) -> Result<bool> {
        let mut more = false;
        let mut now = begun;
        let quiet = self.slices.is_quiet(now);
        for work in self.slices.order() {
            let wanted = match work {
                Work::Swap => self.swapping,
                Work::Compact => store.compaction_pending() && !store.compaction_is_cold(),
                Work::Defragment => self.defragmentation.as_ref().is_some_and(|run| run.wants_slice(store)),
                Work::Release => self.release || quiet,
            };
            if !wanted {
                continue;
            }
            if now.saturating_duration_since(begun) >= allowance {
                more = true;
                break;
            }
            let cpu = cpu::of_thread();
            let full = self.slice(work, store)?;
            more |= full;
            let (ended, cpu) = (Instant::now(), cpu::of_thread() - cpu);
            self.slices.took(work, ended - now, allowance, full);
            match work {
                Work::Swap => self.counters.swap.saw(ended - now, cpu),
                Work::Compact => self.counters.compact.saw(ended - now, cpu),
                Work::Defragment => self.counters.defragment.saw(ended - now, cpu),
                Work::Release => {}
            }
            now = ended;
        }
        self.slices.ended(now, now - begun);
        Ok(more)
    }

    /// Whether there is more to do at once.
    fn slice(&mut self, work: Work, store: &mut Store) -> Result<bool> {
        let size = self.slices.size(work);
        match work {
            Work::Swap => {
                self.swapping = store.swap_slice(size)?;
                store.publish();
                if !self.swapping {
                    self.release = true;
                    self.defragmentation.iter_mut().for_each(Defragmentation::checkpoint_completed);
                }
                Ok(self.swapping)
            }
            Work::Compact => {
                let slice = store.compact_slice(size)?;
                self.counters.dropped += slice.removed as u64;
                store.publish();
                Ok(!slice.done && !store.compaction_is_cold())
            }
            Work::Defragment => {
                let Some(run) = &mut self.defragmentation else { return Ok(false) };
                if let Defragment::Done { .. } = run.slice(store, size)? {
                    self.defragmentation = None;
                    return Ok(false);
                }
                Ok(run.wants_slice(store))
            }
            Work::Release => {
                self.release = false;
                Ok(store.release_memory())
            }
        }
    }

    /// Has the next stretch read that slices are going to look at.
    fn warm(&mut self, store: &Store) -> Result<()> {
        if self.warmer.is_reading() {
            return Ok(());
        }
        let run = self.defragmentation.as_ref();
        match store.compaction_ahead().or_else(|| run.and_then(|run| run.ahead(store))) {
            Some(ahead) => self.warmer.read(ahead, store.reader()),
            None => Ok(()),
        }
    }

    /// So many changes are in memory that the server refuses requests.
    pub(crate) fn is_full(&self, store: &Store) -> bool {
        let bytes = usize::try_from(store.memory_bytes()).unwrap_or(usize::MAX);
        self.schedule.policy().load(bytes) >= Load::Full
    }

    fn begin_if_due(&mut self, store: &mut Store, now: Instant) {
        if self.writer.is_running() || self.swapping {
            return;
        }
        let wanted = self.defragmentation.as_ref().is_some_and(Defragmentation::wants_checkpoint);
        let wish = if wanted { Wish::Now } else { Wish::No };
        if self.schedule.is_due(now, store.checkpoint_due(), wish) {
            self.begin(store, now);
        }
    }

    fn begin(&mut self, store: &mut Store, now: Instant) {
        self.schedule.begun(now);
        if let Some(checkpoint) = store.begin_checkpoint() {
            self.writer.begin(checkpoint);
        }
    }

    /// A checkpoint of all there is, taken over and its memory given back, as fast as it goes; where the log may begin
    /// afterwards.
    pub(crate) fn checkpoint(&mut self, store: &mut Store) -> Result<u64> {
        self.writer.set_rate(u64::MAX);
        self.take_over(store)?;
        self.begin(store, Instant::now());
        self.take_over(store)?;
        while store.release_memory() {}
        Ok(store.durable_applied().index + 1)
    }

    fn take_over(&mut self, store: &mut Store) -> Result<()> {
        if let Some(done) = self.writer.wait()? {
            store.swap_begin(done);
            self.swapping = true;
            self.counters.checkpoints += 1;
        }
        while self.swapping {
            self.slice(Work::Swap, store)?;
        }
        Ok(())
    }

    /// Begins to make the file as short as it gets.
    pub(crate) fn defragment(&mut self) {
        self.defragmentation = Some(Defragmentation::default());
    }

    /// Whether that has not ended.
    pub(crate) fn is_defragmenting(&self) -> bool {
        self.defragmentation.is_some()
    }

    /// All slices of compaction that are left.
    pub(crate) fn compact(&mut self, store: &mut Store) -> Result<()> {
        while store.compaction_pending() {
            if let Some(ahead) = store.compaction_ahead() {
                let read = ahead.read(&store.reader().view(), WARM_BYTES)?;
                store.warmed(read);
            }
            self.slice(Work::Compact, store)?;
        }
        Ok(())
    }
}
