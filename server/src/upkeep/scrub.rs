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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// How long the scrubber waits after its first piece of a log of a few megabytes in a segment of 64 MiB.
    fn pause_in_the_log(interval: Duration) -> Duration {
        let dir = tempfile::tempdir().unwrap();
        let file = engine::OsFile::open(&dir.path().join("db")).unwrap();
        let store = engine::Store::open(Arc::new(file), engine::Options::default()).unwrap();
        let io: Arc<dyn wal::Io> = Arc::new(wal::OsIo::default());
        let options = wal::Options {
            fill: wal::Fill::Allocate,
            upkeep: wal::Upkeep::Inline,
            ..wal::Options::default()
        };
        let watch = options.watch.clone();
        let metadata = wal::Metadata("test".into());
        let mut log =
            wal::Wal::create(dir.path(), Arc::clone(&io), metadata, wal::Start::default(), options).unwrap();
        for index in 1..=4 {
            let entry = wal::Entry { index, term: 1, kind: 0, data: vec![7; 1 << 20].into() };
            let hard_state = Some(wal::HardState { term: 1, vote: 1, commit: 0 });
            log.append(&wal::Batch { entries: &[entry], hard_state }).unwrap();
        }
        let parts = ScrubParts {
            interval,
            reader: store.reader(),
            log: wal::Scrub::new(dir.path(), io, watch),
            sizes: Arc::new(StoreSizes::default()),
        };
        // Time stands still: what is waited for is what the rate asks for.
        let now = Mutex::new(Instant::now());
        let clock: Clock = Arc::new(move || *now.lock().unwrap());
        let metrics = Arc::new(Metrics::new(1, "3.7.1"));
        let mut scrubber = Scrubber::new(parts, clock, metrics, Arc::new(|_| {}));
        for _ in 0..10 {
            let in_log = |scrubber: &Scrubber| matches!(&scrubber.pass, Some(Pass { place: Place::Log, .. }));
            let began_in_log = in_log(&scrubber);
            assert!(scrubber.slice().is_ok());
            if began_in_log {
                assert!(in_log(&scrubber), "there is more of the log");
                return scrubber.wait();
            }
        }
        panic!("the scrub never comes to the log");
    }

    #[test]
    fn the_rate_covers_the_log() {
        // Without the log's bytes it would be the least rate, a megabyte a second.
        let piece = SLICE_BYTES as f64 / f64::from(32 << 20);
        let pause = pause_in_the_log(Duration::from_secs(2));
        assert!(pause.as_secs_f64() < 2.0 * piece, "{pause:?} after a piece");
        // And the rate does say something.
        let pause = pause_in_the_log(Duration::from_secs(60));
        assert!(pause.as_secs_f64() > 3.0 * piece, "{pause:?} after a piece");
    }
}
