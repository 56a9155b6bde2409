//! Every RPC of a member, and where it goes.

use std::any::Any;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use api::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::apply::{Errand, EventSink, Ticket};
use crate::cluster::CLUSTER_VERSION;
use crate::grpc::{self, Call, Code, Method, Outcome, Services, Status, Stream, StreamWaker};
use crate::http::{HttpOutcome, HttpRequest};
use crate::kv::{Operation, Proposal, RangeStream};
use crate::lease::KeepAlive;
use crate::loops::LoopId;
use crate::maintenance::{HealthWatch, health_check};
use crate::member::{Parked, Shared};
use crate::watch::{EventBatch, Hub};

/// How often leases are looked at and the member's own entries are checked.
const ERRANDS: Duration = Duration::from_millis(500);

/// The same while the cluster doesn't know this member yet.
const STARTING: Duration = Duration::from_millis(2);

/// How long a member waits before it proposes something of its own again.
const ERRAND_RETRY: Duration = Duration::from_secs(5);

/// A member's services.
pub struct Member {
    shared: Arc<Shared>,
}

impl Member {
    /// Services over what they share.
    pub fn new(shared: Shared) -> Member {
        Member { shared: Arc::new(shared) }
    }

    /// Starts the thread that does what a member owes the cluster unasked: it tells its name and client URLs,
    /// settles the cluster version, and has expired leases revoked while it leads.
    pub fn start_errands(&self, attributes: Attributes) -> std::io::Result<Errands> {
        let shared = Arc::clone(&self.shared);
        let lessor = Arc::clone(&self.shared.lessor);
        let thread = thread::Builder::new()
            .name("graven-errands".into())
            .spawn(move || ErrandLoop { shared, attributes, announced: None, versioned: None }.run())?;
        Ok(Errands { lessor, thread: Some(thread) })
    }
}

