//! Leases for Events: as the API server's lease manager does it, one is shared by all Events of a minute, or by a thousand.

use std::time::{Duration, Instant};

use api::etcdserverpb::{LeaseGrantRequest, LeaseGrantResponse};
use prost::Message;

use super::super::workload::{GARBLED, Wrong};

/// Its defaults (`LeaseReuseDurationSeconds`, `MaxObjectCount`).
const REUSED: Duration = Duration::from_secs(60);
const OBJECTS: u32 = 1000;

const NO_LEASE: Wrong = "wrong answer: a lease without an id, or with less time than was asked for";

/// Those that were granted, and the one that is used now.
#[derive(Debug)]
pub(super) struct Leases {
    ttl: Duration,
    granted: Vec<i64>,
    current: Option<Current>,
    /// One is asked for.
    pub(super) is_coming: bool,
}

#[derive(Debug)]
struct Current {
    id: i64,
    since: Instant,
    objects: u32,
}

impl Leases {
    pub(super) fn new(ttl: Duration) -> Leases {
        Leases { ttl, granted: Vec::new(), current: None, is_coming: false }
    }

    /// The lease for one more Event; none where a new one has to be granted first.
    pub(super) fn take(&mut self, now: Instant) -> Option<i64> {
        // No longer than half its time, so that no Event goes while it is still waited for.
        let reused = REUSED.min(self.ttl / 2);
        let usable = |current: &&mut Current| {
            current.objects < OBJECTS && now.saturating_duration_since(current.since) < reused
        };
        let current = self.current.as_mut().filter(usable)?;
        current.objects += 1;
        Some(current.id)
    }

    /// The request for a new one. It lasts longer by the time in which it is shared.
    pub(super) fn request(&mut self) -> Vec<u8> {
        self.is_coming = true;
        LeaseGrantRequest { ttl: self.seconds(), id: 0 }.encode_to_vec()
    }

    fn seconds(&self) -> i64 {
        (self.ttl + REUSED.min(self.ttl / 2)).as_secs_f64().ceil() as i64
    }

    /// It was answered.
    pub(super) fn granted(&mut self, answer: &[u8], at: Instant) -> Result<(), Wrong> {
        self.is_coming = false;
        let LeaseGrantResponse { id, ttl, .. } = LeaseGrantResponse::decode(answer).map_err(|_| GARBLED)?;
        if id == 0 || ttl < self.seconds() {
            return Err(NO_LEASE);
        }
        self.granted.push(id);
        self.current = Some(Current { id, since: at, objects: 0 });
        Ok(())
    }

    /// All there ever were.
    pub(super) fn all(&self) -> &[i64] {
        &self.granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_shared_for_a_while_and_by_so_many() {
        let now = Instant::now();
        let mut leases = Leases::new(Duration::from_secs(3600));
        assert_eq!(leases.take(now), None);
        let asked = LeaseGrantRequest::decode(&leases.request()[..]).unwrap();
        assert!(asked.ttl == 3660 && leases.is_coming);
        let grant = |id, ttl| LeaseGrantResponse { id, ttl, ..LeaseGrantResponse::default() }.encode_to_vec();
        assert_eq!(leases.granted(&grant(0, 3660), now), Err(NO_LEASE));
        assert_eq!(leases.granted(&grant(7, 60), now), Err(NO_LEASE));
        assert_eq!(leases.granted(&grant(7, 3660), now), Ok(()));
        assert_eq!(leases.take(now + REUSED), None);
        assert!((0..OBJECTS).all(|_| leases.take(now) == Some(7)));
        assert_eq!(leases.take(now), None);
        assert_eq!((leases.all(), leases.is_coming), (&[7][..], false));
    }
}
