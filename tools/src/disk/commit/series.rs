//! The run's durable writes by the second, as the committing thread sees them.

use std::path::Path;
use std::time::{Duration, Instant};

use measure::{Latencies, Timeline};

use super::others::Others;
use super::schedule::Waiting;
use crate::disk::overtime::{Doubt, LongWrite, Second, Span};

/// Up to here a write costs as much as the smallest, on a device that deserves the name: what larger batches take says
/// something about the load, not about the second.
const SMALL_BYTES: u64 = 64 << 10;
/// Writes that take longer are kept one by one.
const LONG: Duration = Duration::from_millis(10);
/// Of them this many, the longest: a device on which everything is long tells by its seconds.
const MOST_LONG: usize = 50_000;
/// Fewer small writes in a second than this say nothing.
const FEWEST: u64 = 5;
/// A second in which the committing thread waited longer for a CPU belongs to the scheduler...
const MISSING: Duration = Duration::from_millis(30);
/// ...if it is more than this share of the time of its durable writes: on a slow disk it does not matter.
const MISSING_SHARE: f64 = 0.2;

/// Seconds and long writes since the run began.
pub(crate) struct Series {
    begun: Instant,
    others: Others,
    seconds: Vec<Second>,
    long: LongWrites,
    at: u32,
    small: Latencies,
    longest: Duration,
    syncs: u64,
    /// Of every durable write, for pictures.
    timeline: Timeline,
    /// How long the durable writes of this second took, all together.
    writing: Duration,
    /// What the committing thread waited for a CPU in it.
    missing: Duration,
    disturbed: bool,
    phases: Vec<(String, f64)>,
}

impl Series {
    pub(super) fn new(begun: Instant, dir: &Path) -> Series {
        Series {
            begun,
            others: Others::on_device_of(dir),
            seconds: Vec::new(),
            long: LongWrites::new(MOST_LONG),
            at: begun.elapsed().as_secs() as u32,
            small: Latencies::new(),
            longest: Duration::ZERO,
            syncs: 0,
            timeline: Timeline::new(),
            writing: Duration::ZERO,
            missing: Duration::ZERO,
            disturbed: false,
            phases: Vec::new(),
        }
    }

    /// A phase begins; the one before has ended.
    pub(crate) fn phase(&mut self, name: &str) {
        self.phases.push((name.to_owned(), self.begun.elapsed().as_secs_f64()));
    }

    /// What ran when, until now.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let now = self.begun.elapsed().as_secs_f64();
        let ends = self.phases.iter().skip(1).map(|(_, begun)| *begun).chain([now]);
        let span = |((name, from), to): (&(String, f64), f64)| Span { name: name.clone(), from: *from, to };
        self.phases.iter().zip(ends).map(span).collect()
    }

    /// From here on until the next call of this, somebody disturbs the disk on purpose, or nobody does.
    pub(crate) fn disturb(&mut self, disturbed: bool) {
        // What came before has a second of its own.
        self.pause();
        self.disturbed = disturbed;
    }

    /// One durable write. `waiting` is the committing thread's.
    pub(super) fn note(&mut self, began: Instant, took: Duration, bytes: u64, waiting: &mut Waiting) {
        let at = (began + took).saturating_duration_since(self.begun);
        if at.as_secs() as u32 > self.at {
            self.missing += waiting.since_last();
            self.close(at.as_secs() as u32);
        }
        self.syncs += 1;
        self.writing += took;
        self.timeline.record_at(at, took);
        self.longest = self.longest.max(took);
        if bytes <= SMALL_BYTES {
            self.small.record(took);
        }
        if took >= LONG {
            let cpu = waiting.since_last();
            self.missing += cpu;
            self.long.push(LongWrite {
                at: began.saturating_duration_since(self.begun).as_secs_f64(),
                ms: took.as_secs_f64() * 1e3,
                cpu_ms: cpu.as_secs_f64() * 1e3,
            });
        }
    }

    /// What the device did since the last write is not this second's.
    pub(super) fn resume(&mut self) {
        self.others.were_felt(0);
        self.at = self.begun.elapsed().as_secs() as u32;
    }

    /// Ends the second under way: others have their turn at the device until the next write.
    pub(super) fn pause(&mut self) {
        if self.syncs > 0 {
            self.close(self.begun.elapsed().as_secs() as u32);
        }
    }

    fn close(&mut self, next: u32) {
        let others = self.others.were_felt(self.syncs);
        let doubt = if self.disturbed {
            Some(Doubt::Disturbed)
        } else if self.missing > MISSING && self.missing > self.writing.mul_f64(MISSING_SHARE) {
            Some(Doubt::CpuMissing)
        } else if others {
            Some(Doubt::OthersWrote)
        } else {
            (self.small.count() < FEWEST).then_some(Doubt::Quiet)
        };
        self.seconds.push(Second {
            at: self.at,
            syncs: self.small.count(),
            p10_us: self.small.micros(0.1),
            p50_us: self.small.micros(0.5),
            p99_us: self.small.micros(0.99),
            max_us: self.longest.as_secs_f64() * 1e6,
            doubt,
        });
        self.small.clear();
        (self.longest, self.syncs) = (Duration::ZERO, 0);
        (self.writing, self.missing) = (Duration::ZERO, Duration::ZERO);
        self.at = next;
    }

    pub(crate) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The longest writes, in the order of time.
    pub(crate) fn long(&self) -> Vec<LongWrite> {
        self.long.longest()
    }
}

/// The longest writes of a run.
struct LongWrites {
    most: usize,
    /// In the order of time; up to twice as many as are wanted, so that the shorter ones are seldom looked for.
    kept: Vec<LongWrite>,
}

impl LongWrites {
    fn new(most: usize) -> LongWrites {
        LongWrites { most, kept: Vec::new() }
    }

    fn push(&mut self, write: LongWrite) {
        if self.kept.len() == 2 * self.most {
            self.kept = self.longest();
        }
        self.kept.push(write);
    }

    fn longest(&self) -> Vec<LongWrite> {
        let mut longest = self.kept.clone();
        if longest.len() > self.most {
            longest.select_nth_unstable_by(self.most, |one, other| other.ms.total_cmp(&one.ms));
            longest.truncate(self.most);
        }
        longest.sort_by(|one, other| one.at.total_cmp(&other.at));
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_are_kept_whenever_they_come() {
        let write = |number: usize, ms: f64| LongWrite { at: number as f64, ms, cpu_ms: 0.0 };
        let mut writes = LongWrites::new(10);
        // A disk on which everything is long, and a stall near the end of the day.
        (0..995).for_each(|number| writes.push(write(number, 12.0 + (number % 7) as f64 / 10.0)));
        writes.push(write(995, 900.0));
        (996..1_000).for_each(|number| writes.push(write(number, 12.0)));
        let longest = writes.longest();
        assert_eq!(longest.len(), 10);
        assert!(
            longest.contains(&write(995, 900.0)) && longest.iter().all(|one| one.ms >= 12.6),
            "{longest:?}"
        );
        assert!(longest.is_sorted_by(|one, other| one.at < other.at));
    }
}
