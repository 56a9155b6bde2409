//! A state machine that writes down everything it is told.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use replication::{
    Bootstrap, Config, Driver, Error, Identity, InitialMember, Leadership, Maintenance, MembershipChange,
    NoPeers, Position, Progress, Refused, StateMachine,
};

pub(crate) const IDENTITY: Identity = Identity { cluster_id: 0xc1, member_id: 0x8e9e };

/// What a caller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Applied(Position),
    Refused(Refused),
}

/// A caller: its number, and where it wants to hear.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) caller: u64,
    pub(crate) answer: Sender<(u64, Answer)>,
}

/// Everything told, in order; shared with the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) applied: Vec<(Position, Bytes)>,
    pub(crate) empty: Vec<Position>,
    pub(crate) changes: Vec<(Position, MembershipChange)>,
    pub(crate) leaderships: Vec<Leadership>,
    pub(crate) progress: Vec<Progress>,
    pub(crate) failed: Option<String>,
    pub(crate) answers_after_failure: usize,
}

/// What the log's bytes on disk are said to be, from a test to a member.
#[derive(Debug, Default)]
pub(crate) struct Health {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    damaged: bool,
    /// Everything applied is stored elsewhere.
    stored: bool,
    /// The driver has asked since.
    heard: bool,
    renewed: bool,
}

impl Health {
    fn say(&self, change: impl FnOnce(&mut Said)) {
        let mut said = self.said.lock().unwrap();
        change(&mut said);
        said.heard = false;
        let waited = self.changed.wait_timeout_while(said, LOST, |said| !said.heard && !said.renewed);
        assert!(!waited.unwrap().1.timed_out(), "the driver never asks");
    }

    /// Returns when the driver knows.
    pub(crate) fn damage(&self) {
        self.say(|said| said.damaged = true);
    }

    /// Returns when the log has begun anew.
    pub(crate) fn store(&self) {
        self.say(|said| said.stored = true);
        let said = self.said.lock().unwrap();
        let waited = self.changed.wait_timeout_while(said, LOST, |said| !said.renewed).unwrap();
        assert!(!waited.1.timed_out(), "the log does not begin anew");
    }
}

const LOST: std::time::Duration = std::time::Duration::from_secs(60);

/// Stores nothing: what it has is lost with it, unless a test hands it on.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) at: Position,
    pub(crate) conf_state: Vec<u8>,
    pub(crate) journal: Arc<Mutex<Journal>>,
    /// Whether the log may be let go as it is applied.
    pub(crate) releases: Arc<AtomicBool>,
    pub(crate) health: Arc<Health>,
    waiting: Vec<(Ticket, Answer)>,
}

impl Recorder {
    pub(crate) fn new() -> (Recorder, Arc<Mutex<Journal>>) {
        let recorder = Recorder::default();
        let journal = Arc::clone(&recorder.journal);
        (recorder, journal)
    }

    /// One that has everything up to `at`, and what the journal is to say about the rest.
    pub(crate) fn from(at: Position, conf_state: Vec<u8>) -> Recorder {
        Recorder { at, conf_state, ..Recorder::default() }
    }

    fn moved(&mut self, at: Position) {
        assert!(at.index == self.at.index + 1 || at == self.at, "{:?} after {:?}", at, self.at);
        assert!(at.term >= self.at.term);
        self.at = at;
    }
}

impl StateMachine for Recorder {
    type Ticket = Ticket;

    fn applied(&self) -> Position {
        self.at
    }

    fn conf_state(&self) -> Vec<u8> {
        self.conf_state.clone()
    }

    fn apply(&mut self, at: Position, proposal: Bytes, ticket: Option<Ticket>) {
        self.moved(at);
        self.journal.lock().unwrap().applied.push((at, proposal));
        self.waiting.extend(ticket.map(|ticket| (ticket, Answer::Applied(at))));
    }

    fn apply_membership(
        &mut self,
        at: Position,
        change: MembershipChange,
        conf_state: Vec<u8>,
        ticket: Option<Ticket>,
    ) {
        self.moved(at);
        self.conf_state = conf_state;
        self.journal.lock().unwrap().changes.push((at, change));
        self.waiting.extend(ticket.map(|ticket| (ticket, Answer::Applied(at))));
    }

    fn applied_empty(&mut self, at: Position) {
        self.moved(at);
        self.journal.lock().unwrap().empty.push(at);
    }

    fn refused(&mut self, ticket: Ticket, why: Refused) {
        self.waiting.push((ticket, Answer::Refused(why)));
    }

    fn leadership(&mut self, leadership: Leadership) {
        self.journal.lock().unwrap().leaderships.push(leadership);
    }

    fn end_batch(&mut self, progress: Progress) {
        let mut journal = self.journal.lock().unwrap();
        assert_eq!(progress.applied, self.at.index);
        assert!(progress.applied <= progress.commit);
        journal.progress.push(progress);
        if journal.failed.is_some() {
            journal.answers_after_failure += self.waiting.len();
        }
        for (ticket, answer) in self.waiting.drain(..) {
            // The caller may have gone.
            let _ = ticket.answer.send((ticket.caller, answer));
        }
    }

    fn maintain(&mut self) -> Maintenance {
        let mut said = self.health.said.lock().unwrap();
        said.heard = true;
        self.health.changed.notify_all();
        let released = self.releases.load(Ordering::Relaxed).then_some(self.at.index);
        let release_before = if said.stored { Some(self.at.index + 1) } else { released };
        Maintenance { release_before, log_damaged: said.damaged, ..Maintenance::default() }
    }

    fn log_renewed(&mut self) {
        *self.health.said.lock().unwrap() = Said { renewed: true, ..Said::default() };
        self.health.changed.notify_all();
    }

    fn failed(&mut self, error: &Error) {
        self.journal.lock().unwrap().failed = Some(error.to_string());
    }
}

/// One member alone, its log in `dir`.
pub(crate) fn config(dir: &Path, seed: u64) -> Config {
    fs::create_dir_all(dir.join("wal")).unwrap();
    let members = vec![InitialMember { id: IDENTITY.member_id, context: Bytes::from_static(b"me") }];
    let fail_stop = Arc::new(|_: &Error| {});
    let mut config = Config::new(IDENTITY, Bootstrap::New(members), dir.join("wal"), seed, fail_stop);
    quick_log(&mut config.wal);
    config
}

/// Small segments, nothing beside the appends.
pub(crate) fn quick_log(options: &mut wal::Options) {
    options.segment_bytes = 8 << 20;
    options.fill = wal::Fill::Allocate;
}

pub(crate) fn io() -> Arc<dyn wal::Io> {
    Arc::new(wal::OsIo::default())
}

pub(crate) fn start(config: Config, state: Recorder) -> Result<Driver<Recorder>, Error> {
    replication::start(config, io(), state, Box::new(NoPeers))
}
