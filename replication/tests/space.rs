//! A disk that gives no more space for a while.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use replication::{Config, Driver, NoPeers, ReadGate, Refused, Room};
use support::{Answer, Journal, Recorder, Ticket};
use wal::{Access, Chosen, File, Io, Method, OsIo};

const LOST: Duration = Duration::from_secs(60);
/// Longer than anybody waits who does not wait for good.
const STUCK: Duration = Duration::from_secs(10);
const PROPOSAL: usize = 4 << 10;

/// The real files. While there is an `error`, no file grows, and that is why; while `held` is set, growing one takes
/// as long.
#[derive(Clone, Default)]
struct Disk {
    inner: OsIo,
    error: Arc<AtomicI32>,
    held: Arc<(Mutex<bool>, Condvar)>,
    /// It was never let go.
    stuck: Arc<AtomicBool>,
}

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EIO: i32 = 5;

impl Disk {
    fn set_full(&self, full: bool) {
        self.set_error(if full { ENOSPC } else { 0 });
    }

    /// 0 for none.
    fn set_error(&self, error: i32) {
        self.error.store(error, Ordering::SeqCst);
    }

    fn set_held(&self, held: bool) {
        *self.held.0.lock().unwrap() = held;
        self.held.1.notify_all();
    }

    fn hold(&self) {
        let held = self.held.0.lock().unwrap();
        let waited = self.held.1.wait_timeout_while(held, STUCK, |held| *held).unwrap().1;
        self.stuck.fetch_or(waited.timed_out(), Ordering::SeqCst);
    }
}

impl Io for Disk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>> {
        let file = self.inner.open(path, access, method)?;
        Ok(Box::new(DiskFile { file, disk: self.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
}

struct DiskFile {
    file: Box<dyn File>,
    disk: Disk,
}

impl File for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_durable(offset, bytes)
    }
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let error = self.disk.error.load(Ordering::SeqCst);
        if error != 0 && bytes > self.file.length()? {
            return Err(io::Error::from_raw_os_error(error));
        }
        if bytes > self.file.length()? {
            self.disk.hold();
        }
        self.file.allocate(bytes)
    }
    fn chosen(&self) -> Chosen {
        self.file.chosen()
    }
}

fn small(dir: &Path, seed: u64) -> Config {
    let mut config = support::config(dir, seed);
    config.wal.segment_bytes = 256 << 10;
    config.limits.proposal_bytes = 8 << 10;
    config.limits.batch_bytes = 8 << 10;
    config.tick = Duration::from_millis(5);
    config
}

/// A member whose callers wait for each answer.
struct Member {
    driver: Driver<Recorder>,
    journal: Arc<Mutex<Journal>>,
    releases: Arc<AtomicBool>,
    next: u64,
    answer: Sender<(u64, Answer)>,
    answers: Receiver<(u64, Answer)>,
    acknowledged: HashSet<u64>,
}

impl Member {
    fn start(dir: &Path, disk: &Disk) -> Member {
        let (state, journal) = Recorder::new();
        let releases = Arc::clone(&state.releases);
        let driver =
            replication::start(small(dir, 1), Arc::new(disk.clone()), state, Box::new(NoPeers)).unwrap();
        let (answer, answers) = channel();
        Member { driver, journal, releases, next: 0, answer, answers, acknowledged: HashSet::new() }
    }

    fn propose(&mut self, room: Room) -> Result<(), Refused> {
        let caller = self.next;
        self.next += 1;
        let mut data = vec![7; PROPOSAL];
        data[..8].copy_from_slice(&caller.to_le_bytes());
        let ticket = Ticket { caller, answer: self.answer.clone() };
        self.driver.proposer().propose(Bytes::from(data), ticket, room).map_err(|rejected| rejected.why)?;
        match self.answers.recv_timeout(LOST).expect("an answer") {
            (told, Answer::Applied(_)) => {
                assert_eq!(told, caller);
                self.acknowledged.insert(caller);
                Ok(())
            }
            (_, Answer::Refused(why)) => Err(why),
        }
    }

    fn until(&mut self, room: Room, wanted: Result<(), Refused>) -> usize {
        let begun = Instant::now();
        let mut others = 0;
        loop {
            match self.propose(room) {
                got if got == wanted => return others,
                Ok(()) | Err(Refused::NoSpace) => others += 1,
                Err(why) => panic!("{why}"),
            }
            assert!(begun.elapsed() < LOST, "{wanted:?} never comes");
        }
    }

    /// All that was acknowledged, and nothing that was refused, is there after a restart.
    fn check(self, dir: &Path, disk: &Disk) {
        let refused: HashSet<u64> = (0..self.next).filter(|id| !self.acknowledged.contains(id)).collect();
        let end = self.driver.stop().unwrap();
        assert!(self.journal.lock().unwrap().failed.is_none());
        let (mut state, journal) = Recorder::new();
        if self.releases.load(Ordering::Relaxed) {
            (state.at, state.conf_state) = (end.at, end.conf_state.clone());
        }
        let again =
            replication::start(small(dir, 2), Arc::new(disk.clone()), state, Box::new(NoPeers)).unwrap();
        again.stop().unwrap();
        let before = self.journal.lock().unwrap();
        let after = journal.lock().unwrap();
        let ids = |journal: &Journal| -> HashSet<u64> {
            let id = |data: &Bytes| u64::from_le_bytes(data[..8].try_into().unwrap());
            journal.applied.iter().map(|(_, data)| id(data)).collect()
        };
        assert_eq!(ids(&before), self.acknowledged, "exactly what was acknowledged was applied");
        assert!(ids(&after).is_subset(&self.acknowledged) && ids(&after).is_disjoint(&refused));
        if !self.releases.load(Ordering::Relaxed) {
            assert_eq!(ids(&after), self.acknowledged, "nothing acknowledged is lost");
        }
    }
}

