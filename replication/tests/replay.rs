//! What the log calls committed is applied while it is being read, and whatever refuses the log in the end has changed
//! nothing. That it is all of it, once and in order, is for the model beside the replay's source.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use replication::{
    Config, Error, Leadership, Maintenance, MembershipChange, NoPeers, Opening, Position, Progress, Refused,
    Room, StateMachine,
};
use support::{Answer, Journal, Recorder, Ticket};

/// A recorder that must not be asked to store anything yet.
struct Replayed(Recorder);

impl StateMachine for Replayed {
    type Ticket = Ticket;

    fn applied(&self) -> Position {
        self.0.applied()
    }

    fn conf_state(&self) -> Vec<u8> {
        self.0.conf_state()
    }

    fn apply(&mut self, at: Position, proposal: Bytes, ticket: Option<Ticket>) {
        assert!(ticket.is_none(), "nobody waits yet");
        self.0.apply(at, proposal, None);
    }

    fn apply_membership(&mut self, _: Position, _: MembershipChange, _: Vec<u8>, _: Option<Ticket>) {
        panic!("who votes is the node's");
    }

    fn applied_empty(&mut self, at: Position) {
        self.0.applied_empty(at);
    }

    fn refused(&mut self, _: Ticket, _: Refused) {
        panic!("nobody has asked");
    }

    fn leadership(&mut self, _: Leadership) {
        panic!("nobody leads");
    }

    fn end_batch(&mut self, progress: Progress) {
        self.0.end_batch(progress);
    }

    fn maintain(&mut self) -> Maintenance {
        panic!("nothing may be stored yet");
    }

    fn failed(&mut self, error: &Error) {
        panic!("{error}");
    }
}

const PROPOSALS: u64 = 40;

/// A member's log of this many proposals, each an entry of its own; the state after the first of them, and what was
/// applied.
fn filled(dir: &Path) -> (Recorder, Journal) {
    let (state, journal) = Recorder::new();
    let driver = support::start(support::config(dir, 1), state).unwrap();
    let (answer, answers) = channel();
    for caller in 0..PROPOSALS {
        let ticket = Ticket { caller, answer: answer.clone() };
        driver.proposer().propose(Bytes::from(format!("proposal {caller}")), ticket, Room::Needs).unwrap();
        assert!(matches!(answers.recv().unwrap(), (_, Answer::Applied(_))));
    }
    let conf_state = driver.stop().unwrap().conf_state;
    let journal = journal.lock().unwrap().clone();
    (Recorder::from(journal.applied[0].0, conf_state), journal)
}

fn opening(config: &Config, state: &Replayed) -> Opening {
    let opening = Opening::begin(config, support::io(), state.applied()).unwrap();
    opening.expect(config.identity).unwrap();
    opening
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    std::fs::read_dir(dir).unwrap().map(file).collect()
}

fn applied(journal: &Arc<Mutex<Journal>>) -> Vec<(Position, Bytes)> {
    journal.lock().unwrap().applied.clone()
}

#[test]
fn what_is_agreed_is_applied_before_anything_runs_and_the_driver_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let (state, whole) = filled(dir.path());
    let journal = Arc::clone(&state.journal);
    let config = support::config(dir.path(), 2);
    let mut state = Replayed(state);
    let log = opening(&config, &state).replay(&mut state).unwrap();
    let replayed = applied(&journal);
    // The last append waits for its successor, and the one before for a commit index.
    assert!(replayed.len() as u64 >= PROPOSALS - 4, "{}", replayed.len());
    assert_eq!(replayed, whole.applied[1..=replayed.len()]);
    assert_eq!(journal.lock().unwrap().progress.len(), 1, "shown once");

    let driver = replication::start_with(config, log, state.0, Box::new(NoPeers)).unwrap();
    assert_eq!(driver.status().proposals_applied(), replayed.len() as u64);
    driver.stop().unwrap();
    assert_eq!(applied(&journal), whole.applied[1..], "once each, in order");
}

#[test]
fn a_log_that_is_refused_in_the_end_has_changed_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = filled(dir.path());
    let wal = dir.path().join("wal");
    let first = wal.join("0000000000000001.wal");
    // Within the last frames, long after the first were applied.
    let mut bytes = std::fs::read(&first).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[used - 1500] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let before = files(&wal);

    let journal = Arc::clone(&state.journal);
    let config = support::config(dir.path(), 2);
    let mut state = Replayed(state);
    let error = opening(&config, &state).replay(&mut state).unwrap_err();
    assert!(error.to_string().contains(first.to_str().unwrap()), "{error}");
    assert!(!applied(&journal).is_empty(), "it was applied in memory");
    assert!(journal.lock().unwrap().progress.is_empty(), "and not shown");
    assert!(files(&wal) == before);
}

/// No member writes such a log.
#[test]
fn entries_that_were_agreed_are_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = filled(dir.path());
    let config = support::config(dir.path(), 2);
    let (mut log, recovered) = wal::Wal::open(&config.wal_dir, support::io(), config.wal.clone()).unwrap();
    let agreed = &recovered.entries[recovered.entries.len() - 8];
    let replacement = wal::Entry { term: agreed.term + 1, ..agreed.clone() };
    for _ in 0..2 {
        let entries = std::slice::from_ref(&replacement);
        log.append(&wal::Batch { entries, hard_state: None }).unwrap();
    }
    log.close().unwrap();
    let mut state = Replayed(state);
    let error = opening(&config, &state).replay(&mut state).unwrap_err();
    // The log itself says that more was agreed than it has now.
    assert!(matches!(error, Error::LogBehindCommit { .. }), "{error}");
    let hard_state = recovered.hard_state.map(|state| wal::HardState { commit: agreed.index - 3, ..state });
    let (mut log, _) = wal::Wal::open(&config.wal_dir, support::io(), config.wal.clone()).unwrap();
    log.append(&wal::Batch { entries: &[], hard_state }).unwrap();
    log.close().unwrap();
    let at = Position { index: agreed.index - 20, term: agreed.term };
    let mut state = Replayed(Recorder::from(at, state.0.conf_state));
    let error = opening(&config, &state).replay(&mut state).unwrap_err();
    assert!(matches!(&error, Error::Malformed { what: "log", why } if why.contains("was agreed")), "{error}");
}

/// The last append is not shown before all of the log is read.
#[test]
fn entries_that_were_agreed_are_not_replaced_by_the_last_append() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = filled(dir.path());
    let config = support::config(dir.path(), 2);
    let (mut log, recovered) = wal::Wal::open(&config.wal_dir, support::io(), config.wal.clone()).unwrap();
    let agreed = &recovered.entries[recovered.entries.len() - 8];
    let term = agreed.term + 1;
    let hard_state = Some(wal::HardState { term, vote: 0, commit: agreed.index - 3 });
    let entries = &[wal::Entry { term, ..agreed.clone() }];
    log.append(&wal::Batch { entries, hard_state }).unwrap();
    drop(log);
    let journal = Arc::clone(&state.journal);
    let mut state = Replayed(state);
    let error = opening(&config, &state).replay(&mut state).unwrap_err();
    assert!(matches!(&error, Error::Malformed { what: "log", why } if why.contains("was agreed")), "{error}");
    assert!(journal.lock().unwrap().progress.is_empty(), "it was not shown");
}
