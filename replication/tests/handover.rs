//! The hand-over between callers and driver, in interleavings chosen by a scheduler: nothing hangs, nothing is lost or
//! taken twice, and what a caller leaves is worked on in its order. It is the crate's own source file, compiled against a
//! scheduler's locks.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

#[path = "../src/handover.rs"]
mod handover;

/// What `src/sync.rs` offers, run by the scheduler. A driver that parks is never woken by the time.
mod sync {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use shuttle::sync::{Arc, Condvar};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use std::sync::OnceLock;

    /// The planted fault: a wake reaches only a driver that is parked already.
    pub(crate) static LOSE_WAKE_UPS: AtomicBool = AtomicBool::new(false);

    #[derive(Default)]
    struct Token {
        given: Mutex<bool>,
        changed: Condvar,
    }

    #[derive(Clone, Default)]
    pub(crate) struct Thread(Arc<Token>);

    shuttle::thread_local! {
        static CURRENT: Thread = Thread::default();
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn park_timeout(_: Duration) {
        let Thread(token) = current();
        let mut given = token.given.lock().unwrap();
        if LOSE_WAKE_UPS.load(Ordering::Relaxed) {
            *given = false;
        }
        while !*given {
            given = token.changed.wait(given).unwrap();
        }
        *given = false;
    }

    impl Thread {
        pub(crate) fn unpark(&self) {
            *self.0.given.lock().unwrap() = true;
            self.0.changed.notify_one();
        }
    }
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover::{Gather, Handover, Wake};
use shuttle::rand::{Rng, thread_rng};

const CALLERS: u64 = 3;
const EACH: u64 = 3;
const SCHEDULES: usize = 10_000;

/// One at a time: the planted fault is for all.
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Left {
    items: Vec<(u64, u64)>,
    stop: bool,
}

impl Gather for Left {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.stop
    }
}

/// What was worked on, in order, and how much of it in a caller's turn.
#[derive(Default)]
struct Work {
    done: Vec<(u64, u64)>,
    alone: u64,
}

type Desk = Handover<Left, &'static str, Work>;

/// At most two items a turn; the rest goes back in front.
fn keep_back(taken: &mut Left, behind: &mut Left) {
    if taken.items.len() > 2 {
        behind.items.extend(taken.items.drain(2..));
    }
}

fn drive(desk: &Desk) {
    desk.attach();
    loop {
        desk.wait(Duration::from_secs(1));
        let mut seat = desk.sit();
        desk.take(&mut seat, keep_back);
        let handover::Seat { worker, taken } = &mut *seat;
        worker.done.append(&mut taken.items);
        if std::mem::take(&mut taken.stop) {
            break;
        }
    }
    desk.close("stopped");
    loop {
        let mut seat = desk.sit();
        desk.take(&mut seat, keep_back);
        let handover::Seat { worker, taken } = &mut *seat;
        if taken.is_empty() {
            return;
        }
        worker.done.append(&mut taken.items);
        taken.stop = false;
    }
}

/// Leaves its items, some of them without a wake; says how many were taken before the desk was closed.
fn call(desk: &Desk, caller: u64) -> u64 {
    for number in 0..EACH {
        let wake = if thread_rng().gen_bool(0.5) { Wake::AtSettle } else { Wake::Now };
        if desk.put(wake, |left| left.items.push((caller, number))).is_err() {
            return number;
        }
        if wake == Wake::AtSettle {
            let one = |left: &Left, _: &_| left.items.len() == 1 && !left.stop;
            desk.settle(one, |seat| {
                seat.worker.done.append(&mut seat.taken.items);
                seat.worker.alone += 1;
            });
        }
    }
    EACH
}

fn play(stop_early: bool, alone: &AtomicU64, refused: &AtomicU64) {
    let desk = shuttle::sync::Arc::new(Desk::new(Work::default()));
    let driver = {
        let desk = desk.clone();
        shuttle::thread::spawn(move || drive(&desk))
    };
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let desk = desk.clone();
            shuttle::thread::spawn(move || call(&desk, caller))
        })
        .collect();
    let stop = || desk.put(Wake::Now, |left| left.stop = true).unwrap();
    if stop_early {
        stop();
    }
    let taken: Vec<u64> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    if !stop_early {
        stop();
    }
    driver.join().unwrap();
    // As the driver's end does: nothing may be left that somebody counts on.
    desk.clear();
    let seat = desk.sit();
    for (caller, taken) in (0..).zip(taken) {
        let own: Vec<u64> =
            seat.worker.done.iter().filter(|(of, _)| *of == caller).map(|(_, n)| *n).collect();
        assert!(own.iter().copied().eq(0..taken), "caller {caller} left 0..{taken}, worked on were {own:?}");
        refused.fetch_add(EACH - taken, Ordering::Relaxed);
    }
    alone.fetch_add(seat.worker.alone, Ordering::Relaxed);
}

#[test]
fn everything_left_is_worked_on_once_and_in_order() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for stop_early in [false, true] {
        let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let seen = Arc::clone(&counts);
        shuttle::check_random(move || play(stop_early, &seen.0, &seen.1), SCHEDULES);
        let (alone, refused) = (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed));
        assert!(alone > SCHEDULES as u64 / 100, "callers work now and then: {alone}");
        assert_eq!(refused > 0, stop_early, "{refused} refused");
    }
}

#[test]
fn a_lost_wake_up_is_found() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    sync::LOSE_WAKE_UPS.store(true, Ordering::Relaxed);
    let run = || {
        shuttle::check_random(|| play(false, &AtomicU64::new(0), &AtomicU64::new(0)), SCHEDULES);
    };
    let result = catch_unwind(AssertUnwindSafe(run));
    sync::LOSE_WAKE_UPS.store(false, Ordering::Relaxed);
    assert!(result.is_err(), "the driver sleeps for ever in none of the schedules");
}
