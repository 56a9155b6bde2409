//! The control plane itself: chooses what is asked next, and follows it to its end.

use std::collections::VecDeque;
use std::time::Instant;

use api::etcdserverpb::response_op::Response as Answered;
use api::etcdserverpb::{TxnResponse, WatchCreateRequest};
use bytes::Bytes;
use measure::Stop;
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::answer;
use super::super::driver::Clock;
use super::super::plan::Plan;
use super::super::streams::{Notes, STREAM, Streams};
use super::super::tally::Tally;
use super::super::watching::{Heard, Response, create, heard};
use super::super::work::{How, Over, Work};
use super::super::workload::{GARBLED, NO_REVISION, OLD, Wrong, written};
use super::arguments::Cluster;
use super::compaction::{Compactor, Ended};
use super::events::Leases;
use super::list::{List, ODD_COUNT, Turned};
use super::objects::{MISSING, Objects, Seen};
use super::prepare::value;
use super::resource::{Resource, end_of};
use super::{clean, kind, prepare, requests};
use crate::client::{self, Client, Method, Outcome, Target};
use crate::error::Result;

const CONFLICT: Wrong = "wrong answer: a transaction found another mod_revision than the one its object has";
const NOT_COUNTED: Wrong = "wrong answer: a count brought keys";

/// Everything of one thread; there is but one.
pub(crate) struct ControlPlane {
    cluster: Cluster,
    target: Target,
    rates: [f64; 8],
    random: ChaCha8Rng,
    noise: Bytes,
    /// By [`Resource`].
    objects: [Objects; 4],
    leases: Leases,
    compactor: Compactor,
    pieces: Vec<Piece>,
    /// Clients whose work waits for an object, or for a lease.
    waiting: VecDeque<usize>,
    /// What lists and counts have found, and at which revision.
    found: Vec<(Resource, i64, i64)>,
    /// What is there with the cluster's prefix was put there by this load.
    is_ours: bool,
    due: Instant,
    /// The highest revision answered so far.
    seen: i64,
    notes: Notes,
    lost: Option<String>,
}

/// What a client is about.
#[derive(Clone, Debug)]
struct Piece {
    kind: usize,
    connection: usize,
    intended: Instant,
    /// When its last call was sent, and the highest revision answered before.
    sent: Instant,
    seen: i64,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// It has not begun.
    Waits,
    /// A transaction on an object, whose `mod_revision` was known or guessed.
    Write {
        resource: Resource,
        number: usize,
        is_known: bool,
    },
    /// A lease for an Event.
    Grant,
    List(Resource, List),
    Count(Resource),
    Mark,
    Compact,
}

/// What comes of an answer.
enum Then {
    Call(Method, Vec<u8>),
    /// The piece begins, or begins anew.
    Begin,
    End,
}

impl ControlPlane {
    pub(crate) fn new(plan: &Plan, cluster: &Cluster) -> ControlPlane {
        let now = Instant::now();
        let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut noise = vec![0; 256 << 10];
        random.fill(&mut noise[..]);
        let piece = Piece { kind: 0, connection: 0, intended: now, sent: now, seen: 0, step: Step::Waits };
        ControlPlane {
            rates: cluster.rates(),
            target: plan.target.clone(),
            random,
            noise: noise.into(),
            objects: Resource::ALL.map(|resource| Objects::new(&[], resource == Resource::Event)),
            leases: Leases::new(cluster.event_ttl),
            compactor: Compactor::new(&cluster.prefix, cluster.compact_every, now, 0),
            pieces: vec![piece; plan.clients],
            waiting: VecDeque::new(),
            found: Vec::new(),
            is_ours: false,
            due: now,
            seen: 0,
            notes: Notes::new(),
            lost: None,
            cluster: cluster.clone(),
        }
    }

    /// What is asked next, each kind as often as its rate says.
    fn choose(&mut self) -> usize {
        if self.compactor.is_due(self.due) {
            return kind::COMPACTION;
        }
        let mut at = self.random.random::<f64>() * self.rates.iter().sum::<f64>();
        let chosen = self.rates.iter().position(|rate| {
            at -= rate;
            at < 0.0
        });
        chosen.unwrap_or(kind::RENEWAL)
    }

