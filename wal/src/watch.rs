//! What another thread may see of the log while it works: whether a sync hangs, how slow the slowest was, and how far
//! the log is durable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A window into a log for other threads; clones see the same log. It is given to the log in [`crate::Options::watch`], and a
/// clone kept. Costs an append a few stores, no system call and no lock.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    /// What the times below count from: when the first sync began.
    base: OnceLock<Instant>,
    /// When the sync under way began, in nanoseconds after the base, plus one; 0 while there is none.
    began: AtomicU64,
    /// Nanoseconds of the slowest sync since it was taken last.
    slowest: AtomicU64,
    /// Frames up to this sequence are durable.
    durable: AtomicU64,
    /// Segments below this id are not needed, and may be written over at any time.
    oldest: AtomicU64,
}

impl Watch {
    /// How long the sync under way has been running at `now`; `None` if there is none. For a watchdog that warns *while*
    /// a device hangs.
    pub fn in_flight(&self, now: Instant) -> Option<Duration> {
        let began = self.0.began.load(Ordering::Acquire).checked_sub(1)?;
        let began = *self.0.base.get()? + Duration::from_nanos(began);
        Some(now.saturating_duration_since(began))
    }

    /// The slowest finished sync since this was last called; zero if there was none.
    pub fn take_slowest(&self) -> Duration {
        Duration::from_nanos(self.0.slowest.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn begin(&self, now: Instant) {
        let base = *self.0.base.get_or_init(|| now);
        self.0.began.store(nanos(now.saturating_duration_since(base)).saturating_add(1), Ordering::Release);
    }

    pub(crate) fn end(&self, latency: Duration) {
        self.0.began.store(0, Ordering::Release);
        self.0.slowest.fetch_max(nanos(latency), Ordering::Relaxed);
    }

    /// The caller says so before anything is given up, so that a reader which finds strange bytes can tell damage
    /// from a segment that was used again meanwhile.
    pub(crate) fn set_oldest(&self, segment: u64) {
        self.0.oldest.store(segment, Ordering::Release);
    }

    pub(crate) fn set_durable(&self, sequence: u64) {
        self.0.durable.store(sequence, Ordering::Release);
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.0.oldest.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.0.durable.load(Ordering::Acquire)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_seen_while_it_runs_and_the_slowest_until_it_is_taken() {
        let watch = Watch::default();
        let start = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(watch.in_flight(start), None);
        watch.begin(start);
        assert_eq!(watch.in_flight(start), Some(ms(0)));
        assert_eq!(watch.clone().in_flight(start + ms(150)), Some(ms(150)));
        watch.end(ms(160));
        assert_eq!(watch.in_flight(start + ms(170)), None);
        watch.begin(start + ms(200));
        assert_eq!(watch.in_flight(start + ms(201)), Some(ms(1)));
        watch.end(ms(2));
        assert_eq!(watch.take_slowest(), ms(160));
        assert_eq!(watch.take_slowest(), ms(0));
    }
}
