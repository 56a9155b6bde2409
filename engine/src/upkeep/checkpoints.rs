//! When the state is brought to disk, as a matter of numbers and times alone.
//!
//! A checkpoint costs two syncs of the engine's file whatever its size, and writes a page once however often it was
//! changed meanwhile: fewer checkpoints are cheaper. What speaks for one is memory, and the log that a restart would
//! have to apply again. So under a steady load they keep [`CheckpointPolicy::spacing`], and only memory that fills up
//! faster than that overrides it.

use std::time::{Duration, Instant};

use super::pace::CHECKPOINT_RATE;
use crate::mvcc::Pressure;

/// When the state is brought to disk. Whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// Bytes of changes in memory. Twice as many do not wait for `spacing`, and are written the faster the more they
    /// are; four times as many, if that is worth refusing anything, and writes that need room are refused.
    ///
    /// Whoever changes random ones of many keys changes nearly every page of them between two checkpoints: the fewer
    /// bytes are allowed here, the more often the same pages are written.
    pub dirty_bytes: usize,
    /// Entries since the last one (`--snapshot-count`).
    pub entries: u64,
    /// Least time between two: with one client an entry is one put, and bringing pages to disk every second would cost
    /// more than a longer replay.
    pub spacing: Duration,
    /// Time since the last one, if anything changed.
    pub interval: Duration,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        CheckpointPolicy {
            dirty_bytes: 64 << 20,
            entries: 10_000,
            spacing: Duration::from_secs(5),
            interval: Duration::from_secs(60),
        }
    }
}

/// Nothing is refused below this, however small `dirty_bytes` is.
const LEAST_FULL_BYTES: usize = 32 << 20;

/// How many times the usual rate a checkpoint is written with at most, unless it is urgent.
const FASTEST: u64 = 8;

/// How much has gathered in memory, in the terms of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// As it should be.
    #[default]
    Normal,
    /// It grows faster than it is written at the usual rate: [`CheckpointPolicy::rate`] rises.
    Pressed,
    /// Nothing of the writing is put off any more.
    Urgent,
    /// Writes that need room are refused.
    Full,
    /// So are those that free some: they gather changes as well.
    Overfull,
}

/// Bounds of [`CheckpointPolicy::dirty_bytes_for`].
const DIRTY_BYTES: std::ops::RangeInclusive<u64> = 16 << 20..=256 << 20;

impl CheckpointPolicy {
    /// The `dirty_bytes` of a machine with so many bytes of memory: a 64th of it, from 16 MiB to 256 MiB, so that
    /// changes never take more than an eighth and writes that need room are refused at a 16th.
    pub fn dirty_bytes_for(memory_bytes: u64) -> usize {
        (memory_bytes / 64).clamp(*DIRTY_BYTES.start(), *DIRTY_BYTES.end()) as usize
    }

    /// What so many bytes of changes in memory mean.
    pub fn load(&self, dirty_bytes: usize) -> Load {
        let full = self.full();
        match dirty_bytes {
            bytes if bytes >= full.saturating_mul(2) => Load::Overfull,
            bytes if bytes >= full => Load::Full,
            bytes if bytes >= full / 4 * 3 => Load::Urgent,
            bytes if bytes >= self.pressed() => Load::Pressed,
            _ => Load::Normal,
        }
    }

    /// Bytes a second to write a checkpoint with, while so many bytes of changes are in memory; `u64::MAX` is as fast as
    /// it goes. Between the usual rate and that it rises in proportion to what has gathered, so that writing
    /// finds the rate that just keeps up: commits feel it as little as possible, and nothing is refused.
    pub fn rate(&self, dirty_bytes: usize) -> u64 {
        let (pressed, urgent) = (self.pressed(), self.full() / 4 * 3);
        if dirty_bytes < pressed {
            return CHECKPOINT_RATE;
        }
        if dirty_bytes >= urgent {
            return u64::MAX;
        }
        let (above, span) = ((dirty_bytes - pressed) as u128, (urgent - pressed) as u128);
        CHECKPOINT_RATE + (u128::from(CHECKPOINT_RATE * (FASTEST - 1)) * above / span) as u64
    }

    fn pressed(&self) -> usize {
        self.dirty_bytes.saturating_mul(2).min(self.full() / 2)
    }

    fn full(&self) -> usize {
        self.dirty_bytes.saturating_mul(4).max(LEAST_FULL_BYTES)
    }
}

/// How much somebody else wants a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Not at all.
    No,
    /// When one may be begun again.
    Soon,
    /// A client waits.
    Now,
}

