//! Which keys are asked for.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// In which order keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Spread {
    /// One after the other, then again from the first.
    Sequential,
    /// Each as likely as any other.
    Uniform,
    /// A few very often, most hardly ever (Zipf's law, exponent 0.99, as YCSB has it).
    Zipf,
}

/// What keys look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// `key-` and digits, of exactly --key-size bytes.
    Plain,
    /// As Kubernetes names its objects: /registry/pods/NAMESPACE/NAME.
    Kubernetes,
}

/// What keys of kubernetes begin with.
const REGISTRY: &str = "/registry/pods/";
/// What plain keys begin with, if there is room.
const PLAIN: &str = "key-";
const NAMESPACES: u64 = 97;

impl Shape {
    /// Fewer bytes can't tell the keys apart.
    pub(crate) fn least_bytes(space: u64) -> usize {
        (space.max(2) - 1).ilog10() as usize + 1
    }

    /// Writes a key in place of what `into` held.
    pub(crate) fn write(self, number: u64, size: usize, into: &mut Vec<u8>) {
        into.clear();
        let written = match self {
            Shape::Plain => {
                let prefix = if size >= PLAIN.len() + 12 { PLAIN } else { "" };
                write!(into, "{prefix}{number:0width$}", width = size - prefix.len())
            }
            Shape::Kubernetes => {
                // Neighbors in number are none in name, as it is with names that a controller makes up.
                let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                write!(into, "{REGISTRY}namespace-{:02}/pod-{scattered:016x}", number % NAMESPACES)
            }
        };
        written.expect("memory takes everything");
    }
}

/// Chooses keys.
#[derive(Clone)]
pub(crate) struct Keys {
    shape: Shape,
    size: usize,
    space: u64,
    choice: Choice,
}

#[derive(Clone)]
enum Choice {
    /// Shared by all threads.
    Sequential(Arc<AtomicU64>),
    Uniform,
    Zipf {
        zipf: Zipf,
        /// Coprime with the space: ranks times this are other numbers for other ranks.
        stride: u64,
    },
}

impl Keys {
    /// `space` keys, the numbers below it. `counter` is where sequential ones go on.
    pub(crate) fn new(
        shape: Shape,
        size: usize,
        space: u64,
        spread: Spread,
        counter: &Arc<AtomicU64>,
    ) -> Keys {
        let choice = match spread {
            Spread::Sequential => Choice::Sequential(counter.clone()),
            Spread::Uniform => Choice::Uniform,
            Spread::Zipf => Choice::Zipf { zipf: Zipf::new(space), stride: stride(space) },
        };
        Keys { shape, size, space, choice }
    }

    /// The number of the next key.
    pub(crate) fn number(&self, random: &mut ChaCha8Rng) -> u64 {
        match &self.choice {
            Choice::Sequential(next) => next.fetch_add(1, Ordering::Relaxed) % self.space,
            Choice::Uniform => random.random_range(0..self.space),
            // Popular keys lie anywhere, not side by side.
            Choice::Zipf { zipf, stride } => {
                let number = u128::from(zipf.rank(random)) * u128::from(*stride) % u128::from(self.space);
                number as u64
            }
        }
    }

    /// The number behind another, and behind the last the first.
    pub(crate) fn after(&self, number: u64) -> u64 {
        (number + 1) % self.space
    }

    /// Writes the key with a number in place of what `into` held.
    pub(crate) fn write(&self, number: u64, into: &mut Vec<u8>) {
        self.shape.write(number % self.space, self.size, into);
    }
}

/// A number near the golden section of the space that has no divisor in common with it.
fn stride(space: u64) -> u64 {
    let from = ((space as f64 * 0.618) as u64).max(1);
    let common_divisor = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (from..).find(|stride| common_divisor(*stride, space) == 1).expect("primes do not end")
}

