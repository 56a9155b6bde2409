//! How much upkeep goes between two batches.
//!
//! All of it is done in slices on the driver's thread, which has requests to serve. While there are none, slices of up
//! to [`QUIET`] go on turn after turn. Under load a slice is shorter and is followed by a rest three times as long, so
//! that upkeep has at most a quarter of the thread and always gets it: neither starves the other. The kinds of work
//! take turns; each learns from its own slices how much it can do in the time.
//!
//! What is learned has bounds, because a unit may cost a hundred times what the one before did: records of one extent
//! and records of a thousand, a page that is passed over and a page that is copied. A slice of the largest size stays
//! within a few milliseconds of the dearest units. And only a slice that ended because it was full tells how much
//! fits: from one that ran out of work, a small checkpoint's or a small compaction's, nothing follows.

use std::time::{Duration, Instant};

/// Time for a turn while nothing is asked.
const QUIET: Duration = Duration::from_millis(1);

/// Time for a turn while requests come in.
const BUSY: Duration = Duration::from_micros(250);

/// Rests are so many times as long as what was done before.
const REST: u32 = 3;

/// Requests that came longer ago than this are no load any more.
const LULL: Duration = Duration::from_millis(2);

/// Kinds of work, in the order in which they take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Referring to the file instead of memory, after a checkpoint.
    Swap,
    /// Dropping what a compaction has made useless.
    Compact,
    /// Bringing scattered records together, and pages to the front of the file.
    Defragment,
    /// Giving memory back to the system.
    Release,
}

/// All of them.
const KINDS: [Work; 4] = [Work::Swap, Work::Compact, Work::Defragment, Work::Release];

/// Least, first and largest size of a slice, in the kind's own unit: pages, records, pages, nothing.
fn bounds(work: Work) -> (usize, usize, usize) {
    match work {
        Work::Swap => (16, 128, 2048),
        Work::Compact => (16, 64, 1024),
        Work::Defragment => (16, 32, 256),
        Work::Release => (1, 1, 1),
    }
}

/// Whose turn it is, and for how long.
#[derive(Debug)]
pub struct Slices {
    sizes: [usize; KINDS.len()],
    /// The kind that goes first in the next turn.
    first: usize,
    rest_until: Instant,
    /// When something was last applied, as seen from the turns.
    busy_at: Instant,
    applied: u64,
}

impl Slices {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Slices {
        Slices {
            sizes: KINDS.map(|work| bounds(work).1),
            first: 0,
            rest_until: now,
            busy_at: now,
            applied: 0,
        }
    }

    /// Notes how far the log has been applied.
    pub fn saw(&mut self, applied: u64, now: Instant) {
        if applied != std::mem::replace(&mut self.applied, applied) {
            self.busy_at = now;
        }
    }

