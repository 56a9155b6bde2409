//! What a node wants done, as plain values: the translation of raft's `Ready`.

use raft::eraftpb::{HardState as RaftHardState, Message as RaftMessage, MessageType};

use crate::log::{from_raft, to_raft};
use crate::state_machine::{Leadership, Refused};
use crate::transport::{Entry, Message, MessageKind};

/// Term, vote and commit index, as they must survive a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Member voted for in it; 0 if none.
    pub vote: u64,
    /// Known to be committed. May lag behind the truth.
    pub commit: u64,
}

/// What has to be durable before `Node::persisted` is told the number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persist {
    /// Consecutive entries. If the first one's index is not after the end of the log, it and everything after it
    /// in the log is replaced.
    pub entries: Vec<Entry>,
    /// Replaces the one before.
    pub hard_state: Option<HardState>,
    /// Nothing here must wait for the disk: only the commit index moved. It may be written along with the next batch.
    pub can_wait: bool,
}

/// How a read round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The round, as given to `Node::read_round`.
    pub round: u64,
    /// The index that has to be applied before reading.
    pub index: Result<u64, Refused>,
}

/// One step of work. Its parts are to be carried out in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Numbers only go up; to be handed to `Node::persisted`.
    pub number: u64,
    /// Set if the leader or the term is not what it was.
    pub leadership: Option<Leadership>,
    /// May leave at once.
    pub send: Vec<Message>,
    /// To be made durable.
    pub persist: Persist,
    /// May leave once `persist`, and everything that earlier outputs wanted persisted, is durable.
    pub send_after: Vec<Message>,
    /// Committed and durable here, ready to be applied; `Node::applied` is told afterwards.
    pub committed: Vec<Entry>,
    /// Read rounds that have come to an end.
    pub reads: Vec<ReadOutcome>,
}

pub(crate) fn hard_state(raft: &RaftHardState) -> HardState {
    HardState { term: raft.term, vote: raft.vote, commit: raft.commit }
}

/// Types that only a local call may step have no kind here and are never sent.
pub(crate) fn message_from_raft(message: RaftMessage) -> Option<Message> {
    let kind = match message.msg_type {
        MessageType::MsgPropose => MessageKind::Propose,
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::Vote,
        MessageType::MsgRequestVoteResponse => MessageKind::VoteResponse,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgTransferLeader => MessageKind::TransferLeader,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        MessageType::MsgRequestPreVote => MessageKind::PreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::PreVoteResponse,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgSnapshot
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => return None,
    };
    Some(Message {
        kind,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.into_vec().into_iter().map(from_raft).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        context: message.context,
    })
}

/// Our own kinds have no counterpart in raft.
pub(crate) fn message_to_raft(message: Message) -> Option<RaftMessage> {
    let msg_type = match message.kind {
        MessageKind::Propose => MessageType::MsgPropose,
        MessageKind::Append => MessageType::MsgAppend,
        MessageKind::AppendResponse => MessageType::MsgAppendResponse,
        MessageKind::Vote => MessageType::MsgRequestVote,
        MessageKind::VoteResponse => MessageType::MsgRequestVoteResponse,
        MessageKind::Heartbeat => MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        MessageKind::TransferLeader => MessageType::MsgTransferLeader,
        MessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
        MessageKind::PreVote => MessageType::MsgRequestPreVote,
        MessageKind::PreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        MessageKind::ReadRequest | MessageKind::ReadResponse => return None,
    };
    Some(RaftMessage {
        msg_type,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.into_iter().map(to_raft).collect::<Vec<_>>().into(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        context: message.context,
        ..RaftMessage::default()
    })
}
