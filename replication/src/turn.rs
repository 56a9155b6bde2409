//! One member at work, without clock and thread: everything gathered goes in, everything it leads to is done.

use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::Error;
use crate::batch::{BATCH_OVERHEAD, Batch, decode_change, encode_change};
use crate::boot::Log;
use crate::config::{Config, Limits};
use crate::inspect::Dropped;
use crate::ledger::{Flight, Ledger};
use crate::membership::MembershipChange;
use crate::node::{Node, NodeConfig};
use crate::queue::{Gathered, Packed, Queue, Worker};
use crate::reads::LocalReads;
use crate::ready::Output;
use crate::space::{self, Admits, Space};
use crate::state_machine::{Leadership, Position, Progress, Refused, StateMachine};
use crate::status::Status;
use crate::storage::Storage;
use crate::transport::{Entry, EntryKind, Message, Transport};
use crate::waiting_reads::WaitingReads;

/// What the driver should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for something to come in.
    Wait,
    /// There is more to do right now.
    Continue,
}

pub(crate) struct Turns<S: StateMachine> {
    id: u64,
    limits: Limits,
    space: Space,
    node: Node,
    storage: Storage,
    pub(crate) state: S,
    transport: Box<dyn Transport>,
    queue: Arc<Queue<S::Ticket>>,
    local_reads: Arc<LocalReads>,
    status: Status,
    ledger: Ledger<S::Ticket>,
    /// Proposals that came while there was no leader, with the tick of their coming.
    leaderless: VecDeque<(u64, Packed<S::Ticket>)>,
    /// Membership changes wait for the one before.
    changes: VecDeque<(u64, MembershipChange, S::Ticket)>,
    reads: WaitingReads,
    spare_tickets: Vec<Vec<S::Ticket>>,
    leadership: Leadership,
    applied: Position,
    tick: u64,
    /// Ticks after which a caller is told that there is no leader, or that its proposal may have got lost.
    patience: u64,
    /// Something was told to the state machine that `end_batch` has to follow.
    dirty: bool,
    upkeep_waits: bool,
    /// Nothing is taken until the log has begun anew.
    log_damaged: bool,
    /// Proposals refused here.
    failed: u64,
}

/// etcd's bound on a request: five seconds and two elections.
const PATIENCE_MILLIS: u128 = 5000;

impl<S: StateMachine> Turns<S> {
    pub(crate) fn new(
        config: &Config,
        log: Log,
        state: S,
        transport: Box<dyn Transport>,
        queue: Arc<Queue<S::Ticket>>,
        local_reads: Arc<LocalReads>,
        status: Status,
    ) -> Result<Turns<S>, Error> {
        let limits = config.limits.clone();
        let identity = log.identity;
        let tick_millis = config.tick.as_millis().max(1);
        let patience = PATIENCE_MILLIS.div_ceil(tick_millis) as u64 + 2 * config.election_ticks as u64;
        config.check()?;
        let node_config = NodeConfig {
            id: identity.member_id,
            election_ticks: config.election_ticks,
            seed: config.seed,
            // What the queue lets in is never refused by raft for its size.
            uncommitted_bytes: 2 * (limits.pending_bytes as u64) + (64 << 20),
            committed_bytes: limits.committed_bytes_per_turn,
        };
        let applied = state.applied();
        let replayed = log.replayed();
        let (restored, wal) = log.restore(&state)?;
        let node = Node::new(&node_config, restored)?;
        let mut turns = Turns {
            id: identity.member_id,
            space: Space::of_segment(config.wal.segment_bytes),
            node,
            storage: Storage::new(wal, config.append_bytes()),
            state,
            transport,
            queue,
            local_reads,
            status,
            ledger: Ledger::new(identity.member_id, config.seed),
            leaderless: VecDeque::new(),
            changes: VecDeque::new(),
            reads: WaitingReads::default(),
            spare_tickets: Vec::new(),
            leadership: Leadership::default(),
            applied,
            tick: 0,
            patience,
            dirty: false,
            upkeep_waits: false,
            log_damaged: false,
            failed: 0,
            limits,
        };
        turns.trim();
        turns.transport.members(&turns.node.membership().members());
        let cells = turns.status.cells();
        cells.member_id.store(identity.member_id, Ordering::Relaxed);
        cells.cluster_id.store(identity.cluster_id, Ordering::Relaxed);
        let is_learner = turns.node.membership().learners.contains(&identity.member_id);
        cells.is_learner.store(is_learner, Ordering::Release);
        cells.proposals_applied.store(replayed, Ordering::Relaxed);
        turns.tell_status();
        *turns.status.wal_cell() = Some(turns.storage.stats());
        Ok(turns)
    }