    /// The first call of a client's piece of work; none where it has to wait.
    fn first_call(&mut self, client: usize) -> Option<(Method, Vec<u8>)> {
        let Piece { kind, intended, .. } = self.pieces[client];
        let (step, method, message) = match kind {
            kind::LIST => {
                let resource = Resource::ALL[self.random.random_range(0..Resource::ALL.len())];
                let list = List::new(resource.prefix(&self.cluster.prefix), self.cluster.page.into());
                let request = list.request();
                (Step::List(resource, list), Method::Range, request)
            }
            kind::COUNT => {
                let resource = Resource::ALL[self.random.random_range(0..Resource::ALL.len())];
                let prefix = resource.prefix(&self.cluster.prefix);
                let request = requests::count(prefix.clone().into(), end_of(&prefix));
                (Step::Count(resource), Method::Range, request)
            }
            kind::COMPACTION => (Step::Mark, Method::Txn, self.compactor.mark()),
            kind::EVENT => match self.leases.take(Instant::now()) {
                Some(lease) => {
                    let number = self.of(Resource::Event).create(intended);
                    return Some(self.write(client, Resource::Event, number, Change::Put { lease }));
                }
                None if self.leases.is_coming => return None,
                None => (Step::Grant, Method::LeaseGrant, self.leases.request()),
            },
            kind::CREATE => {
                let number = self.of(Resource::Pod).create(intended);
                return Some(self.write(client, Resource::Pod, number, Change::Put { lease: 0 }));
            }
            kind::UPDATE | kind::DELETE => {
                let ControlPlane { objects, random, .. } = self;
                let number = objects[Resource::Pod as usize].any(random)?;
                let change = if kind == kind::DELETE { Change::Delete } else { Change::Put { lease: 0 } };
                return Some(self.write(client, Resource::Pod, number, change));
            }
            _ => {
                let resource = if kind == kind::STATUS { Resource::Node } else { Resource::Lease };
                let number = self.of(resource).in_turn()?;
                return Some(self.write(client, resource, number, Change::Put { lease: 0 }));
            }
        };
        self.pieces[client].step = step;
        Some((method, message))
    }

    /// A transaction that writes an object.
    fn write(
        &mut self,
        client: usize,
        resource: Resource,
        number: usize,
        change: Change,
    ) -> (Method, Vec<u8>) {
        let intended = self.pieces[client].intended;
        let is_delete = matches!(change, Change::Delete);
        let (mod_revision, is_known) = self.of(resource).write(number, is_delete, intended);
        self.pieces[client].step = Step::Write { resource, number, is_known };
        let key = resource.key(&self.cluster.prefix, number);
        let message = match change {
            Change::Delete => requests::delete(&key, mod_revision),
            Change::Put { lease } => {
                // Another value each time.
                let nonce = number.wrapping_add(mod_revision as usize);
                requests::put(&key, mod_revision, value(resource, nonce, &self.noise), lease)
            }
        };
        (Method::Txn, message)
    }

    fn of(&mut self, resource: Resource) -> &mut Objects {
        &mut self.objects[resource as usize]
    }

    /// Begins a client's piece of work, or lets it wait.
    fn launch(&mut self, wire: &mut dyn Client, client: usize) -> bool {
        match self.first_call(client) {
            Some((method, message)) => {
                self.call(wire, client, method, &message);
                true
            }
            None => {
                self.pieces[client].step = Step::Waits;
                false
            }
        }
    }

    fn call(&mut self, wire: &mut dyn Client, client: usize, method: Method, message: &[u8]) {
        let piece = &mut self.pieces[client];
        (piece.sent, piece.seen) = (Instant::now(), self.seen);
        wire.call(piece.connection, method, message, client as u64);
    }

    /// Begins what has waited, as far as it may.
    fn launch_waiting(&mut self, wire: &mut dyn Client) {
        for _ in 0..self.waiting.len() {
            let Some(client) = self.waiting.pop_front() else { return };
            if !self.launch(wire, client) {
                self.waiting.push_back(client);
            }
        }
    }

