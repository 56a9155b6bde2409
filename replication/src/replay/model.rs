//! Random logs, as leaders that come and go leave them, opened with random states: what the replay applies, and how far
//! it gets, is what a plain walk over the log says; and what it and the driver apply together is the log, each entry
//! once and in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Replay, VIEW_BYTES};
use crate::batch::{Batch, BatchId, BatchWriter, encode_change};
use crate::boot::bootstrap_entries;
use crate::membership::{Membership, MembershipChange, MembershipKind};
use crate::planted::{Fault, plant};
use crate::state_machine::{Leadership, Maintenance, Position, Progress, Refused, StateMachine};
use crate::storage::to_wal;
use crate::transport::EntryKind;
use crate::{Bootstrap, Config, Error, Identity, InitialMember, NoPeers, Opening};

macro_rules! check {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}

const IDENTITY: Identity = Identity { cluster_id: 0xc1, member_id: 0x8e9e };
/// Largest entry of the logs made here.
const LARGEST: usize = 4 << 10;

/// One thing that a state machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Proposal(Bytes),
    Empty,
    Change,
}

/// Writes down what it is told.
#[derive(Default)]
struct State {
    at: Position,
    told: Arc<Mutex<Vec<(Position, Told)>>>,
    shown: Vec<Progress>,
    /// Bytes of proposals that no view shows, and the most there were.
    unseen: usize,
    most_unseen: usize,
    /// Memory is full from this index on.
    full_at: Option<u64>,
}

impl State {
    fn tell(&mut self, at: Position, told: Told) {
        self.at = at;
        self.told.lock().unwrap().push((at, told));
    }
}

impl StateMachine for State {
    type Ticket = ();

    fn applied(&self) -> Position {
        self.at
    }

    fn conf_state(&self) -> Vec<u8> {
        if self.at.index == 0 {
            return Vec::new();
        }
        Membership { voters: vec![IDENTITY.member_id], learners: Vec::new() }.encode()
    }

    fn apply(&mut self, at: Position, proposal: Bytes, _: Option<()>) {
        self.unseen += proposal.len();
        self.most_unseen = self.most_unseen.max(self.unseen);
        self.tell(at, Told::Proposal(proposal));
    }

    fn apply_membership(&mut self, at: Position, _: MembershipChange, _: Vec<u8>, _: Option<()>) {
        self.tell(at, Told::Change);
    }

    fn applied_empty(&mut self, at: Position) {
        self.tell(at, Told::Empty);
    }

    fn refused(&mut self, (): (), _: Refused) {}

    fn leadership(&mut self, _: Leadership) {}

    fn end_batch(&mut self, progress: Progress) {
        self.unseen = 0;
        self.shown.push(progress);
    }

    fn is_full(&self) -> bool {
        self.full_at.is_some_and(|index| self.at.index >= index)
    }

    fn maintain(&mut self) -> Maintenance {
        Maintenance::default()
    }

    fn failed(&mut self, _: &Error) {}
}

/// A log by its appends, and what was agreed in truth: the log is told later, or never.
struct History {
    appends: Vec<wal::Passage>,
    agreed: Vec<u64>,
}

impl History {
    fn random(random: &mut ChaCha8Rng) -> History {
        let mut history = History { appends: Vec::new(), agreed: Vec::new() };
        let members = [InitialMember { id: IDENTITY.member_id, context: Bytes::new() }];
        let bootstrap = bootstrap_entries(&members).iter().map(to_wal).collect();
        let mut hard_state = wal::HardState { term: 1, vote: 0, commit: 1 };
        history.append(wal::Position::default(), bootstrap, Some(hard_state), 1);
        let mut log = history.log();
        let mut agreed = 1;
        for _ in 0..random.random_range(1..40) {
            let last = log.len() as u64;
            let mut before = last;
            let replaces = random.random_bool(0.25);
            if replaces {
                before = random.random_range(agreed..=last);
                hard_state.term += random.random_range(1..=2);
            }
            log.truncate(before as usize);
            let entries = match random.random_bool(0.1) && !replaces {
                true => Vec::new(),
                false => (0..random.random_range(1..=4))
                    .map(|place| entry(random, before + 1 + place, hard_state.term))
                    .collect(),
            };
            let place = wal::Position { index: before, term: log.last().map_or(0, |entry| entry.term) };
            log.extend(entries.iter().cloned());
            if random.random_bool(0.6) {
                agreed = random.random_range(agreed..=log.len() as u64);
            }
            let tells = random.random_bool(0.6);
            if tells {
                hard_state.commit = random.random_range(hard_state.commit..=agreed);
            }
            // Of a new term the disk hears before, or with, its first entries.
            let told = (tells || replaces || entries.is_empty()).then_some(hard_state);
            history.append(place, entries, told, agreed);
        }
        history
    }

