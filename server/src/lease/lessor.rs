//! The lessor: deadlines shared between the driver's thread, the loops and the timer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::deadlines::{Deadlines, Remaining, Renewal};
use crate::grpc::StreamWaker;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Most leases found expired by one scan.
const SCAN: usize = 500;

/// Most revocations under way.
const IN_FLIGHT: usize = 16;

/// The leader's proposal to revoke a lease whose time is up. It counts only in the term of that leader: one that
/// was away for a while must not revoke what its successor has renewed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ExpiredLease {
    /// The lease.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// The leader's term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// Counts leases down. Cheap to share; every call takes one short lock.
pub struct Lessor {
    clock: Clock,
    /// What a new leader adds to every lease.
    extend: Duration,
    state: Mutex<State>,
    /// Rung when a revocation has settled and more are due, and at the end.
    bell: Condvar,
}

#[derive(Default)]
struct State {
    deadlines: Deadlines,
    /// The term in which this member leads.
    term: u64,
    /// Expired, not proposed yet.
    due: VecDeque<i64>,
    in_flight: usize,
    closed: bool,
    /// Streams that wait for an expired lease to be gone.
    waiting: HashMap<i64, Vec<StreamWaker>>,
}

impl Lessor {
    /// A lessor without leases that doesn't count yet. `election_timeout` is what a new leader adds to every lease.
    pub fn new(clock: Clock, election_timeout: Duration) -> Lessor {
        Lessor { clock, extend: election_timeout, state: Mutex::default(), bell: Condvar::new() }
    }

    /// The lessor's time.
    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn granted(&self, id: i64, ttl: i64) {
        let now = (self.clock)();
        self.state().deadlines.granted(id, ttl, now);
    }

    /// The lease is gone, and whoever waited for that hears of it.
    pub(crate) fn revoked(&self, id: i64) {
        let mut state = self.state();
        state.deadlines.revoked(id);
        let waiting = state.waiting.remove(&id);
        drop(state);
        waiting.into_iter().flatten().for_each(|waker| waker.wake());
    }

    /// This member leads in `term`, and has applied everything from before it.
    pub(crate) fn promote(&self, term: u64) {
        let now = (self.clock)();
        let mut state = self.state();
        state.term = term;
        state.deadlines.promote(self.extend, now);
    }

    /// This member doesn't lead any more.
    pub(crate) fn demote(&self) {
        let mut state = self.state();
        state.deadlines.demote();
        state.due.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().flatten().for_each(|waker| waker.wake());
    }

    /// Whether this member counts.
    pub(crate) fn is_primary(&self) -> bool {
        self.state().deadlines.is_counting()
    }

    /// Renews a lease. While it is expiring, `waker` is called once its fate is known.
    pub(crate) fn renew(&self, id: i64, waker: &StreamWaker) -> Renewal {
        let now = (self.clock)();
        let mut state = self.state();
        let renewal = state.deadlines.renew(id, now);
        if renewal == Renewal::Expiring {
            state.waiting.entry(id).or_default().push(waker.clone());
        }
        renewal
    }

    pub(crate) fn remaining(&self, id: i64) -> Option<Remaining> {
        let now = (self.clock)();
        self.state().deadlines.remaining(id, now)
    }

    /// All leases, the one that expires first at the front.
    pub(crate) fn list(&self) -> Vec<i64> {
        self.state().deadlines.by_deadline()
    }

    /// Looks for expired leases; to be called every 500 ms. Returns those to propose now.
    pub(crate) fn scan(&self) -> Vec<ExpiredLease> {
        let now = (self.clock)();
        let mut state = self.state();
        // Like etcd: while one scan's leases are still waiting to be proposed, the next finds nothing new.
        if state.due.is_empty() {
            let found = state.deadlines.expired(SCAN, now);
            state.due.extend(found);
        }
        state.take_due()
    }

    /// One proposed revocation was applied or refused.
    pub(crate) fn settled(&self) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if !state.due.is_empty() {
            self.bell.notify_all();
        }
    }

    /// Waits until more can be proposed, at most `limit`; returns that. `None` once closed.
    pub(crate) fn wait(&self, limit: Duration) -> Option<Vec<ExpiredLease>> {
        let idle =
            |state: &mut State| !state.closed && (state.due.is_empty() || state.in_flight >= IN_FLIGHT);
        let waited = self.bell.wait_timeout_while(self.state(), limit, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed { None } else { Some(state.take_due()) }
    }

    /// Ends whoever is in `wait`.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.bell.notify_all();
    }
}

impl State {
    fn take_due(&mut self) -> Vec<ExpiredLease> {
        let free = IN_FLIGHT.saturating_sub(self.in_flight).min(self.due.len());
        self.in_flight += free;
        let term = self.term;
        self.due.drain(..free).map(|id| ExpiredLease { id, term }).collect()
    }
}

impl std::fmt::Debug for Lessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lessor").field("primary", &self.is_primary()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::grpc::CallId;
    use crate::loops::WakeTarget;

    fn waker() -> StreamWaker {
        let target =
            WakeTarget { inbox: Arc::default(), id: CallId::nobody(), called: AtomicBool::new(false) };
        StreamWaker { target: Arc::new(target) }
    }

    fn was_woken(waker: &StreamWaker) -> bool {
        waker.target.called.load(Ordering::SeqCst)
    }

    fn lessor() -> (Lessor, Arc<Mutex<Instant>>) {
        let clock = Arc::new(Mutex::new(Instant::now()));
        let time = clock.clone();
        let lessor = Lessor::new(Arc::new(move || *time.lock().unwrap()), Duration::from_secs(1));
        lessor.promote(1);
        (lessor, clock)
    }

    /// while the revocation of an expired lease is under way nobody is told that it was renewed.
    #[test]
    fn renewing_an_expired_lease_waits_for_its_end() {
        let (lessor, clock) = lessor();
        lessor.granted(7, 2);
        let stream = waker();
        assert_eq!(lessor.renew(7, &stream), Renewal::Renewed(2));
        *clock.lock().unwrap() += Duration::from_secs(2);
        assert_eq!(lessor.renew(7, &stream), Renewal::Expiring);
        assert!(!was_woken(&stream));
        lessor.revoked(7);
        assert!(was_woken(&stream));
        assert_eq!(lessor.renew(7, &stream), Renewal::Unknown);
    }

    #[test]
    fn losing_the_lead_ends_the_waiting_too() {
        let (lessor, clock) = lessor();
        lessor.granted(7, 2);
        *clock.lock().unwrap() += Duration::from_secs(2);
        let stream = waker();
        assert_eq!(lessor.renew(7, &stream), Renewal::Expiring);
        lessor.demote();
        assert!(was_woken(&stream));
        assert_eq!(lessor.renew(7, &stream), Renewal::NotCounting);
    }

    #[test]
    fn whoever_waits_for_work_is_let_go_at_the_end() {
        let (lessor, _) = lessor();
        assert_eq!(lessor.wait(Duration::ZERO), Some(Vec::new()));
        lessor.close();
        assert_eq!(lessor.wait(Duration::from_secs(60)), None);
    }
}
