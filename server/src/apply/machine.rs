//! The state machine: dispatches each proposal and keeps the books of a batch.

use std::sync::Arc;

use api::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, DeleteRangeRequest,
    LeaseGrantRequest, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, ResponseHeader, TxnRequest,
};
use api::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use bytes::{Bytes, BytesMut};
use engine::{Applied, Change, CompactError, Store};
use prost::Message;
use replication::{Leadership, Maintenance, MembershipChange, Position, Progress, Refused, StateMachine};

use super::answer::{Answer, Desk, damaged};
use super::{Errand, EventSink, Ticket, delete, lease, put, txn};
use crate::cluster::{self, Members, Membership};
use crate::grpc::{self, Code, Frame, Status};
use crate::kv::{Failure, Operation, Proposal};
use crate::lease::{ExpiredLease, Lessor};
use crate::loops::{CompletionBatch, Completions};
use crate::maintenance::{Hashes, StoreSizes};
use crate::metrics::{Executed, Metrics, Operations};
use crate::upkeep::Upkeep;

/// Arena for answers: a buffer made with room asks for as much again when that is used up, an empty one for every
/// answer anew. Small, because one frame that a slow client does not take keeps its whole chunk alive.
const ARENA_CHUNK: usize = 4 << 10;

/// A list of changes longer than this is not kept for the next batch.
const MOST_KEPT_CHANGES: usize = 4096;

/// Called once with the reason when storage is damaged. In a server it doesn't return.
pub type FailStop = Arc<dyn Fn(&dyn std::error::Error) + Send + Sync>;

/// What a machine is made of besides its store.
pub struct Parts {
    /// The cluster's id, for headers.
    pub cluster_id: u64,
    /// This member's id.
    pub member_id: u64,
    /// Where answers go.
    pub completions: Completions,
    /// Where changes go.
    pub events: Box<dyn EventSink>,
    /// Counts leases down.
    pub lessor: Arc<Lessor>,
    /// Where everybody finds the membership.
    pub members: Members,
    /// Hashes made at compactions, for `HashKV`.
    pub hashes: Arc<Hashes>,
    /// Where everybody finds how large the store is.
    pub sizes: Arc<StoreSizes>,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// What is done between batches; nothing that is applied depends on it.
    pub upkeep: Upkeep,
    /// What to do when storage is damaged.
    pub fail_stop: FailStop,
}

/// A member's replicated state.
pub struct Machine {
    store: Store,
    header: ResponseHeader,
    events: Box<dyn EventSink>,
    lessor: Arc<Lessor>,
    members: Members,
    membership_changed: bool,
    hashes: Arc<Hashes>,
    sizes: Arc<StoreSizes>,
    metrics: Arc<Metrics>,
    /// By the requests of this batch.
    executed: Executed,
    upkeep: Upkeep,
    completions: Completions,
    answers: CompletionBatch,
    buffer: BytesMut,
    changes: Vec<Change>,
    /// Callers that wait for the physical end of compaction.
    compacting: Vec<Ticket>,
    leadership: Leadership,
    /// Becomes the lessor's primary with the first entry of this term.
    promotion: Option<u64>,
    fail_stop: FailStop,
    failed: bool,
}

impl Machine {
    /// Takes over a store. Reads leases and members, but no keys.
    pub fn new(store: Store, parts: Parts) -> Result<Machine, engine::Error> {
        lease::load(&store, &parts.lessor)?;
        parts.members.set(Membership::load(store.contents())?);
        parts.sizes.set(store.sizes());
        let header = ResponseHeader {
            cluster_id: parts.cluster_id,
            member_id: parts.member_id,
            revision: 0,
            raft_term: store.applied().term,
        };
        Ok(Machine {
            upkeep: parts.upkeep,
            store,
            header,
            events: parts.events,
            lessor: parts.lessor,
            members: parts.members,
            membership_changed: false,
            hashes: parts.hashes,
            sizes: parts.sizes,
            metrics: parts.metrics,
            executed: Executed::default(),
            answers: parts.completions.batch(),
            completions: parts.completions,
            buffer: BytesMut::with_capacity(ARENA_CHUNK),
            changes: Vec::new(),
            compacting: Vec::new(),
            leadership: Leadership::default(),
            promotion: None,
            fail_stop: parts.fail_stop,
            failed: false,
        })
    }

