//! Tells when the disk keeps the log waiting, while it does and afterwards.
//!
//! A durable write that hangs holds up the driver's thread, so somebody else has to notice: this thread looks at the
//! log's window a few times a second. Everybody else on the machine may be fine, and a cluster would do better with
//! another leader: that is what [`OnStall`] is for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::IntCounter;

use crate::lease::Clock;

/// A durable write of the log that took, or takes, longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// It still hangs, after so long. Told when the limit is passed and whenever that time has doubled.
    Lasting(Duration),
    /// The slowest one that has ended since the last look.
    Over(Duration),
}

/// Called on the watchdog's thread; must not wait for the log.
pub type OnStall = Arc<dyn Fn(Stall) + Send + Sync>;

/// How often it is looked, at least and at most: a warning is late by that much.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The running watchdog; it ends when this is dropped.
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Warns of what takes longer than `limit`, counts it in `stalls` and calls `on_stall`.
    pub fn start(
        log: wal::Watch,
        limit: Duration,
        clock: Clock,
        stalls: IntCounter,
        on_stall: OnStall,
    ) -> io::Result<Watchdog> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("graven-watchdog".into()).spawn(move || {
            let mut detector = Detector::new(limit);
            while !stopped.load(Ordering::Acquire) {
                thread::park_timeout(limit.clamp(LOOKS.0, LOOKS.1));
                for stall in detector.look(log.in_flight(clock()), log.take_slowest()).into_iter().flatten() {
                    report(stall, limit);
                    if let Stall::Over(_) = stall {
                        stalls.inc();
                    }
                    on_stall(stall);
                }
            }
        })?;
        Ok(Watchdog { stop, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn report(stall: Stall, limit: Duration) {
    match stall {
        Stall::Lasting(took) => {
            tracing::warn!(?took, "expected-duration" = ?limit, "slow fdatasync: the durable write still hangs");
        }
        Stall::Over(took) => tracing::warn!(?took, "expected-duration" = ?limit, "slow fdatasync"),
    }
}

/// Decides what is worth telling.
#[derive(Debug)]
struct Detector {
    limit: Duration,
    /// The write under way is told of when it has taken so long.
    next: Duration,
    /// How long the write under way had taken at the last look.
    before: Duration,
}

impl Detector {
    fn new(limit: Duration) -> Detector {
        Detector { limit, next: limit, before: Duration::ZERO }
    }

    fn look(&mut self, in_flight: Option<Duration>, slowest: Duration) -> [Option<Stall>; 2] {
        let over = (slowest > self.limit).then_some(Stall::Over(slowest));
        let taken = in_flight.unwrap_or_default();
        if taken < self.before || !slowest.is_zero() {
            // One has ended, so this is another.
            self.next = self.limit;
        }
        self.before = taken;
        let lasting = taken > self.next;
        if lasting {
            self.next = taken * 2;
        }
        [over, lasting.then_some(Stall::Lasting(taken))]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    use super::*;

    /// Nobody waits so long.
    const LOST: Duration = Duration::from_secs(60);

    /// The real files; one durable write waits until it is let go.
    struct Holding {
        io: wal::OsIo,
        let_go: Arc<Mutex<Option<Receiver<()>>>>,
    }

    impl wal::Io for Holding {
        fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
            self.io.list(dir)
        }

        fn open(
            &self,
            path: &Path,
            access: wal::Access,
            method: wal::Method,
        ) -> io::Result<Box<dyn wal::File>> {
            let file = self.io.open(path, access, method)?;
            Ok(Box::new(Held { file, let_go: Arc::clone(&self.let_go) }))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.io.rename(from, to)
        }

        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.io.sync_dir(dir)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.io.remove(path)
        }
    }

    struct Held {
        file: Box<dyn wal::File>,
        let_go: Arc<Mutex<Option<Receiver<()>>>>,
    }

    impl wal::File for Held {
        fn length(&self) -> io::Result<u64> {
            self.file.length()
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            self.file.read_at(offset, into)
        }

        fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
            if let Some(let_go) = self.let_go.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let_go.recv_timeout(LOST).map_err(io::Error::other)?;
            }
            self.file.write_durable(offset, bytes)
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
            self.file.write(offset, bytes)
        }

        fn sync(&mut self) -> io::Result<()> {
            self.file.sync()
        }

        fn allocate(&mut self, bytes: u64) -> io::Result<()> {
            self.file.allocate(bytes)
        }

        fn chosen(&self) -> wal::Chosen {
            self.file.chosen()
        }
    }

    /// A write that hangs until the watchdog has said that it does: that is told, its end is told, and counted once.
    #[test]
    fn a_write_that_hangs_is_told_while_it_does_and_counted_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let options = wal::Options {
            fill: wal::Fill::Allocate,
            upkeep: wal::Upkeep::Inline,
            ..wal::Options::default()
        };
        let log_watch = options.watch.clone();
        let let_go = Arc::new(Mutex::new(None));
        let io = Arc::new(Holding { io: wal::OsIo::new(), let_go: Arc::clone(&let_go) });
        let (metadata, start) = (wal::Metadata::default(), wal::Start::default());
        let mut log = wal::Wal::create(dir.path(), io, metadata, start, options).unwrap();
        let (go, wait): (Sender<()>, _) = channel();
        let (tell, told) = channel();
        *let_go.lock().unwrap() = Some(wait);
        let on_stall: OnStall = Arc::new(move |stall| {
            if let Stall::Lasting(_) = stall {
                go.send(()).ok();
            }
            tell.send(stall).ok();
        });
        let stalls = IntCounter::new("stalls", "for the test").unwrap();
        // Another write of this test may be slow as well, on a machine that is busy, but not as slow as this one waits.
        let limit = Duration::from_millis(300);
        let clock: Clock = Arc::new(Instant::now);
        let watchdog = Watchdog::start(log_watch, limit, clock, stalls.clone(), on_stall).unwrap();
        let entry = wal::Entry { index: 1, term: 1, kind: 0, data: vec![7; 100].into() };
        log.append(&wal::Batch { entries: &[entry], hard_state: None }).unwrap();
        let next = || told.recv_timeout(LOST).expect("the watchdog runs");
        assert!(matches!(next(), Stall::Lasting(taken) if taken > limit));
        while let Stall::Lasting(_) = next() {}
        drop(watchdog);
        assert_eq!(stalls.get(), 1);
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn stalls_are_told_while_they_last_and_when_they_are_over() {
        let mut detector = Detector::new(ms(100));
        let (lasting, over) =
            (|millis| Some(Stall::Lasting(ms(millis))), |millis| Some(Stall::Over(ms(millis))));
        let looks = [
            (None, 1, [None, None]),
            (Some(50), 99, [None, None]),
            // The same one hangs, and is told again when it has taken twice as long.
            (Some(150), 0, [None, lasting(150)]),
            (Some(250), 0, [None, None]),
            (Some(350), 0, [None, lasting(350)]),
            (Some(701), 0, [None, lasting(701)]),
            (None, 720, [over(720), None]),
            // Between two looks.
            (None, 120, [over(120), None]),
            // One after the other.
            (Some(130), 0, [None, lasting(130)]),
            (Some(120), 150, [over(150), lasting(120)]),
            (None, 130, [over(130), None]),
            (None, 0, [None, None]),
        ];
        for (at, (in_flight, slowest, expected)) in looks.into_iter().enumerate() {
            assert_eq!(detector.look(in_flight.map(ms), ms(slowest)), expected, "look {at}");
        }
    }
}
