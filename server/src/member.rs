//! What every service of a member shares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::etcdserverpb::ResponseHeader;
use bytes::Buf;
use engine::Reader;
use replication::{Proposer, ReadGate, Reads, Refused, Room};

use crate::apply::{FailStop, Ticket, damaged, refusal};
use crate::cluster::Members;
use crate::grpc::{self, Call, CallId, Outcome, Status};
use crate::kv::{Failure, Operation, Proposal, RequestIds};
use crate::lease::Lessor;
use crate::loops::{Completions, LoopInbox};
use crate::maintenance::{Hashes, StoreSizes};
use crate::metrics::Metrics;
use crate::upkeep::{Defragments, Demand, Gauge};
use crate::watch::Hub;

/// A proposal is refused while more entries than this are agreed and not yet applied.
const MOST_UNAPPLIED_ENTRIES: u64 = 5000;

/// Bounds on what clients may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// `--max-request-bytes`, of the encoded proposal.
    pub max_request_bytes: usize,
    /// `--max-txn-ops`.
    pub max_txn_ops: usize,
    /// How long a proposal or a read may take: 5 s and two election timeouts.
    pub request_timeout: Duration,
    /// Shortest time to live that is granted, in seconds: one and a half election timeouts, rounded up.
    pub min_lease_ttl: i64,
}

impl RequestLimits {
    /// etcd's values for an election timeout.
    pub fn new(max_request_bytes: usize, max_txn_ops: usize, election_timeout: Duration) -> RequestLimits {
        let half_more = election_timeout + election_timeout / 2;
        let whole = half_more.as_secs() + u64::from(half_more.subsec_nanos() > 0);
        RequestLimits {
            max_request_bytes,
            max_txn_ops,
            request_timeout: Duration::from_secs(5) + 2 * election_timeout,
            min_lease_ttl: whole.cast_signed(),
        }
    }
}

/// What a member's services work with.
pub struct Shared {
    /// The cluster's id.
    pub cluster_id: u64,
    /// This member's id.
    pub member_id: u64,
    /// Bounds on requests.
    pub limits: RequestLimits,
    /// Numbers for proposals and leases.
    pub ids: RequestIds,
    /// Published views.
    pub reader: Reader,
    /// The way into the log.
    pub proposer: Proposer<Ticket>,
    /// Linearizable reads.
    pub reads: Reads,
    /// The driver's state.
    pub status: replication::Status,
    /// Leases.
    pub lessor: Arc<Lessor>,
    /// The membership.
    pub members: Members,
    /// Hashes made at compactions.
    pub hashes: Arc<Hashes>,
    /// How large the store is.
    pub sizes: Arc<StoreSizes>,
    /// `--quota-backend-bytes`.
    pub quota_bytes: i64,
    /// How full memory is.
    pub memory: Arc<Gauge>,
    /// The way to have the engine's file defragmented.
    pub defragments: Arc<Defragments>,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// Watchers.
    pub hub: Arc<Hub>,
    /// The way back to a call.
    pub completions: Completions,
    /// The way to a loop.
    pub inbox: LoopInbox,
    /// What to do when storage is damaged.
    pub fail_stop: FailStop,
}

