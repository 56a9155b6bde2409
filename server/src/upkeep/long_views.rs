//! Views that somebody holds for too long.
//!
//! A view keeps every page it can see from being used again: memory does not shrink and the file grows while one is
//! held. Reads take theirs for microseconds; whatever reads for long copies a chunk and takes a new one. One that is
//! held for longer all the same is a mistake somewhere, and is told once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine::HeldView;

/// From when on a view is long in a member as it is run.
pub const LONG_VIEW: Duration = Duration::from_secs(10);

/// Looks while a view becomes long.
const LOOKS: u32 = 10;

/// When each older view that somebody holds was first seen, and whether it was told.
#[derive(Debug)]
pub(super) struct LongViews {
    seen: BTreeMap<u64, (Instant, bool)>,
    next: Instant,
    long: Duration,
}

impl LongViews {
    pub(super) fn new(long: Duration, now: Instant) -> LongViews {
        LongViews { seen: BTreeMap::new(), next: now, long }
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// The views that have become long since the last look, with their ages. The newest view is none of them: it hinders
    /// nobody as long as it is that.
    pub(super) fn look(
        &mut self,
        held: impl IntoIterator<Item = HeldView>,
        now: Instant,
    ) -> Vec<(HeldView, Duration)> {
        self.next = now + self.long / LOOKS;
        let mut long = Vec::new();
        let mut still = BTreeMap::new();
        for view in held {
            let (since, mut told) = self.seen.get(&view.number).copied().unwrap_or((now, false));
            let age = now.saturating_duration_since(since);
            if age >= self.long && !told {
                told = true;
                long.push((view, age));
            }
            still.insert(view.number, (since, told));
        }
        self.seen = still;
        long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once() {
        let begun = Instant::now();
        let view = |number| HeldView { number, revision: 100 + number as i64 };
        let mut views = LongViews::new(LONG_VIEW, begun);
        let mut told = Vec::new();
        for second in 0..40 {
            let now = begun + Duration::from_secs(second);
            assert!(views.is_due(now));
            // View 1 is held from the beginning; 2 for nine seconds; 3 from second 20 on; a new one every second.
            let mut held = vec![view(1)];
            held.extend((5..14).contains(&second).then(|| view(2)));
            held.extend((second >= 20).then(|| view(3)));
            held.push(view(100 + second));
            let long = views.look(held, now);
            told.extend(long.into_iter().map(|(view, age)| (second, view.number, age.as_secs())));
            assert!(!views.is_due(now + Duration::from_millis(500)));
        }
        assert_eq!(told, [(10, 1, 10), (30, 3, 10)]);
        assert_eq!(views.seen.len(), 3, "what is gone is forgotten");
    }
}
