//! When the file is worth making smaller without being asked.
//!
//! The file is to stay within 1.3 times of what it holds, or within 16 MiB. It can't be held there at every moment: a member that is written
//! to needs free pages to write to, and what a compaction has freed may be needed again a minute later. So a run begins
//! when there has been too much for a while, and a run that had to be repeated soon waits longer the next time. A member
//! at rest does not need free pages, and does not wait.

use std::time::{Duration, Instant};

use crate::mvcc::Sizes;

/// Files up to this are left alone: 16 MiB.
const SMALL_BYTES: u64 = 16 << 20;

/// A run begins when the file is longer than what it holds by more than a quarter of that, and aims at what is possible.
const SLACK_DIVISOR: u64 = 4;

/// How long there has to be too much.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between the first two runs; each further one doubles it while they are needed.
const FIRST_REST: Duration = Duration::from_secs(30);

/// The longest such time.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// Bytes a second that are moved without being asked.
pub const AUTO_DEFRAGMENT_RATE: u64 = 16 << 20;

/// Watches the file's size.
#[derive(Debug)]
pub struct AutoDefragment {
    /// Since when there is too much.
    since: Option<Instant>,
    /// When a write was last seen.
    written: Instant,
    revision: i64,
    rest: Duration,
    rest_until: Instant,
    /// The last run changed nothing: there is no point in another one soon, at rest or not.
    futile: bool,
}

impl AutoDefragment {
    /// Sees a store for the first time.
    pub fn new(now: Instant) -> AutoDefragment {
        AutoDefragment {
            since: None,
            written: now,
            revision: 0,
            rest: FIRST_REST,
            rest_until: now,
            futile: false,
        }
    }

    /// Whether a run should begin. To be asked several times a second or so, with the store's current revision.
    pub fn is_due(&mut self, now: Instant, sizes: Sizes, revision: i64) -> bool {
        if revision != std::mem::replace(&mut self.revision, revision) {
            self.written = now;
        }
        if !is_too_much(sizes) {
            self.since = None;
            if now >= self.rest_until {
                self.rest = FIRST_REST;
            }
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let at_rest = now.saturating_duration_since(self.written) >= PATIENCE;
        now.saturating_duration_since(since) >= PATIENCE
            && (now >= self.rest_until || (at_rest && !self.futile))
    }

    /// A run has ended.
    pub fn ended(&mut self, now: Instant, before: Sizes, after: Sizes) {
        self.since = None;
        self.futile = after.file_bytes >= before.file_bytes;
        self.rest_until = now + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}

fn is_too_much(sizes: Sizes) -> bool {
    let aim = (sizes.live_bytes + sizes.live_bytes / SLACK_DIVISOR).max(SMALL_BYTES);
    sizes.file_bytes > aim
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn sizes(file: u64, live: u64) -> Sizes {
        Sizes { file_bytes: file * MIB, in_use_bytes: file * MIB, live_bytes: live * MIB }
    }

    #[test]
    fn what_is_too_much() {
        for (file, live, expected) in [
            (16, 1, false),
            (17, 1, true),
            (100, 80, false),
            (101, 80, true),
            (1000, 799, true),
            (20, 17, false),
        ] {
            assert_eq!(is_too_much(sizes(file, live)), expected, "{file} {live}");
        }
    }

    #[test]
    fn a_member_at_rest_is_cleaned_up_soon() {
        let begun = Instant::now();
        let mut auto = AutoDefragment::new(begun);
        let mut seconds = 0;
        while !auto.is_due(begun + Duration::from_secs(seconds), sizes(1000, 100), 7) {
            seconds += 1;
        }
        assert_eq!(seconds, 10);
        auto.ended(begun + Duration::from_secs(20), sizes(1000, 100), sizes(110, 100));
        assert!(!auto.is_due(begun + Duration::from_secs(3600), sizes(110, 100), 7));
        // Something holds the end of the file: it is tried again, but not all the time.
        let mut runs = Vec::new();
        for second in 3600..7200 {
            let now = begun + Duration::from_secs(second);
            if auto.is_due(now, sizes(1000, 100), 8) {
                runs.push(second - 3600);
                auto.ended(now, sizes(1000, 100), sizes(1000, 100));
            }
        }
        assert_eq!(runs, [10, 40, 100, 220, 460, 940, 1540, 2140, 2740, 3340]);
    }

    #[test]
    fn a_member_that_needs_its_free_pages_is_asked_less_and_less_often() {
        let begun = Instant::now();
        let mut auto = AutoDefragment::new(begun);
        let mut runs = Vec::new();
        let mut file = 100;
        for second in 0..3600 {
            let now = begun + Duration::from_secs(second);
            // It grows back within twenty seconds of every run.
            if second % 20 == 0 {
                file = 200;
            }
            if auto.is_due(now, sizes(file, 100), second as i64) {
                runs.push(second);
                auto.ended(now, sizes(file, 100), sizes(100, 100));
                file = 100;
            }
        }
        let gaps: Vec<_> = runs.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(runs[0], 10);
        assert!(gaps.windows(2).all(|pair| pair[1] >= pair[0]), "{gaps:?}");
        assert!(*gaps.last().unwrap() >= 600 && runs.len() < 12, "{gaps:?}");
        // A burst now and then is not a need.
        assert!(!auto.is_due(begun + Duration::from_secs(9999), sizes(100, 100), 1));
        assert_eq!(auto.rest, FIRST_REST);
    }
}
