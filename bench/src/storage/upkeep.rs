//! What the server does between batches to keep its store small and its log short, here for the member without a server:
//! the same bounds and the same order as in `server/src/upkeep/`, without its metrics and warnings.

use std::time::{Duration, Instant};

use engine::Store;

use super::defragment::Defragmenter;
use super::writer::Writer;
use crate::error::Result;

/// When the state is brought to disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Bytes of changes in memory; twice as many do not wait for `spacing`, four times as many hold requests up.
    pub(crate) dirty_bytes: usize,
    /// Log entries since the last checkpoint.
    pub(crate) entries: u64,
    /// Least time between two checkpoints.
    pub(crate) spacing: Duration,
    /// Time since the last one, if anything changed.
    pub(crate) interval: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            dirty_bytes: 64 << 20,
            entries: 10_000,
            spacing: Duration::from_secs(5),
            interval: Duration::from_secs(60),
        }
    }
}

/// Time for a turn while nothing is asked, and while requests come in.
const QUIET: Duration = Duration::from_millis(1);
const BUSY: Duration = Duration::from_micros(250);
/// Rests are so many times as long as what was done before.
const REST: u32 = 3;
/// Requests that came longer ago than this are no load any more.
const LULL: Duration = Duration::from_millis(2);
/// Nothing is held up below this, however small `dirty_bytes` is.
const LEAST_FULL_BYTES: usize = 32 << 20;

/// Work in slices, in the order in which the kinds take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Referring to the file instead of memory, after a checkpoint: pages.
    Swap,
    /// Dropping what a compaction has made useless: records.
    Compact,
    /// Bringing scattered records together, and pages to the front of the file: pages.
    Defragment,
    /// Giving memory back to the system.
    Release,
}

const KINDS: [Work; 4] = [Work::Swap, Work::Compact, Work::Defragment, Work::Release];
/// Least, first and largest size of a slice of each kind.
const SIZES: [(usize, usize, usize); KINDS.len()] =
    [(16, 256, 1 << 16), (16, 256, 1 << 16), (16, 64, 1024), (1, 1, 1)];

/// What upkeep has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) checkpoints: u64,
    /// Records that compaction has dropped.
    pub(crate) dropped: u64,
    /// The longest turn.
    pub(crate) longest_turn: Duration,
}