/// The running errands; they end when this is dropped.
pub struct Errands {
    lessor: Arc<crate::lease::Lessor>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Errands {
    fn drop(&mut self) {
        self.lessor.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

struct ErrandLoop {
    shared: Arc<Shared>,
    attributes: Attributes,
    announced: Option<Instant>,
    versioned: Option<Instant>,
}

impl ErrandLoop {
    fn run(mut self) {
        let mut scan_at = self.shared.lessor.now();
        let mut limit = Duration::ZERO;
        while let Some(mut expired) = self.shared.lessor.wait(limit) {
            let now = self.shared.lessor.now();
            if now >= scan_at {
                scan_at = now + ERRANDS;
                expired.extend(self.shared.lessor.scan());
            }
            for lease in expired {
                self.propose(Operation::LeaseExpire, &lease.encode_to_vec(), Errand::ExpireLease);
            }
            let settled = self.introduce(now);
            limit = scan_at.saturating_duration_since(now);
            if !settled {
                // Nobody is let in before the member has introduced itself.
                limit = limit.min(STARTING);
            }
        }
    }

    /// Proposes what the cluster doesn't know of this member yet. True when it knows everything.
    fn introduce(&mut self, now: Instant) -> bool {
        let may = |last: Option<Instant>| last.is_none_or(|last| now >= last + ERRAND_RETRY);
        let membership = self.shared.members.get();
        let known = membership.member(self.shared.member_id).is_some_and(|member| {
            member.name == self.attributes.name && member.client_urls == self.attributes.client_urls
        });
        let versioned = membership.cluster_version.is_some();
        if self.shared.status.leader() == 0 {
            return known && versioned;
        }
        if !known && may(self.announced) {
            self.announced = Some(now);
            let request = ClusterMemberAttrSetRequest {
                member_id: self.shared.member_id,
                member_attributes: Some(self.attributes.clone()),
            };
            self.propose(Operation::ClusterMemberAttrSet, &request.encode_to_vec(), Errand::Announce);
        }
        if !versioned && self.shared.status.is_leader() && may(self.versioned) {
            self.versioned = Some(now);
            let request = ClusterVersionSetRequest { ver: CLUSTER_VERSION.to_string() };
            self.propose(Operation::ClusterVersionSet, &request.encode_to_vec(), Errand::ClusterVersion);
        }
        known && versioned
    }

    fn propose(&self, operation: Operation, request: &[u8], errand: Errand) {
        let proposal = Proposal::wrap(self.shared.ids.next(), operation, request);
        let ticket = Ticket::Errand(errand);
        if let Err(rejected) = self.shared.proposer.propose(proposal, ticket, operation.room()) {
            tracing::debug!(?errand, why = %rejected.why, "errand refused");
            if errand == Errand::ExpireLease {
                self.shared.lessor.settled();
            }
        }
    }
}

impl Member {
    /// What etcd's interceptors refuse before a handler sees the call.
    fn admit(&self, call: &Call<'_>) -> Result<(), Status> {
        let shared = &self.shared;
        let for_learners = matches!(
            call.method,
            Method::Range | Method::Status | Method::Snapshot | Method::HealthCheck | Method::HealthWatch
        );
        if shared.status.is_learner() && !for_learners {
            return Err(grpc::NOT_SUPPORTED_FOR_LEARNER);
        }
        call.metadata.client_api_version()?;
        if call.metadata.require_leader() && shared.status.leader() == 0 {
            return Err(grpc::NO_LEADER);
        }
        Ok(())
    }
}

impl Services for Member {
    fn settle(&self, here: bool) -> bool {
        self.shared.proposer.settle(here)
    }

    fn unary(&self, call: Call<'_>, request: Bytes) -> Outcome {
        if let Err(status) = self.admit(&call) {
            return status.into();
        }
        let member = &self.shared;
        match call.method {
            Method::Range => member.range(call, request),
            Method::Put => member.put(call, request),
            Method::DeleteRange => member.delete_range(call, request),
            Method::Txn => member.txn(call, request),
            Method::Compact => member.compact(call, request),
            Method::LeaseGrant => member.lease_grant(call, request),
            Method::LeaseRevoke => member.lease_revoke(call, request),
            Method::LeaseTimeToLive => member.lease_time_to_live(call, request),
            Method::LeaseLeases => member.lease_leases(call, request),
            Method::MemberList => member.member_list(call, request),
            Method::Alarm => member.alarm(call, request),
            Method::Status => member.maintenance_status(call, request),
            Method::Defragment => member.defragment(call, request),
            Method::Hash => member.hash(call, request),
            Method::HashKv => member.hash_kv(call, request),
            Method::HealthCheck => Outcome::Ready(health_check(request, call.buffer)),
            method => not_there_yet(method).into(),
        }
    }

    fn open_stream(&self, call: Call<'_>, waker: StreamWaker) -> Result<Box<dyn Stream>, Status> {
        self.admit(&call)?;
        match call.method {
            Method::Watch => self.shared.hub.open(&call, waker),
            Method::LeaseKeepAlive => {
                Ok(Box::new(KeepAlive::new(self.shared.clone(), call.metadata.clone(), waker)))
            }
            Method::RangeStream => {
                Ok(Box::new(RangeStream::new(self.shared.clone(), call.metadata.clone(), waker)))
            }
            Method::HealthWatch => Ok(Box::new(HealthWatch::default())),
            method => Err(not_there_yet(method)),
        }
    }

    fn http(&self, request: HttpRequest) -> HttpOutcome {
        self.shared.http(&request)
    }

    fn on_post(&self, id: LoopId, item: Arc<dyn Any + Send + Sync>) {
        let parked = match item.downcast::<Parked>() {
            Ok(parked) => parked,
            Err(other) => return self.shared.hub.on_post(id, other),
        };
        let answer = match &parked.verdict {
            Ok(()) => self.shared.answer_read(&parked.read, &mut BytesMut::new()),
            Err(status) => Err(status.clone()),
        };
        self.shared.completions.complete(parked.id, answer);
    }
}

/// An RPC whose service isn't part of this version.
fn not_there_yet(method: Method) -> Status {
    Status::new(Code::Unimplemented, format!("etcdserver: {} is not there yet", method.name()))
}

/// The watch hub as apply sees it.
pub struct HubSink(pub Arc<Hub>);

impl EventSink for HubSink {
    fn publish(&self, changes: &mut Vec<engine::Change>) {
        if !self.0.is_wanted() {
            return;
        }
        if let Some(batch) = EventBatch::new(changes.drain(..)) {
            self.0.publish(batch);
        }
    }
}
