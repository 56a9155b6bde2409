//! Heartbeat and election timeout for a cluster whose members have such disks.
//!
//! etcd's rule: the heartbeat is about the round trip between members, the election timeout at least ten times that. What the
//! disk adds: a leader that waits for a sync sends no heartbeat that carries anything, and a follower answers after its
//! own. So the heartbeat covers the p99.9 of a sync twice, and the election timeout the longest that was seen, twice;
//! never below etcd's defaults, never above etcd's limit of 50 s.

use serde::{Deserialize, Serialize};

/// Milliseconds, as the flags take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeouts {
    /// `--heartbeat-interval`
    pub(crate) heartbeat_ms: u64,
    /// `--election-timeout`
    pub(crate) election_ms: u64,
}

/// etcd's defaults, and its limit.
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MS: u64 = 1_000;
const LONGEST_MS: u64 = 50_000;
/// Values are rounded up to these.
const HEARTBEAT_STEP_MS: f64 = 50.0;
const ELECTION_STEP_MS: f64 = 500.0;

impl Timeouts {
    /// From syncs, milliseconds.
    pub(crate) fn of(p999_ms: f64, longest_ms: f64) -> Timeouts {
        let up = |value: f64, step: f64| ((value / step).ceil() * step) as u64;
        let heartbeat = up(p999_ms * 2.0, HEARTBEAT_STEP_MS).clamp(HEARTBEAT_MS, LONGEST_MS / 10);
        let election = up(longest_ms * 2.0, ELECTION_STEP_MS).max(heartbeat * 10).max(ELECTION_MS);
        Timeouts { heartbeat_ms: heartbeat, election_ms: election.min(LONGEST_MS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_disk_keeps_the_defaults_and_a_bad_one_gets_more() {
        let of = |p999, longest| {
            let found = Timeouts::of(p999, longest);
            (found.heartbeat_ms, found.election_ms)
        };
        assert_eq!(of(1.0, 20.0), (100, 1_000));
        assert_eq!(of(60.0, 300.0), (150, 1_500));
        assert_eq!(of(5.0, 1_200.0), (100, 2_500));
        assert_eq!(of(9_000.0, 90_000.0), (5_000, 50_000));
    }
}