/// Keeps one store.
pub(crate) struct Upkeep {
    policy: Policy,
    writer: Writer,
    defragmenter: Defragmenter,
    last_checkpoint: Instant,
    swapping: bool,
    release: bool,
    sizes: [usize; KINDS.len()],
    first: usize,
    rest_until: Instant,
    busy_at: Instant,
    applied: u64,
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
    pub(crate) fn start(policy: Policy) -> Result<Upkeep> {
        let now = Instant::now();
        Ok(Upkeep {
            policy,
            writer: Writer::start()?,
            defragmenter: Defragmenter::default(),
            last_checkpoint: now,
            swapping: false,
            release: false,
            sizes: SIZES.map(|(_, first, _)| first),
            first: 0,
            rest_until: now,
            busy_at: now,
            applied: 0,
            counters: Counters::default(),
        })
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// One turn, at most about a millisecond.
    pub(crate) fn turn(&mut self, store: &mut Store) -> Result<Turn> {
        let now = Instant::now();
        let mut turn = Turn::default();
        if let Some(done) = self.writer.finished()? {
            store.swap_begin(done);
            self.swapping = true;
            self.counters.checkpoints += 1;
            turn.release_before = Some(store.durable_applied().index + 1);
        }
        let applied = store.applied().index;
        if applied != std::mem::replace(&mut self.applied, applied) {
            self.busy_at = now;
        }
        let pressed = self.is_pressed(store);
        self.writer.set_hurry(pressed);
        let quiet = now.saturating_duration_since(self.busy_at) >= LULL;
        let allowance = match (pressed || quiet, now >= self.rest_until) {
            (true, _) => Some(QUIET),
            (false, true) => Some(BUSY),
            (false, false) => None,
        };
        if let Some(allowance) = allowance {
            turn.again = self.work(store, now, allowance, quiet)?;
        }
        if self.is_due(store, now) {
            self.begin(store, now);
        }
        self.counters.longest_turn = self.counters.longest_turn.max(now.elapsed());
        Ok(turn)
    }

    /// Slices of whatever there is to do, until the time is up; whether there is more.
    fn work(&mut self, store: &mut Store, begun: Instant, allowance: Duration, quiet: bool) -> Result<bool> {
        let mut more = false;
        let mut now = begun;
        let mut order = KINDS;
        order.rotate_left(self.first);
        for work in order {
            let wanted = match work {
                Work::Swap => self.swapping,
                Work::Compact => store.compaction_pending(),
                Work::Defragment => self.defragmenter.wants_slice(),
                Work::Release => self.release || quiet,
            };
            if !wanted {
                continue;
            }
            if now.saturating_duration_since(begun) >= allowance {
                more = true;
                break;
            }
            more |= self.slice(work, store)?;
            let ended = Instant::now();
            self.learn(work, ended - now, allowance);
            now = ended;
        }
        self.rest_until = now + (now - begun) * REST;
        Ok(more)
    }

    fn slice(&mut self, work: Work, store: &mut Store) -> Result<bool> {
        let size = self.sizes[work as usize];
        match work {
            Work::Swap => {
                self.swapping = store.swap_slice(size)?;
                store.publish();
                if !self.swapping {
                    self.release = true;
                    self.defragmenter.checkpoint_completed();
                }
                Ok(self.swapping)
            }
            Work::Compact => {
                let slice = store.compact_slice(size)?;
                self.counters.dropped += slice.removed as u64;
                store.publish();
                Ok(!slice.done)
            }
            Work::Defragment => self.defragmenter.slice(store, size),
            Work::Release => {
                self.release = false;
                Ok(store.release_memory())
            }
        }
    }

    fn learn(&mut self, work: Work, time: Duration, allowance: Duration) {
        let (least, _, most) = SIZES[work as usize];
        let size = &mut self.sizes[work as usize];
        if time > allowance {
            *size = (*size / 2).max(least);
        } else if time < allowance / 2 {
            *size = (*size * 2).min(most);
        }
        self.first = (work as usize + 1) % KINDS.len();
    }

    /// Changes gather faster than they are written.
    fn is_pressed(&self, store: &Store) -> bool {
        store.checkpoint_due().dirty_bytes >= 2 * self.policy.dirty_bytes
    }

    /// So many changes are in memory that the server refuses requests.
    pub(crate) fn is_full(&self, store: &Store) -> bool {
        let bytes = usize::try_from(store.memory_bytes()).unwrap_or(usize::MAX);
        bytes >= (4 * self.policy.dirty_bytes).max(LEAST_FULL_BYTES)
    }

    fn is_due(&self, store: &Store, now: Instant) -> bool {
        if self.writer.is_running() || self.swapping {
            return false;
        }
        let pressure = store.checkpoint_due();
        let since = now.saturating_duration_since(self.last_checkpoint);
        let many = pressure.dirty_bytes >= self.policy.dirty_bytes || pressure.entries >= self.policy.entries;
        self.is_pressed(store)
            || self.defragmenter.wants_checkpoint()
            || (many && since >= self.policy.spacing)
            || (pressure.entries > 0 && since >= self.policy.interval)
    }

    fn begin(&mut self, store: &mut Store, now: Instant) {
        self.last_checkpoint = now;
        if let Some(checkpoint) = store.begin_checkpoint() {
            self.writer.begin(checkpoint);
        }
    }

    /// A checkpoint of all there is, taken over and its memory given back, as fast as it goes; where the log may begin
    /// afterwards.
    pub(crate) fn checkpoint(&mut self, store: &mut Store) -> Result<u64> {
        self.writer.set_hurry(true);
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
        self.defragmenter.begin();
    }

    /// Whether that has not ended.
    pub(crate) fn is_defragmenting(&self) -> bool {
        self.defragmenter.is_running()
    }

    /// All slices of compaction that are left.
    pub(crate) fn compact(&mut self, store: &mut Store) -> Result<()> {
        while store.compaction_pending() {
            self.slice(Work::Compact, store)?;
        }
        Ok(())
    }
}
