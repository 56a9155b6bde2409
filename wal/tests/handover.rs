//! The hand-over between the appending thread and the upkeep thread, in interleavings chosen by a scheduler: nothing hangs,
//! nothing is lost, nothing is done twice. It is the log's own source file, compiled against a scheduler's locks.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../src/upkeep/handover.rs"]
mod handover;

/// What `src/sync.rs` offers, run by the scheduler.
mod sync {
    use std::io;
    use std::ops::{Deref, DerefMut};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use shuttle::rand::{Rng, thread_rng};
    use shuttle::sync as inner;
    pub(crate) use shuttle::sync::{Arc, Condvar};
    pub(crate) use shuttle::thread::JoinHandle;

    /// The planted fault: between letting go of the lock and waiting there is a gap.
    pub(crate) static LOSE_WAKE_UPS: AtomicBool = AtomicBool::new(false);

    /// Otherwise a time runs out now or never.
    pub(crate) static TIMES_RUN_OUT: AtomicBool = AtomicBool::new(false);

    pub(crate) struct Mutex<T>(inner::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T> {
        mutex: &'a Mutex<T>,
        guard: inner::MutexGuard<'a, T>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(inner::Mutex::new(value))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.guard
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.guard
        }
    }

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        MutexGuard { mutex, guard: mutex.0.lock().unwrap() }
    }

    /// Lets others have the lock for a while.
    fn relock<T>(guard: MutexGuard<'_, T>) -> MutexGuard<'_, T> {
        let mutex = guard.mutex;
        drop(guard);
        shuttle::thread::yield_now();
        lock(mutex)
    }

    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let guard = if LOSE_WAKE_UPS.load(Ordering::Relaxed) { relock(guard) } else { guard };
        MutexGuard { mutex: guard.mutex, guard: condvar.wait(guard.guard).unwrap() }
    }

    /// The time runs out now or never.
    pub(crate) fn wait_at_most<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        _: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let over = TIMES_RUN_OUT.load(Ordering::Relaxed) || thread_rng().gen_bool(0.5);
        if over { (relock(guard), true) } else { (wait(condvar, guard), false) }
    }

    pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        shuttle::thread::Builder::new().name(name.to_owned()).spawn(run)
    }
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use handover::{Handover, Taken, Worker};
use shuttle::rand::{Rng, thread_rng};

/// One at a time: the planted fault is for all.
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Done {
    prepared: Vec<u64>,
    released: Vec<u64>,
    failures: u64,
    tidied: u64,
}

struct Crew {
    done: Arc<Mutex<Done>>,
    to_tidy: u64,
}

impl Worker for Crew {
    type Ready = u64;
    type Failure = u64;

    fn prepare(&mut self, id: u64) -> Result<u64, u64> {
        shuttle::thread::yield_now();
        let mut done = self.done.lock().unwrap();
        if thread_rng().gen_bool(0.4) {
            done.failures += 1;
            return Err(id);
        }
        done.prepared.push(id);
        Ok(id)
    }

    fn release(&mut self, id: u64) {
        shuttle::thread::yield_now();
        self.done.lock().unwrap().released.push(id);
        self.to_tidy += 1;
    }

    fn tidy(&mut self) -> bool {
        let more = self.to_tidy > 0;
        self.to_tidy -= u64::from(more);
        self.done.lock().unwrap().tidied += u64::from(more);
        more
    }
}