    /// A call was answered: whether rightly, and what comes of it.
    fn answered(&mut self, client: usize, answer: &[u8], at: Instant) -> std::result::Result<Then, Wrong> {
        let Piece { sent, seen, intended, .. } = self.pieces[client];
        let garbled = |_| GARBLED;
        match &mut self.pieces[client].step {
            Step::Write { resource, number, is_known } => {
                let (resource, number, is_known) = (*resource, *number, *is_known);
                let txn = answer::txn(answer).map_err(garbled)?;
                if txn.succeeded {
                    let revision = written(txn.revision, seen)?;
                    self.seen = self.seen.max(revision);
                    self.of(resource).answered(number, revision)?;
                    return Ok(Then::End);
                }
                if is_known {
                    return Err(CONFLICT);
                }
                let mod_revision = read_otherwise(answer).ok_or(GARBLED)?;
                self.of(resource).learned(number, mod_revision);
                if mod_revision == 0 {
                    return Ok(Then::End);
                }
                let is_delete = self.pieces[client].kind == kind::DELETE;
                let change = if is_delete { Change::Delete } else { Change::Put { lease: 0 } };
                let (method, message) = self.write(client, resource, number, change);
                Ok(Then::Call(method, message))
            }
            Step::Grant => {
                self.leases.granted(answer, at)?;
                self.notes.success(kind::GRANT, intended, sent, at);
                Ok(Then::Begin)
            }
            Step::List(resource, list) => {
                let turned = list.page(answer, seen)?;
                self.notes.success(kind::PAGE, intended, sent, at);
                match turned {
                    Turned::More => Ok(Then::Call(Method::Range, list.request())),
                    Turned::End { revision, count } => {
                        self.found.push((*resource, revision, count));
                        Ok(Then::End)
                    }
                }
            }
            Step::Count(resource) => {
                let range = answer::range(answer).map_err(garbled)?;
                match range {
                    answer::Range { revision: ..=0, .. } => Err(NO_REVISION),
                    answer::Range { revision, .. } if revision < seen => Err(OLD),
                    answer::Range { kvs: 1.., .. } => Err(NOT_COUNTED),
                    answer::Range { revision, count, .. } => {
                        self.found.push((*resource, revision, count));
                        Ok(Then::End)
                    }
                }
            }
            Step::Mark => {
                let Some(message) = self.compactor.marked(answer)? else {
                    self.compactor.ended(Ended::Marked);
                    return Ok(Then::End);
                };
                self.pieces[client].step = Step::Compact;
                Ok(Then::Call(Method::Compact, message))
            }
            Step::Compact => {
                self.compactor.ended(Ended::Marked);
                Ok(Then::End)
            }
            Step::Waits => unreachable!("what waits has not asked for anything"),
        }
    }

    /// A call failed, or was answered wrongly.
    fn failed(&mut self, client: usize) {
        match self.pieces[client].step {
            Step::Write { resource, number, .. } => self.of(resource).failed(number),
            Step::Grant => self.leases.is_coming = false,
            Step::Mark => self.compactor.ended(Ended::NotMarked),
            Step::Compact => self.compactor.ended(Ended::Marked),
            _ => {}
        }
    }

    /// A watch has told of something.
    fn told(&mut self, response: Response<'_>, at: Instant) {
        let objects =
            usize::try_from(response.watch_id - 1).ok().and_then(|watch| self.objects.get_mut(watch));
        let Some(objects) = objects else { return };
        let read = response.events(|event| {
            let seen = Seen {
                number: Resource::number(event.kv.key),
                revision: event.kv.mod_revision,
                newest: response.revision,
                is_delete: event.is_delete,
                before: event.prev_kv.map_or(0, |before| before.mod_revision),
            };
            match objects.event(seen) {
                Ok(Some(cause)) => self.notes.success(kind::WATCH, cause, cause, at),
                Ok(None) => {}
                Err(why) => self.notes.wrong(why, at),
            }
        });
        if read.is_err() {
            self.notes.wrong(GARBLED, at);
        }
    }
}

enum Change {
    Put { lease: i64 },
    Delete,
}

/// The `mod_revision` that the other branch of a transaction has read; 0 where there is nothing.
fn read_otherwise(answer: &[u8]) -> Option<i64> {
    let TxnResponse { responses, .. } = TxnResponse::decode(answer).ok()?;
    match responses.into_iter().next()?.response? {
        Answered::ResponseRange(range) => Some(range.kvs.first().map_or(0, |kv| kv.mod_revision)),
        _ => None,
    }
}

