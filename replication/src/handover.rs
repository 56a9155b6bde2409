//! Between many callers and the one driver: what the callers leave gathers under one lock, and whoever has the seat takes
//! all of it.
//!
//! The `parked` mark lives under the same lock as what is gathered, so that a wake can neither be lost nor be sent to
//! a driver that is awake anyway. The seat is what the work is done with. Nobody takes anything without it, so that
//! what was left first is worked on first; the driver has it while it works, not while it is parked.
//!
//! A caller whose work is small and alone can do it itself: it leaves it without a wake, and at the end of its own turn
//! it either sits down in the empty seat of a parked driver, or wakes the driver after all.
//!
//! This file knows of threads only what `sync` offers: `tests/handover.rs` compiles it once more, against a scheduler.

use std::mem;
use std::time::Duration;

use crate::sync::{Mutex, MutexGuard, OnceLock, Thread, current, park_timeout};

/// What callers leave.
pub(crate) trait Gather: Default {
    fn is_empty(&self) -> bool;
}

/// When the driver hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Now,
    /// At the latest when this caller calls `settle`, which it does soon.
    AtSettle,
}

/// See the module. `C` says why nothing is taken any more.
pub(crate) struct Handover<G, C, W> {
    desk: Mutex<Desk<G, C>>,
    seat: Mutex<Seat<G, W>>,
    driver: OnceLock<Thread>,
}

pub(crate) struct Seat<G, W> {
    pub(crate) worker: W,
    /// Was taken and is being worked on. Empty between turns, with memory to use again.
    pub(crate) taken: G,
}

struct Desk<G, C> {
    gathered: G,
    parked: bool,
    /// Something was left without a wake.
    unsettled: bool,
    closed: Option<C>,
}

impl<G: Gather, C: Copy, W> Handover<G, C, W> {
    pub(crate) fn new(worker: W) -> Handover<G, C, W> {
        let desk = Desk { gathered: G::default(), parked: false, unsettled: false, closed: None };
        let seat = Seat { worker, taken: G::default() };
        Handover { desk: Mutex::new(desk), seat: Mutex::new(seat), driver: OnceLock::new() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk<G, C>> {
        self.desk.lock().expect("no caller panics while it holds the desk")
    }

    /// The driver's thread, which is the one calling.
    pub(crate) fn attach(&self) {
        let _ = self.driver.set(current());
    }

    /// The driver looks again.
    pub(crate) fn wake(&self) {
        if let Some(driver) = self.driver.get() {
            driver.unpark();
        }
    }

    /// Leaves something.
    pub(crate) fn put(&self, wake: Wake, insert: impl FnOnce(&mut G)) -> Result<(), C> {
        let unpark = {
            let mut desk = self.desk();
            if let Some(why) = desk.closed {
                return Err(why);
            }
            insert(&mut desk.gathered);
            match wake {
                Wake::AtSettle if desk.parked => {
                    desk.unsettled = true;
                    false
                }
                _ => mem::take(&mut desk.parked),
            }
        };
        if unpark {
            self.wake();
        }
        Ok(())
    }

    /// What was left without a wake is seen to: if it is all there is, suits whoever sits, and the driver is parked, it is
    /// worked on here and now, with the seat; else the driver is woken. Returns what `work` did.
    pub(crate) fn settle<R>(
        &self,
        suits: impl FnOnce(&G, &W) -> bool,
        work: impl FnOnce(&mut Seat<G, W>) -> R,
    ) -> Option<R> {
        let seat = self.seat.try_lock();
        let mut desk = self.desk();
        if !mem::take(&mut desk.unsettled) || !desk.parked {
            return None;
        }
        match seat {
            Ok(mut seat) if suits(&desk.gathered, &seat.worker) => {
                mem::swap(&mut desk.gathered, &mut seat.taken);
                drop(desk);
                Some(work(&mut seat))
            }
            _ => {
                desk.parked = false;
                drop(desk);
                self.wake();
                None
            }
        }
    }

    /// The driver waits until there is something, or was, at most so long.
    pub(crate) fn wait(&self, time: Duration) {
        let mut desk = self.desk();
        if desk.gathered.is_empty() && !time.is_zero() {
            desk.parked = true;
            drop(desk);
            park_timeout(time);
            self.desk().parked = false;
        }
    }

    /// Whether the driver waits.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the tests of the queue; tests/handover.rs does without")]
    pub(crate) fn is_parked(&self) -> bool {
        self.desk().parked
    }

    /// Sits down.
    pub(crate) fn sit(&self) -> MutexGuard<'_, Seat<G, W>> {
        self.seat.lock().expect("who panics in the seat takes the driver along")
    }

    /// Who sits takes what has gathered: all of it, but for what `keep_back` returns to the desk.
    pub(crate) fn take(&self, seat: &mut Seat<G, W>, keep_back: impl FnOnce(&mut G, &mut G)) {
        debug_assert!(seat.taken.is_empty());
        let mut desk = self.desk();
        mem::swap(&mut desk.gathered, &mut seat.taken);
        keep_back(&mut seat.taken, &mut desk.gathered);
    }

    /// From here on nothing is taken. What is there already can be taken.
    pub(crate) fn close(&self, why: C) {
        self.desk().closed = Some(why);
    }

    /// Drops what nobody will take any more.
    pub(crate) fn clear(&self) {
        // What is dropped may do something: not under the lock.
        let left = mem::take(&mut self.desk().gathered);
        drop(left);
    }
}