    /// What the machine works on, for tests and for closing.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn execute(
        &mut self,
        at: Position,
        proposal: &Proposal,
        ticket: Option<Ticket>,
    ) -> Result<Answer, Failure> {
        let wanted = matches!(ticket, Some(Ticket::Call(_)));
        let mut desk = Desk { buffer: &mut self.buffer, header: self.header, wanted };
        let body = proposal.body.clone();
        match proposal.operation {
            Operation::Put => {
                let request = decode::<PutRequest>(body)?;
                let mut counted = Operations::default();
                let checked = put::check(self.store.contents(), &request, &mut counted);
                if checked.is_err() {
                    self.executed.add(counted);
                }
                checked?;
                let mut write = self.store.begin();
                let header = desk.header;
                let answer =
                    desk.build(|out| put::execute(&mut write, &request, header, &mut counted, out))?;
                write.finish_into(&mut self.changes)?;
                self.executed.add(counted);
                Ok(answer)
            }
            Operation::DeleteRange => {
                let request = decode::<DeleteRangeRequest>(body)?;
                let mut write = self.store.begin();
                let header = desk.header;
                let mut counted = Operations::default();
                let answer =
                    desk.build(|out| delete::execute(&mut write, &request, header, &mut counted, out))?;
                write.finish_into(&mut self.changes)?;
                self.executed.add(counted);
                Ok(answer)
            }
            Operation::Txn => {
                let request = decode::<TxnRequest>(body)?;
                let write = self.store.begin();
                txn::execute(write, &request, &mut desk, &mut self.executed, &mut self.changes)
            }
            Operation::Compaction => self.compact(&decode(body)?, wanted),
            Operation::LeaseGrant => {
                let request = decode::<LeaseGrantRequest>(body)?;
                lease::grant(&mut self.store, &self.lessor, &self.metrics, &request, &mut desk)
            }
            Operation::LeaseRevoke => {
                let request = decode::<LeaseRevokeRequest>(body)?;
                self.revoke(request.id)?;
                let header = Some(ResponseHeader { revision: self.store.revision(), ..self.header });
                let mut desk = Desk { buffer: &mut self.buffer, header: self.header, wanted };
                Ok(desk.message(&LeaseRevokeResponse { header }))
            }
            Operation::LeaseExpire => {
                let expired = decode::<ExpiredLease>(body)?;
                // A leader of the past may have found it expired; in this term somebody else counts.
                if expired.term == at.term {
                    self.revoke(expired.id)?;
                    if ticket.is_some() {
                        self.metrics.debugging_server_lease_expired_total.inc();
                    }
                }
                Ok(Answer::Done(None))
            }
            Operation::Alarm => {
                // No alarm can be raised yet, so whichever is asked for isn't there.
                decode::<AlarmRequest>(body)?;
                let header = Some(desk.header(self.store.revision()));
                Ok(desk.message(&AlarmResponse { header, alarms: Vec::new() }))
            }
            Operation::ClusterVersionSet => {
                let request = decode::<ClusterVersionSetRequest>(body)?;
                cluster::store_version(&mut self.store, &request.ver)?;
                self.membership_changed = true;
                Ok(Answer::Done(None))
            }
            Operation::ClusterMemberAttrSet => {
                let request = decode::<ClusterMemberAttrSetRequest>(body)?;
                let attributes = request.member_attributes.unwrap_or_default();
                let (name, urls) = (attributes.name, attributes.client_urls);
                cluster::store_attributes(&mut self.store, request.member_id, name, urls)?;
                self.membership_changed = true;
                Ok(Answer::Done(None))
            }
        }
    }

    fn revoke(&mut self, id: i64) -> Result<(), Failure> {
        let mut counted = Operations::default();
        lease::revoke(&mut self.store, &self.lessor, id, &mut counted, &mut self.changes)?;
        self.executed.add(counted);
        self.metrics.debugging_lease_revoked_total.inc();
        Ok(())
    }

    fn compact(&mut self, request: &CompactionRequest, wanted: bool) -> Result<Answer, Failure> {
        let revision = request.revision;
        let allowed = self.store.compact_revision() < revision && revision <= self.store.revision();
        if allowed {
            // The hash is made over the history as it is before; requests applied earlier in this batch are part
            // of it. Showing them to readers before their callers are answered breaks no promise.
            self.store.publish();
            self.upkeep.hash(self.store.reader(), revision, self.hashes.clone());
        }
        self.store.compact(revision).map_err(|error| match error {
            CompactError::Compacted => grpc::COMPACTED,
            CompactError::Future => grpc::FUTURE_REV,
        })?;
        // etcd reads a key, any key, to learn the revision.
        self.executed.add(Operations { ranges: 1, ..Operations::default() });
        if request.physical && wanted {
            return Ok(Answer::AfterCompaction);
        }
        Ok(Answer::Done(wanted.then(|| self.compaction_response())))
    }

    fn compaction_response(&mut self) -> Frame {
        let header = ResponseHeader { revision: self.store.revision(), ..self.header };
        Frame::encode(&CompactionResponse { header: Some(header) }, &mut self.buffer)
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<Frame, Status>) {
        match ticket {
            Ticket::Call(id) => self.answers.push(id, answer),
            Ticket::Errand(errand) => self.errand_settled(errand),
        }
    }

    fn errand_settled(&mut self, errand: Errand) {
        if errand == Errand::ExpireLease {
            self.lessor.settled();
        }
    }

    /// Storage is damaged: nothing may be applied or answered any more.
    fn fail(&mut self, error: &dyn std::error::Error) {
        if !self.failed {
            self.failed = true;
            tracing::error!(%error, "storage is damaged, stopping");
            (self.fail_stop)(error);
        }
    }

    fn advance(&mut self, at: Position) {
        self.store.set_applied(Applied { index: at.index, term: at.term });
        if self.promotion == Some(at.term) {
            self.promotion = None;
            self.lessor.promote(at.term);
        }
    }
}

