//! A machine driven by hand, without log and sockets: for the tests of this folder.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use engine::{Change, OsFile, Store, View};
use prost::Message;
use replication::{Leadership, Position, Progress, StateMachine};

use super::{EventSink, Machine, Parts, Ticket};
use crate::cluster::Members;
use crate::grpc::{CallId, Status};
use crate::kv::{Operation, Proposal};
use crate::lease::Lessor;
use crate::loops::{Completions, LoopId};
use crate::maintenance::{Hashes, StoreSizes};
use crate::metrics::Metrics;
use crate::upkeep::{CheckpointPolicy, Defragments, Gauge, Upkeep, UpkeepParts};

#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Change>>>);

impl EventSink for Events {
    fn publish(&self, changes: &mut Vec<Change>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(changes);
    }
}

pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) lessor: Arc<Lessor>,
    pub(crate) members: Members,
    pub(crate) hashes: Arc<Hashes>,
    pub(crate) metrics: Arc<Metrics>,
    completions: Completions,
    events: Events,
    clock: Arc<Mutex<Instant>>,
    next_call: u32,
    pub(crate) at: Position,
    folder: tempfile::TempDir,
}

/// What a proposal came to: the message, or why not.
pub(crate) type Answer = Result<Bytes, Status>;

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::open(tempfile::tempdir().unwrap(), CheckpointPolicy::default())
    }

    pub(crate) fn with_policy(policy: CheckpointPolicy) -> Rig {
        Rig::open(tempfile::tempdir().unwrap(), policy)
    }

    /// A rig over whatever the folder holds.
    pub(crate) fn open(folder: tempfile::TempDir, checkpoints: CheckpointPolicy) -> Rig {
        let file = OsFile::open(&folder.path().join("db")).unwrap();
        let store = Store::open(Arc::new(file), engine::Options::default()).unwrap();
        let clock = Arc::new(Mutex::new(Instant::now()));
        let time = clock.clone();
        let clock_of: crate::lease::Clock = Arc::new(move || *time.lock().unwrap());
        let completions = Completions::detached();
        let events = Events::default();
        let lessor = Arc::new(Lessor::new(clock_of.clone(), Duration::from_secs(1)));
        let members = Members::default();
        let hashes = Arc::new(Hashes::default());
        let metrics = Arc::new(Metrics::new(1, "3.7.1"));
        let upkeep = Upkeep::start(UpkeepParts {
            checkpoints,
            auto_defragment: false,
            scrub: None,
            clock: clock_of,
            metrics: metrics.clone(),
            gauge: Arc::new(Gauge::default()),
            defragments: Arc::new(Defragments::new(completions.clone())),
            long_view: Duration::from_secs(10),
            events: Arc::new(|_| {}),
        });
        let parts = Parts {
            cluster_id: 0xc1,
            member_id: 0x3e,
            completions: completions.clone(),
            events: Box::new(events.clone()),
            lessor: lessor.clone(),
            members: members.clone(),
            hashes: hashes.clone(),
            sizes: Arc::new(StoreSizes::default()),
            metrics: metrics.clone(),
            upkeep: upkeep.unwrap(),
            fail_stop: Arc::new(|error| panic!("storage failed: {error}")),
        };
        let mut machine = Machine::new(store, parts).unwrap();
        let at = machine.applied();
        machine.leadership(Leadership { leader: 0x3e, term: at.term + 1, is_leader: true });
        let at = Position { index: at.index + 1, term: at.term + 1 };
        machine.applied_empty(at);
        machine.end_batch(Progress::default());
        Rig {
            machine,
            lessor,
            members,
            hashes,
            metrics,
            completions,
            events,
            clock,
            next_call: 0,
            at,
            folder,
        }
    }

    /// Drops the machine and opens its store again.
    pub(crate) fn reopen(self) -> Rig {
        let Rig { machine, folder, .. } = self;
        drop(machine);
        Rig::open(folder, CheckpointPolicy::default())
    }

    pub(crate) fn call(&mut self) -> CallId {
        self.next_call += 1;
        CallId { loop_id: LoopId(0), connection: 0, slot: self.next_call, generation: 0 }
    }

    /// Applies without ending the batch.
    pub(crate) fn apply(&mut self, operation: Operation, request: &[u8], ticket: Option<Ticket>) {
        self.at.index += 1;
        let mut wrapped = Proposal::wrap(self.at.index, operation, request);
        let proposal = wrapped.copy_to_bytes(wrapped.remaining());
        self.machine.apply(self.at, proposal, ticket);
    }

    pub(crate) fn end_batch(&mut self) -> Vec<(CallId, Answer)> {
        let Position { index, term } = self.at;
        self.machine.end_batch(Progress { commit: index, applied: index, term });
        self.answers()
    }

    pub(crate) fn answers(&mut self) -> Vec<(CallId, Answer)> {
        let taken = self.completions.taken().into_iter();
        taken.map(|(id, answer)| (id, answer.map(|frame| frame.message()))).collect()
    }

    /// One proposal as a batch of its own. `None`: not answered yet.
    pub(crate) fn propose(&mut self, operation: Operation, request: &impl Message) -> Option<Answer> {
        let call = self.call();
        self.apply(operation, &request.encode_to_vec(), Some(Ticket::Call(call)));
        let mut answers = self.end_batch();
        assert!(answers.len() < 2);
        answers.pop().map(|(id, answer)| {
            assert_eq!(id, call);
            answer
        })
    }

    /// One proposal that succeeds.
    pub(crate) fn done<R: Message + Default>(&mut self, operation: Operation, request: &impl Message) -> R {
        let answer = self.propose(operation, request).expect("an answer").expect("success");
        R::decode(answer).expect("a response")
    }

    pub(crate) fn view(&self) -> View {
        self.machine.store().reader().view()
    }

    pub(crate) fn events(&self) -> Vec<Change> {
        std::mem::take(&mut self.events.0.lock().unwrap())
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }

    /// Upkeep until `done`.
    pub(crate) fn maintain_until(&mut self, mut done: impl FnMut(&mut Rig) -> bool) -> Vec<u64> {
        let mut released = Vec::new();
        for _ in 0..100_000 {
            released.extend(self.machine.maintain().release_before);
            if done(self) {
                return released;
            }
            std::thread::yield_now();
        }
        panic!("upkeep does not get there");
    }
}