/// What a log does, in an order that the scheduler's dice decide.
fn play(failures: &AtomicU64, waits: &AtomicU64) {
    let done = Arc::new(Mutex::new(Done::default()));
    let handover = Handover::start(Crew { done: Arc::clone(&done), to_tidy: 0 }).unwrap();
    let mut next = 1;
    let mut released = Vec::new();
    if thread_rng().gen_bool(0.3) {
        handover.put(next);
    } else {
        handover.ask(next);
    }
    for _ in 0..thread_rng().gen_range(0..8) {
        match thread_rng().gen_range(0..5) {
            0 => {
                let ids: Vec<u64> =
                    (0..thread_rng().gen_range(0..3)).map(|i| (released.len() + i) as u64).collect();
                released.extend(&ids);
                handover.release(ids);
            }
            1 => {
                let ready = handover.is_ready();
                let Taken { result, waited } = handover.take();
                assert!(!(ready && waited), "nobody waits for what is ready");
                waits.fetch_add(u64::from(waited), Ordering::Relaxed);
                match result.expect("the thread is there") {
                    Ok(id) => {
                        assert_eq!(id, next);
                        next += 1;
                        handover.ask(next);
                    }
                    Err(id) => assert_eq!(id, next),
                }
            }
            2 => {
                handover.settle();
                let ready = handover.is_ready();
                let done = done.lock().unwrap();
                assert_eq!(
                    (&done.released, done.tidied),
                    (&released, released.len() as u64),
                    "all of it is done"
                );
                assert!(ready || done.failures > 0, "the segment is there or could not be had");
            }
            _ => shuttle::thread::yield_now(),
        }
    }
    drop(handover);
    let done = done.lock().unwrap();
    assert_eq!(done.released, released, "all of them, once, in order");
    let each_once = done.prepared.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(each_once && done.prepared.last().is_none_or(|&last| last <= next), "{:?}", done.prepared);
    failures.fetch_add(done.failures, Ordering::Relaxed);
}

fn schedules() -> usize {
    let scale = std::env::var("GRAVEN_CRASH_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1.0);
    (12_000.0_f64 * scale).max(10_000.0) as usize
}

#[test]
fn nothing_hangs_and_nothing_is_lost() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = Arc::new(AtomicU64::new(0));
    let waits = Arc::new(AtomicU64::new(0));
    let (count_failures, count_waits) = (Arc::clone(&failures), Arc::clone(&waits));
    let half = schedules() / 2;
    let run = move || play(&count_failures, &count_waits);
    shuttle::check_random_with_seed(run.clone(), 1, half);
    shuttle::check_pct(run, half, 4);
    let (failures, waits) = (failures.load(Ordering::Relaxed), waits.load(Ordering::Relaxed));
    println!("{} schedules, {failures} failed attempts, {waits} waits", 2 * half);
    assert!(2 * half >= 10_000 && failures > 1000 && waits > 1000);
}

/// A segment that could not be prepared is tried again although nobody asks, or releases anything: time alone does it.
#[test]
fn a_failure_is_tried_again_by_itself() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    sync::TIMES_RUN_OUT.store(true, Ordering::Relaxed);
    let failures = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&failures);
    let run = catch_unwind(AssertUnwindSafe(|| {
        shuttle::check_random_with_seed(
            move || {
                let done = Arc::new(Mutex::new(Done::default()));
                let handover = Handover::start(Crew { done: Arc::clone(&done), to_tidy: 0 }).unwrap();
                handover.ask(1);
                while !handover.is_ready() {
                    shuttle::thread::yield_now();
                }
                assert!(!handover.take().waited);
                count.fetch_add(done.lock().unwrap().failures, Ordering::Relaxed);
            },
            2,
            2000,
        );
    }));
    sync::TIMES_RUN_OUT.store(false, Ordering::Relaxed);
    run.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let failures = failures.load(Ordering::Relaxed);
    assert!(failures > 500, "{failures} attempts failed");
}

#[test]
fn a_lost_wake_up_is_found() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    sync::LOSE_WAKE_UPS.store(true, Ordering::Relaxed);
    let found = catch_unwind(AssertUnwindSafe(|| {
        let unused = Arc::new(AtomicU64::new(0));
        shuttle::check_random_with_seed(move || play(&unused, &unused), 3, 10_000);
    }));
    sync::LOSE_WAKE_UPS.store(false, Ordering::Relaxed);
    let panic = found.expect_err("a gap between unlocking and waiting must be noticed");
    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(text.contains("deadlock"), "{text}");
}