impl StateMachine for Machine {
    type Ticket = Ticket;

    fn applied(&self) -> Position {
        let Applied { index, term } = self.store.applied();
        Position { index, term }
    }

    fn conf_state(&self) -> Vec<u8> {
        match cluster::conf_state(&self.store) {
            Ok(state) => state,
            Err(error) => {
                // Called once, at the start: without the membership there is nothing to go on with.
                (self.fail_stop)(&error);
                Vec::new()
            }
        }
    }

    fn apply(&mut self, at: Position, proposal: Bytes, ticket: Option<Ticket>) {
        if self.failed {
            return;
        }
        self.advance(at);
        let result = match Proposal::decode(proposal) {
            Ok(Some(proposal)) => self.execute(at, &proposal, ticket),
            Ok(None) => Err(unknown_proposal().into()),
            Err(_) => Err(undecodable().into()),
        };
        match (result, ticket) {
            (Err(Failure::Damaged(error)), ticket) => {
                if let Some(Ticket::Call(id)) = ticket {
                    self.answers.push(id, Err(damaged(&error)));
                }
                self.fail(&error);
            }
            (Err(Failure::Refused(status)), ticket) => {
                if status.code == Code::Internal {
                    tracing::error!(index = at.index, term = at.term, error = %status.message, "entry was not understood");
                }
                if let Some(ticket) = ticket {
                    self.answer(ticket, Err(status));
                }
            }
            (Ok(Answer::AfterCompaction), Some(ticket)) => self.compacting.push(ticket),
            (Ok(Answer::Done(Some(frame))), Some(ticket)) => self.answer(ticket, Ok(frame)),
            (Ok(Answer::Unsendable(status)), Some(ticket)) => self.answer(ticket, Err(status)),
            (Ok(_), Some(Ticket::Errand(errand))) => self.errand_settled(errand),
            (Ok(_), _) => {}
        }
    }

    fn admits(&self, change: &MembershipChange) -> bool {
        match cluster::admits(&self.store, change) {
            Ok(admitted) => admitted,
            Err(error) => {
                (self.fail_stop)(&error);
                false
            }
        }
    }

