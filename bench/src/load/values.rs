//! What is put.

use std::str::FromStr;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Lengths of values: one, or anything between two, each as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let wrong = || "give a number of bytes, or two as 64-1024".to_owned();
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let sizes = Sizes { least: number(least)?, most: number(most)? };
        if sizes.least > sizes.most {
            return Err(wrong());
        }
        if sizes.most > NOISE_BYTES {
            return Err(format!("no value may be larger than {NOISE_BYTES} bytes"));
        }
        Ok(sizes)
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.least == self.most {
            write!(f, "{}", self.least)
        } else {
            write!(f, "{}-{}", self.least, self.most)
        }
    }
}

/// Larger than any request a server takes, and no multiple of a usual length, so that values differ.
const NOISE_BYTES: usize = (4 << 20) + 61;

/// Values that do not compress, without making each anew.
pub(crate) struct Values {
    sizes: Sizes,
    noise: Vec<u8>,
    next: usize,
}

impl Values {
    pub(crate) fn new(sizes: Sizes, mut random: ChaCha8Rng) -> Values {
        // A small window of noise stays in the processor's cache; large values need a large one.
        let bytes = (sizes.most * 4).next_power_of_two().clamp(64 << 10, NOISE_BYTES) + 61;
        let mut noise = vec![0; bytes];
        random.fill(&mut noise[..]);
        Values { sizes, noise, next: 0 }
    }

    /// The next one.
    pub(crate) fn next(&mut self, random: &mut ChaCha8Rng) -> &[u8] {
        let Sizes { least, most } = self.sizes;
        let length = if least == most { least } else { random.random_range(least..=most) };
        if self.next + length > self.noise.len() {
            self.next %= 61;
        }
        let value = &self.noise[self.next..][..length];
        self.next += length;
        value
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn sizes_are_kept() {
        for (text, least, most) in
            [("0", 0, 0), ("256", 256, 256), ("10-2000", 10, 2000), ("4194304", 1 << 22, 1 << 22)]
        {
            let sizes: Sizes = text.parse().unwrap();
            assert_eq!(sizes, Sizes { least, most });
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let mut values = Values::new(sizes, ChaCha8Rng::seed_from_u64(1));
            let lengths: Vec<usize> = (0..300).map(|_| values.next(&mut random).len()).collect();
            assert!(lengths.iter().all(|length| (least..=most).contains(length)), "{text}");
            assert!(least == most || lengths.iter().any(|length| *length > most / 2), "{text}");
        }
        for wrong in ["", "x", "9-3", "-1", "5000000"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong:?}");
        }
    }
}
