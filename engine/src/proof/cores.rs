//! How much is tried, and on how many threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// `amount` as often as `GRAVEN_CRASH_SCALE` says; once without it.
pub(crate) fn scaled(amount: u64) -> u64 {
    let scale = std::env::var("GRAVEN_CRASH_SCALE").map_or(1, |text| text.parse().expect("a whole number"));
    amount * scale
}

/// Does `work` for every seed, on every core; what it returned, in no order, or the first failure.
pub(crate) fn on_all_cores<T: Send>(
    seeds: Range<u64>,
    work: impl Fn(u64) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new(Ok(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || results.lock().unwrap().is_err() {
                        return;
                    }
                    // A panic is a finding like any other: the seed must be in the report.
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(seed)))
                        .unwrap_or_else(|panic| Err(text(&*panic)));
                    let mut results = results.lock().unwrap();
                    match (result, &mut *results) {
                        (Ok(result), Ok(all)) => all.push(result),
                        (Err(error), Ok(_)) => *results = Err(format!("seed {seed}: {error}")),
                        (_, Err(_)) => {}
                    }
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
