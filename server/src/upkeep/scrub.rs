//! Reading everything that is stored, again and again, so that damage is found while something can be done about it.
//!
//! One pass walks the engine's pages and then the log, in slices with pauses between them, and begins anew when the
//! interval is over. What happens when it finds damage:
//!
//! - *A page of the engine.* No answer may come from it, and the next request may need it: the member ends, like for all damage of
//!   its file. Restarting tells the same, with the file untouched; what is in the log is kept.
//! - *The log.* What the damaged bytes say is in memory, which is right, and perhaps nowhere else; going down would lose it.
//!   And a restart refuses a log with damage in it, so that what is written behind it is not safe either. So from the turn
//!   that hears of it, the driver refuses every proposal (reads go on), until a checkpoint holds every entry of the log; then
//!   the log begins a new segment whose first frames say that nothing before is needed, recovery passes over the rest, and
//!   writes are taken again (`replication::Maintenance::log_damaged`, `wal::Wal::release_all`). What a kill between the
//!   damage and the new segment leaves can't be opened by itself; scrubbing makes that time short, it can't make it none.
//!   The disk has returned other bytes than it was given: the log and `graven_scrub_damage_total` tell a person.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Pace, Reader, ScrubCursor};

use super::events::{Event, Events};
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
    /// How large the engine's file is; the log is asked itself.
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
    events: Events,
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
    pub(super) fn new(parts: ScrubParts, clock: Clock, metrics: Arc<Metrics>, events: Events) -> Scrubber {
        let due = clock();
        Scrubber { parts, metrics, clock, events, pass: None, due }
    }

    /// After damage that has been dealt with: nothing of the pass that found it counts.
    pub(super) fn begin_anew(&mut self) {
        self.pass = None;
        self.due = (self.clock)();
    }

    /// How long until the next slice.
    pub(super) fn wait(&self) -> Duration {
        self.due.saturating_duration_since((self.clock)())
    }

    /// Reads one slice.
    pub(super) fn slice(&mut self) -> Result<(), Damage> {
        let now = (self.clock)();
        let parts = &mut self.parts;
        let pass = match &mut self.pass {
            Some(pass) => pass,
            none => {
                let stored = parts.sizes.file_bytes() + parts.log.log_bytes().map_err(Damage::Log)?;
                none.insert(Pass {
                    begun: now,
                    pace: Pace::new(rate(stored, parts.interval), now),
                    bytes: 0,
                    place: Place::Engine(ScrubCursor::default()),
                })
            }
        };
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
            (self.events)(Event::Verified { bytes: pass.bytes });
            self.due = (pass.begun + parts.interval).max(self.due);
            self.pass = None;
        }
        Ok(())
    }
}
