//! The thread that reads through a lot and is in no hurry: hashes at compactions, what slices of upkeep are going to look
//! at, and scrubbing.
//!
//! It is not the writer's, so that a long hash never delays a checkpoint.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use engine::{Ahead, Reader, View, WARM_BYTES};

use super::priority;
use super::scrub::{Damage, Scrubber};
use crate::maintenance::Hashes;

enum Job {
    Hash { before: View, reader: Reader, revision: i64, hashes: Arc<Hashes> },
    Warm { ahead: Ahead, reader: Reader },
    Scrub(Box<Scrubber>),
}

enum Done {
    Hash(Result<(), engine::Error>),
    Warm(Result<Ahead, engine::Error>),
    Damaged(Damage, Box<Scrubber>),
}

/// Hands over to the thread. It ends some time after this is dropped; it only reads.
pub(super) struct Background {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    hashing: bool,
    /// The hash to compute next.
    waiting: Option<Job>,
    warming: bool,
}

/// What was finished and somebody has to know of.
pub(super) enum News {
    /// It was read.
    Warmed(Ahead),
    /// Scrubbing has found damage, with which it has ended.
    Damaged(Damage, Box<Scrubber>),
}

/// Longer than any member runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Background {
    pub(super) fn start() -> io::Result<Background> {
        let (jobs, work) = channel::<Job>();
        let (report, done) = channel();
        thread::Builder::new().name("graven-background".into()).spawn(move || {
            priority::lower(priority::BACKGROUND);
            run(&work, &report);
        })?;
        Ok(Background::with(jobs, done))
    }

    fn with(jobs: Sender<Job>, done: Receiver<Done>) -> Background {
        Background { jobs, done, hashing: false, waiting: None, warming: false }
    }

    /// Computes the hash at a compaction. Until it is done nothing may be dropped. One waits at most: when compactions come
    /// faster than hashes are computed, those between have none, and their views are let go.
    pub(super) fn hash(&mut self, before: View, reader: Reader, revision: i64, hashes: Arc<Hashes>) {
        let job = Job::Hash { before, reader, revision, hashes };
        if std::mem::replace(&mut self.hashing, true) {
            self.waiting = Some(job);
        } else {
            self.hand_over(job);
        }
    }

    /// Reads what slices are going to look at; one stretch at a time.
    pub(super) fn warm(&mut self, ahead: Ahead, reader: Reader) {
        self.hand_over(Job::Warm { ahead, reader });
        self.warming = true;
    }

    /// Whether such a stretch is being read.
    pub(super) fn is_warming(&self) -> bool {
        self.warming
    }

    /// Begins to scrub, for as long as the thread runs and nothing is damaged.
    pub(super) fn scrub(&self, scrubber: Box<Scrubber>) {
        self.hand_over(Job::Scrub(scrubber));
    }

    fn hand_over(&self, job: Job) {
        self.jobs.send(job).unwrap_or_else(|_| panic!("the background thread panicked"));
    }

    /// Whether a hash is being computed.
    pub(super) fn is_hashing(&self) -> bool {
        self.hashing
    }

    /// Takes note of what was finished, until it is something that somebody else has to know.
    pub(super) fn collect(&mut self) -> Result<Option<News>, engine::Error> {
        loop {
            match self.done.try_recv() {
                Ok(Done::Hash(done)) => {
                    done?;
                    match self.waiting.take() {
                        Some(job) => self.hand_over(job),
                        None => self.hashing = false,
                    }
                }
                Ok(Done::Warm(ahead)) => {
                    self.warming = false;
                    return Ok(Some(News::Warmed(ahead?)));
                }
                Ok(Done::Damaged(damage, scrubber)) => return Ok(Some(News::Damaged(damage, scrubber))),
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => panic!("the background thread panicked"),
            }
        }
    }
}

/// Until nobody can ask for anything any more.
fn run(work: &Receiver<Job>, report: &Sender<Done>) {
    let mut scrubber = None;
    loop {
        let wait = scrubber.as_deref().map_or(FOREVER, Scrubber::wait);
        let done = match work.recv_timeout(wait) {
            Ok(Job::Hash { before, reader, revision, hashes }) => {
                Done::Hash(hashes.compute(before, &reader, revision))
            }
            Ok(Job::Warm { ahead, reader }) => Done::Warm(ahead.read(&reader.view(), WARM_BYTES)),
            Ok(Job::Scrub(given)) => {
                scrubber = Some(given);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let Some(mut running) = scrubber.take() else { continue };
                match running.slice() {
                    Ok(()) => {
                        scrubber = Some(running);
                        continue;
                    }
                    // Once is enough, until something has been done about it.
                    Err(damage) => Done::Damaged(damage, running),
                }
            }
        };
        if report.send(done).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hash_waits_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let file = engine::OsFile::open(&dir.path().join("db")).unwrap();
        let mut store = engine::Store::open(Arc::new(file), engine::Options::default()).unwrap();
        let (jobs, work) = channel();
        let (report, done) = channel();
        let mut background = Background::with(jobs, done);
        for revision in 1..=100 {
            let mut write = store.begin();
            write.put(b"key", b"value", 0).unwrap();
            write.finish().unwrap();
            store.publish();
            let reader = store.reader();
            background.hash(reader.view(), reader, revision, Arc::default());
        }
        assert!(store.held_views().count() <= 2);
        let handed_over = || match work.try_recv() {
            Ok(Job::Hash { revision, .. }) => Some(revision),
            _ => None,
        };
        assert_eq!((handed_over(), handed_over()), (Some(1), None));
        for (expected, hashing) in [(Some(100), true), (None, false)] {
            report.send(Done::Hash(Ok(()))).unwrap();
            assert!(background.collect().unwrap().is_none());
            assert_eq!((handed_over(), background.is_hashing()), (expected, hashing));
        }
    }
}