impl Work for ControlPlane {
    fn kinds(&self) -> &'static [&'static str] {
        kind::NAMES
    }

    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        let (kind, intended) = (self.choose(), self.due);
        self.pieces[client] =
            Piece { kind, connection, intended, sent: intended, seen: self.seen, step: Step::Waits };
        if !self.launch(wire, client) {
            self.waiting.push_back(client);
        }
    }

    fn heard(&mut self, wire: &mut dyn Client, event: &client::Event<'_>, over: &mut Vec<Over>) {
        if event.tag & STREAM != 0 {
            match heard(event) {
                Heard::Watch(response) => self.told(response, event.at),
                Heard::Wrong(why) => self.notes.wrong(why, event.at),
                Heard::Canceled(response) => self.lost = Some(response.why()),
                Heard::End(why) => self.lost = Some(why),
            }
            return self.launch_waiting(wire);
        }
        let client = event.tag as usize;
        let how = match event.outcome {
            Outcome::Answer(answer) => match self.answered(client, answer, event.at) {
                Ok(Then::Call(method, message)) => return self.call(wire, client, method, &message),
                Ok(Then::Begin) => {
                    if !self.launch(wire, client) {
                        self.waiting.push_back(client);
                    }
                    return self.launch_waiting(wire);
                }
                Ok(Then::End) => How::Right(self.pieces[client].kind),
                Err(why) => {
                    self.failed(client);
                    How::Wrong(why)
                }
            },
            Outcome::Failed(failure) => {
                self.failed(client);
                How::Failed(failure.clone())
            }
            Outcome::Message(_) | Outcome::Ended => unreachable!("streams have other tags"),
        };
        over.push(Over { client, how });
        self.launch_waiting(wire);
    }

    fn streams(&mut self) -> Option<&mut dyn Streams> {
        Some(self)
    }

    /// What is still under way must not come after what is deleted at the end.
    fn settles(&self) -> bool {
        true
    }

    fn close(&mut self, _: &mut dyn Client, tally: &mut Tally) {
        for (resource, revision, count) in std::mem::take(&mut self.found) {
            if self.of(resource).count_at(revision).is_some_and(|written| written != count) {
                self.notes.wrong(ODD_COUNT, Instant::now());
            }
        }
        self.notes.tell(tally);
        if self.is_ours {
            clean::clean(&self.target, &self.cluster.prefix, self.leases.all(), self.compactor.key());
        }
    }
}

impl Streams for ControlPlane {
    fn prepare(&mut self, wire: &mut dyn Client, stop: &Stop) -> Result<()> {
        prepare::check_empty(wire, &self.cluster.prefix)?;
        self.is_ours = true;
        let (revisions, highest) = prepare::create(wire, &self.cluster, &self.noise, stop)?;
        for (resource, revisions) in Resource::ALL.into_iter().zip(revisions) {
            self.objects[resource as usize] = Objects::new(&revisions, resource == Resource::Event);
        }
        self.seen = highest;
        let watch = |resource: Resource| {
            let prefix = resource.prefix(&self.cluster.prefix);
            WatchCreateRequest {
                key: prefix.clone().into(),
                range_end: end_of(&prefix),
                start_revision: highest + 1,
                progress_notify: true,
                prev_kv: true,
                ..WatchCreateRequest::default()
            }
        };
        let watches = Resource::ALL.map(watch).to_vec();
        create(wire, watches.len(), watches, stop)?;
        Ok(())
    }

    fn start(&mut self, _: &mut dyn Client, clock: Clock) {
        self.notes.start(clock);
        let Cluster { prefix, compact_every, .. } = &self.cluster;
        self.compactor = Compactor::new(prefix, *compact_every, clock.begin, self.seen);
    }

    fn due(&mut self, intended: Instant) {
        self.due = intended;
    }

    fn tell(&mut self, tally: &mut Tally) {
        tally.aside = kind::ASIDE;
        self.notes.tell(tally);
    }

    fn awaited(&mut self, _: bool) -> usize {
        self.objects.iter().map(Objects::awaited).sum()
    }

    fn give_up(&mut self, before: Instant) {
        let missing: u64 = self.objects.iter_mut().map(|objects| objects.give_up(before)).sum();
        (0..missing).for_each(|_| self.notes.wrong(MISSING, Instant::now()));
    }

    fn lost(&self) -> Option<String> {
        self.lost.clone()
    }
}
