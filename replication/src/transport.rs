//! Messages between members, and the way out to them.

use bytes::Bytes;

/// Kinds of entries in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A batch of proposals, or nothing at all (a new leader's first entry).
    Proposals = 0,
    /// A membership change.
    Membership = 1,
}

/// An entry on its way between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// What the data is.
    pub kind: EntryKind,
    /// Opaque to a transport.
    pub data: Bytes,
}

/// Kinds of messages that may come from a peer. The numbers are those of raft's wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// A follower passes proposals on to the leader.
    Propose = 2,
    /// Entries from the leader.
    Append = 3,
    /// Answer to it.
    AppendResponse = 4,
    /// A candidate asks for a vote.
    Vote = 5,
    /// Answer to it.
    VoteResponse = 6,
    /// The leader is there.
    Heartbeat = 8,
    /// Answer to it.
    HeartbeatResponse = 9,
    /// A member asks the leader to hand over.
    TransferLeader = 13,
    /// The leader asks the receiver to campaign at once.
    TimeoutNow = 14,
    /// A member asks whether it would get a vote.
    PreVote = 17,
    /// Answer to it.
    PreVoteResponse = 18,
    /// A follower asks the leader for a read index. Ours, not raft's: only a leader makes raft's read contexts.
    ReadRequest = 64,
    /// Answer to it.
    ReadResponse = 65,
}

/// A message between members, as plain data. A transport carries the fields and looks at `to` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// Receiver.
    pub to: u64,
    /// Sender.
    pub from: u64,
    /// Term of the sender; 0 for kinds that have none.
    pub term: u64,
    /// Term of the entry at `index`.
    pub log_term: u64,
    /// Depends on the kind: the entry before `entries`, the last one, the acknowledged one, the read index.
    pub index: u64,
    /// Entries of an `Append` or a `Propose`.
    pub entries: Vec<Entry>,
    /// Commit index of the sender.
    pub commit: u64,
    /// Term of the entry at `commit`, where a candidate tells it.
    pub commit_term: u64,
    /// The answer is no.
    pub reject: bool,
    /// Where the receiver should try next after a no.
    pub reject_hint: u64,
    /// Snapshot the sender waits for; 0 if none.
    pub request_snapshot: u64,
    /// Priority of a candidate.
    pub priority: i64,
    /// A read context or the kind of a campaign.
    pub context: Bytes,
}

impl Message {
    /// A message of this kind in which everything else is zero.
    pub fn empty(kind: MessageKind) -> Message {
        Message {
            kind,
            to: 0,
            from: 0,
            term: 0,
            log_term: 0,
            index: 0,
            entries: Vec::new(),
            commit: 0,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            request_snapshot: 0,
            priority: 0,
            context: Bytes::new(),
        }
    }
}

/// The way out to the other members. Called on the driver's thread: it must take the messages and return.
pub trait Transport: Send + 'static {
    /// Takes a turn's messages, in order. What can't be sent may be dropped: raft sends again.
    fn send(&mut self, messages: Vec<Message>);

    /// The membership has changed: these are the members now, learners included, this one too.
    fn members(&mut self, ids: &[u64]);
}

/// For a cluster of one: there is nobody to send to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&mut self, messages: Vec<Message>) {
        if let Some(message) = messages.first() {
            tracing::warn!(
                to = message.to,
                count = messages.len(),
                "messages dropped: there is no way to peers"
            );
        }
    }

    fn members(&mut self, _ids: &[u64]) {}
}
