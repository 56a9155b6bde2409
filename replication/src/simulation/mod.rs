//! A whole cluster of nodes in one thread: messages in memory, disks that a crash cuts back to what was durable, and a
//! scheduler that decides everything from one seed.
//!
//! After every step the checks in `Checks` hold, or the step returns what is wrong; tests decide whether that is
//! what they want to see.

mod canaries;
mod hostile;
mod scenarios;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::batch::{Batch, BatchWriter, decode_change, encode_change};
use crate::boot::bootstrap_entries;
use crate::config::InitialMember;
use crate::ledger::Ledger;
use crate::membership::{Membership, MembershipChange, MembershipKind};
use crate::node::{Node, NodeConfig, Restored};
use crate::ready::{HardState, Output, Persist};
use crate::state_machine::{Leadership, Position, Refused};
use crate::transport::{Entry, EntryKind, Message, MessageKind};

type Found = Result<(), String>;

macro_rules! check {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    entries: Vec<Entry>,
    hard_state: HardState,
    /// The state machine as last stored: everything applied up to there, and the membership.
    applied: Position,
    membership: Membership,
}

impl Disk {
    fn write(&mut self, persist: &Persist) {
        if let Some(first) = persist.entries.first() {
            self.entries.truncate(first.index as usize - 1);
            assert_eq!(self.entries.len() as u64 + 1, first.index, "no gap");
            self.entries.extend(persist.entries.iter().cloned());
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
    }
}

struct Member {
    id: u64,
    disk: Disk,
    node: Option<Node>,
    ledger: Ledger<u64>,
    /// Taken from the node, not carried out.
    outputs: VecDeque<Output>,
    /// Called durable and not written: empty unless a fault is planted.
    unwritten: VecDeque<Persist>,
    applied: Position,
    ticks: u64,
    starts: u64,
    rounds: BTreeMap<u64, u64>,
    next_round: u64,
}

/// Faults that a test plants to see that the checks find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A batch is called durable when it only waits to be written.
    AckBeforeDurable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Applied(Position),
    Refused(Refused),
}

/// What must hold in every run.
#[derive(Default)]
struct Checks {
    /// What was applied at an index by whoever came first.
    chosen: BTreeMap<u64, Entry>,
    leaders: BTreeMap<u64, u64>,
    fates: BTreeMap<u64, Fate>,
    /// Highest index of which a caller knows that it is applied.
    acknowledged: u64,
    rounds_done: u64,
}

struct Cluster {
    rng: ChaCha8Rng,
    seed: u64,
    members: Vec<Member>,
    network: Vec<Message>,
    cut_off: BTreeSet<u64>,
    checks: Checks,
    planted: Planted,
    trace: u64,
}

impl Cluster {
    fn new(seed: u64, voters: u64) -> Cluster {
        let ids: Vec<u64> = (1..=voters).collect();
        let members: Vec<InitialMember> =
            ids.iter().map(|id| InitialMember { id: *id, context: Bytes::new() }).collect();
        let hard_state = HardState { term: 1, vote: 0, commit: voters };
        let disk = Disk { entries: bootstrap_entries(&members), hard_state, ..Disk::default() };
        let mut cluster = Cluster {
            rng: ChaCha8Rng::seed_from_u64(seed),
            seed,
            members: Vec::new(),
            network: Vec::new(),
            cut_off: BTreeSet::new(),
            checks: Checks::default(),
            planted: Planted::Nothing,
            trace: 0,
        };
        ids.into_iter().for_each(|id| cluster.add_member(id, disk.clone()));
        cluster
    }

    fn add_member(&mut self, id: u64, disk: Disk) {
        let member = Member {
            id,
            disk,
            node: None,
            ledger: Ledger::new(id, 0),
            outputs: VecDeque::new(),
            unwritten: VecDeque::new(),
            applied: Position::default(),
            ticks: 0,
            starts: 0,
            rounds: BTreeMap::new(),
            next_round: 0,
        };
        self.members.push(member);
        self.start(self.members.len() - 1);
    }

