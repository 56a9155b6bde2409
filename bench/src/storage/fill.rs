//! Requests that put keys, and stores that hold so many as a start.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::drive::{Driven, Pace, drive, for_requests};
use super::entry::Batch;
use super::load::{self, Values};
use super::member::Member;
use crate::error::Result;
use measure::Stop;

/// Callers while a store is filled: nobody waits for their answers.
const CALLERS: usize = 256;

/// Puts `count` keys from number `from` on. A few of the first are put twice, to make the last batch a whole one.
pub(crate) fn fill(
    stop: &Stop,
    member: &mut Member,
    from: u64,
    count: u64,
    value_bytes: usize,
) -> Result<Driven> {
    let mut written = 0;
    let next = puts(value_bytes, move || {
        written += 1;
        from + (written - 1) % count
    });
    drive(member, Pace::Callers(CALLERS), stop, next, for_requests(count))
}

/// For [`drive`]: puts on random ones of the first `keys` keys.
pub(crate) fn random_puts(keys: u64, value_bytes: usize, seed: u64) -> impl FnMut(&mut Batch) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    puts(value_bytes, move || rng.random_range(0..keys))
}

/// For [`drive`]: puts on the keys with the numbers that come out of `next`.
fn puts(value_bytes: usize, mut next: impl FnMut() -> u64) -> impl FnMut(&mut Batch) {
    let mut values = Values::new(3);
    let mut key = Vec::new();
    move |batch| {
        load::key(next(), &mut key);
        batch.put(&key, values.next(value_bytes));
    }
}
