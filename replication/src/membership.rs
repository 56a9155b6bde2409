//! Who belongs to the cluster, and how that changes: one member at a time.

use bytes::{Buf, BufMut, Bytes};
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use crate::Error;

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
    /// To whom; never 0.
    pub member_id: u64,
    /// Not looked at here (etcd: the member's attributes).
    pub context: Bytes,
}

/// The members at one place in the log. Its encoded form is what a state machine stores:
/// `version u8 = 1 | count u32 | voters u64.. | count u32 | learners u64..`, little-endian, ids ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who only receives the log.
    pub learners: Vec<u64>,
}

const VERSION: u8 = 1;

impl Membership {
    /// Reads what `encode` wrote; nothing at all is the membership before the first change.
    pub fn decode(encoded: &[u8]) -> Result<Membership, Error> {
        let malformed = |why: &str| Error::Malformed { what: "stored membership", why: why.to_owned() };
        let mut rest = encoded;
        if rest.is_empty() {
            return Ok(Membership::default());
        }
        if rest.get_u8() != VERSION {
            return Err(malformed("unknown version"));
        }
        let mut ids = || {
            let count = rest.try_get_u32_le().ok()? as usize;
            let bytes = count.checked_mul(8)?;
            let (mut list, after) = rest.split_at_checked(bytes)?;
            rest = after;
            let ids: Vec<u64> = (0..count).map(|_| list.get_u64_le()).collect();
            let sound = ids.is_sorted_by(|a, b| a < b) && !ids.contains(&0);
            sound.then_some(ids)
        };
        let voters = ids().ok_or_else(|| malformed("bad list of voters"))?;
        let learners = ids().ok_or_else(|| malformed("bad list of learners"))?;
        if !rest.is_empty() {
            return Err(malformed("bytes after the end"));
        }
        if learners.iter().any(|id| voters.contains(id)) {
            return Err(malformed("a learner that is a voter"));
        }
        Ok(Membership { voters, learners })
    }

    /// See the type.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + 8 * (self.voters.len() + self.learners.len()));
        out.put_u8(VERSION);
        for ids in [&self.voters, &self.learners] {
            out.put_u32_le(u32::try_from(ids.len()).expect("fewer than 2^32 members"));
            ids.iter().for_each(|id| out.put_u64_le(*id));
        }
        out
    }

    /// Voters and learners.
    pub fn members(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.voters.iter().chain(&self.learners).copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn from_raft(conf_state: &ConfState) -> Membership {
        assert!(
            conf_state.voters_outgoing.is_empty() && conf_state.learners_next.is_empty(),
            "only single changes are ever proposed"
        );
        let mut membership =
            Membership { voters: conf_state.voters.clone(), learners: conf_state.learners.clone() };
        membership.voters.sort_unstable();
        membership.learners.sort_unstable();
        membership
    }

    pub(crate) fn to_raft(&self) -> ConfState {
        ConfState { voters: self.voters.clone(), learners: self.learners.clone(), ..ConfState::default() }
    }
}

/// The change as raft applies it; none if raft has no part in it.
pub(crate) fn to_raft_change(change: &MembershipChange) -> Option<ConfChangeV2> {
    let change_type = match change.kind {
        MembershipKind::AddVoter => ConfChangeType::AddNode,
        MembershipKind::AddLearner => ConfChangeType::AddLearnerNode,
        MembershipKind::Remove => ConfChangeType::RemoveNode,
        MembershipKind::Update => return None,
    };
    let single = ConfChangeSingle { change_type, node_id: change.member_id, ..ConfChangeSingle::default() };
    Some(ConfChangeV2 { changes: vec![single].into(), ..ConfChangeV2::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_is_checked() {
        let membership = Membership { voters: vec![3, 9], learners: vec![4] };
        let encoded = membership.encode();
        assert_eq!(Membership::decode(&encoded).unwrap(), membership);
        assert_eq!(membership.members(), [3, 4, 9]);
        assert_eq!(Membership::decode(&[]).unwrap(), Membership::default());
        for length in 1..encoded.len() {
            assert!(Membership::decode(&encoded[..length]).is_err(), "cut to {length}");
        }
        for wrong in [
            Membership { voters: vec![3, 3], learners: vec![] },
            Membership { voters: vec![0], learners: vec![] },
            Membership { voters: vec![3], learners: vec![3] },
        ] {
            assert!(Membership::decode(&wrong.encode()).is_err(), "{wrong:?}");
        }
    }
}