    fn apply_membership(
        &mut self,
        at: Position,
        change: MembershipChange,
        conf_state: Vec<u8>,
        ticket: Option<Ticket>,
    ) {
        if self.failed {
            return;
        }
        self.advance(at);
        let admitted = self.admits(&change);
        if let Err(error) = cluster::store_change(&mut self.store, &change, admitted, &conf_state) {
            return self.fail(&error);
        }
        self.membership_changed = true;
        if let Some(Ticket::Call(id)) = ticket {
            // No RPC proposes membership changes yet.
            self.answers
                .push(id, Err(Status::fixed(Code::Internal, "etcdserver: unexpected membership change")));
        }
    }

    fn applied_empty(&mut self, at: Position) {
        self.advance(at);
    }

    fn refused(&mut self, ticket: Ticket, why: Refused) {
        match ticket {
            // At once, and past the batch: a refusal may come alone, and what the batch holds isn't published yet.
            Ticket::Call(id) => self.completions.complete(id, Err(refusal(why))),
            Ticket::Errand(errand) => self.errand_settled(errand),
        }
    }

    fn leadership(&mut self, leadership: Leadership) {
        self.header.raft_term = leadership.term;
        if !leadership.is_leader {
            self.promotion = None;
            self.lessor.demote();
        } else if !self.leadership.is_leader || self.leadership.term != leadership.term {
            self.promotion = Some(leadership.term);
        }
        self.leadership = leadership;
    }

    fn end_batch(&mut self, _progress: Progress) {
        if self.failed {
            return;
        }
        self.store.publish();
        if self.membership_changed {
            self.membership_changed = false;
            match Membership::load(self.store.contents()) {
                Ok(membership) => self.members.set(membership),
                Err(error) => return self.fail(&error),
            }
        }
        if !self.changes.is_empty() {
            self.events.publish(&mut self.changes);
            self.changes.clear();
            self.changes.shrink_to(MOST_KEPT_CHANGES);
        }
        self.executed.report(&self.metrics);
        self.answers.flush();
    }

    fn maintain(&mut self) -> Maintenance {
        if self.failed {
            return Maintenance::default();
        }
        self.sizes.set(self.store.sizes());
        let maintenance = match self.upkeep.turn(&mut self.store) {
            Ok(maintenance) => maintenance,
            Err(error) => {
                self.fail(&error);
                return Maintenance::default();
            }
        };
        if !self.compacting.is_empty() && !self.store.compaction_pending() && !self.upkeep.is_hashing() {
            for ticket in std::mem::take(&mut self.compacting) {
                let frame = self.compaction_response();
                self.answer(ticket, Ok(frame));
            }
            self.answers.flush();
        }
        maintenance
    }

    fn is_full(&self) -> bool {
        self.upkeep.is_full(&self.store)
    }

    fn log_renewed(&mut self) {
        self.upkeep.log_renewed();
    }

    fn failed(&mut self, error: &replication::Error) {
        self.failed = true;
        tracing::error!(%error, "the log failed, stopping");
    }
}

fn decode<M: Message + Default>(body: Bytes) -> Result<M, Failure> {
    M::decode(body).map_err(|_| undecodable().into())
}

fn undecodable() -> Status {
    Status::fixed(Code::Internal, "etcdserver: the entry holds no proposal")
}

fn unknown_proposal() -> Status {
    Status::fixed(Code::Internal, "etcdserver: the proposal is of an unknown kind")
}

/// What a client is told about a proposal or a read that was not carried out.
pub(crate) fn refusal(why: Refused) -> Status {
    match why {
        Refused::NoLeader | Refused::NotLeader => grpc::NO_LEADER,
        Refused::TooLarge => grpc::REQUEST_TOO_LARGE,
        Refused::TooMany => grpc::REQUEST_TOO_MANY_REQUESTS,
        Refused::NoSpace => grpc::NO_SPACE,
        Refused::LogDamaged => grpc::LOG_DAMAGED,
        Refused::Overwritten | Refused::LeaderChanged => grpc::TIMEOUT_DUE_TO_LEADER_FAIL,
        Refused::Stopped => grpc::STOPPED,
    }
}
