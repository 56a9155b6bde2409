//! How much is done, on how many threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The work, multiplied by `GRAVEN_CRASH_SCALE`.
pub fn scaled(usual: u64) -> u64 {
    let scale = std::env::var("GRAVEN_CRASH_SCALE").ok().and_then(|scale| scale.parse::<f64>().ok());
    ((usual as f64 * scale.unwrap_or(1.0)).ceil() as u64).max(1)
}

/// Runs seeds on two threads and adds up what each counts. The first failure ends it, with its seed.
pub fn each_seed<const N: usize>(
    seeds: u64,
    run: impl Fn(u64) -> Result<[u64; N], String> + Sync,
) -> Result<[u64; N], String> {
    let next = AtomicU64::new(0);
    let work = || -> Result<[u64; N], String> {
        let mut sums = [0; N];
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(sums);
            }
            let counts = run(seed).map_err(|words| {
                next.store(seeds, Ordering::Relaxed);
                format!("seed {seed}: {words}")
            })?;
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        let ours = work();
        let theirs = other.join().expect("it panics with the seed's message");
        let (ours, theirs) = (ours?, theirs?);
        Ok(std::array::from_fn(|at| ours[at] + theirs[at]))
    })
}
