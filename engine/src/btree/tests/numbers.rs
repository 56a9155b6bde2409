//! Searches for numbers: whatever their spread, the answer is that of a look at every entry.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::btree::edit::{Entry, Shape, build};
use crate::btree::page::Page;
use crate::limits::PAGE_BYTES;

/// Ascending numbers as the bucket `revisions` has them, and as it never should.
fn numbers(rng: &mut ChaCha8Rng) -> Vec<u128> {
    let base: u64 = [0, 900, u64::from(u32::MAX) - 40, 1 << 62][rng.random_range(0..4)];
    let (gap, subs) = ([1, 150, 1 << 20, 1 << 55][rng.random_range(0..4)], rng.random_range(0..4) == 0);
    let mut all: Vec<u128> = (0..rng.random_range(1..90))
        .map(|_| {
            let main = base + rng.random_range(0..=gap) * rng.random_range(1..90);
            u128::from(main) << 64 | u128::from(if subs { rng.random_range(0..70_000u64) } else { 0 })
        })
        .collect();
    if rng.random_range(0..8) == 0 {
        all.push(u128::MAX);
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn floors_are_those_of_a_look_at_every_entry() {
    for seed in 0..400 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all = numbers(&mut rng);
        let bytes: Vec<_> = all.iter().map(|number| number.to_be_bytes()).collect();
        for level in [0, 1] {
            // A branch's first separator is empty, and the others are cut behind the byte that tells them apart.
            let cut = |at: usize| {
                let key = &bytes[at][..];
                let same = |other: &[u8; 16]| key.iter().zip(other).take_while(|(a, b)| a == b).count();
                match (level, at) {
                    (0, _) => key,
                    (_, 0) => &[][..],
                    _ => &key[..(same(&bytes[at - 1]) + 1).min(16)],
                }
            };
            let fixed: &[u8] = if level == 0 { &[0; 2] } else { &[0; 16] };
            let entry = |at| Entry { prefix: &[], suffix: cut(at), fixed, value: &[] };
            let entries: Vec<_> = (0..all.len()).map(entry).collect();
            let mut page = [0; PAGE_BYTES];
            assert!(build(&mut page, Shape::at(1, level), &entries, 0), "seed {seed}");
            let page = Page::new(&page);
            let near = all.iter().flat_map(|number| {
                [number.saturating_sub(1), *number, number.saturating_add(1), number.saturating_add(1 << 64)]
            });
            for wanted in near.chain([0, u128::MAX]) {
                let from = usize::from(level);
                let floor = (from..all.len()).rev().find(|at| cut(*at) <= &wanted.to_be_bytes()[..]);
                assert_eq!(page.floor_number(wanted, from), floor, "seed {seed}, level {level}, {wanted:x}");
                if level == 1 {
                    assert_eq!(page.child_for(&wanted.to_be_bytes()), floor.unwrap_or(0), "seed {seed}");
                }
            }
            for (at, number) in all.iter().enumerate().filter(|_| level == 0) {
                assert_eq!(page.number(at), Some(*number), "seed {seed}");
            }
        }
    }
}
