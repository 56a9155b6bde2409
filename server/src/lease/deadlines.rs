//! When leases expire, as this member counts. Time comes in as a value.
//!
//! Only the leader counts. A member that becomes leader gives every lease its full time to live once more, plus an
//! election timeout; a member that stops leading forgets all deadlines.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long an expired lease that is still there is left alone before its revocation is proposed again.
const RETRY: Duration = Duration::from_secs(3);

/// From this many leases on, a new leader spreads their deadlines.
const CROWD: usize = 1000;

/// How many of a crowd may expire in one second.
const CROWD_PER_SECOND: usize = 750;

/// Leases and their deadlines.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    leases: HashMap<i64, Lease>,
    /// (when to look, lease): the deadline, or for an expired lease the next attempt.
    agenda: BTreeSet<(Instant, i64)>,
    counting: bool,
}

#[derive(Debug)]
struct Lease {
    ttl: i64,
    /// `None` while this member doesn't count.
    expiry: Option<Instant>,
    look_at: Option<Instant>,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Runs for this many seconds more.
    Renewed(i64),
    /// No such lease.
    Unknown,
    /// Expired, and its revocation isn't applied yet: the answer is known only then.
    Expiring,
    /// Another member counts.
    NotCounting,
}

/// What is left of a lease, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remaining {
    /// As granted.
    pub(crate) ttl: i64,
    /// Until the deadline, rounded towards zero; negative after it.
    pub(crate) seconds: i64,
}

impl Deadlines {
    pub(crate) fn granted(&mut self, id: i64, ttl: i64, now: Instant) {
        self.leases.insert(id, Lease { ttl, expiry: None, look_at: None });
        if self.counting {
            self.set(id, now + seconds(ttl));
        }
    }

