//! What a put costs where each batch is applied while the next is being written: the experiment behind the goal for puts.
//!
//! The callers fall into two halves. A thread of its own writes the batch of one, the calling thread meanwhile applies the
//! batch of the other, which is durable, and answers it. One write is in flight, as ever.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use measure::{Latencies, Stop};
use wal::{Entry, HardState, Wal};

use super::entry::Batch;
use super::member::{Parts, TERM};
use super::replay;
use super::writers::Written;
use crate::error::{Error, Result};

/// For the log's thread.
struct Job {
    entry: Entry,
    release_before: Option<u64>,
}

/// Runs `callers` on a member for so long; `next` adds one request to a batch.
pub(crate) fn overlapped(
    parts: Parts<'_>,
    callers: usize,
    duration: Duration,
    stop: &Stop,
    mut next: impl FnMut(&mut Batch),
) -> Result<Written> {
    let Parts { store, wal, index, upkeep } = parts;
    thread::scope(|scope| {
        let (jobs, work) = channel();
        let (report, reports) = channel();
        scope.spawn(move || write(wal, &work, &report));
        let mut latencies = Latencies::new();
        let mut batch = Batch::default();
        let mut release_before = None;
        let mut durable: Option<(Entry, Instant)> = None;
        let begun = Instant::now();
        while begun.elapsed() < duration || durable.is_some() {
            stop.check()?;
            let mut written = None;
            if begun.elapsed() < duration && !upkeep.is_full(store) {
                let asked = Instant::now();
                (0..callers / 2).for_each(|_| next(&mut batch));
                *index += 1;
                let entry = Entry { index: *index, term: TERM, kind: 0, data: batch.finish() };
                let job = Job { entry: entry.clone(), release_before: release_before.take() };
                jobs.send(job).map_err(|_| gone())?;
                written = Some((entry, asked));
            }
            if let Some((entry, asked)) = durable.take() {
                let count = replay::apply(store, &entry)?;
                store.publish();
                latencies.record_many(asked.elapsed(), count as u64);
            }
            let turn = upkeep.turn(store)?;
            release_before = turn.release_before.or(release_before);
            if written.is_some() {
                reports.recv().map_err(|_| gone())??;
                durable = written;
            }
        }
        Ok(Written { latencies, took: begun.elapsed() })
    })
}

fn write(wal: &mut Wal, jobs: &Receiver<Job>, report: &Sender<Result<()>>) {
    for Job { entry, release_before } in jobs {
        let hard_state = HardState { term: TERM, vote: 1, commit: entry.index - 1 };
        let entries = std::slice::from_ref(&entry);
        let mut done = wal.append(&wal::Batch { entries, hard_state: Some(hard_state) });
        if let (Ok(()), Some(index)) = (&done, release_before) {
            done = wal.release_before(index);
        }
        if report.send(done.map_err(Error::from)).is_err() {
            break;
        }
    }
}

fn gone() -> Error {
    Error::Wrong("the thread that writes the log is gone".to_owned())
}
