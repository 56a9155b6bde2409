//! What some loads do besides their clients' pieces of work: they keep streams open, and what they write has to come back on
//! them.

use std::time::{Duration, Instant};

use measure::Stop;

use super::driver::Clock;
use super::tally::Tally;
use super::workload::Wrong;
use crate::client::Client;
use crate::error::Result;

/// Tags of streams have this bit; those without are clients' numbers.
pub(super) const STREAM: u64 = 1 << 63;

/// The streams that belong to a [`Work`](super::work::Work), which hears what comes on them.
pub(super) trait Streams {
    /// Puts at the server what the load needs, and opens the streams. Nothing is measured yet.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) when the server refuses; Ctrl-C.
    fn prepare(&mut self, wire: &mut dyn Client, stop: &Stop) -> Result<()>;

    /// Loading begins.
    fn start(&mut self, wire: &mut dyn Client, clock: Clock);

    /// The piece of work that is begun next was due at that moment.
    fn due(&mut self, intended: Instant);

    /// Tells what came besides the ends of pieces of work.
    fn tell(&mut self, tally: &mut Tally);

    /// How much is still to come on them. `is_over`: no further piece of work will be begun.
    fn awaited(&mut self, is_over: bool) -> usize;

    /// What was caused before that moment and has not come will not come any more.
    fn give_up(&mut self, before: Instant);

    /// Why the load can't go on, if so.
    fn lost(&self) -> Option<String>;
}

/// What came on streams, until it is told.
#[derive(Debug)]
pub(super) struct Notes {
    /// When counting begins.
    start: Instant,
    came: Vec<Came>,
    wrong: Vec<(Wrong, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Came {
    kind: usize,
    from: Instant,
    at: Instant,
}

impl Notes {
    pub(super) fn new() -> Notes {
        Notes { start: Instant::now(), came: Vec::new(), wrong: Vec::new() }
    }

    pub(super) fn start(&mut self, clock: Clock) {
        self.start = clock.start;
    }

    /// Something came as it should, `from` being when its latency begins. It counts if what caused it counts.
    pub(super) fn success(&mut self, kind: usize, cause: Instant, from: Instant, at: Instant) {
        if cause >= self.start {
            self.came.push(Came { kind, from, at });
        }
    }

    /// Something came that must not come, or did not come: one too many whenever it is.
    pub(super) fn wrong(&mut self, why: Wrong, at: Instant) {
        self.wrong.push((why, at));
    }

    pub(super) fn tell(&mut self, tally: &mut Tally) {
        let start = self.start;
        let since = |at: Instant| -> Duration { at.saturating_duration_since(start) };
        for Came { kind, from, at } in self.came.drain(..) {
            tally.success(kind, since(from), since(at));
        }
        for (why, at) in self.wrong.drain(..) {
            tally.failure(why, since(at));
            tally.wrong += 1;
        }
    }
}