    /// Whether nothing is asked.
    pub fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.busy_at) >= LULL
    }

    /// The time for this turn; `None` while resting. `pressed`: what upkeep gives back is needed.
    pub fn allowance(&self, now: Instant, pressed: bool) -> Option<Duration> {
        if pressed || self.is_quiet(now) {
            return Some(QUIET);
        }
        (now >= self.rest_until).then_some(BUSY)
    }

    /// The kinds in the order of this turn.
    pub fn order(&self) -> [Work; KINDS.len()] {
        let mut order = KINDS;
        order.rotate_left(self.first);
        order
    }

    /// How much of a kind to do.
    pub fn size(&self, work: Work) -> usize {
        self.sizes[work as usize]
    }

    /// A slice of this kind has taken so long; `more`: it ended because it was full.
    pub fn took(&mut self, work: Work, time: Duration, allowance: Duration, more: bool) {
        let (least, _, most) = bounds(work);
        let size = &mut self.sizes[work as usize];
        if time > allowance {
            let fits = *size as u128 * allowance.as_nanos() / time.as_nanos();
            *size = usize::try_from(fits).unwrap_or(least).min(*size / 2).max(least);
        } else if more && time < allowance / 2 {
            *size = (*size * 2).min(most);
        }
        self.first = (work as usize + 1) % KINDS.len();
    }

    /// The turn has ended, after so much work.
    pub fn ended(&mut self, now: Instant, worked: Duration) {
        self.rest_until = now + worked * REST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs turns over `time`, with a batch applied every `batches`, and endless work of which a unit takes a
    /// microsecond; the share of the time that went into it, and the longest turn.
    fn share(time: Duration, batches: Duration) -> (f64, Duration) {
        let begun = Instant::now();
        let mut now = begun;
        let mut slices = Slices::new(now);
        let (mut worked, mut longest, mut batch, mut applied) = (Duration::ZERO, Duration::ZERO, begun, 0);
        while now - begun < time {
            if now >= batch {
                (batch, applied) = (now + batches, applied + 1);
            }
            slices.saw(applied, now);
            let Some(allowance) = slices.allowance(now, false) else {
                // The driver sleeps until something comes in, or a tick.
                now += (batch - now).min(Duration::from_millis(100)).max(Duration::from_micros(10));
                continue;
            };
            let turn = now;
            for work in slices.order() {
                let took = Duration::from_micros(slices.size(work) as u64);
                now += took;
                slices.took(work, took, allowance, true);
                if now - turn >= allowance {
                    break;
                }
            }
            slices.ended(now, now - turn);
            worked += now - turn;
            if turn - begun > Duration::from_millis(20) {
                longest = longest.max(now - turn);
            }
        }
        (worked.as_secs_f64() / time.as_secs_f64(), longest)
    }

    #[test]
    fn a_quiet_member_does_nothing_else_and_a_busy_one_a_quarter() {
        let second = Duration::from_secs(1);
        // A lull that begins during a rest is noticed at the next tick.
        let (quiet, longest) = share(4 * second, Duration::from_secs(3600));
        assert!(quiet > 0.95, "{quiet}");
        assert!(longest <= 3 * QUIET, "{longest:?}");
        for batches in [50, 100, 300, 1000] {
            let (busy, longest) = share(second, Duration::from_micros(batches));
            assert!((0.1..0.35).contains(&busy), "a batch every {batches} us: {busy}");
            assert!(longest <= 2 * BUSY, "{longest:?}");
        }
    }

    #[test]
    fn kinds_take_turns() {
        let now = Instant::now();
        let mut slices = Slices::new(now);
        for expected in KINDS.iter().cycle().take(9) {
            assert_eq!(slices.order()[0], *expected);
            slices.took(*expected, QUIET, QUIET, true);
        }
    }

    #[test]
    fn pressure_knows_no_rest() {
        let now = Instant::now();
        let mut slices = Slices::new(now);
        slices.saw(1, now);
        slices.ended(now, QUIET);
        assert_eq!(slices.allowance(now, false), None);
        assert_eq!(slices.allowance(now, true), Some(QUIET));
        assert_eq!(slices.allowance(now + LULL, false), Some(QUIET));
    }

    #[test]
    fn what_was_small_says_nothing_about_what_will_be_large() {
        let now = Instant::now();
        let mut slices = Slices::new(now);
        let before = slices.size(Work::Compact);
        // A hundred small compactions, each of one slice that was not full.
        for _ in 0..100 {
            slices.took(Work::Compact, Duration::from_micros(10), BUSY, false);
        }
        assert_eq!(slices.size(Work::Compact), before);
        // However cheap units were, a slice of units at 3 us stays below 4 ms.
        for work in KINDS {
            for _ in 0..100 {
                slices.took(work, Duration::from_micros(1), BUSY, true);
            }
            assert!(slices.size(work) <= 2048, "{work:?}: {}", slices.size(work));
        }
        // The next one fits.
        let dear = Duration::from_micros(3) * slices.size(Work::Compact) as u32;
        slices.took(Work::Compact, dear, BUSY, true);
        assert!(Duration::from_micros(3) * slices.size(Work::Compact) as u32 <= BUSY);
    }
}
