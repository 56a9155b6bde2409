//! Which level of the disk the figures are of, where the run has found that there are two.
//!
//! A sync of a lone client's put is one small durable write, as those are from which the fall was found: it lies near the level
//! before or near the one after. A disk that had recovered by the time the member was loaded shows the former; the rates are then
//! brought down. In a put's time the disk's part grows by as much as the log's syncs had grown, and the rest stays:
//!
//! ```text
//! rate after = rate / (busy * (sync after / sync seen) + idle)
//! ```

use serde::{Deserialize, Serialize};

use super::{Prediction, Puts};
use crate::disk::overtime::{Finding, OverTime};

/// Whether the member met the disk as it is in the long run; microseconds of a small durable write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Level {
    /// Since the fall.
    pub(crate) sustained_us: f64,
    /// Of the member's log, under a lone client.
    pub(crate) seen_us: f64,
    /// How many times longer syncs were taken to be than they were seen: 1 where the member met the lower level.
    pub(crate) scaled: f64,
}

/// None where no fall was found, or no lone client was measured.
pub(super) fn level(prediction: &Prediction, time: &OverTime) -> Option<Level> {
    let fall = time.findings.iter().find_map(|finding| match finding {
        Finding::Fall { before_us, after_us, .. } => Some((*before_us, *after_us)),
        _ => None,
    });
    let (before_us, sustained_us) = fall?;
    let seen_us = prediction.at(1)?.sync_us;
    // In between, the nearer one: by ratio, as the fall was found.
    let recovered = seen_us < (before_us * sustained_us).sqrt();
    let scaled = if recovered { (sustained_us / seen_us.max(1e-3)).max(1.0) } else { 1.0 };
    Some(Level { sustained_us, seen_us, scaled })
}

/// Everything that depends on the disk's speed, as if syncs took so many times longer.
pub(super) fn bring_down(puts: &mut [Puts], level: Level) {
    for one in puts {
        let longer = (1.0 - one.disk_idle) * level.scaled + one.disk_idle;
        one.per_second /= longer;
        one.mean_us *= longer;
        one.disk_idle /= longer;
        one.sync_us *= level.scaled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puts(clients: usize, per_second: f64, sync_us: f64, disk_idle: f64) -> Puts {
        let mean_us = clients as f64 * 1e6 / per_second;
        Puts { clients, per_second, mean_us, sync_us, disk_idle, batch: 1.0, ..Puts::default() }
    }

    #[test]
    fn a_disk_that_had_recovered_is_brought_down() {
        // Syncs of 2 ms before the fall and 10 ms since; the lone client saw 2 ms in each of its 2.5 ms.
        let level = Level { sustained_us: 10_000.0, seen_us: 2_000.0, scaled: 5.0 };
        let mut all = [puts(1, 400.0, 2_000.0, 0.2), puts(64, 10_000.0, 2_000.0, 1.0)];
        bring_down(&mut all, level);
        assert!((all[0].per_second - 1e6 / 10_500.0).abs() < 0.1, "{all:?}");
        assert!(
            (all[0].mean_us - 10_500.0).abs() < 1.0 && (all[0].disk_idle - 0.5 / 10.5).abs() < 1e-3,
            "{all:?}"
        );
        assert!(
            (all[1].per_second - 10_000.0).abs() < 1.0,
            "where the disk did nothing, nothing changes: {all:?}"
        );
        let same = all.clone();
        bring_down(&mut all, Level { scaled: 1.0, ..level });
        assert_eq!(all, same);
    }
}
