//! Between the writers' thread and the committing one, as between the server's loops and its driver: what has gathered is
//! taken in one go, and whoever is awake is not woken.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Where one thread leaves things for another.
pub(super) struct Mailbox<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    items: Vec<T>,
    owner: Option<Thread>,
    parked: bool,
    closed: bool,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Some,
    /// The time is over.
    Nothing,
    /// Nobody leaves anything any more.
    Closed,
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> Mailbox<T> {
        Mailbox { state: Mutex::new(State { items: Vec::new(), owner: None, parked: false, closed: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread is the one that takes.
    pub(super) fn is_mine(&self) {
        self.lock().owner = Some(thread::current());
    }

    /// Empties `items`.
    pub(super) fn put(&self, items: &mut Vec<T>) {
        if items.is_empty() {
            return;
        }
        self.change(|state| match state.items.is_empty() {
            true => mem::swap(&mut state.items, items),
            false => state.items.append(items),
        });
    }

    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let wake = {
            let mut state = self.lock();
            change(&mut state);
            if mem::take(&mut state.parked) { state.owner.clone() } else { None }
        };
        if let Some(owner) = wake {
            owner.unpark();
        }
    }

    /// What has gathered, waiting for it at most so long.
    pub(super) fn take(&self, into: &mut Vec<T>, patience: Duration) -> Taken {
        into.clear();
        let mut waited = patience.is_zero();
        loop {
            let mut state = self.lock();
            state.parked = false;
            if !state.items.is_empty() {
                mem::swap(&mut state.items, into);
                return Taken::Some;
            }
            if state.closed {
                return Taken::Closed;
            }
            if waited {
                return Taken::Nothing;
            }
            state.parked = true;
            drop(state);
            // A wake-up that nobody sent ends the wait early, which the callers' loops bear.
            thread::park_timeout(patience);
            waited = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_left_is_taken_in_order_and_a_closed_one_says_so() {
        let mailbox = Mailbox::new();
        mailbox.is_mine();
        let mut taken = Vec::new();
        assert_eq!(mailbox.take(&mut taken, Duration::ZERO), Taken::Nothing);
        mailbox.put(&mut vec![1, 2]);
        mailbox.put(&mut vec![3]);
        mailbox.close();
        assert_eq!((mailbox.take(&mut taken, LONG), &taken[..]), (Taken::Some, &[1, 2, 3][..]));
        assert_eq!((mailbox.take(&mut taken, LONG), taken.len()), (Taken::Closed, 0));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let (to, from) = (Mailbox::new(), Mailbox::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                to.is_mine();
                let mut items = Vec::new();
                loop {
                    match to.take(&mut items, LONG) {
                        Taken::Closed => break,
                        _ => from.put(&mut items),
                    }
                }
                from.close();
            });
            from.is_mine();
            let (mut sent, mut came, mut items) = (0, 0, Vec::new());
            while came < 10_000 {
                if sent == came {
                    sent += 1;
                    to.put(&mut vec![sent]);
                }
                from.take(&mut items, LONG);
                came += items.len();
            }
            to.close();
        });
    }
}
