//! What the driver asks of the replicated state machine, and the plain values it hands over.

use bytes::Bytes;

use crate::Error;
use crate::membership::MembershipChange;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Term in which a leader made it.
    pub term: u64,
}

/// Why a proposal or a read was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// No leader is known, so nobody can take it. It was not applied.
    #[error("no leader")]
    NoLeader,
    /// This member does not lead, and this request can't be passed on. It was not applied.
    #[error("not the leader")]
    NotLeader,
    /// Larger than `Limits::proposal_bytes`. It was not applied.
    #[error("proposal is too large")]
    TooLarge,
    /// More is waiting than `Limits` permits. It was not applied; try again later.
    #[error("too many proposals are pending")]
    TooMany,
    /// The disk has no space for it. It was not applied; it will be taken again once there is space.
    #[error("no space left for the log")]
    NoSpace,
    /// Damage was found in the log, behind which nothing more may be written. It was not applied; it will be taken
    /// again as soon as the state is stored and the log begun anew.
    #[error("the log is damaged")]
    LogDamaged,
    /// Another leader replaced the entry. It was not applied.
    #[error("overwritten by a new leader")]
    Overwritten,
    /// Leadership moved while it was on its way. It may or may not be applied later.
    #[error("leader changed")]
    LeaderChanged,
    /// The member is stopping. A proposal that was already in the log may or may not be applied later.
    #[error("stopped")]
    Stopped,
}

/// Who leads, told whenever it changes and always before the entries of the new term are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Member id of the leader; 0 while there is none.
    pub leader: u64,
    /// The term this holds for.
    pub term: u64,
    /// Whether the leader is this member.
    pub is_leader: bool,
}

/// How far the log had come when a batch ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here is agreed.
    pub commit: u64,
    /// Everything up to here is executed.
    pub applied: u64,
    /// Current term; in what is applied while the log is read, that of the last entry applied.
    pub term: u64,
}

/// What the state machine lets go, and whether it wants another turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// The state is stored up to here, so that entries before this index are never replayed.
    pub release_before: Option<u64>,
    /// More upkeep is waiting: `maintain` is called again without waiting for the next tick, after whatever
    /// has been proposed meanwhile.
    pub again_soon: bool,
    /// Damage was found in what the log holds: what would be written behind it might not be found again. Nothing is
    /// taken until `release_before` covers every entry; then the log begins anew, and `log_renewed` is called.
    pub log_damaged: bool,
}

/// The replicated state. Every method is called on the driver's thread, in log order, and must not wait. What the log
/// says when it is opened is applied before, on the thread that opens it, without `leadership` or `maintain`.
///
/// All proposals of one entry are applied before `end_batch`, `maintain` or a stop can see the state, so a state
/// stored at an index always has that whole entry in it.
pub trait StateMachine: Send + 'static {
    /// Identifies the local caller that waits for a proposal.
    type Ticket: Send + 'static;

    /// The last entry whose effect the state holds; replay starts after it.
    fn applied(&self) -> Position;

    /// The membership as last given to `apply_membership`, stored with the state. Empty when there was none.
    fn conf_state(&self) -> Vec<u8>;

    /// Executes one proposal. Several proposals may share one position: they stand in one entry, in order.
    /// The ticket is there if the proposal came from this process.
    fn apply(&mut self, at: Position, proposal: Bytes, ticket: Option<Self::Ticket>);

    /// Whether a committed membership change is valid in this state. Must depend on the state alone, since every
    /// member decides for itself. If not, the change has no effect on who votes, and `apply_membership` follows
    /// with the membership as it was.
    fn admits(&self, change: &MembershipChange) -> bool {
        let _ = change;
        true
    }

    /// Executes a membership change; `conf_state` is the membership after it, to be stored with the state.
    fn apply_membership(
        &mut self,
        at: Position,
        change: MembershipChange,
        conf_state: Vec<u8>,
        ticket: Option<Self::Ticket>,
    );

    /// An entry without proposals (a new leader's first one): only the applied index moves.
    fn applied_empty(&mut self, at: Position);

    /// The proposal of this ticket is not carried out here, see the reason.
    fn refused(&mut self, ticket: Self::Ticket, why: Refused);

    /// The leader or the term changed.
    fn leadership(&mut self, leadership: Leadership);

    /// Everything applied since the last call belongs together: publish it, then answer and wake the callers.
    fn end_batch(&mut self, progress: Progress);

    /// A slice of upkeep (compaction, a checkpoint to start or finish), after each batch and each tick. Nothing else
    /// may change what is stored: it is not called before the whole log is known to be sound.
    fn maintain(&mut self) -> Maintenance;

    /// Whether so much has changed since it was stored that no more should, before `maintain` has had a turn. While the
    /// log is read there is none: what is left to apply is then left to the driver.
    fn is_full(&self) -> bool {
        false
    }

    /// The log has begun anew, as `Maintenance::log_damaged` asked for: none of the bytes written before are needed.
    fn log_renewed(&mut self) {}

    /// Storage failed. `Config::fail_stop` is called next; no answer may leave after this.
    fn failed(&mut self, error: &Error);
}
