//! What the kernel counted on the devices over some time, put together from slices.

use std::time::{Duration, Instant};

use measure::Result;
use measure::disks::Counts;

/// Each device's counts, in one order.
pub(super) type AllCounts = Vec<Option<Counts>>;

/// Slices of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stretch {
    pub(super) time: Duration,
    /// By device; none where the kernel did not say in one of the slices.
    pub(super) counts: AllCounts,
}

impl Stretch {
    /// One more slice: the time of `what`.
    pub(super) fn over<T>(
        &mut self,
        counts: &dyn Fn() -> AllCounts,
        what: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (before, begun) = (counts(), Instant::now());
        let done = what()?;
        self.add(begun.elapsed(), &before, &counts());
        Ok(done)
    }

    /// One more slice, from the counts at its begin and at its end.
    pub(super) fn add(&mut self, time: Duration, before: &[Option<Counts>], after: &[Option<Counts>]) {
        let each = before.iter().zip(after).map(|(before, after)| Some(after.as_ref()?.since((*before)?)));
        self.counts = match self.time.is_zero() {
            true => each.collect(),
            false => self.counts.iter().zip(each).map(|(sum, one)| Some(plus((*sum)?, one?))).collect(),
        };
        self.time += time;
    }

    /// What would have been counted in as long as `other` took: what others do, if this is a stretch without syncs.
    pub(super) fn scaled_to(&self, other: &Stretch) -> AllCounts {
        let times = other.time.as_secs_f64() / self.time.as_secs_f64().max(1e-9);
        let scaled = |count: u64| (count as f64 * times).round() as u64;
        let each = self.counts.iter().map(|counts| {
            counts.map(|counts| Counts {
                writes: scaled(counts.writes),
                written_bytes: scaled(counts.written_bytes),
                flushes: counts.flushes.map(scaled),
            })
        });
        each.collect()
    }
}

fn plus(one: Counts, other: Counts) -> Counts {
    Counts {
        writes: one.writes + other.writes,
        written_bytes: one.written_bytes + other.written_bytes,
        flushes: one.flushes.zip(other.flushes).map(|(one, other)| one + other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(writes: u64) -> AllCounts {
        vec![Some(Counts { writes, written_bytes: 0, flushes: Some(2 * writes) }), None]
    }

    #[test]
    fn slices_add_up_and_are_scaled() {
        let (mut idle, mut syncs) = (Stretch::default(), Stretch::default());
        idle.add(Duration::from_millis(250), &counts(10), &counts(20));
        idle.add(Duration::from_millis(250), &counts(100), &counts(130));
        syncs.add(Duration::from_secs(2), &counts(20), &counts(100));
        assert_eq!((idle.time, &idle.counts), (Duration::from_millis(500), &counts(40)));
        assert_eq!(idle.scaled_to(&syncs), counts(160));
    }
}