    fn append(
        &mut self,
        before: wal::Position,
        entries: Vec<wal::Entry>,
        hard_state: Option<wal::HardState>,
        agreed: u64,
    ) {
        self.appends.push(wal::Passage { before, entries, hard_state });
        self.agreed.push(agreed);
    }

    /// The entries that are left in the end.
    fn log(&self) -> Vec<wal::Entry> {
        let mut log = Vec::new();
        for append in &self.appends {
            if !append.entries.is_empty() {
                log.truncate(append.before.index as usize);
            }
            log.extend(append.entries.iter().cloned());
        }
        log
    }

    /// A place up to which a state may have been stored.
    fn stored(&self, random: &mut ChaCha8Rng) -> Position {
        let agreed = *self.agreed.last().expect("the bootstrap, at least");
        position(&self.log(), random.random_range(0..=agreed))
    }

    /// Up to where a replay gets to which only the first `shown` appends are shown.
    fn reach(&self, shown: usize, state: &State) -> u64 {
        let opened = state.at;
        let log = self.log();
        let change =
            |entry: &&wal::Entry| entry.index > opened.index && entry.kind == EntryKind::Membership as u8;
        let most = log.iter().find(change).map_or(u64::MAX, |entry| entry.index - 1);
        let mut reached = opened.index;
        for append in &self.appends[..shown] {
            let last = append.before.index + append.entries.len() as u64;
            let follows = append.before.index <= opened.index && opened.index <= last;
            if !append.entries.is_empty() && follows {
                let term = match append.before.index == opened.index {
                    true => append.before.term,
                    false => append.entries[(opened.index - append.before.index) as usize - 1].term,
                };
                if term != opened.term {
                    return reached;
                }
            }
            let commit = append.hard_state.map_or(0, |hard_state| hard_state.commit);
            reached = reached.max(commit.min(most));
            if reached == most || state.full_at.is_some_and(|index| reached >= index) {
                return reached;
            }
        }
        reached
    }
}

fn position(log: &[wal::Entry], index: u64) -> Position {
    let term = index.checked_sub(1).map_or(0, |place| log[place as usize].term);
    Position { index, term }
}

fn entry(random: &mut ChaCha8Rng, index: u64, term: u64) -> wal::Entry {
    let id = BatchId { origin: 0, incarnation: 0, sequence: index };
    let (kind, data) = match random.random_range(0..24) {
        0 => {
            let kind = MembershipKind::Update;
            let change = MembershipChange { kind, member_id: IDENTITY.member_id, context: Bytes::new() };
            (EntryKind::Membership, encode_change(id, &change))
        }
        1 | 2 => (EntryKind::Proposals, Bytes::new()),
        number => {
            let mut batch = BatchWriter::with_capacity(0);
            for proposal in 0..random.random_range(1..=3) {
                let most = if number == 3 { LARGEST / 4 } else { 100 };
                let length = random.random_range(0..most);
                let name = format!("{index}.{term}.{proposal}");
                batch.push(&*[name.as_bytes(), &vec![b'.'; length]].concat());
            }
            (EntryKind::Proposals, batch.finish(id))
        }
    };
    wal::Entry { index, term, kind: kind as u8, data }
}

