//! A histogram that nothing is added to any more, in few bytes: the differences of its values, and how often each was seen,
//! both as numbers of variable length (LEB128). A second of a busy disk has a thousand values, and a run may have a day.

/// Values in order, each with how often it was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets(Box<[u8]>);

impl Buckets {
    /// Of pairs in the order of their values, none of which comes twice.
    pub(crate) fn of(pairs: impl IntoIterator<Item = (u64, u64)>) -> Buckets {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for (value, count) in pairs {
            debug_assert!(value > last || bytes.is_empty(), "{value} after {last}");
            put(&mut bytes, value - last);
            put(&mut bytes, count);
            last = value;
        }
        Buckets(bytes.into())
    }

    /// Value and count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (mut rest, mut last) = (&*self.0, 0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            last += take(&mut rest);
            Some((last, take(&mut rest)))
        })
    }

    /// Takes in more pairs, in order as well.
    pub(crate) fn merge(&mut self, more: impl IntoIterator<Item = (u64, u64)>) {
        let (own, mut more) = (self.iter().collect::<Vec<_>>(), more.into_iter().peekable());
        let mut merged = Vec::with_capacity(own.len());
        for (value, count) in own {
            while let Some(pair) = more.next_if(|(other, _)| *other < value) {
                merged.push(pair);
            }
            let same = more.next_if(|(other, _)| *other == value).map_or(0, |(_, count)| count);
            merged.push((value, count + same));
        }
        merged.extend(more);
        *self = Buckets::of(merged);
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("what was put is whole");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn what_was_put_in_is_there_in_few_bytes() {
        let pairs = [(1, 1), (127, u64::MAX), (128, 3), (3_600_000_000_000, 128), (u64::MAX, 1)];
        assert_eq!(Buckets::of(pairs).iter().collect::<Vec<_>>(), pairs);
        assert_eq!(Buckets::default().iter().count(), 0);
        // As three digits are written at 100 us: steps of 64 ns.
        let usual = Buckets::of((0..1_000).map(|step| (100_000 + step * 64, step % 40 + 1)));
        assert!(usual.0.len() < 2_100, "{}", usual.0.len());
    }

    #[test]
    fn merging_is_that_of_a_map() {
        const SEED: u64 = 3;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let (mut buckets, mut model) = (Buckets::default(), BTreeMap::new());
        for _ in 0..200 {
            let count = random.random_range(0..20);
            let more: BTreeMap<u64, u64> =
                (0..count).map(|_| (random.random_range(1..300), random.random_range(1..9))).collect();
            for (value, count) in &more {
                *model.entry(*value).or_insert(0) += count;
            }
            buckets.merge(more);
            assert!(buckets.iter().eq(model.iter().map(|(value, count)| (*value, *count))), "seed {SEED}");
        }
    }
}
