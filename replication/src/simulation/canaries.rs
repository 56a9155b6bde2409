//! Planted faults that the checks must find.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Whether a run with this fault is seen to go wrong: by the checks, or by raft itself.
fn found(seed: u64, planted: Planted) -> bool {
    let run = || {
        let mut cluster = Cluster::new(seed, 3);
        cluster.planted = planted;
        cluster.run(6000)
    };
    catch_unwind(AssertUnwindSafe(run)).map_or(true, |result| result.is_err())
}

#[test]
fn acknowledging_before_durable_is_found() {
    let seeds = 0..20;
    let found = seeds.clone().filter(|seed| found(*seed, Planted::AckBeforeDurable)).count();
    assert!(found >= 10, "found with {found} of {} seeds", seeds.end);
    assert!(!self::found(0, Planted::Nothing), "without the fault there is nothing to find");
}