/// What a state machine is told of these entries.
fn told(entries: &[wal::Entry]) -> Vec<(Position, Told)> {
    let mut told = Vec::new();
    for entry in entries {
        let at = Position { index: entry.index, term: entry.term };
        match entry.kind {
            kind if kind == EntryKind::Membership as u8 => told.push((at, Told::Change)),
            _ if entry.data.is_empty() => told.push((at, Told::Empty)),
            _ => {
                let batch = Batch::decode(entry.data.clone()).expect("it was made here");
                told.extend(batch.map(|proposal| (at, Told::Proposal(proposal))));
            }
        }
    }
    told
}

/// How often something happened that has to be tried.
#[derive(Default)]
struct Tried {
    replayed: u64,
    stale: u64,
    full: u64,
    changes: u64,
    views: u64,
}

/// One log shown to one replay, as the log's opening would.
fn follow(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let history = History::random(random);
    let log = history.log();
    let opened = history.stored(random);
    let mut state = State { at: opened, ..State::default() };
    if random.random_bool(0.2) {
        state.full_at = Some(opened.index + random.random_range(1..10));
    }
    let is_foreign = opened.index > 0 && random.random_bool(0.1);
    if is_foreign {
        state.at.term = opened.term + 1;
    }
    let shown = history.appends.len() - 1;
    let reach = history.reach(shown, &state);
    let mut replay = Replay::new(&mut state);
    history.appends[..shown].iter().for_each(|append| replay.follow(append.clone()));
    replay.finish(|index| Some(position(&log, index).term)).map_err(|error| error.to_string())?;

    let found = state.told.lock().unwrap().clone();
    check!(state.at.index == reach, "applied up to {}, not to {reach}", state.at.index);
    let expected = told(&log[opened.index as usize..reach as usize]);
    check!(found == expected, "{found:?} instead of {expected:?}");
    check!(!is_foreign || found.is_empty(), "applied to another state");
    check!(state.unseen == 0, "the last {} bytes are not shown", state.unseen);
    check!(state.most_unseen < VIEW_BYTES + LARGEST, "{} bytes without a view", state.most_unseen);
    let views = state.shown.iter().all(|view| view.applied <= view.commit);
    check!(views, "shown before it was agreed: {:?}", state.shown);

    let agreed = history.appends[..shown].iter().filter_map(|append| append.hard_state);
    let commit = agreed.map(|hard_state| hard_state.commit).max().unwrap_or(0);
    tried.replayed += u64::from(!found.is_empty());
    tried.stale += u64::from(log.len() < history.appends.iter().map(|append| append.entries.len()).sum());
    tried.full += u64::from(state.is_full() && reach < commit);
    let next = log.get(reach as usize);
    tried.changes += u64::from(reach > opened.index && next.is_some_and(|entry| entry.kind != 0));
    tried.views += u64::from(state.shown.len() > 1);
    Ok(())
}

const SEEDS: u64 = 3000;

#[test]
fn a_replay_gets_as_far_as_the_log_is_agreed() {
    let mut tried = Tried::default();
    for seed in 0..SEEDS {
        follow(seed, &mut tried).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let Tried { replayed, stale, full, changes, views } = tried;
    let least = [replayed, stale, full, changes, views].into_iter().min().unwrap_or(0);
    assert!(least > SEEDS / 50, "{replayed} {stale} {full} {changes} {views}");
}

#[test]
fn every_planted_fault_is_found() {
    let faults = [
        Fault::SkipsAnEntry,
        Fault::CommitTooFar,
        Fault::KeepsReplaced,
        Fault::TrustsOpened,
        Fault::PassesMembership,
        Fault::NeverShows,
        Fault::GoesOnFull,
    ];
    for fault in faults {
        plant(Some(fault));
        let found = |seed: &u64| {
            let run = || follow(*seed, &mut Tried::default());
            catch_unwind(AssertUnwindSafe(run)).map_or(true, |result| result.is_err())
        };
        let found = (0..SEEDS).filter(found).count() as u64;
        plant(None);
        println!("{fault:?} is found with {found} of {SEEDS} seeds");
        assert!(found > SEEDS / 200, "{fault:?} is found with {found} of {SEEDS} seeds");
    }
}

fn config(dir: &Path, seed: u64) -> Config {
    let members = vec![InitialMember { id: IDENTITY.member_id, context: Bytes::new() }];
    let fail_stop = Arc::new(|_: &Error| {});
    let mut config = Config::new(IDENTITY, Bootstrap::New(members), dir.to_owned(), seed, fail_stop);
    config.wal.segment_bytes = 8 << 20;
    config.wal.fill = wal::Fill::Allocate;
    config
}

/// How the process that wrote a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
    /// In the middle of one more append.
    Cut,
}