/// Ranks by Zipf's law, drawn in constant time (Gray et al., "Quickly generating billion-record synthetic databases").
#[derive(Clone, Copy, Debug)]
struct Zipf {
    space: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

const THETA: f64 = 0.99;
/// Up to here the sum is exact; beyond, the integral is closer than anybody will notice.
const EXACT: u64 = 100_000;

impl Zipf {
    fn new(space: u64) -> Zipf {
        let zeta = |n: u64| {
            let exact: f64 = (1..=n.min(EXACT)).map(|rank| (rank as f64).powf(-THETA)).sum();
            let tail = |x: f64| x.powf(1.0 - THETA) / (1.0 - THETA);
            exact + if n > EXACT { tail(n as f64) - tail(EXACT as f64) } else { 0.0 }
        };
        let (n, whole) = (space as f64, zeta(space));
        let eta = (1.0 - (2.0 / n).powf(1.0 - THETA)) / (1.0 - zeta(2) / whole);
        Zipf { space: n, alpha: 1.0 / (1.0 - THETA), zeta: whole, eta }
    }

    /// From 0, the most popular.
    fn rank(&self, random: &mut ChaCha8Rng) -> u64 {
        let u: f64 = random.random();
        let scaled = u * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(THETA) {
            return 1;
        }
        let rank = (self.space * (self.eta * u - self.eta + 1.0).powf(self.alpha)) as u64;
        rank.min(self.space as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::SeedableRng;

    use super::*;

    fn numbers(spread: Spread, space: u64, count: usize) -> Vec<u64> {
        let seed = 11;
        println!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let keys = Keys::new(Shape::Plain, 16, space, spread, &Arc::default());
        (0..count).map(|_| keys.number(&mut random)).collect()
    }

    #[test]
    fn sequential_keys_begin_again_and_are_shared() {
        assert_eq!(numbers(Spread::Sequential, 3, 7), [0, 1, 2, 0, 1, 2, 0]);
        let counter = Arc::default();
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let make = || Keys::new(Shape::Plain, 16, 10, Spread::Sequential, &counter);
        let (one, other) = (make(), make());
        assert_eq!([one.number(&mut random), other.number(&mut random), one.number(&mut random)], [0, 1, 2]);
    }

    #[test]
    fn uniform_keys_are_each_as_likely() {
        let mut counts = BTreeMap::new();
        for number in numbers(Spread::Uniform, 10, 10_000) {
            *counts.entry(number).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 10);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_prefers_a_few_as_its_law_says() {
        let (space, count) = (1000, 100_000);
        let mut counts = BTreeMap::new();
        for number in numbers(Spread::Zipf, space, count) {
            assert!(number < space);
            *counts.entry(number).or_insert(0usize) += 1;
        }
        let mut sorted: Vec<usize> = counts.values().copied().collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let zeta: f64 = (1..=space).map(|rank| (rank as f64).powf(-THETA)).sum();
        for rank in [1, 2] {
            let expected = count as f64 * (rank as f64).powf(-THETA) / zeta;
            let found = sorted[rank - 1] as f64;
            assert!((found / expected - 1.0).abs() < 0.06, "rank {rank}: {found} of {expected}");
        }
        // Most keys are seldom asked for, but a good part of them at all.
        assert!(counts.len() > 800, "{}", counts.len());
    }

    #[test]
    fn keys_have_the_size_asked_for_and_differ() {
        for (shape, size) in
            [(Shape::Plain, 6), (Shape::Plain, 16), (Shape::Plain, 200), (Shape::Kubernetes, 0)]
        {
            let mut seen = BTreeSet::new();
            for number in 0..2000 {
                let mut key = Vec::new();
                shape.write(number, size, &mut key);
                assert!(size == 0 || key.len() == size, "{shape:?} {size}");
                assert!(seen.insert(key));
            }
        }
        assert_eq!(Shape::least_bytes(1), 1);
        assert_eq!(Shape::least_bytes(1000), 3);
        assert_eq!(Shape::least_bytes(1001), 4);
    }
}