    fn carry(&mut self, gathered: &mut Gathered<S::Ticket>) -> Result<(), Error> {
        for message in gathered.messages.drain(..) {
            self.step(message)?;
        }
        for member in gathered.unreachable.drain(..) {
            self.node.unreachable(member);
        }
        if let Some(to) = gathered.transfer_to.take() {
            self.node.transfer_leader(to);
        }
        self.reads.add(gathered.reads.drain(..), self.tick, self.limits.pending);
        gathered.spare_tickets.append(&mut self.spare_tickets);
        let tick = self.tick;
        self.changes.extend(gathered.changes.drain(..).map(|(change, ticket)| (tick, change, ticket)));
        self.node.campaign_if_alone();
        self.propose_waiting()?;
        for packed in gathered.proposals.drain(..) {
            self.propose(packed)?;
        }
        self.propose_change()?;
        self.reads.begin(&mut self.node);
        self.work()?;
        if self.dirty {
            self.publish();
        }
        Ok(())
    }

    fn conclude(&mut self) -> Next {
        self.dirty = false;
        self.tell_status();
        self.reads.published(self.applied.index);
        let more = self.node.has_ready() || self.upkeep_waits || self.can_go_on();
        if more { Next::Continue } else { Next::Wait }
    }

    /// Whether something that could not be begun in this turn can be begun now.
    fn can_go_on(&self) -> bool {
        let waiting = !self.leaderless.is_empty()
            || self.reads.want_round()
            || (!self.changes.is_empty() && self.node.may_change_membership());
        (waiting && self.leadership.leader != 0) || self.node.could_campaign_alone()
    }

    fn on_tick(&mut self) -> Result<(), Error> {
        self.tick += 1;
        self.node.tick();
        self.storage.tick()?;
        self.note_space();
        *self.status.wal_cell() = Some(self.storage.stats());
        let before = self.tick.saturating_sub(self.patience);
        self.reads.expire(before);
        for flight in self.ledger.expired(self.tick) {
            self.refuse(flight, Refused::LeaderChanged);
        }
        while self.leaderless.front().is_some_and(|(came, _)| *came < before) {
            let (_, packed) = self.leaderless.pop_front().expect("looked at just now");
            self.refuse_all(packed.tickets, packed.bytes, Refused::NoLeader);
        }
        while self.leadership.leader == 0 && self.changes.front().is_some_and(|(came, ..)| *came < before) {
            let (_, change, ticket) = self.changes.pop_front().expect("looked at just now");
            self.refuse_one(ticket, change.context.len(), Refused::NoLeader);
        }
        Ok(())
    }

    fn step(&mut self, message: Message) -> Result<(), Error> {
        let (kind, from) = (message.kind, message.from);
        // As if it had got lost: whoever sent it sends it again.
        let bytes = message.entries.iter().map(|entry| entry.data.len() + BATCH_OVERHEAD).sum();
        let stepped = match bytes > 0 {
            true if self.log_damaged => Err(Dropped::LogDamaged),
            true if !self.takes(bytes)? => Err(Dropped::NoSpace),
            _ => self.node.step(message),
        };
        if let Err(why) = stepped {
            self.status.cells().messages_dropped.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(?kind, from = format_args!("{from:x}"), %why, "message of a peer dropped");
        }
        Ok(())
    }

    fn takes(&mut self, bytes: usize) -> Result<bool, Error> {
        self.space.takes(&mut self.storage, space::held(&self.node), bytes)
    }