/// First pause after a checkpoint that found no space; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The checkpoints of a running member.
#[derive(Debug)]
pub struct Schedule {
    policy: CheckpointPolicy,
    last: Instant,
    /// The last one found no space: not before, and how long it has waited for that.
    retry: Option<(Instant, Duration)>,
}

impl Schedule {
    /// None for a while.
    pub fn new(policy: CheckpointPolicy, now: Instant) -> Schedule {
        Schedule { policy, last: now, retry: None }
    }

    /// What it follows.
    pub fn policy(&self) -> &CheckpointPolicy {
        &self.policy
    }

    /// Whether one should begin.
    pub fn is_due(&self, now: Instant, pressure: Pressure, wish: Wish) -> bool {
        if let Some((not_before, _)) = self.retry {
            return now >= not_before;
        }
        let since = now.saturating_duration_since(self.last);
        let spaced = since >= self.policy.spacing;
        let many = pressure.dirty_bytes >= self.policy.dirty_bytes || pressure.entries >= self.policy.entries;
        wish == Wish::Now
            || self.policy.load(pressure.dirty_bytes) > Load::Normal
            || (spaced && (many || wish == Wish::Soon))
            || (pressure.entries > 0 && since >= self.policy.interval)
    }

    /// One began.
    pub fn begun(&mut self, now: Instant) {
        self.last = now;
    }

    /// One is on disk; whether those before it had found no space.
    pub fn completed(&mut self) -> bool {
        self.retry.take().is_some()
    }

