//! Behind the load: what was granted is revoked.

use std::time::{Duration, Instant};

use super::super::tally::Tally;
use super::super::workload::encode;
use super::NOT_FOUND;
use crate::client::{Client, Events, Failure, Method, Outcome, Until};

/// How long it may take altogether.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests outstanding.
const MOST: usize = 256;

/// Above the tags of the load, of which something may still come.
const TAGS: u64 = 1 << 41;
/// What is counted.
const REVOKED: &str = "leases revoked when the load was over";

/// Revokes them over the connections that are left, and takes down those that could not be.
pub(super) fn revoke(wire: &mut dyn Client, leases: &[i64], tally: &mut Tally) {
    let by = Instant::now() + PATIENCE;
    let living: Vec<usize> = (0..wire.connections()).filter(|one| wire.is_alive(*one)).collect();
    let (mut events, mut message) = (Events::new(), Vec::new());
    let (mut sent, mut done, mut revoked) = (0, 0, 0);
    let mut failed = |words: &str, count: usize| {
        if count > 0 {
            tally.failures_of(&format!("not revoked when the load was over: {words}"), count as u64);
        }
    };
    if living.is_empty() {
        return failed("no connection was left", leases.len());
    }
    while done < leases.len() && Instant::now() < by {
        while sent < leases.len() && sent - done < MOST {
            message.clear();
            encode::number(1, leases[sent].cast_unsigned(), &mut message);
            wire.call(living[sent % living.len()], Method::LeaseRevoke, &message, TAGS + sent as u64);
            sent += 1;
        }
        if let Err(error) = wire.turn(Until::Time(by), &mut events) {
            failed(&error.to_string(), leases.len() - done);
            return;
        }
        for event in events.iter().filter(|event| event.tag >= TAGS) {
            match event.outcome {
                Outcome::Answer(_) => revoked += 1,
                // It was never granted, or has expired.
                Outcome::Failed(Failure::Status { code: NOT_FOUND, .. }) => {}
                Outcome::Failed(failure) => failed(&failure.to_string(), 1),
                Outcome::Message(_) | Outcome::Ended => unreachable!("only unary calls are made here"),
            }
            done += 1;
        }
    }
    failed("no answer", leases.len() - done);
    tally.count(REVOKED, revoked);
}