    /// What came while there was no leader, as much of it as belongs into one turn.
    fn propose_waiting(&mut self) -> Result<(), Error> {
        if self.node.leadership().leader == 0 {
            return Ok(());
        }
        let mut bytes = 0;
        while let Some((_, packed)) = self.leaderless.pop_front_if(|(_, packed)| {
            let first = bytes == 0;
            bytes += packed.batch.size();
            first || bytes <= self.limits.batch_bytes
        }) {
            self.propose_now(packed)?;
        }
        Ok(())
    }

    fn propose(&mut self, packed: Packed<S::Ticket>) -> Result<(), Error> {
        if self.node.leadership().leader == 0 || !self.leaderless.is_empty() {
            self.leaderless.push_back((self.tick, packed));
            return Ok(());
        }
        self.propose_now(packed)
    }

    /// As one entry.
    fn propose_now(&mut self, packed: Packed<S::Ticket>) -> Result<(), Error> {
        let Some(packed) = self.admit(packed)? else { return Ok(()) };
        let Packed { batch, tickets, bytes, .. } = packed;
        let id = self.ledger.next_id();
        match self.node.propose(batch.finish(id)) {
            Ok(placed) => self.ledger.sent(id, placed, tickets, bytes, self.tick + self.patience),
            Err(why) => self.refuse_all(tickets, bytes, why),
        }
        Ok(())
    }

    /// What of it the log has room for.
    fn admit(&mut self, packed: Packed<S::Ticket>) -> Result<Option<Packed<S::Ticket>>, Error> {
        if self.log_damaged {
            self.refuse_all(packed.tickets, packed.bytes, Refused::LogDamaged);
            return Ok(None);
        }
        let held = space::held(&self.node);
        match self.space.admits(&mut self.storage, held, packed.batch.size())? {
            Admits::Everything => return Ok(Some(packed)),
            Admits::WhatFrees => {
                let (kept, gone, bytes) = space::without_needs(packed);
                self.refuse_all(gone, bytes, Refused::NoSpace);
                self.note_space();
                return Ok(kept);
            }
            Admits::Nothing => self.refuse_all(packed.tickets, packed.bytes, Refused::NoSpace),
        }
        self.note_space();
        Ok(None)
    }

    /// From here on callers are refused at once, or let in again.
    fn note_space(&mut self) {
        let tight = self.space.look(&self.storage);
        if tight != self.queue.is_tight() {
            self.queue.set_tight(tight);
            match tight {
                true => tracing::warn!(
                    cause = self.storage.why_no_room().as_deref().unwrap_or("it is being tried again"),
                    "no space left for the log: only what frees space is taken"
                ),
                false => tracing::info!("there is space for the log again"),
            }
        }
    }

    fn propose_change(&mut self) -> Result<(), Error> {
        if self.changes.is_empty() || self.leadership_now() == 0 || !self.node.may_change_membership() {
            return Ok(());
        }
        let Some((_, change, ticket)) = self.changes.pop_front() else { return Ok(()) };
        let id = self.ledger.next_id();
        let bytes = change.context.len();
        if self.log_damaged {
            self.refuse_one(ticket, bytes, Refused::LogDamaged);
            return Ok(());
        }
        if !self.takes(bytes + BATCH_OVERHEAD)? {
            self.refuse_one(ticket, bytes, Refused::NoSpace);
            return Ok(());
        }
        match self.node.propose_membership(encode_change(id, &change)) {
            Ok(placed) => self.ledger.sent(id, placed, vec![ticket], bytes, self.tick + self.patience),
            Err(why) => self.refuse_one(ticket, bytes, why),
        }
        Ok(())
    }

    fn leadership_now(&self) -> u64 {
        self.node.leadership().leader
    }