    fn start(&mut self, at: usize) {
        let seed = self.seed;
        let member = &mut self.members[at];
        member.starts += 1;
        let config = NodeConfig {
            id: member.id,
            election_ticks: 4,
            seed: (seed << 20) ^ (member.id << 10) ^ member.starts,
            uncommitted_bytes: 64 << 20,
            committed_bytes: 1000,
        };
        let restored = Restored {
            before: Position::default(),
            entries: member.disk.entries.clone(),
            hard_state: member.disk.hard_state,
            applied: member.disk.applied,
            membership: member.disk.membership.clone(),
        };
        member.applied = restored.applied;
        member.ledger = Ledger::new(member.id, config.seed);
        member.node = Some(Node::new(&config, restored).expect("what is on disk fits together"));
    }

    fn crash(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.node = None;
        member.outputs.clear();
        member.unwritten.clear();
        member.rounds.clear();
        for flight in member.ledger.drain() {
            for ticket in flight.tickets {
                self.checks.fates.insert(ticket, Fate::Refused(Refused::Stopped));
            }
        }
    }

    fn any(&mut self) -> usize {
        self.rng.random_range(0..self.members.len())
    }

    /// One step of the schedule: something happens to somebody.
    fn step(&mut self) -> Found {
        let at = self.any();
        let running = self.members[at].node.is_some();
        match self.rng.random_range(0..1000) {
            0..2 if running => self.crash(at),
            0..120 if !running => self.start(at),
            120..180 => self.tick(at),
            180..600 => self.deliver()?,
            600..760 => self.take_output(at),
            760..920 => self.carry_out(at)?,
            920..960 => self.propose(at),
            960..980 => self.read(at),
            980..982 => drop(self.cut_off.insert(self.members[at].id)),
            982..985 => self.cut_off.clear(),
            985..990 => self.store_state(at),
            990 if self.rng.random_ratio(1, 4) => (0..self.members.len()).for_each(|at| self.crash(at)),
            _ => {}
        }
        Ok(())
    }

    fn tick(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.ticks += 1;
        if let Some(node) = &mut member.node {
            node.tick();
            let expired = member.ledger.expired(member.ticks);
            self.settle_flights(expired, Refused::LeaderChanged);
        }
    }

    fn settle_flights(&mut self, flights: Vec<crate::ledger::Flight<u64>>, why: Refused) {
        for ticket in flights.into_iter().flat_map(|flight| flight.tickets) {
            self.checks.fates.insert(ticket, Fate::Refused(why));
        }
    }

    /// Some message, not the oldest; now and then it gets lost, or comes twice.
    fn deliver(&mut self) -> Found {
        if self.network.is_empty() {
            return Ok(());
        }
        let pick = self.rng.random_range(0..self.network.len());
        let message = self.network.swap_remove(pick);
        let luck = self.rng.random_range(0..100);
        // A transport keeps the order within a connection and repeats nothing; only what raft itself makes
        // good is repeated here.
        if luck < 3 && message.kind != MessageKind::Propose {
            self.network.push(message.clone());
        }
        let lost = luck >= 95 || self.cut_off.contains(&message.to) || self.cut_off.contains(&message.from);
        if lost {
            return Ok(());
        }
        self.hand_over(message)
    }

    fn hand_over(&mut self, message: Message) -> Found {
        self.note(message.kind as u64, message.to, message.index);
        let receiver = self.members.iter_mut().find(|member| member.id == message.to);
        let Some(node) = receiver.and_then(|member| member.node.as_mut()) else { return Ok(()) };
        let told = format!("{message:?}");
        match node.step(message) {
            Ok(()) => Ok(()),
            // Rightly dropped in an honest cluster: what came too late.
            Err(crate::Dropped::NotLeader | crate::Dropped::NotMember | crate::Dropped::OutOfPlace) => Ok(()),
            Err(why) => Err(format!("dropped an honest message ({why}): {told}")),
        }
    }

