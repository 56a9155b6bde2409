//! What is shown while a load runs. The threads that send only hand over what they saw; what can be said of it is worked out by
//! whoever shows it.

use std::sync::Mutex;

use measure::Latencies;

/// Where one thread leaves what it saw.
pub(super) struct Live {
    left: Mutex<Latencies>,
}

impl Live {
    pub(super) fn new() -> Live {
        Live { left: Mutex::new(Latencies::new()) }
    }

    /// Leaves all of `recent`, which is empty then. Never waits: where what was left before still lies there, or is being looked
    /// at, nothing is left until the next time.
    pub(super) fn leave(&self, recent: &mut Latencies) {
        if let Ok(mut left) = self.left.try_lock()
            && left.count() == 0
        {
            std::mem::swap(&mut *left, recent);
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_is_left_once_and_nobody_waits() {
        let live = Live::new();
        let (mut recent, mut sum) = (Latencies::new(), Latencies::new());
        recent.record(Duration::from_millis(1));
        live.leave(&mut recent);
        recent.record(Duration::from_millis(2));
        // The first is still there, and then somebody is looking.
        live.leave(&mut recent);
        live.collect(&mut sum);
        assert_eq!((sum.count(), recent.count()), (1, 1));
        let looked_at = live.left.lock().unwrap();
        live.leave(&mut recent);
        drop(looked_at);
        assert_eq!(recent.count(), 1);
        live.leave(&mut recent);
        live.collect(&mut sum);
        live.collect(&mut sum);
        assert_eq!((sum.count(), recent.count()), (2, 0));
    }
}
