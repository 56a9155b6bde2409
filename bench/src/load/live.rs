//! What is shown while a load runs. The threads that send only hand over what they saw; what can be said of it is worked out by
//! whoever shows it, and only when it is shown.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use measure::Latencies;

/// How often a thread hands over what it saw.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where one thread leaves what it saw.
pub(super) struct Live {
    left: Mutex<Latencies>,
}

/// The thread's side.
pub(super) struct Seen<'a> {
    live: &'a Live,
    recent: Latencies,
    next: Instant,
}

impl Live {
    pub(super) fn new() -> Live {
        Live { left: Mutex::new(Latencies::new()) }
    }

    /// For the thread, from `begin` on.
    pub(super) fn seen(&self, begin: Instant) -> Seen<'_> {
        Seen { live: self, recent: Latencies::new(), next: begin + INTERVAL }
    }

    /// Adds what was left to what was there before.
    pub(super) fn collect(&self, sum: &mut Latencies) {
        let mut left = self.left.lock().expect("nobody panics with it");
        if left.count() > 0 {
            sum.merge(&left);
            *left = Latencies::new();
        }
    }
}

impl Seen<'_> {
    /// One more.
    pub(super) fn record(&mut self, latency: Duration) {
        self.recent.record(latency);
    }

    /// Hands over what there is, if it is time. Never waits: with what was left before still there, or being looked at, it is
    /// done the next time.
    pub(super) fn hand_over(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        if let Ok(mut left) = self.live.left.try_lock()
            && left.count() == 0
        {
            std::mem::swap(&mut *left, &mut self.recent);
            self.next = now + INTERVAL;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_handed_over_once_and_nobody_waits() {
        let (live, begin) = (Live::new(), Instant::now());
        let mut seen = live.seen(begin);
        let mut sum = Latencies::new();
        let ms = Duration::from_millis;
        seen.record(ms(1));
        seen.hand_over(begin + INTERVAL / 2);
        live.collect(&mut sum);
        assert_eq!(sum.count(), 0, "it is not time");
        seen.hand_over(begin + INTERVAL);
        seen.record(ms(2));
        // The first is still there, and then somebody is looking.
        seen.hand_over(begin + 2 * INTERVAL);
        live.collect(&mut sum);
        assert_eq!(sum.count(), 1);
        let looked_at = live.left.lock().unwrap();
        seen.hand_over(begin + 2 * INTERVAL);
        drop(looked_at);
        seen.hand_over(begin + 2 * INTERVAL);
        live.collect(&mut sum);
        assert_eq!((sum.count(), sum.micros(1.0).round()), (2, 2_001.0));
    }
}
