//! The thread that reads through a lot and is in no hurry: hashes at compactions, and scrubbing.
//!
//! It is not the writer's, so that a long hash never delays a checkpoint.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use engine::{Reader, View};

use super::priority;
use super::scrub::{Damage, Scrubber};
use crate::maintenance::Hashes;

struct Hash {
    before: View,
    reader: Reader,
    revision: i64,
    hashes: Arc<Hashes>,
}

enum Done {
    Hash(Result<(), engine::Error>),
    Damaged(Damage),
}

/// Hands over to the thread. It ends some time after this is dropped; it only reads.
pub(super) struct Background {
    jobs: Sender<Hash>,
    done: Receiver<Done>,
    hashing: usize,
}

/// Longer than any member runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Background {
    pub(super) fn start(scrubber: Option<Scrubber>) -> io::Result<Background> {
        let (jobs, work) = channel::<Hash>();
        let (report, done) = channel();
        thread::Builder::new().name("graven-background".into()).spawn(move || {
            priority::lower(priority::BACKGROUND);
            run(scrubber, &work, &report);
        })?;
        Ok(Background { jobs, done, hashing: 0 })
    }

    /// Computes the hash at a compaction. Until it is done nothing may be dropped.
    pub(super) fn hash(&mut self, before: View, reader: Reader, revision: i64, hashes: Arc<Hashes>) {
        let handed = self.jobs.send(Hash { before, reader, revision, hashes });
        handed.unwrap_or_else(|_| panic!("the background thread panicked"));
        self.hashing += 1;
    }

    /// Whether a hash is being computed.
    pub(super) fn is_hashing(&self) -> bool {
        self.hashing > 0
    }

    /// Takes note of what was finished; damage if scrubbing has found some.
    pub(super) fn collect(&mut self) -> Result<Option<Damage>, engine::Error> {
        loop {
            match self.done.try_recv() {
                Ok(Done::Hash(done)) => {
                    done?;
                    self.hashing -= 1;
                }
                Ok(Done::Damaged(damage)) => return Ok(Some(damage)),
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => panic!("the background thread panicked"),
            }
        }
    }
}

/// Until nobody can ask for anything any more.
fn run(mut scrubber: Option<Scrubber>, work: &Receiver<Hash>, report: &Sender<Done>) {
    loop {
        let wait = scrubber.as_ref().map_or(FOREVER, Scrubber::wait);
        let done = match work.recv_timeout(wait) {
            Ok(Hash { before, reader, revision, hashes }) => {
                Done::Hash(hashes.compute(before, &reader, revision))
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let Some(running) = &mut scrubber else { continue };
                let Err(damage) = running.slice() else { continue };
                // Once is enough: the member stops.
                scrubber = None;
                Done::Damaged(damage)
            }
        };
        if report.send(done).is_err() {
            return;
        }
    }
}