    /// Whether the lease was there.
    pub(crate) fn revoked(&mut self, id: i64) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        if let Some(at) = lease.look_at {
            self.agenda.remove(&(at, id));
        }
        true
    }

    pub(crate) fn is_counting(&self) -> bool {
        self.counting
    }

    /// Starts to count: this member leads now.
    pub(crate) fn promote(&mut self, extend: Duration, now: Instant) {
        self.counting = true;
        let mut due: Vec<(Instant, i64)> =
            self.leases.iter().map(|(&id, lease)| (now + seconds(lease.ttl) + extend, id)).collect();
        if due.len() >= CROWD {
            due.sort_unstable();
            spread(&mut due);
        }
        for (at, id) in due {
            self.set(id, at);
        }
    }

    /// Stops counting.
    pub(crate) fn demote(&mut self) {
        self.counting = false;
        self.agenda.clear();
        for lease in self.leases.values_mut() {
            lease.expiry = None;
            lease.look_at = None;
        }
    }

    pub(crate) fn renew(&mut self, id: i64, now: Instant) -> Renewal {
        if !self.counting {
            return Renewal::NotCounting;
        }
        let Some(lease) = self.leases.get(&id) else { return Renewal::Unknown };
        if lease.expiry.is_some_and(|at| at <= now) {
            return Renewal::Expiring;
        }
        let ttl = lease.ttl;
        self.set(id, now + seconds(ttl));
        Renewal::Renewed(ttl)
    }

    /// `None`: no such lease.
    pub(crate) fn remaining(&self, id: i64, now: Instant) -> Option<Remaining> {
        let lease = self.leases.get(&id)?;
        let seconds = match lease.expiry {
            Some(at) if at >= now => (at - now).as_secs().cast_signed(),
            Some(at) => -(now - at).as_secs().cast_signed(),
            None => lease.ttl,
        };
        Some(Remaining { ttl: lease.ttl, seconds })
    }

    /// All leases, the one that expires first at the front; expired ones that are still there included.
    pub(crate) fn by_deadline(&self) -> Vec<i64> {
        let mut all: Vec<(Option<Instant>, i64)> =
            self.leases.iter().map(|(&id, l)| (l.expiry, id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// At most `limit` leases whose time is up and whose revocation is to be proposed now.
    pub(crate) fn expired(&mut self, limit: usize, now: Instant) -> Vec<i64> {
        let mut found = Vec::new();
        while found.len() < limit {
            match self.agenda.first().copied() {
                Some((at, id)) if at <= now => {
                    self.agenda.remove(&(at, id));
                    let lease = self.leases.get_mut(&id).expect("the agenda holds only leases that exist");
                    lease.look_at = Some(now + RETRY);
                    self.agenda.insert((now + RETRY, id));
                    found.push(id);
                }
                _ => break,
            }
        }
        found
    }

    fn set(&mut self, id: i64, at: Instant) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if let Some(old) = lease.look_at.replace(at) {
            self.agenda.remove(&(old, id));
        }
        lease.expiry = Some(at);
        self.agenda.insert((at, id));
    }
}

/// Moves sorted deadlines back so that no second holds more than [`CROWD_PER_SECOND`] of them.
fn spread(due: &mut [(Instant, i64)]) {
    let Some(&(mut window, _)) = due.first() else { return };
    let mut in_window = 0;
    for (at, _) in due {
        if *at >= window + Duration::from_secs(1) {
            window = *at;
            in_window = 0;
        } else if in_window == CROWD_PER_SECOND {
            window += Duration::from_secs(1);
            in_window = 0;
        }
        *at = (*at).max(window);
        in_window += 1;
    }
}

/// A time to live as a duration. At most 9,000,000,000 s are granted, which the clock can carry.
fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn leader(start: Instant) -> Deadlines {
        let mut deadlines = Deadlines::default();
        deadlines.promote(SECOND, start);
        deadlines
    }

    #[test]
    fn a_lease_lives_and_expires() {
        let start = Instant::now();
        let mut d = leader(start);
        d.granted(7, 10, start);
        assert_eq!(d.remaining(7, start + SECOND / 2), Some(Remaining { ttl: 10, seconds: 9 }));
        assert!(d.expired(500, start + 9 * SECOND).is_empty());
        assert_eq!(d.renew(7, start + 9 * SECOND), Renewal::Renewed(10));
        assert!(d.expired(500, start + 18 * SECOND).is_empty());
        let end = start + 19 * SECOND;
        assert_eq!(d.renew(7, end), Renewal::Expiring);
        assert_eq!(d.expired(500, end), [7]);
        // Not again at once, but after three seconds.
        assert!(d.expired(500, end + 2 * SECOND).is_empty());
        assert_eq!(d.remaining(7, end + SECOND * 3 / 2), Some(Remaining { ttl: 10, seconds: -1 }));
        assert_eq!(d.expired(500, end + 3 * SECOND), [7]);
        assert!(d.revoked(7));
        assert!(!d.revoked(7));
        assert_eq!(d.renew(7, end), Renewal::Unknown);
        assert!(d.expired(500, end + 10 * SECOND).is_empty());
    }

    #[test]
    fn only_a_leader_counts() {
        let start = Instant::now();
        let mut d = Deadlines::default();
        d.granted(1, 5, start);
        assert!(d.expired(10, start + 100 * SECOND).is_empty());
        assert_eq!(d.renew(1, start), Renewal::NotCounting);
        // From promotion on the whole time runs again, and an election timeout.
        let later = start + 100 * SECOND;
        d.promote(SECOND, later);
        assert!(d.expired(10, later + 5 * SECOND).is_empty());
        assert_eq!(d.expired(10, later + 6 * SECOND), [1]);
        d.demote();
        assert!(d.expired(10, later + 100 * SECOND).is_empty());
        assert_eq!(d.renew(1, later), Renewal::NotCounting);
    }

    #[test]
    fn listing_is_by_deadline() {
        let start = Instant::now();
        let mut d = leader(start);
        for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
            d.granted(id, ttl, start);
        }
        assert_eq!(d.by_deadline(), [2, 3, 1]);
        d.renew(2, start + 9 * SECOND + SECOND * 15);
        assert_eq!(d.by_deadline(), [2, 3, 1]);
        d.renew(3, start + 15 * SECOND);
        assert_eq!(d.by_deadline(), [2, 1, 3]);
    }

    #[test]
    fn a_scan_is_bounded() {
        let start = Instant::now();
        let mut d = leader(start);
        for id in 0..1200 {
            d.granted(id, 2, start);
        }
        let end = start + 2 * SECOND;
        assert_eq!(d.expired(500, end).len(), 500);
        assert_eq!(d.expired(500, end).len(), 500);
        assert_eq!(d.expired(500, end).len(), 200);
    }

    #[test]
    fn a_new_leader_spreads_a_crowd() {
        let start = Instant::now();
        let mut d = Deadlines::default();
        for id in 0..5000 {
            d.granted(id, 10 + id % 2, start);
        }
        d.promote(Duration::ZERO, start);
        let mut due: Vec<Duration> = d.agenda.iter().map(|(at, _)| *at - start).collect();
        due.sort_unstable();
        for (at, limit) in due.iter().zip(due.iter().skip(CROWD_PER_SECOND)) {
            assert!(*limit - *at >= SECOND, "{at:?} {limit:?}");
        }
        assert!(due[0] >= 10 * SECOND && due[4999] < 20 * SECOND);
    }

    #[test]
    fn the_longest_lease_does_not_overflow() {
        let start = Instant::now();
        let mut d = leader(start);
        d.granted(1, 9_000_000_000, start);
        assert_eq!(d.remaining(1, start).unwrap().seconds, 9_000_000_000);
    }
}
