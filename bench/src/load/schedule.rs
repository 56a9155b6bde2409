//! What a load's seed decides for each of its threads: what is drawn for requests says nothing about when they come, and no
//! thread of one seed repeats one of the next.

use measure::Arrivals;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::plan::Pace;

/// What is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    Requests,
    Values,
    Arrivals,
}

const DRAWS: u64 = 3;

/// A generator for one purpose of one thread.
pub(crate) fn random(seed: u64, thread: usize, draw: Draw) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(thread as u64 * DRAWS + draw as u64);
    random
}

/// When one of so many threads is to send; none in a closed loop.
pub(super) fn arrivals(pace: Pace, seed: u64, threads: usize, number: usize) -> Option<Arrivals> {
    match pace {
        Pace::Closed => None,
        // The threads take turns, or they would all send at once.
        Pace::Open { per_second, is_fixed: true } => Some(Arrivals::fixed_share(per_second, threads, number)),
        Pace::Open { per_second, is_fixed: false } => {
            Some(Arrivals::poisson_of(per_second / threads as f64, random(seed, number, Draw::Arrivals)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use rand::RngExt;

    use super::*;

    #[test]
    fn nothing_is_drawn_twice() {
        let mut first = BTreeSet::new();
        for seed in 5..9 {
            for thread in 0..4 {
                for draw in [Draw::Requests, Draw::Values, Draw::Arrivals] {
                    let drawn = random(seed, thread, draw).random::<u64>();
                    assert!(first.insert(drawn), "seed {seed}, thread {thread}, {draw:?}");
                }
            }
        }
        let again = |draw| random(5, 1, draw).random::<u64>();
        assert_eq!(again(Draw::Values), again(Draw::Values));
    }

    #[test]
    fn threads_keep_a_fixed_rate_together() {
        let pace = Pace::Open { per_second: 1000.0, is_fixed: true };
        let threads = (0..4).flat_map(|number| arrivals(pace, 1, 4, number).unwrap().take(25));
        let mut all: Vec<Duration> = threads.collect();
        all.sort();
        let even: Vec<Duration> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(all, even);
        assert!(arrivals(Pace::Closed, 1, 4, 0).is_none());
    }
}
