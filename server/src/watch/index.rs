//! Who watches this key: exact keys in a hash map, ranges as a stabbing index.
//!
//! The key space is cut at every start and end of a watched range; each piece lists the ranges that cover it, so that a
//! lookup is one search among the cuts. Watchers of the same range share one entry, which keeps the lists short for the
//! pattern that matters (thousands of watchers of a few nested prefixes).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use engine::{End, KeyRange};

/// Watchers by what they watch. `T` names a watcher.
#[derive(Debug)]
pub(super) struct Index<T> {
    exact: HashMap<Bytes, Vec<T>>,
    ranges: HashMap<(Bytes, Option<Bytes>), usize>,
    /// First key of each piece -> numbers of the groups that cover the piece.
    pieces: BTreeMap<Bytes, Piece>,
    /// Group number -> its watchers, for the hot path.
    groups: Vec<Vec<T>>,
    vacant: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Piece {
    covered_by: Vec<usize>,
    /// How many ranges start or end here; the cut goes when none does.
    edges: usize,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            ranges: HashMap::new(),
            pieces: BTreeMap::new(),
            groups: Vec::new(),
            vacant: Vec::new(),
        }
    }
}

impl<T: Copy + Eq> Index<T> {
    /// Adds a watcher of `range`.
    pub(super) fn insert(&mut self, range: &KeyRange, watcher: T) {
        let end = match &range.end {
            End::Single => {
                self.exact.entry(range.start.clone()).or_default().push(watcher);
                return;
            }
            End::Before(end) => Some(end.clone()),
            End::Unbounded => None,
        };
        let key = (range.start.clone(), end);
        if let Some(number) = self.ranges.get(&key) {
            self.groups[*number].push(watcher);
            return;
        }
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.groups.push(Vec::new());
            self.groups.len() - 1
        });
        self.groups[number].push(watcher);
        self.cut(&key.0);
        if let Some(end) = &key.1 {
            self.cut(end);
        }
        for piece in self.covered(&key) {
            piece.covered_by.push(number);
        }
        self.ranges.insert(key, number);
    }

    /// Takes a watcher of `range` out again.
    pub(super) fn remove(&mut self, range: &KeyRange, watcher: T) {
        let end = match &range.end {
            End::Single => {
                if let Some(list) = self.exact.get_mut(&range.start) {
                    list.retain(|other| *other != watcher);
                    if list.is_empty() {
                        self.exact.remove(&range.start);
                    }
                }
                return;
            }
            End::Before(end) => Some(end.clone()),
            End::Unbounded => None,
        };
        let key = (range.start.clone(), end);
        let Some(number) = self.ranges.get(&key).copied() else { return };
        self.groups[number].retain(|other| *other != watcher);
        if !self.groups[number].is_empty() {
            return;
        }
        for piece in self.covered(&key) {
            piece.covered_by.retain(|other| *other != number);
        }
        self.ranges.remove(&key);
        self.vacant.push(number);
        self.uncut(&key.0);
        if let Some(end) = &key.1 {
            self.uncut(end);
        }
    }

    /// True when nobody watches.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.ranges.is_empty()
    }

    /// Calls `found` for every watcher of `key`, once each.
    pub(super) fn stab(&self, key: &[u8], mut found: impl FnMut(T)) {
        if let Some(list) = self.exact.get(key) {
            list.iter().copied().for_each(&mut found);
        }
        if self.pieces.is_empty() {
            return;
        }
        let below = self.pieces.range::<[u8], _>((Unbounded, Included(key))).next_back();
        if let Some((_, piece)) = below {
            for number in &piece.covered_by {
                self.groups[*number].iter().copied().for_each(&mut found);
            }
        }
    }

    fn cut(&mut self, at: &Bytes) {
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.edges += 1;
            return;
        }
        let below = self.pieces.range::<[u8], _>((Unbounded, Excluded(&at[..]))).next_back();
        let covered_by = below.map(|(_, piece)| piece.covered_by.clone()).unwrap_or_default();
        self.pieces.insert(at.clone(), Piece { covered_by, edges: 1 });
    }

    fn uncut(&mut self, at: &Bytes) {
        let piece = self.pieces.get_mut(at).expect("a range's edges are cuts");
        piece.edges -= 1;
        if piece.edges == 0 {
            self.pieces.remove(at);
        }
    }

    fn covered(&mut self, key: &(Bytes, Option<Bytes>)) -> impl Iterator<Item = &mut Piece> {
        let end = match &key.1 {
            Some(end) => Excluded(&end[..]),
            None => Unbounded,
        };
        self.pieces.range_mut::<[u8], _>((Included(&key.0[..]), end)).map(|(_, piece)| piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random_key(rng: &mut ChaCha8Rng) -> Bytes {
        let length = rng.random_range(1..4);
        (0..length).map(|_| b"abc"[rng.random_range(0..3)]).collect()
    }

    fn random_range(rng: &mut ChaCha8Rng) -> KeyRange {
        let start = random_key(rng);
        match rng.random_range(0..4) {
            0 => KeyRange { start, end: End::Single },
            1 => KeyRange { start, end: End::Unbounded },
            _ => loop {
                let end = random_key(rng);
                if end > start {
                    break KeyRange { start, end: End::Before(end) };
                }
                if start.iter().all(|b| *b == b'c') {
                    break KeyRange { start, end: End::Unbounded };
                }
            },
        }
    }

    #[test]
    fn agrees_with_a_plain_list() {
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut index, mut plain) = (Index::default(), Vec::<(KeyRange, u32)>::new());
            for step in 0..400 {
                if plain.is_empty() || rng.random_range(0..5) < 3 {
                    let range = random_range(&mut rng);
                    index.insert(&range, step);
                    plain.push((range, step));
                } else {
                    let at = rng.random_range(0..plain.len());
                    let (range, watcher) = plain.swap_remove(at);
                    index.remove(&range, watcher);
                }
                let key = random_key(&mut rng);
                let mut found = Vec::new();
                index.stab(&key, |watcher| found.push(watcher));
                found.sort_unstable();
                let mut expected: Vec<_> =
                    plain.iter().filter(|(range, _)| range.contains(&key)).map(|(_, w)| *w).collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "seed {seed} step {step} key {key:?}");
            }
            for (range, watcher) in plain {
                index.remove(&range, watcher);
            }
            assert!(
                index.exact.is_empty() && index.ranges.is_empty() && index.pieces.is_empty(),
                "seed {seed}"
            );
        }
    }
}