    fn take_output(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(node) = &mut member.node else { return };
        node.campaign_if_alone();
        if let Some(mut output) = node.ready() {
            self.network.append(&mut output.send);
            member.outputs.push_back(output);
        }
        // Messages that nobody takes are lost some time.
        let excess = self.network.len().saturating_sub(500);
        self.network.drain(..excess);
    }

    fn carry_out(&mut self, at: usize) -> Found {
        let member = &mut self.members[at];
        let Some(node) = &mut member.node else { return Ok(()) };
        let Some(output) = member.outputs.pop_front() else { return Ok(()) };
        let held_back = if self.planted == Planted::AckBeforeDurable { 20 } else { 0 };
        member.unwritten.push_back(output.persist);
        while member.unwritten.len() > held_back {
            let persist = member.unwritten.pop_front().expect("not empty");
            member.disk.write(&persist);
        }
        node.persisted(output.number);
        self.network.extend(output.send_after);
        if let Some(Leadership { term, leader, is_leader: true }) = output.leadership {
            let known = *self.checks.leaders.entry(term).or_insert(leader);
            check!(known == leader, "two leaders of term {term}: {known} and {leader}");
        }
        for entry in output.committed {
            self.apply(at, entry)?;
        }
        for outcome in output.reads {
            let member = &mut self.members[at];
            let Some(floor) = member.rounds.remove(&outcome.round) else {
                return Err(format!("round {} ended twice", outcome.round));
            };
            if let Ok(index) = outcome.index {
                check!(index >= floor, "stale read: index {index}, {floor} was acknowledged before");
                self.checks.rounds_done += 1;
            }
        }
        Ok(())
    }

    fn apply(&mut self, at: usize, entry: Entry) -> Found {
        self.note(100, at as u64, entry.index);
        let place = Position { index: entry.index, term: entry.term };
        let member = &mut self.members[at];
        check!(
            place.index == member.applied.index + 1 && place.term >= member.applied.term,
            "{} applies {place:?} after {:?}",
            member.id,
            member.applied
        );
        member.applied = place;
        let chosen = self.checks.chosen.entry(place.index).or_insert_with(|| entry.clone());
        check!(*chosen == entry, "{} applies {entry:?} where {chosen:?} was applied", member.id);
        let node = member.node.as_mut().expect("only a running node has outputs");
        let id = match entry.kind {
            EntryKind::Proposals if entry.data.is_empty() => None,
            EntryKind::Proposals => Some(Batch::decode(entry.data).expect("inspected").id),
            EntryKind::Membership => {
                let (id, change) = decode_change(entry.data).expect("inspected");
                node.apply_membership(&change);
                Some(id)
            }
        };
        node.applied(place.index);
        let flight = id.and_then(|id| member.ledger.arrived(id));
        for ticket in flight.into_iter().flat_map(|flight| flight.tickets) {
            let fate = self.checks.fates.insert(ticket, Fate::Applied(place));
            check!(fate == Some(Fate::Pending), "ticket {ticket} applied at {place:?} after {fate:?}");
            self.checks.acknowledged = self.checks.acknowledged.max(place.index);
        }
        let overwritten = member.ledger.overwritten(place);
        self.settle_flights(overwritten, Refused::Overwritten);
        Ok(())
    }

    /// One batch with one proposal, which is its ticket.
    fn propose(&mut self, at: usize) {
        let ticket = self.checks.fates.len() as u64;
        let member = &mut self.members[at];
        let Some(node) = &mut member.node else { return };
        let id = member.ledger.next_id();
        let mut batch = BatchWriter::with_capacity(64);
        batch.push(&ticket.to_le_bytes()[..]);
        let fate = match node.propose(batch.finish(id)) {
            Ok(placed) => {
                member.ledger.sent(id, placed, vec![ticket], 8, member.ticks + 40);
                Fate::Pending
            }
            Err(why) => Fate::Refused(why),
        };
        self.checks.fates.insert(ticket, fate);
    }

