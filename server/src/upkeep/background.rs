//! The thread that reads through a lot and is in no hurry: hashes at compactions, and scrubbing.
//!
//! It is not the writer's, so that a long hash never delays a checkpoint.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use engine::View;

use super::priority;
use crate::maintenance::Hashes;

struct Hash {
    before: View,
    revision: i64,
    hashes: Arc<Hashes>,
}

/// Hands over to the thread. It ends some time after this is dropped; it only reads.
pub(super) struct Background {
    jobs: Sender<Hash>,
    done: Receiver<Result<(), engine::Error>>,
    hashing: usize,
}

impl Background {
    pub(super) fn start() -> io::Result<Background> {
        let (jobs, work) = channel::<Hash>();
        let (report, done) = channel();
        thread::Builder::new().name("graven-background".into()).spawn(move || {
            priority::lower(priority::BACKGROUND);
            for Hash { before, revision, hashes } in work {
                let result = hashes.compute(&before, revision);
                // Not until somebody asks for the result, but now: it holds pages of the store.
                drop(before);
                if report.send(result).is_err() {
                    break;
                }
            }
        })?;
        Ok(Background { jobs, done, hashing: 0 })
    }

    /// Computes the hash at a compaction.
    pub(super) fn hash(&mut self, before: View, revision: i64, hashes: Arc<Hashes>) {
        let handed = self.jobs.send(Hash { before, revision, hashes });
        handed.unwrap_or_else(|_| panic!("the background thread panicked"));
        self.hashing += 1;
    }

    /// Whether a hash is being computed.
    pub(super) fn is_hashing(&self) -> bool {
        self.hashing > 0
    }

    /// Takes note of what was finished.
    pub(super) fn collect(&mut self) -> Result<(), engine::Error> {
        loop {
            match self.done.try_recv() {
                Ok(done) => {
                    done?;
                    self.hashing -= 1;
                }
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => panic!("the background thread panicked"),
            }
        }
    }
}
