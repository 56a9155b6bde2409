//! How fast to read through everything, so that it is done in time and nobody notices.

use std::time::Duration;

/// Bytes a second, however little there is: a small store is done soon.
const LEAST_RATE: u64 = 1 << 20;

/// Bytes a second, however little time there is: nobody should feel it. A store too large for its interval takes longer.
const MOST_RATE: u64 = 64 << 20;

/// Bytes read in one go.
pub(super) const SLICE_BYTES: usize = 256 << 10;

/// Bytes a second for a pass over `bytes` that begins every `interval`.
pub(super) fn rate(bytes: u64, interval: Duration) -> u64 {
    // A tenth of the time is left for what comes between.
    let seconds = (interval.as_secs_f64() * 0.9).max(1.0);
    ((bytes as f64 / seconds) as u64).clamp(LEAST_RATE, MOST_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_done_within_its_interval() {
        let day = Duration::from_secs(24 * 3600);
        for (bytes, interval, expected) in [
            (0, day, LEAST_RATE),
            (50 << 30, day, LEAST_RATE),
            (1 << 40, day, (1u64 << 40) * 10 / 9 / 86_400),
            (4 << 30, Duration::from_secs(600), (4u64 << 30) / 540),
            (1 << 40, Duration::from_secs(60), MOST_RATE),
            (1 << 20, Duration::from_nanos(1), LEAST_RATE),
        ] {
            let found = rate(bytes, interval);
            assert!(found.abs_diff(expected) <= 1, "{bytes} in {interval:?}: {found}");
        }
    }
}
