//! Medians, and how sure they are.

/// How much of the time an interval should hold the true median.
pub(super) const CONFIDENCE: f64 = 0.95;

/// A median and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The share of cases in which such an interval holds the true median: at least 0.95 from six values on.
    pub(super) coverage: f64,
}

/// The median of independent values, and an interval from their order: whatever their distribution, the number of values
/// below the true median is that of heads among as many tosses of a coin. None without values.
pub(super) fn estimate(values: &[f64]) -> Option<Estimate> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (&first, &last) = (sorted.first()?, sorted.last()?);
    let count = sorted.len();
    let median = if count % 2 == 1 {
        sorted[count / 2]
    } else {
        f64::midpoint(sorted[count / 2 - 1], sorted[count / 2])
    };
    // Take values off both ends as long as what is left covers enough.
    let mut widest = Estimate { median, low: first, high: last, coverage: coverage(count, 1) };
    for rank in 2..=count / 2 {
        let covered = coverage(count, rank);
        if covered < CONFIDENCE {
            break;
        }
        widest = Estimate { median, low: sorted[rank - 1], high: sorted[count - rank], coverage: covered };
    }
    Some(widest)
}

/// Of the interval from the `rank`-th smallest to the `rank`-th largest of `count` values.
fn coverage(count: usize, rank: usize) -> f64 {
    // Fewer than `rank` heads, in logarithms because 2^count does not fit.
    let mut log_ways = 0.0;
    let mut tail = 0.0;
    for heads in 0..rank {
        if heads > 0 {
            log_ways += ((count - heads + 1) as f64 / heads as f64).ln();
        }
        tail += (log_ways - count as f64 * std::f64::consts::LN_2).exp();
    }
    (1.0 - 2.0 * tail).max(0.0)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        let upto = |count: u32| (1..=count).map(f64::from).collect::<Vec<_>>();
        // From tables of the sign test: 6 values, all of them; 10, the second to the ninth; 20, the sixth to the 15th.
        for (count, low, high, coverage) in
            [(5, 1.0, 5.0, 0.9375), (6, 1.0, 6.0, 0.96875), (10, 2.0, 9.0, 0.9785), (20, 6.0, 15.0, 0.9586)]
        {
            let found = estimate(&upto(count)).unwrap();
            assert_eq!((found.low, found.high), (low, high), "{count}");
            assert!((found.coverage - coverage).abs() < 1e-4, "{count}: {}", found.coverage);
            assert_eq!(found.median, f64::from(count + 1) / 2.0);
        }
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[3.0]).unwrap().coverage, 0.0);
    }

    #[test]
    fn nineteen_of_twenty_intervals_hold_the_median() {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut held = 0;
        for _ in 0..2000 {
            // Latencies are lopsided: half below 1, some far above.
            let draw =
                |generator: &mut ChaCha8Rng| (1.0 - generator.random::<f64>()).ln() / -std::f64::consts::LN_2;
            let values: Vec<_> = (0..17).map(|_| draw(&mut generator)).collect();
            let found = estimate(&values).unwrap();
            held += usize::from((found.low..=found.high).contains(&1.0));
        }
        assert!((1870..=1960).contains(&held), "{held} of 2000");
    }
}
