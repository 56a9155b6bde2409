//! Storage that fails, and storage that lies.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use replication::{Config, NoPeers, Refused, Room};
use support::{Answer, Recorder, Ticket, config};
use wal::{Access, Chosen, File, Io, Method, OsIo};

const LOST: Duration = Duration::from_secs(30);

/// The real files, until so many writes and syncs have been done; the one after fails, and so does every later one.
/// Or, from then on, writes claim to be durable and are not done.
#[derive(Clone)]
struct Faulty {
    inner: OsIo,
    left: Arc<AtomicI64>,
    lies: Arc<AtomicBool>,
}

impl Faulty {
    fn failing_after(operations: i64) -> Faulty {
        let inner = OsIo::default();
        Faulty { inner, left: Arc::new(AtomicI64::new(operations)), lies: Arc::new(AtomicBool::new(false)) }
    }

    fn count(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }
}

impl Io for Faulty {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>> {
        let file = self.inner.open(path, access, method)?;
        Ok(Box::new(FaultyFile { file, faults: self.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count()?;
        self.inner.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.count()?;
        self.inner.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
}

struct FaultyFile {
    file: Box<dyn File>,
    faults: Faulty,
}

impl File for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if self.faults.lies.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        self.faults.count()?;
        self.file.write_durable(offset, bytes)
    }
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.faults.count()?;
        self.file.write(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.faults.count()?;
        self.file.sync()
    }
    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.faults.count()?;
        self.file.allocate(bytes)
    }
    fn chosen(&self) -> Chosen {
        self.file.chosen()
    }
}

fn quiet_config(dir: &Path, seed: u64) -> Config {
    let mut config = config(dir, seed);
    // Nothing but what the proposals cause: a fault is met by the same operation every time.
    config.wal.upkeep = wal::Upkeep::Inline;
    config.tick = Duration::from_secs(3600);
    config
}

/// Every proposal that was acknowledged is there when the log is opened again.
fn check_nothing_lost(dir: &Path, acknowledged: &HashSet<u64>) -> Result<(), String> {
    let (state, journal) = Recorder::new();
    let driver = support::start(quiet_config(dir, 999), state).map_err(|error| error.to_string())?;
    driver.stop().map_err(|error| error.to_string())?;
    let journal = journal.lock().unwrap();
    let there: HashSet<u64> =
        journal.applied.iter().map(|(_, data)| u64::from_le_bytes(data[..].try_into().unwrap())).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("acknowledged and lost: {lost:?}")) }
}

#[test]
fn a_storage_failure_at_any_operation_stops_everything_and_loses_nothing() {
    let mut failed_at_start = 0;
    let mut failed_later = 0;
    for operations in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        let io = Faulty::failing_after(operations);
        let stops = Arc::new(AtomicUsize::new(0));
        let (done, stopped) = channel();
        let mut config = quiet_config(dir.path(), 1);
        config.fail_stop = {
            let (stops, done) = (Arc::clone(&stops), Mutex::new(done));
            Arc::new(move |error| {
                stops.fetch_add(1, Ordering::Relaxed);
                done.lock().unwrap().send(error.to_string()).unwrap();
            })
        };
        let (state, journal) = Recorder::new();
        let Ok(driver) = replication::start(config, Arc::new(io), state, Box::new(NoPeers)) else {
            failed_at_start += 1;
            check_nothing_lost(dir.path(), &HashSet::new()).unwrap();
            continue;
        };
        let (answer, answers) = channel();
        let mut acknowledged = HashSet::new();
        let mut refused = None;
        for caller in 0..100 {
            let ticket = Ticket { caller, answer: answer.clone() };
            let data = Bytes::from(caller.to_le_bytes().to_vec());
            // Every other one meets the failure on the caller's thread, if the driver is parked.
            let proposed = match caller % 2 {
                0 => driver.proposer().propose(data, ticket, Room::Needs),
                _ => driver.proposer().propose_alone(data, ticket, Room::Needs),
            };
            driver.proposer().settle(true);
            if let Err(rejected) = proposed {
                refused = Some(rejected.why);
                break;
            }
            // Either an answer or the end: the ticket is dropped unanswered.
            loop {
                match answers.recv_timeout(Duration::from_millis(1)) {
                    Ok((caller, Answer::Applied(_))) => {
                        acknowledged.insert(caller);
                        break;
                    }
                    Ok((_, Answer::Refused(why))) => panic!("{why}"),
                    Err(_) if stops.load(Ordering::Relaxed) > 0 => break,
                    Err(_) => {}
                }
            }
        }
        failed_later += 1;
        let told = stopped.recv_timeout(LOST).unwrap();
        assert!(told.contains("errno 5"), "{told}");
        assert_eq!(refused, Some(Refused::Stopped), "nothing is taken after the failure");
        assert!(driver.stop().is_err());
        assert_eq!(stops.load(Ordering::Relaxed), 1);
        {
            let journal = journal.lock().unwrap();
            assert_eq!(journal.failed.as_ref(), Some(&told));
            assert_eq!(journal.answers_after_failure, 0);
        }
        assert!(answers.try_iter().next().is_none(), "nothing is answered after the failure");
        check_nothing_lost(dir.path(), &acknowledged).unwrap();
    }
    assert!(failed_at_start > 2 && failed_later > 10, "{failed_at_start} at start, {failed_later} later");
}

/// The canary for the checks above: acknowledgments that come before the bytes are durable are found out.
#[test]
fn a_disk_that_acknowledges_before_it_writes_is_found_out() {
    for lies in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let io = Faulty::failing_after(i64::MAX);
        let (state, _) = Recorder::new();
        let driver =
            replication::start(quiet_config(dir.path(), 1), Arc::new(io.clone()), state, Box::new(NoPeers))
                .unwrap();
        let (answer, answers) = channel();
        let mut acknowledged = HashSet::new();
        for caller in 0..20u64 {
            if caller == 10 {
                io.lies.store(lies, Ordering::Relaxed);
            }
            let ticket = Ticket { caller, answer: answer.clone() };
            driver
                .proposer()
                .propose(Bytes::from(caller.to_le_bytes().to_vec()), ticket, Room::Needs)
                .unwrap();
            acknowledged.insert(answers.recv_timeout(LOST).unwrap().0);
        }
        drop(driver);
        let checked = check_nothing_lost(dir.path(), &acknowledged);
        assert_eq!(checked.is_err(), lies, "{checked:?}");
    }
}