    /// One found no space: when it is tried again; whether it is the first.
    pub fn found_no_space(&mut self, now: Instant) -> (Duration, bool) {
        let pause = match self.retry {
            None => FIRST_RETRY,
            Some((_, before)) => (before * 2).min(LONGEST_RETRY),
        };
        let first = self.retry.replace((now + pause, pause)).is_none();
        (pause, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// Checkpoints in a minute of a steady load.
    fn per_minute(policy: CheckpointPolicy, bytes_a_second: usize, entries_a_second: u64) -> usize {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(policy, now);
        let (mut dirty, mut entries, mut begun) = (0, 0, 0);
        for _ in 0..6000 {
            now += STEP;
            dirty += bytes_a_second / 100;
            entries += entries_a_second / 100;
            if schedule.is_due(now, Pressure { dirty_bytes: dirty, entries }, Wish::No) {
                schedule.begun(now);
                schedule.completed();
                (dirty, entries, begun) = (0, 0, begun + 1);
            }
        }
        begun
    }

    #[test]
    fn a_steady_load_syncs_the_engine_less_than_every_two_seconds() {
        let policy = CheckpointPolicy::default();
        // One client, 3,500 entries of a put each a second: --snapshot-count asks for one every three seconds.
        let one = per_minute(policy, 2 << 20, 3_500);
        // 64 clients, 30,000 puts in 1,500 entries a second; 256 clients as fast as an engine of ours goes.
        let many = per_minute(policy, 15 << 20, 1_500);
        let fast = per_minute(policy, 25 << 20, 3_000);
        for begun in [one, many, fast] {
            assert!((8..=15).contains(&begun), "two syncs each: {one} {many} {fast}");
        }
        // Nothing but memory overrides it, and not before it is twice what is aimed at.
        assert!((57..=60).contains(&per_minute(policy, 128 << 20, 3_000)), "every second");
        // What nobody changes is not written, what hardly changes once a minute.
        assert_eq!(per_minute(policy, 0, 0), 0);
        assert_eq!(per_minute(policy, 100, 100), 1);
    }

    #[test]
    fn somebody_who_waits_does_not_wait_for_the_spacing() {
        let now = Instant::now();
        let schedule = Schedule::new(CheckpointPolicy::default(), now);
        let pressure = Pressure { dirty_bytes: 1, entries: 0 };
        assert!(!schedule.is_due(now, pressure, Wish::No));
        assert!(schedule.is_due(now, pressure, Wish::Now));
        assert!(!schedule.is_due(now, pressure, Wish::Soon));
        assert!(schedule.is_due(now + schedule.policy().spacing, pressure, Wish::Soon));
    }

    #[test]
    fn no_space_is_tried_again_less_and_less_often() {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(CheckpointPolicy::default(), now);
        let full = Pressure { dirty_bytes: 1 << 30, entries: 1 << 30 };
        assert!(schedule.is_due(now, full, Wish::No));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let (pause, first) = schedule.found_no_space(now);
            assert_eq!(first, pauses.is_empty(), "only the first is news");
            pauses.push(pause.as_secs());
            assert!(!schedule.is_due(now + pause - STEP, full, Wish::Now), "however urgent");
            now += pause;
            assert!(schedule.is_due(now, Pressure { dirty_bytes: 0, entries: 0 }, Wish::No));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(schedule.completed(), "it was short of space until now");
        assert!(!schedule.completed());
        assert_eq!(schedule.found_no_space(now), (FIRST_RETRY, true));
    }

    #[test]
    fn loads() {
        let policy = CheckpointPolicy { dirty_bytes: 10 << 20, ..CheckpointPolicy::default() };
        let small = CheckpointPolicy { dirty_bytes: 1 << 20, ..policy };
        let cases = [
            (policy, 0, Load::Normal),
            (policy, 19, Load::Normal),
            (policy, 20, Load::Pressed),
            (policy, 29, Load::Pressed),
            (policy, 30, Load::Urgent),
            (policy, 39, Load::Urgent),
            (policy, 40, Load::Full),
            (policy, 79, Load::Full),
            (policy, 80, Load::Overfull),
            (small, 2, Load::Pressed),
            (small, 23, Load::Pressed),
            (small, 31, Load::Urgent),
            (small, 32, Load::Full),
        ];
        for (policy, dirty, load) in cases {
            assert_eq!(policy.load(dirty << 20), load, "{dirty} MiB");
        }
        assert_eq!(CheckpointPolicy { dirty_bytes: usize::MAX, ..policy }.load(1 << 40), Load::Normal);
    }

    #[test]
    fn memory_for_changes_grows_with_the_machine() {
        let mebibytes = |memory: u64| CheckpointPolicy::dirty_bytes_for(memory << 20) >> 20;
        let cases = [(0, 16), (512, 16), (2 << 10, 32), (8 << 10, 128), (16 << 10, 256), (1 << 20, 256)];
        for (memory, expected) in cases {
            assert_eq!(mebibytes(memory), expected, "{memory} MiB");
        }
    }

    #[test]
    fn writing_is_the_faster_the_more_waits_for_it() {
        for dirty_bytes in [1 << 12, 1 << 20, 10 << 20, 256 << 20, usize::MAX] {
            let policy = CheckpointPolicy { dirty_bytes, ..CheckpointPolicy::default() };
            let rates: Vec<(Load, u64)> = (0..4096_usize)
                .map(|step| step.saturating_mul(policy.full() / 2048))
                .map(|bytes| (policy.load(bytes), policy.rate(bytes)))
                .collect();
            assert!(rates.is_sorted(), "{dirty_bytes}");
            for (load, rate) in rates {
                match load {
                    Load::Normal => assert_eq!(rate, CHECKPOINT_RATE),
                    Load::Pressed => assert!((CHECKPOINT_RATE..=FASTEST * CHECKPOINT_RATE).contains(&rate)),
                    Load::Urgent | Load::Full | Load::Overfull => assert_eq!(rate, u64::MAX),
                }
            }
        }
    }

    /// A load that changes every page of 100 MB again and again, beside 35 MB of new ones each second: what random
    /// puts at full speed are. The rate settles instead of changing between slow and as fast as it goes.
    #[test]
    fn a_heavy_load_is_written_at_the_rate_that_keeps_up() {
        const PAGES: f64 = 100e6;
        for (dirty_bytes, most) in [(128 << 20, 7.0), (256 << 20, 1.0)] {
            let policy = CheckpointPolicy { dirty_bytes, ..CheckpointPolicy::default() };
            let begun = Instant::now();
            let mut schedule = Schedule::new(policy, begun);
            let (mut fresh, mut new, mut left, mut frozen) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
            let (mut fastest, mut written) = (0, 0.0);
            for step in 0..6_000_u32 {
                let now = begun + STEP * step;
                fresh += (PAGES - fresh) * 0.04;
                new += 0.35e6;
                let dirty = (fresh + new + frozen) as usize;
                if left > 0.0 {
                    let rate = policy.rate(dirty);
                    fastest = fastest.max(rate);
                    left -= rate as f64 / 100.0;
                    written += rate as f64 / 100.0;
                } else if schedule.is_due(now, Pressure { dirty_bytes: dirty, entries: 1 }, Wish::No) {
                    schedule.begun(now);
                    (frozen, left) = (fresh + new, fresh + new);
                    (fresh, new) = (0.0, 0.0);
                }
                if left <= 0.0 {
                    frozen = 0.0;
                }
            }
            let fastest = fastest as f64 / CHECKPOINT_RATE as f64;
            assert!(fastest <= most, "{dirty_bytes}: {fastest} times the usual rate");
            println!("{dirty_bytes}: at most {fastest:.1} times the usual rate, {:.0} MB/s", written / 60e6);
        }
    }
}