#[test]
fn without_space_writes_are_refused_the_rest_goes_on_and_writes_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut member = Member::start(dir.path(), &disk);
    member.until(Room::Needs, Ok(()));
    for round in 0..3 {
        disk.set_full(true);
        let taken = member.until(Room::Needs, Err(Refused::NoSpace));
        assert!(taken > 0, "what there is is used first");
        // Refused before it is queued from now on, and still so after many ticks and attempts.
        assert_eq!(member.propose(Room::Needs), Err(Refused::NoSpace));
        let ticks = member.journal.lock().unwrap().progress.len();
        for _ in 0..2 {
            member.propose(Room::Frees).unwrap_or_else(|why| panic!("round {round}: {why}"));
            assert!(matches!(member.driver.reads().read_index(), ReadGate::Now), "reads go on");
            assert_eq!(member.propose(Room::Needs), Err(Refused::NoSpace));
        }
        assert!(member.journal.lock().unwrap().progress.len() > ticks);
        // What frees space may not take the last of it either, and nothing fails then.
        let taken = member.until(Room::Frees, Err(Refused::NoSpace));
        assert!(taken >= 2, "{taken} in reserve");
        assert!(matches!(member.driver.reads().read_index(), ReadGate::Now));
        disk.set_full(false);
        member.until(Room::Needs, Ok(()));
    }
    member.check(dir.path(), &disk);
}

#[test]
fn a_released_segment_brings_writes_back_while_the_disk_stays_full() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut member = Member::start(dir.path(), &disk);
    // More than two segments.
    for _ in 0..150 {
        member.propose(Room::Needs).unwrap();
    }
    disk.set_full(true);
    member.until(Room::Needs, Err(Refused::NoSpace));
    member.releases.store(true, Ordering::Relaxed);
    member.until(Room::Needs, Ok(()));
    // The segments go round from now on.
    for _ in 0..300 {
        member.until(Room::Needs, Ok(()));
    }
    member.check(dir.path(), &disk);
}

#[test]
fn a_member_starts_and_stops_while_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut member = Member::start(dir.path(), &disk);
    disk.set_full(true);
    member.until(Room::Needs, Err(Refused::NoSpace));
    member.until(Room::Frees, Err(Refused::NoSpace));
    member.check(dir.path(), &disk);
    for seed in 3..13 {
        let state = Recorder::new().0;
        let driver =
            replication::start(small(dir.path(), seed), Arc::new(disk.clone()), state, Box::new(NoPeers))
                .unwrap();
        driver.stop().unwrap();
    }
}

/// Space comes back, a broken device does not: only the one is waited out. The other ends the member when it needs
/// the next segment, also after there was no space.
#[test]
fn only_missing_space_is_waited_out() {
    for first in [None, Some(ENOSPC), Some(EDQUOT)] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mut member = Member::start(dir.path(), &disk);
        member.until(Room::Needs, Ok(()));
        if let Some(error) = first {
            disk.set_error(error);
            member.until(Room::Needs, Err(Refused::NoSpace));
        }
        disk.set_error(EIO);
        let begun = Instant::now();
        let failed = loop {
            // What is on its way when the member ends gets no answer.
            let ticket = Ticket { caller: u64::MAX, answer: member.answer.clone() };
            let _ = member.driver.proposer().propose(Bytes::from(vec![7; PROPOSAL]), ticket, Room::Frees);
            let _ = member.answers.recv_timeout(Duration::from_millis(20));
            if let Some(failed) = member.journal.lock().unwrap().failed.clone() {
                break failed;
            }
            assert!(begun.elapsed() < LOST, "it goes on, after {first:?}");
        };
        assert!(failed.contains("allocate") && failed.contains("errno 5"), "{failed}");
        member.driver.stop().unwrap_err();
    }
}

/// The next segment takes long: the driver waits for it, a caller that carries out its proposals itself does not.
#[test]
fn a_lone_caller_does_not_wait_for_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    // Its tail, of which most is left, is there when it starts again.
    drop(Member::start(dir.path(), &disk));
    disk.set_held(true);
    let member = Member::start(dir.path(), &disk);
    let proposer = member.driver.proposer();
    let mut alone = 0;
    let mut waited = false;
    for caller in 0..400 {
        let ticket = Ticket { caller, answer: member.answer.clone() };
        proposer.propose_alone(Bytes::from(vec![7; PROPOSAL]), ticket, Room::Needs).unwrap();
        if proposer.settle(true) {
            alone += 1;
        } else if member.answers.recv_timeout(Duration::from_millis(300)).is_ok() {
            continue;
        } else {
            // The driver waits, for as long as nobody lets it go on.
            waited = true;
            disk.set_held(false);
        }
        let (told, answer) = member.answers.recv_timeout(LOST).expect("an answer");
        assert!(told == caller && matches!(answer, Answer::Applied(_)), "{told}: {answer:?}");
        if waited {
            break;
        }
    }
    assert!(!disk.stuck.load(Ordering::SeqCst), "a caller waited for the segment");
    assert!(waited, "the driver waits for it");
    assert!(alone > 0, "the driver is parked now and then");
}