    fn propose_change(&mut self, at: usize, kind: MembershipKind, member_id: u64) -> u64 {
        let ticket = self.checks.fates.len() as u64;
        let member = &mut self.members[at];
        let node = member.node.as_mut().expect("running");
        let id = member.ledger.next_id();
        let change = MembershipChange { kind, member_id, context: Bytes::from_static(b"attributes") };
        let placed = node.propose_membership(encode_change(id, &change)).expect("there is a leader");
        member.ledger.sent(id, placed, vec![ticket], 8, member.ticks + 40);
        self.checks.fates.insert(ticket, Fate::Pending);
        ticket
    }

    fn read(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(node) = &mut member.node else { return };
        member.next_round += 1;
        member.rounds.insert(member.next_round, self.checks.acknowledged);
        node.read_round(member.next_round);
    }

    /// The state machine is stored as it is: replay will start here.
    fn store_state(&mut self, at: usize) {
        let member = &mut self.members[at];
        if let Some(node) = &member.node {
            member.disk.applied = member.applied;
            member.disk.membership = node.membership().clone();
        }
    }

    fn note(&mut self, what: u64, whom: u64, index: u64) {
        let step = what.wrapping_mul(31).wrapping_add(whom).wrapping_mul(31).wrapping_add(index);
        self.trace = self.trace.rotate_left(5) ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Everybody runs, nothing is lost any more, everything is carried out in order.
    fn calm(&mut self, steps: usize) -> Found {
        self.cut_off.clear();
        for at in 0..self.members.len() {
            if self.members[at].node.is_none() {
                self.start(at);
            }
        }
        for step in 0..steps {
            for at in 0..self.members.len() {
                if step % 10 == 0 {
                    self.tick(at);
                }
                loop {
                    self.take_output(at);
                    if self.members[at].outputs.is_empty() {
                        break;
                    }
                    self.carry_out(at)?;
                }
            }
            for message in std::mem::take(&mut self.network) {
                self.hand_over(message)?;
            }
        }
        Ok(())
    }

    fn leader(&self) -> Option<usize> {
        let leads = |member: &Member| member.node.as_ref().is_some_and(Node::is_leader);
        let newest = |member: &&Member| member.node.as_ref().map(Node::term);
        let leader = self.members.iter().filter(|member| leads(member)).max_by_key(newest)?.id;
        self.members.iter().position(|member| member.id == leader)
    }

    /// A random run, then calm, then what must hold at the end.
    fn run(&mut self, steps: usize) -> Found {
        for _ in 0..steps {
            self.step()?;
        }
        self.calm(400)?;
        let leader = self.leader().ok_or("no leader in calm weather")?;
        let last_before = self.members[leader].applied;
        self.propose(leader);
        self.calm(60)?;
        self.check_end(last_before)
    }

    fn check_end(&self, before: Position) -> Found {
        let applied = self.members[0].applied;
        check!(applied.index > before.index, "nothing is applied any more after {before:?}");
        for member in &self.members {
            check!(member.applied == applied, "{} is at {:?}, 1 at {applied:?}", member.id, member.applied);
            check!(member.ledger.is_empty(), "{} has tickets left", member.id);
        }
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for entry in
            self.checks.chosen.values().filter(|e| e.kind == EntryKind::Proposals && !e.data.is_empty())
        {
            for proposal in Batch::decode(entry.data.clone()).expect("inspected") {
                let ticket = u64::from_le_bytes(proposal[..].try_into().expect("eight bytes"));
                check!(seen.insert(ticket, entry.index).is_none(), "proposal {ticket} is applied twice");
            }
        }
        for (ticket, fate) in &self.checks.fates {
            let index = seen.get(ticket);
            match fate {
                Fate::Pending => return Err(format!("ticket {ticket} was never answered")),
                Fate::Refused(Refused::Overwritten | Refused::NoLeader | Refused::NotLeader) => {
                    check!(index.is_none(), "{ticket} is applied although refused: {fate:?}");
                }
                Fate::Refused(_) => {}
                Fate::Applied(place) => {
                    let held = self.members.iter().all(|m| m.disk.entries.len() as u64 >= place.index);
                    check!(held, "acknowledged entry {place:?} is not on every disk");
                }
            }
        }
        Ok(())
    }
}