impl Shared {
    /// A header at a revision.
    pub(crate) fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision,
            raft_term: self.status.term(),
        }
    }

    /// A header at the newest revision.
    pub(crate) fn header_now(&self) -> ResponseHeader {
        self.header(self.reader.view().revision())
    }

    /// What a caller is told. Damaged storage ends the member.
    pub(crate) fn status_of(&self, failure: Failure) -> Status {
        match failure {
            Failure::Refused(status) => status,
            Failure::Damaged(error) => {
                (self.fail_stop)(&error);
                damaged(&error)
            }
        }
    }

    /// Sends a request through the log.
    pub(crate) fn propose(&self, call: Call<'_>, operation: Operation, request: &[u8]) -> Outcome {
        self.propose_with(call, operation, request, operation.room())
    }

    /// As `propose`, where the operation alone doesn't say what room it needs.
    pub(crate) fn propose_with(
        &self,
        call: Call<'_>,
        operation: Operation,
        request: &[u8],
        room: Room,
    ) -> Outcome {
        if self.status.commit() > self.status.applied() + MOST_UNAPPLIED_ENTRIES {
            return grpc::REQUEST_TOO_MANY_REQUESTS.into();
        }
        // What was applied waits in memory to be written to the engine's file. etcd says the same when its members apply
        // slower than they agree, and clients know to slow down.
        if self.memory.refuses(demand(room)) {
            self.metrics.refused_for_memory_total.inc();
            return grpc::REQUEST_TOO_MANY_REQUESTS.into();
        }
        let proposal = Proposal::wrap(self.ids.next(), operation, request);
        if proposal.remaining() > self.limits.max_request_bytes {
            return grpc::REQUEST_TOO_LARGE.into();
        }
        let ticket = Ticket::Call(call.id);
        // What frees space is followed by upkeep, which is the driver's.
        let proposed = match call.alone && room == Room::Needs {
            true => self.proposer.propose_alone(proposal, ticket, room),
            false => self.proposer.propose(proposal, ticket, room),
        };
        match proposed {
            Ok(()) => self.pending(),
            Err(rejected) => refusal(rejected.why).into(),
        }
    }

    /// The answer comes later.
    pub(crate) fn pending(&self) -> Outcome {
        Outcome::Pending { limit: self.limits.request_timeout, late: grpc::TIMEOUT }
    }

    /// Gates a linearizable read of a call: `None` if it may run now; else it is run on its loop later.
    pub(crate) fn park(&self, id: CallId, read: ParkedRead) -> Result<ParkedRead, Outcome> {
        match self.reads.read_index() {
            ReadGate::Now => Ok(read),
            ReadGate::Wait(waiter) => {
                let inbox = self.inbox.clone();
                waiter.then(move |result| {
                    let verdict = result.map(|_| ()).map_err(read_refusal);
                    inbox.post(id.loop_id(), Arc::new(Parked { id, read, verdict }));
                });
                Err(self.pending())
            }
        }
    }

    /// Gates a linearizable read of a stream; `wake` is called when there is a result.
    pub(crate) fn read_turn(&self, now: Instant, wake: impl FnOnce() + Send + 'static) -> ReadTurn {
        let result = Arc::new(Mutex::new(None));
        let turn = ReadTurn { result: result.clone(), deadline: now + self.limits.request_timeout };
        let set = move |verdict| *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        match self.reads.read_index() {
            ReadGate::Now => set(Ok(())),
            ReadGate::Wait(waiter) => waiter.then(move |verdict| {
                set(verdict.map(|_| ()).map_err(read_refusal));
                wake();
            }),
        }
        turn
    }
}

/// What needs room in the log takes memory too.
fn demand(room: Room) -> Demand {
    match room {
        Room::Needs => Demand::Takes,
        Room::Frees => Demand::Frees,
    }
}

/// A read that failed for lack of a leader may be tried again anywhere.
pub(crate) fn read_refusal(why: Refused) -> Status {
    match why {
        Refused::LeaderChanged | Refused::Overwritten => grpc::LEADER_CHANGED,
        why => refusal(why),
    }
}

/// A linearizable read of a unary call that waits for its turn.
#[derive(Debug)]
pub(crate) enum ParkedRead {
    Range(api::etcdserverpb::RangeRequest),
    Txn(api::etcdserverpb::TxnRequest),
    Members,
}

/// The read and its verdict on the way to the loop of the call.
pub(crate) struct Parked {
    pub(crate) id: CallId,
    pub(crate) read: ParkedRead,
    pub(crate) verdict: Result<(), Status>,
}

/// A linearizable read of a stream that waits for its turn.
pub(crate) struct ReadTurn {
    result: Arc<Mutex<Option<Result<(), Status>>>>,
    deadline: Instant,
}

impl ReadTurn {
    /// `None` while it isn't known and the time isn't up.
    pub(crate) fn result(&self, now: Instant) -> Option<Result<(), Status>> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).clone();
        result.or_else(|| (now >= self.deadline).then_some(Err(grpc::TIMEOUT)))
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}
