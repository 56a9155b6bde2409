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
//!
//! Only bytes that can't be read or are not what was written are damage. That a file could not be opened for want of a
//! descriptor, or read for want of memory, says nothing about the disk: the scrub rests for a while and tries again.

use std::io;
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

/// How long reading rests when something was in the way of it that says nothing about what is stored.
const REST: Duration = Duration::from_secs(60);

/// Why a slice was not read.
#[derive(Debug)]
enum Trouble {
    Engine(engine::Error),
    Log(wal::Error),
}

impl Trouble {
    /// Damage, or what was only in the way.
    fn judge(self) -> Result<Damage, Trouble> {
        match self {
            Trouble::Engine(engine::Error::Io { ref source, .. }) if !is_of_the_medium(source) => Err(self),
            Trouble::Log(wal::Error::Io { ref source, .. }) if !is_of_the_medium(source) => Err(self),
            Trouble::Engine(error) => Ok(Damage::Engine(error)),
            Trouble::Log(error) => Ok(Damage::Log(error)),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Engine(error) => error.fmt(f),
            Trouble::Log(error) => error.fmt(f),
        }
    }
}

/// What the system says where a device can't give what it holds, or a file system finds that its own is damaged.
fn is_of_the_medium(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let medium = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::UCLEAN, Errno::BADMSG];
    Errno::from_io_error(error).is_some_and(|errno| medium.contains(&errno))
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
        let Err(trouble) = self.read() else { return Ok(()) };
        let passing = match trouble.judge() {
            Ok(damage) => return Err(damage),
            Err(passing) => passing,
        };
        tracing::warn!(error = %passing, retry_in = ?REST, "could not read what is stored to verify it");
        self.due = (self.clock)() + REST;
        Ok(())
    }

    fn read(&mut self) -> Result<(), Trouble> {
        let now = (self.clock)();
        let parts = &mut self.parts;
        let pass = match &mut self.pass {
            Some(pass) => pass,
            none => {
                let stored = parts.sizes.file_bytes() + parts.log.log_bytes().map_err(Trouble::Log)?;
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
                    parts.reader.view().scrub_slice(cursor, SLICE_BYTES).map_err(Trouble::Engine)?;
                if progress.done {
                    pass.place = Place::Log;
                }
                (progress.bytes, false)
            }
            Place::Log => {
                let progress = parts.log.slice(SLICE_BYTES as u64).map_err(Trouble::Log)?;
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
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;

    /// A log of a few megabytes in a segment of 64 MiB, an empty store, and a clock that stands still: what is waited for is
    /// what the scrubber asks for.
    fn scrubber(dir: &Path, interval: Duration, io: Arc<dyn wal::Io>) -> Scrubber {
        let file = engine::OsFile::open(&dir.join("db")).unwrap();
        let store = engine::Store::open(Arc::new(file), engine::Options::default()).unwrap();
        let options = wal::Options {
            fill: wal::Fill::Allocate,
            upkeep: wal::Upkeep::Inline,
            ..wal::Options::default()
        };
        let watch = options.watch.clone();
        let (metadata, start) = (wal::Metadata("test".into()), wal::Start::default());
        let mut log =
            wal::Wal::create(dir, Arc::new(wal::OsIo::default()), metadata, start, options).unwrap();
        for index in 1..=4 {
            let entry = wal::Entry { index, term: 1, kind: 0, data: vec![7; 1 << 20].into() };
            let hard_state = Some(wal::HardState { term: 1, vote: 1, commit: 0 });
            log.append(&wal::Batch { entries: &[entry], hard_state }).unwrap();
        }
        let parts = ScrubParts {
            interval,
            reader: store.reader(),
            log: wal::Scrub::new(dir, io, watch),
            sizes: Arc::new(StoreSizes::default()),
        };
        let now = Instant::now();
        let clock: Clock = Arc::new(move || now);
        Scrubber::new(parts, clock, Arc::new(Metrics::new(1, "3.7.1")), Arc::new(|_| {}))
    }

    fn is_in_log(scrubber: &Scrubber) -> bool {
        matches!(&scrubber.pass, Some(Pass { place: Place::Log, .. }))
    }

    /// How long the scrubber waits after its first piece of the log.
    fn pause_in_the_log(interval: Duration) -> Duration {
        let dir = tempfile::tempdir().unwrap();
        let mut scrubber = scrubber(dir.path(), interval, Arc::new(wal::OsIo::default()));
        for _ in 0..10 {
            let began_in_log = is_in_log(&scrubber);
            scrubber.slice().unwrap();
            if began_in_log {
                assert!(is_in_log(&scrubber), "there is more of the log");
                return scrubber.wait();
            }
        }
        panic!("the scrub never comes to the log");
    }

    /// A disk on which one operation fails.
    #[derive(Clone, Default)]
    struct Failing {
        io: wal::OsIo,
        /// How many operations until then, and the system's error number.
        fault: Arc<Mutex<Option<(usize, i32)>>>,
    }

    impl Failing {
        fn step(&self) -> io::Result<()> {
            let mut fault = self.fault.lock().unwrap();
            let Some((left, errno)) = *fault else { return Ok(()) };
            *fault = (left > 0).then(|| (left - 1, errno));
            if left == 0 { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
        }
    }

    impl wal::Io for Failing {
        fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
            self.step()?;
            self.io.list(dir)
        }

        fn open(
            &self,
            path: &Path,
            access: wal::Access,
            method: wal::Method,
        ) -> io::Result<Box<dyn wal::File>> {
            self.step()?;
            Ok(Box::new(Opened { file: self.io.open(path, access, method)?, disk: self.clone() }))
        }

        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            unreachable!("a scrub changes nothing")
        }

        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            unreachable!("a scrub changes nothing")
        }

        fn remove(&self, _: &Path) -> io::Result<()> {
            unreachable!("a scrub changes nothing")
        }
    }

    struct Opened {
        file: Box<dyn wal::File>,
        disk: Failing,
    }

    impl wal::File for Opened {
        fn length(&self) -> io::Result<u64> {
            self.file.length()
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            self.disk.step()?;
            self.file.read_at(offset, into)
        }

        fn write_durable(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
            unreachable!("a scrub changes nothing")
        }

        fn write(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
            unreachable!("a scrub changes nothing")
        }

        fn sync(&mut self) -> io::Result<()> {
            unreachable!("a scrub changes nothing")
        }

        fn allocate(&mut self, _: u64) -> io::Result<()> {
            unreachable!("a scrub changes nothing")
        }

        fn chosen(&self) -> wal::Chosen {
            self.file.chosen()
        }
    }

    /// Whatever is in the way says nothing about the disk, unless the system says that it is the disk.
    #[test]
    fn only_what_the_disk_did_is_damage() {
        const EIO: i32 = 5;
        const ENOMEM: i32 = 12;
        const EMFILE: i32 = 24;
        let dir = tempfile::tempdir().unwrap();
        let failing = Failing::default();
        let interval = Duration::from_secs(60);
        let mut scrubber = scrubber(dir.path(), interval, Arc::new(failing.clone()));
        for errno in [EMFILE, ENOMEM] {
            let mut rests = 0;
            for operations in 0..4 {
                *failing.fault.lock().unwrap() = Some((operations, errno));
                for _ in 0..4 {
                    scrubber.slice().unwrap();
                    rests += u64::from(scrubber.wait() >= REST);
                }
            }
            assert!(rests >= 3, "{rests} rests for {errno}");
        }
        // And it goes on afterwards.
        *failing.fault.lock().unwrap() = None;
        scrubber.begin_anew();
        while !is_in_log(&scrubber) {
            scrubber.slice().unwrap();
        }
        while is_in_log(&scrubber) {
            scrubber.slice().unwrap();
        }
        *failing.fault.lock().unwrap() = Some((4, EIO));
        let damage = (0..10).find_map(|_| scrubber.slice().err());
        assert!(matches!(damage, Some(Damage::Log(wal::Error::Io { operation: "read", .. }))), "{damage:?}");
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
