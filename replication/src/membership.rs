//! Who belongs to the cluster, and how that changes: one member at a time.

use bytes::Bytes;

/// What happens to the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MembershipKind {
    /// Becomes a voter; also how a learner is promoted.
    AddVoter,
    /// Becomes a learner: receives the log, does not vote.
    AddLearner,
    /// Leaves.
    Remove,
    /// Only its attributes (in the context) change.
    Update,
}

/// One change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// What happens.
    pub kind: MembershipKind,
    /// To whom.
    pub member_id: u64,
    /// Not looked at here (etcd: the member's attributes).
    pub context: Bytes,
}
