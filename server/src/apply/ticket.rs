//! Who waits for a proposal.

use crate::grpc::CallId;

/// A local caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A client's call.
    Call(CallId),
    /// The member itself.
    Errand(Errand),
}

/// Proposals a member makes on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Revoke an expired lease.
    ExpireLease,
    /// Tell the cluster this member's name and client URLs.
    Announce,
    /// Set the cluster version.
    ClusterVersion,
}