fn io() -> Arc<dyn wal::Io> {
    Arc::new(wal::OsIo::new())
}

fn write(dir: &Path, history: &History, end: End) {
    let config = config(dir, 1);
    // With the first append of every history.
    drop(Opening::begin(&config, io(), Position::default()).unwrap());
    let (mut log, _) = wal::Wal::open(dir, io(), config.wal).unwrap();
    for append in &history.appends[1..] {
        log.append(&wal::Batch { entries: &append.entries, hard_state: append.hard_state }).unwrap();
    }
    match end {
        End::Closed => log.close().unwrap(),
        End::Killed => {}
        End::Cut => {
            let (index, kind) = (log.last_index() + 1, EntryKind::Proposals as u8);
            // Nobody could apply it.
            let entry = wal::Entry { index, term: 100, kind, data: vec![b'.'; LARGEST].into() };
            log.append(&wal::Batch { entries: &[entry], hard_state: None }).unwrap();
            drop(log);
            cut_last_sector(&dir.join("0000000000000001.wal"));
        }
    }
}

fn cut_last_sector(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).expect("there are entries");
    let sector = used / 512 * 512;
    bytes[sector..sector + 512].fill(0);
    std::fs::write(path, bytes).unwrap();
}

/// A whole start and stop of a member, its log on disk.
fn start(seed: u64, end: End) -> Result<(), String> {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let history = History::random(random);
    let log = history.log();
    let opened = history.stored(random);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &history, end);

    let mut state = State { at: opened, ..State::default() };
    if random.random_bool(0.2) {
        state.full_at = Some(opened.index + random.random_range(1..10));
    }
    let heard = Arc::clone(&state.told);
    // The last append is shown if a seal follows it.
    let shown = history.appends.len() - usize::from(end != End::Closed);
    let reach = history.reach(shown, &state);
    let config = config(dir.path(), seed);
    let opening = Opening::begin(&config, io(), opened).map_err(|error| error.to_string())?;
    let opened_log = opening.replay(&mut state).map_err(|error| error.to_string())?;
    check!(state.at.index == reach, "applied up to {}, not to {reach}", state.at.index);
    let driver = crate::start_with(config, opened_log, state, Box::new(NoPeers));
    let driver = driver.map_err(|error| error.to_string())?;
    let last = driver.stop().map_err(|error| error.to_string())?.at;

    let mut expected = told(&log[opened.index as usize..]);
    // The new leader's first.
    expected.push((last, Told::Empty));
    check!(last.index == log.len() as u64 + 1, "it ends with {last:?}");
    let found = heard.lock().unwrap().clone();
    check!(found == expected, "{found:?} instead of {expected:?}");
    Ok(())
}

const STARTS: u64 = 36;

#[test]
fn replay_and_driver_apply_the_whole_log_once() {
    for seed in 0..STARTS {
        let end = [End::Closed, End::Killed, End::Cut][seed as usize % 3];
        start(seed, end).unwrap_or_else(|why| panic!("seed {seed}, {end:?}: {why}"));
    }
}

#[test]
fn a_start_that_skips_or_goes_too_far_is_found() {
    for fault in [Fault::SkipsAnEntry, Fault::CommitTooFar, Fault::PassesMembership] {
        plant(Some(fault));
        let found = |seed: &u64| {
            let run = || start(*seed, End::Killed);
            catch_unwind(AssertUnwindSafe(run)).map_or(true, |result| result.is_err())
        };
        let found = (0..STARTS).find(found);
        plant(None);
        assert!(found.is_some(), "{fault:?} is not found with {STARTS} seeds");
    }
}
