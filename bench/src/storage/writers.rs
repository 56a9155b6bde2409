//! Many writers on one committing thread: each asks again as soon as it is answered.
//!
//! Two ways. *Gathered*: the writers are tasks of the committing thread itself, so every batch has a request of each; that
//! is what a batch costs. *Handed over*: the writers are tasks of another thread, as in the server the connections of a
//! network loop are, and requests and answers go through a lock and a wake-up each way; that is what writers feel.

use std::mem;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use measure::Latencies;

use crate::error::{Error, Result};
use measure::Stop;

/// What the writers saw.
pub(crate) struct Written {
    pub(crate) latencies: Latencies,
    pub(crate) took: Duration,
}

impl Written {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.took.as_secs_f64()
    }
}

/// Writers of the calling thread; `commit` makes a batch of so many requests durable.
pub(crate) fn gathered(
    writers: usize,
    duration: Duration,
    stop: &Stop,
    mut commit: impl FnMut(usize) -> Result<()>,
) -> Result<Written> {
    let mut latencies = Latencies::new();
    let begun = Instant::now();
    let mut last = begun;
    while last - begun < duration {
        stop.check()?;
        commit(writers)?;
        let now = Instant::now();
        latencies.record_many(now - last, writers as u64);
        last = now;
    }
    Ok(Written { latencies, took: last - begun })
}

/// Writers of a thread of their own; `commit`, on the calling thread, makes a batch of so many requests durable.
pub(crate) fn handed_over(
    writers: usize,
    duration: Duration,
    stop: &Stop,
    mut commit: impl FnMut(usize) -> Result<()>,
) -> Result<Written> {
    let (requests, answers) = (Mailbox::default(), Mailbox::default());
    requests.belongs_to(thread::current());
    thread::scope(|scope| {
        let (to, from) = (&requests, &answers);
        let asking = scope.spawn(move || ask(writers, duration, to, from));
        let mut batch = Vec::new();
        let mut result = Ok(());
        loop {
            requests.take(&mut batch);
            if batch.is_empty() {
                // Only a closed mailbox gives nothing.
                break;
            }
            result = stop.check().map_err(Error::from).and_then(|()| commit(batch.len()));
            if result.is_err() {
                break;
            }
            answers.put(&mut batch);
        }
        answers.close();
        let written = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map(|()| written)
    })
}

/// The writers' thread: puts a request for each answer that comes, until the time is over.
fn ask(writers: usize, duration: Duration, requests: &Mailbox, answers: &Mailbox) -> Written {
    answers.belongs_to(thread::current());
    let mut latencies = Latencies::new();
    let begun = Instant::now();
    let mut asked = vec![begun; writers];
    let mut waiting: Vec<usize> = (0..writers).collect();
    requests.put(&mut waiting);
    let mut last = begun;
    while last - begun < duration {
        answers.take(&mut waiting);
        if waiting.is_empty() {
            break;
        }
        last = Instant::now();
        for &writer in &waiting {
            latencies.record(last - asked[writer]);
            asked[writer] = last;
        }
        requests.put(&mut waiting);
    }
    requests.close();
    Written { latencies, took: last - begun }
}

/// Where one thread leaves things for another; what has gathered is taken in one go.
#[derive(Default)]
struct Mailbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: Vec<usize>,
    owner: Option<Thread>,
    parked: bool,
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn belongs_to(&self, owner: Thread) {
        self.lock().owner = Some(owner);
    }

    /// Empties `items`.
    fn put(&self, items: &mut Vec<usize>) {
        self.change(|state| {
            if state.items.is_empty() {
                mem::swap(&mut state.items, items);
            } else {
                state.items.append(items);
            }
        });
    }

    fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let wake = {
            let mut state = self.lock();
            change(&mut state);
            if mem::take(&mut state.parked) { state.owner.clone() } else { None }
        };
        if let Some(owner) = wake {
            owner.unpark();
        }
    }

    /// Waits for something; nothing comes out once it is closed.
    fn take(&self, into: &mut Vec<usize>) {
        into.clear();
        loop {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            if !state.items.is_empty() {
                mem::swap(&mut state.items, into);
                return;
            }
            state.parked = true;
            drop(state);
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_all_answered(written: &Written, committed: u64) {
        let answered = written.latencies.count();
        assert!(answered > 0 && answered <= committed, "{answered} of {committed}");
        assert!(committed - answered <= 7, "{answered} of {committed}");
    }

    #[test]
    fn every_request_is_committed_once_and_answered() {
        let (stop, time) = (Stop::default(), Duration::from_millis(20));
        let mut committed = 0;
        let mut commit = |count| {
            assert!((1..=7).contains(&count));
            committed += count as u64;
            Ok(())
        };
        let written = gathered(7, time, &stop, &mut commit).unwrap();
        assert_all_answered(&written, std::mem::take(&mut committed));
        let mut commit = |count| {
            assert!((1..=7).contains(&count));
            committed += count as u64;
            Ok(())
        };
        let written = handed_over(7, time, &stop, &mut commit).unwrap();
        assert_all_answered(&written, committed);
    }

    #[test]
    fn a_failed_commit_ends_both_threads() {
        let (stop, time) = (Stop::default(), Duration::from_secs(60));
        let planted = |_| Err(Error::Wrong("planted".to_owned()));
        assert!(gathered(3, time, &stop, planted).is_err());
        assert!(handed_over(3, time, &stop, planted).is_err());
    }
}