    /// Carries out what the node wants until there is nothing, or until enough was applied for one turn.
    fn work(&mut self) -> Result<(), Error> {
        let mut applied_bytes = 0;
        while let Some(output) = self.node.ready() {
            applied_bytes += self.carry_out(output)?;
            self.node.campaign_if_alone();
            if applied_bytes >= self.limits.committed_bytes_per_turn {
                break;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> Result<u64, Error> {
        if let Some(leadership) = output.leadership {
            self.tell_leadership(leadership);
        }
        if !output.send.is_empty() {
            self.transport.send(output.send);
        }
        self.storage.persist(output.persist)?;
        self.node.persisted(output.number);
        if !output.send_after.is_empty() {
            self.transport.send(output.send_after);
        }
        let mut bytes = 0;
        for entry in output.committed {
            bytes += entry.data.len() as u64;
            self.apply(entry)?;
        }
        self.node.applied(self.applied.index);
        for outcome in output.reads {
            self.reads.ended(outcome);
        }
        Ok(bytes)
    }

    fn tell_leadership(&mut self, leadership: Leadership) {
        if !leadership.is_leader {
            self.local_reads.permit(false);
        }
        if leadership.leader != 0 && leadership.leader != self.leadership.leader {
            self.status.cells().leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        self.leadership = leadership;
        self.state.leadership(leadership);
        self.dirty = true;
    }

    fn apply(&mut self, entry: Entry) -> Result<(), Error> {
        let at = Position { index: entry.index, term: entry.term };
        assert_eq!(at.index, self.applied.index + 1, "entries are applied one after the other");
        match entry.kind {
            EntryKind::Proposals if entry.data.is_empty() => self.state.applied_empty(at),
            EntryKind::Proposals => self.apply_proposals(at, entry.data)?,
            EntryKind::Membership => self.apply_change(at, entry.data)?,
        }
        self.applied = at;
        self.dirty = true;
        for flight in self.ledger.overwritten(at) {
            self.refuse(flight, Refused::Overwritten);
        }
        Ok(())
    }

    fn apply_proposals(&mut self, at: Position, data: Bytes) -> Result<(), Error> {
        let batch = Batch::decode(data)?;
        let count = batch.len();
        match self.ledger.arrived(batch.id) {
            Some(Flight { mut tickets, bytes, .. }) => {
                assert_eq!(tickets.len(), count, "a batch comes back as it was made");
                batch
                    .zip(tickets.drain(..))
                    .for_each(|(proposal, ticket)| self.state.apply(at, proposal, Some(ticket)));
                self.queue.release(count, bytes);
                if self.spare_tickets.len() < 4 {
                    self.spare_tickets.push(tickets);
                }
            }
            None => batch.for_each(|proposal| self.state.apply(at, proposal, None)),
        }
        self.status.cells().proposals_applied.fetch_add(count as u64, Ordering::Relaxed);
        Ok(())
    }

    fn apply_change(&mut self, at: Position, data: Bytes) -> Result<(), Error> {
        let (id, change) = decode_change(data)?;
        // From here on somebody else may have a say.
        self.local_reads.permit(false);
        let admitted = self.state.admits(&change);
        let membership = if admitted {
            self.node.apply_membership(&change).clone()
        } else {
            self.node.membership().clone()
        };
        self.transport.members(&membership.members());
        let ticket = self.ledger.arrived(id).and_then(|mut flight| {
            self.queue.release(flight.tickets.len(), flight.bytes);
            flight.tickets.pop()
        });
        self.state.apply_membership(at, change, membership.encode(), ticket);
        self.status.cells().proposals_applied.fetch_add(1, Ordering::Relaxed);
        self.status.cells().is_learner.store(membership.learners.contains(&self.id), Ordering::Release);
        Ok(())
    }

    fn refuse(&mut self, flight: Flight<S::Ticket>, why: Refused) {
        self.refuse_all(flight.tickets, flight.bytes, why);
    }

    fn refuse_all(&mut self, tickets: Vec<S::Ticket>, bytes: usize, why: Refused) {
        self.dirty = true;
        self.queue.release(tickets.len(), bytes);
        self.failed += tickets.len() as u64;
        tickets.into_iter().for_each(|ticket| self.state.refused(ticket, why));
    }

    fn refuse_one(&mut self, ticket: S::Ticket, bytes: usize, why: Refused) {
        self.dirty = true;
        self.queue.release(1, bytes);
        self.failed += 1;
        self.state.refused(ticket, why);
    }

    /// First the state becomes visible, then callers and readers hear of it.
    fn publish(&mut self) {
        let progress =
            Progress { commit: self.node.commit(), applied: self.applied.index, term: self.node.term() };
        self.state.end_batch(progress);
        self.local_reads.permit(self.node.is_sole_voter() && self.node.applied_in_term());
        self.status.cells().applied.store(self.applied.index, Ordering::Release);
    }

    fn maintain(&mut self) -> Result<(), Error> {
        let maintenance = self.state.maintain();
        self.upkeep_waits = maintenance.again_soon;
        self.log_damaged = maintenance.log_damaged;
        if let Some(index) = maintenance.release_before {
            self.storage.release_before(index.min(self.applied.index + 1))?;
            if self.log_damaged && index > self.storage.last_index() {
                self.renew_log()?;
            }
        }
        self.trim();
        Ok(())
    }

    /// Every entry is in the stored state. Without space for a segment the next turn tries again.
    fn renew_log(&mut self) -> Result<(), Error> {
        if self.storage.release_all()? {
            self.log_damaged = false;
            self.state.log_renewed();
        }
        Ok(())
    }

    /// The entries kept in memory are for members that lag. Alone, there are none.
    fn trim(&mut self) {
        if self.node.is_alone() {
            self.node.keep_applied(0, 0);
        } else {
            self.node.keep_applied(self.limits.catch_up_entries, self.limits.catch_up_bytes);
        }
    }

    fn tell_status(&mut self) {
        let cells = self.status.cells();
        cells.term.store(self.node.term(), Ordering::Release);
        cells.leader.store(self.leadership.leader, Ordering::Release);
        cells.commit.store(self.node.commit(), Ordering::Release);
        cells.applied.store(self.applied.index, Ordering::Release);
        cells.applied_term.store(self.applied.term, Ordering::Release);
        cells.proposals_pending.store(self.queue.pending() as u64, Ordering::Relaxed);
        cells.proposals_failed.store(self.failed + self.queue.turned_away(), Ordering::Relaxed);
        cells.reads_pending.store(self.reads.len() as u64, Ordering::Relaxed);
    }
}

impl<S: StateMachine> Worker<S::Ticket> for Turns<S> {
    fn turn(&mut self, gathered: &mut Gathered<S::Ticket>, ticked: bool) -> Result<Next, Error> {
        if ticked {
            self.on_tick()?;
        }
        self.carry(gathered)?;
        if ticked || self.dirty || self.upkeep_waits {
            self.maintain()?;
        }
        Ok(self.conclude())
    }

    fn turn_alone(&mut self, gathered: &mut Gathered<S::Ticket>) -> Result<Next, Error> {
        self.carry(gathered)?;
        self.status.cells().turns_by_callers.fetch_add(1, Ordering::Relaxed);
        Ok(self.conclude())
    }

    fn may_turn_alone(&self, bytes: usize) -> bool {
        // What waits for a leader or for its turn would go to the log as well.
        self.leaderless.is_empty()
            && self.changes.is_empty()
            && self.space.has_room(&self.storage, space::held(&self.node), bytes)
    }

    fn is_settled(&self) -> bool {
        !self.node.has_ready() && !self.can_go_on()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.local_reads.permit(false);
        for flight in self.ledger.drain() {
            self.refuse(flight, Refused::Stopped);
        }
        for (_, packed) in mem::take(&mut self.leaderless) {
            self.refuse_all(packed.tickets, packed.bytes, Refused::Stopped);
        }
        for (_, change, ticket) in mem::take(&mut self.changes) {
            self.refuse_one(ticket, change.context.len(), Refused::Stopped);
        }
        if self.dirty {
            let progress =
                Progress { commit: self.node.commit(), applied: self.applied.index, term: self.node.term() };
            self.state.end_batch(progress);
            self.dirty = false;
        }
        self.reads.refuse_all(Refused::Stopped);
        self.tell_status();
        self.storage.seal()?;
        *self.status.wal_cell() = Some(self.storage.stats());
        Ok(())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn fail(&mut self, error: &Error) {
        self.local_reads.permit(false);
        tracing::error!(%error, "storage failed; this member stops");
        self.state.failed(error);
    }
}
