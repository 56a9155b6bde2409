//! Seeded randomness: the same choices on every machine for the same seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Makes the choices of a run.
#[derive(Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// All choices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The seed in the environment variable `name`, or one taken from the clock. Whoever calls this prints it.
    #[must_use]
    pub fn seed(name: &str) -> u64 {
        match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
            Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |age| u64::from(age.subsec_nanos())),
        }
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.any() % bound as u64).expect("the remainder is below a usize")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).expect("low is not above high") + 1;
        low + i64::try_from(self.any() % span).expect("the span is of i64s")
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    /// The index of one of `weights`, each as often as its weight says.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if at < *weight {
                return index;
            }
            at -= weight;
        }
        unreachable!("the number is below the sum of the weights")
    }

    /// `length` arbitrary bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.0.fill_bytes(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let (mut a, mut b) = (Dice::new(7), Dice::new(7));
        assert_eq!(a.bytes(100), b.bytes(100));
        assert_ne!(a.bytes(8), Dice::new(8).bytes(8));
        for _ in 0..1000 {
            assert!((-3..=3).contains(&a.between(-3, 3)));
            assert!(a.weighted(&[1, 0, 5]) != 1);
        }
    }
}
