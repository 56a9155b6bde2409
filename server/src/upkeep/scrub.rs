//! Reading everything that is stored, again and again, so that damage is found while something can be done about it.
//!
//! One pass walks the engine's pages and then the log, in slices with pauses between them, and begins anew when the
//! interval is over. What it finds ends the member, like all damage of storage:
//!
//! - *A page of the engine.* No answer may come from it, and the next request may need it. Restarting tells the same, with
//!   the file untouched; what is in the log is kept.
//! - *The log.* Here going down at once would be wrong: what the damaged bytes say may be nowhere else but in memory, and
//!   memory is right. So the state is brought to disk first, after which no restart needs those bytes, and then the
//!   member stops: a disk that returns other bytes than it was given is a matter for a person.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Reader, ScrubCursor};

use super::pace::Pace;
use super::scrub_plan::{SLICE_BYTES, rate};
use crate::lease::Clock;
use crate::maintenance::StoreSizes;
use crate::metrics::Metrics;

/// What is read.
pub struct ScrubParts {
    /// Time between the beginnings of two passes.
    pub interval: Duration,
    /// The engine.
    pub reader: Reader,
    /// The log.
    pub log: wal::Scrub,
    /// How large the engine's file is.
    pub sizes: Arc<StoreSizes>,
}

/// Where stored bytes were found damaged.
#[derive(Debug)]
pub(super) enum Damage {
    Engine(engine::Error),
    Log(wal::Error),
}

/// The reading.
pub(super) struct Scrubber {
    parts: ScrubParts,
    metrics: Arc<Metrics>,
    clock: Clock,
    pass: Option<Pass>,
    /// When the next slice is due.
    due: Instant,
}

struct Pass {
    begun: Instant,
    pace: Pace,
    bytes: u64,
    place: Place,
}

enum Place {
    Engine(ScrubCursor),
    Log,
}

impl Scrubber {
    pub(super) fn new(parts: ScrubParts, clock: Clock, metrics: Arc<Metrics>) -> Scrubber {
        let due = clock();
        Scrubber { parts, metrics, clock, pass: None, due }
    }

    /// How long until the next slice.
    pub(super) fn wait(&self) -> Duration {
        self.due.saturating_duration_since((self.clock)())
    }

    /// Reads one slice.
    pub(super) fn slice(&mut self) -> Result<(), Damage> {
        let now = (self.clock)();
        let parts = &mut self.parts;
        let pass = self.pass.get_or_insert_with(|| Pass {
            begun: now,
            pace: Pace::new(rate(parts.sizes.file_bytes(), parts.interval), now),
            bytes: 0,
            place: Place::Engine(ScrubCursor::default()),
        });
        let (bytes, done) = match &mut pass.place {
            Place::Engine(cursor) => {
                let progress =
                    parts.reader.view().scrub_slice(cursor, SLICE_BYTES).map_err(Damage::Engine)?;
                if progress.done {
                    pass.place = Place::Log;
                }
                (progress.bytes, false)
            }
            Place::Log => {
                let progress = parts.log.slice(SLICE_BYTES as u64).map_err(Damage::Log)?;
                (progress.bytes, progress.round_done)
            }
        };
        self.metrics.scrub_bytes_total.inc_by(bytes);
        pass.bytes += bytes;
        let now = (self.clock)();
        self.due = now + pass.pace.pause(bytes, now);
        if done {
            let took = now.saturating_duration_since(pass.begun);
            tracing::info!(bytes = pass.bytes, ?took, "verified everything stored");
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.metrics.scrub_last_completed_seconds.set(time.as_secs().cast_signed());
            self.due = (pass.begun + parts.interval).max(self.due);
            self.pass = None;
        }
        Ok(())
    }
}
