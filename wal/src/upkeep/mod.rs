//! Work beside the appends: preparing the next segment, recycling released ones.
//!
//! A segment gets its name, durably in its directory, before it is used, and only when its first sector is zeros: a
//! file whose name comes after the newest segment's and whose header is zeros was never begun. None of the steps here
//! matters to what is in the log, so that a crash between any two of them leaves at most a file to be used again.
//!
//! `workshop.rs` does the work, `handover.rs` brings it to a thread.

mod handover;
mod workshop;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use handover::{Handover, Taken};
use workshop::Shared;
pub(crate) use workshop::{Failure, Prepared, Workshop};

use crate::options::Upkeep;
use crate::stats::NextSegment;

/// Has the work done, on its thread or at once.
pub(crate) struct Upkeeper {
    place: Place,
    shared: Arc<Shared>,
}

enum Place {
    Inline { workshop: Box<Workshop>, next: Next },
    Thread(Handover<Workshop>),
}

/// The segment asked for, where there is no thread.
enum Next {
    Taken,
    Ready(Prepared),
    Failed(u64),
}

impl Upkeeper {
    pub(crate) fn start(workshop: Workshop, upkeep: Upkeep) -> io::Result<Self> {
        let shared = workshop.shared();
        let place = match upkeep {
            Upkeep::Inline => Place::Inline { workshop: Box::new(workshop), next: Next::Taken },
            Upkeep::Thread => Place::Thread(Handover::start(workshop)?),
        };
        Ok(Self { place, shared })
    }

    /// Hands over a segment that is ready already.
    pub(crate) fn put(&mut self, prepared: Prepared) {
        self.shared.set_next(NextSegment::Ready);
        match &mut self.place {
            Place::Inline { next, .. } => *next = Next::Ready(prepared),
            Place::Thread(handover) => handover.put(prepared),
        }
    }

    /// Has segment `id` prepared, for [`Self::take`].
    pub(crate) fn ask(&mut self, id: u64) {
        match &mut self.place {
            Place::Inline { workshop, next } => {
                *next = workshop.prepare(id).map_or(Next::Failed(id), Next::Ready);
                while workshop.tidy() {}
            }
            Place::Thread(handover) => {
                self.shared.set_next(NextSegment::Preparing);
                handover.ask(id);
            }
        }
    }

    /// The next segment; waits for it if it must, and tries again if it could not be prepared before. Says whether it waited.
    pub(crate) fn take(&mut self, id: u64) -> Result<(Prepared, bool), Failure> {
        let Taken { result, waited } = match &mut self.place {
            Place::Inline { workshop, next } => match std::mem::replace(next, Next::Taken) {
                Next::Ready(prepared) => Taken { result: Some(Ok(prepared)), waited: false },
                Next::Taken | Next::Failed(_) => Taken { result: Some(workshop.prepare(id)), waited: true },
            },
            Place::Thread(handover) => {
                self.shared.set_hurry(true);
                let taken = handover.take();
                self.shared.set_hurry(false);
                taken
            }
        };
        let failure = match result {
            Some(Ok(prepared)) => {
                assert_eq!(prepared.id, id, "segments are prepared one at a time, in order");
                return Ok((prepared, waited));
            }
            Some(Err(failure)) => failure,
            None => Failure {
                operation: "prepare",
                path: PathBuf::new(),
                source: io::Error::other("the upkeep thread has ended"),
            },
        };
        if let Place::Inline { next, .. } = &mut self.place {
            *next = Next::Failed(id);
        }
        Err(failure)
    }

    /// Whether a rotation would find its segment ready.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.place {
            Place::Inline { next, .. } => matches!(next, Next::Ready(_)),
            Place::Thread(handover) => handover.is_ready(),
        }
    }

    pub(crate) fn release(&mut self, ids: impl IntoIterator<Item = u64>) {
        match &mut self.place {
            Place::Inline { workshop, next } => {
                let mut released = false;
                for id in ids {
                    workshop.release(id);
                    released = true;
                }
                if let (true, Next::Failed(id)) = (released, &*next) {
                    *next = workshop.prepare(*id).map_or(Next::Failed(*id), Next::Ready);
                }
                while workshop.tidy() {}
            }
            Place::Thread(handover) => handover.release(ids),
        }
    }

    /// Waits until nothing is under way, which without a thread is always so.
    pub(crate) fn settle(&self) {
        if let Place::Thread(handover) = &self.place {
            handover.settle();
        }
    }

    /// How much of the segment in use is used, in bytes of the file: the next one is prepared the faster the more it is.
    pub(crate) fn note_used(&self, bytes: u64) {
        self.shared.note_used(bytes);
    }

    pub(crate) fn next_segment(&self) -> NextSegment {
        self.shared.next()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures()
    }
}

impl Drop for Upkeeper {
    fn drop(&mut self) {
        // A file being filled is left as it is; dropping the hand-over waits for the thread.
        self.shared.stop();
    }
}
