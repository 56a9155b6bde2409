//! Keys and values that look like a control plane's, and when they come.

use std::io::Write;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What every key begins with.
pub(crate) const PREFIX: &[u8] = b"/registry/pods/";

/// Writes key number `number` in place of what `into` held: 48 bytes, spread over namespaces.
pub(crate) fn key(number: u64, into: &mut Vec<u8>) {
    into.clear();
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    write!(into, "/registry/pods/namespace-{:02}/pod-{scattered:016x}", number % 97)
        .expect("memory takes everything");
}

/// Values that do not compress, without making each anew.
pub(crate) struct Values {
    noise: Vec<u8>,
    next: usize,
}

/// More than any value has, and not a multiple of a usual length, so that values differ.
const NOISE_BYTES: usize = (1 << 20) + 61;

impl Values {
    pub(crate) fn new(seed: u64) -> Values {
        let mut noise = vec![0; NOISE_BYTES];
        ChaCha8Rng::seed_from_u64(seed).fill(&mut noise[..]);
        Values { noise, next: 0 }
    }

    pub(crate) fn next(&mut self, bytes: usize) -> &[u8] {
        if self.next + bytes > self.noise.len() {
            self.next = self.next % 61 + 1;
        }
        let value = &self.noise[self.next..self.next + bytes];
        self.next += bytes;
        value
    }
}

/// Requests that come by themselves, at random moments, whether the ones before are answered or not. What has come is a
/// function of the time, so that nobody who is late can hold it up: a stall shows in the latency of everything that came
/// meanwhile.
pub(crate) struct Arrivals {
    mean: f64,
    next: Instant,
    rng: ChaCha8Rng,
}

impl Arrivals {
    pub(crate) fn new(per_second: f64, from: Instant, seed: u64) -> Arrivals {
        Arrivals { mean: 1.0 / per_second, next: from, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The moment of the oldest that has come by `now` and was not taken yet.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let came = self.next;
        if came > now {
            return None;
        }
        let uniform: f64 = self.rng.random();
        self.next += Duration::from_secs_f64(-self.mean * (1.0 - uniform).ln());
        Some(came)
    }

    /// When the next one comes.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_are_all_different() {
        let mut seen = std::collections::BTreeSet::new();
        let mut bytes = Vec::new();
        for number in 0..10_000 {
            key(number, &mut bytes);
            assert_eq!(bytes.len(), 48);
            assert!(bytes.starts_with(PREFIX));
            assert!(seen.insert(bytes.clone()), "{number}");
        }
    }

    #[test]
    fn values_differ_and_have_the_length_asked_for() {
        let mut values = Values::new(1);
        let seen: std::collections::BTreeSet<Vec<u8>> =
            (0..20_000).map(|_| values.next(256).to_vec()).collect();
        assert_eq!(seen.len(), 20_000);
        assert!(seen.iter().all(|value| value.len() == 256));
    }

    #[test]
    fn a_stall_is_not_forgotten() {
        let begun = Instant::now();
        let mut arrivals = Arrivals::new(10_000.0, begun, 7);
        // Nobody looks for a second: all of that second's requests are there, with their own moments.
        let now = begun + Duration::from_secs(1);
        let came: Vec<Instant> = std::iter::from_fn(|| arrivals.take(now)).collect();
        assert!((9_500..10_500).contains(&came.len()), "{}", came.len());
        let waited = |share: f64| now - came[(came.len() as f64 * share) as usize];
        assert!(waited(0.01) > Duration::from_millis(950), "the p99 is the stall itself: {:?}", waited(0.01));
        assert!(came.is_sorted());
        assert!(arrivals.next() > now);
    }
}
