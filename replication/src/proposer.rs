//! The callers' side of the driver's queue.

use std::fmt;
use std::sync::Arc;

use bytes::Buf;

use crate::handover::Wake;
use crate::membership::MembershipChange;
use crate::queue::Queue;
use crate::state_machine::Refused;
use crate::transport::Message;

/// Whether a proposal may be let in while the disk has no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It adds to what is stored: refused with [`Refused::NoSpace`] until there is space again.
    Needs,
    /// It helps to give space back, or has to go on whatever happens: it may use what is kept in reserve.
    Frees,
}

/// A proposal that was not even queued: its ticket, and why.
#[derive(Debug)]
pub struct Rejected<T> {
    /// The ticket given.
    pub ticket: T,
    /// The reason.
    pub why: Refused,
}

/// Hands proposals to the driver. Cheap to clone, usable from every thread, never waits.
///
/// A proposal that is queued is answered exactly once: through `apply` or `apply_membership` with its ticket, or
/// through `refused`. After a storage failure nothing is answered any more.
pub struct Proposer<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Proposer<T> {
    pub(crate) fn new(queue: Arc<Queue<T>>) -> Proposer<T> {
        Proposer { queue }
    }

    /// Proposes opaque bytes. They are copied, once: to where the log takes them from.
    pub fn propose(&self, proposal: impl Buf, ticket: T, room: Room) -> Result<(), Rejected<T>> {
        let put = self.queue.propose(proposal, ticket, room, Wake::Now);
        put.map_err(|(ticket, why)| Rejected { ticket, why })
    }

    /// As `propose`, by a caller that has nothing else to do and will say so with `settle` in a moment.
    pub fn propose_alone(&self, proposal: impl Buf, ticket: T, room: Room) -> Result<(), Rejected<T>> {
        let put = self.queue.propose(proposal, ticket, room, Wake::AtSettle);
        put.map_err(|(ticket, why)| Rejected { ticket, why })
    }

    /// Sees to what was proposed with `propose_alone`. If it may be done `here`, still is alone, and the driver has
    /// nothing to do, it is made durable, applied and answered on this thread, which saves waking the driver and being
    /// woken by it. That waits for one write of the log, and not for a segment: the driver does. Whether it was done;
    /// else the driver does it.
    pub fn settle(&self, here: bool) -> bool {
        self.queue.settle(here)
    }

    /// Proposes a membership change. Several are carried out one after the other.
    pub fn propose_membership(&self, change: MembershipChange, ticket: T) -> Result<(), Rejected<T>> {
        self.queue.propose_membership(change, ticket).map_err(|(ticket, why)| Rejected { ticket, why })
    }

    /// Asks the leader to hand over to this member. Whether it did shows in `Status`.
    pub fn transfer_leader(&self, to: u64) {
        self.queue.transfer_leader(to);
    }

    /// Messages of peers; each is validated before raft sees it.
    pub fn deliver(&self, messages: Vec<Message>) {
        self.queue.deliver(messages);
    }

    /// The transport could not reach this member: the leader probes it instead of streaming to it.
    pub fn unreachable(&self, member: u64) {
        self.queue.unreachable(member);
    }
}

impl<T> Clone for Proposer<T> {
    fn clone(&self) -> Self {
        Proposer { queue: Arc::clone(&self.queue) }
    }
}

impl<T> fmt::Debug for Proposer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposer").field("pending", &self.queue.pending()).finish_non_exhaustive()
    }
}
