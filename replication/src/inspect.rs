//! What a message of a peer must fulfil before raft sees it.
//!
//! raft ends the process on several contradictions that a peer can bring about: one that lost its disk, one that runs
//! something else, one that means harm. Everything found here is dropped instead and told to the caller. The rules
//! are checked against what this member knows at this moment, in `LogView`.

use crate::batch;
use crate::transport::{Entry, EntryKind, Message, MessageKind};

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Dropped {
    /// Meant for another member, from nobody, or from this member itself.
    #[error("wrong sender or receiver")]
    Address,
    /// The term is missing, absurd, or there where it must not be.
    #[error("bad term")]
    Term,
    /// An index is beyond what can be.
    #[error("bad index")]
    Index,
    /// It commits entries that this member does not have: either this log or the sender's is not what it was.
    #[error("commits entries beyond the end of this log")]
    CommitBeyondLog,
    /// Entries out of order, of impossible terms or unreadable.
    #[error("bad entries")]
    Entries,
    /// It acknowledges entries that this leader has not made.
    #[error("acknowledges entries beyond the end of this log")]
    AckBeyondLog,
    /// Only a leader can do something with it.
    #[error("meant for a leader")]
    NotLeader,
    /// The sender is not a member.
    #[error("sender is not a member")]
    NotMember,
    /// Not meaningful at this moment.
    #[error("out of place")]
    OutOfPlace,
    /// The log has no room for its entries.
    #[error("no space left for the log")]
    NoSpace,
    /// The log is damaged, and takes none until it has begun anew.
    #[error("the log is damaged")]
    LogDamaged,
}

/// What the rules need to know of the receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogView {
    pub(crate) id: u64,
    pub(crate) term: u64,
    pub(crate) last: u64,
    pub(crate) persisted: u64,
    pub(crate) is_leader: bool,
    pub(crate) sender_is_member: bool,
    pub(crate) is_sole_voter: bool,
}

/// Terms and indexes beyond this can't come about; it keeps arithmetic on them from overflowing.
const ABSURD: u64 = 1 << 62;

pub(crate) fn inspect(message: &Message, view: &LogView) -> Result<(), Dropped> {
    if message.to != view.id || message.from == 0 || message.from == view.id {
        return Err(Dropped::Address);
    }
    let numbers = [message.log_term, message.index, message.commit, message.commit_term, message.reject_hint];
    if numbers.into_iter().any(|number| number > ABSURD) {
        return Err(Dropped::Index);
    }
    let has_term =
        !matches!(message.kind, MessageKind::Propose | MessageKind::ReadRequest | MessageKind::ReadResponse);
    if has_term != (message.term != 0) || message.term > ABSURD {
        return Err(Dropped::Term);
    }
    // Nobody asks for snapshots yet, and no member has a priority: with these fields raft can be led to contradictions.
    if message.request_snapshot != 0 || message.priority != 0 {
        return Err(Dropped::OutOfPlace);
    }
    let with_entries = matches!(message.kind, MessageKind::Append | MessageKind::Propose);
    if !with_entries && !message.entries.is_empty() {
        return Err(Dropped::Entries);
    }
    match message.kind {
        MessageKind::Append => appended(message),
        MessageKind::Heartbeat if message.commit > view.last => Err(Dropped::CommitBeyondLog),
        MessageKind::AppendResponse => acknowledged(message, view),
        MessageKind::Propose => proposed(message, view),
        // A follower would pass it on with a term, on which raft ends the process.
        MessageKind::TransferLeader if !view.is_leader || message.term != view.term => {
            Err(Dropped::NotLeader)
        }
        // Whoever asked for votes has its log persisted; raft relies on it.
        MessageKind::VoteResponse | MessageKind::PreVoteResponse | MessageKind::TimeoutNow
            if view.persisted != view.last =>
        {
            Err(Dropped::OutOfPlace)
        }
        // With nobody else to vote there is nobody to hand over to, and nobody whose term counts.
        MessageKind::Vote | MessageKind::PreVote | MessageKind::TimeoutNow
            if view.is_sole_voter && !view.sender_is_member =>
        {
            Err(Dropped::NotMember)
        }
        MessageKind::ReadRequest if !view.is_leader => Err(Dropped::NotLeader),
        MessageKind::ReadRequest | MessageKind::ReadResponse | MessageKind::TransferLeader
            if !view.sender_is_member =>
        {
            Err(Dropped::NotMember)
        }
        _ => Ok(()),
    }
}

/// The entries follow the place the message names, one by one, with terms that never fall and never pass the
/// sender's. Then a conflict can only be found after the commit index.
fn appended(message: &Message) -> Result<(), Dropped> {
    let mut index = message.index;
    let mut term = message.log_term;
    // For a place beyond its log, raft takes term 0 for a match.
    if term > message.term || (term == 0) != (index == 0) {
        return Err(Dropped::Term);
    }
    for entry in &message.entries {
        if entry.index != index + 1 || entry.term < term || entry.term == 0 || entry.term > message.term {
            return Err(Dropped::Entries);
        }
        readable(entry)?;
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

fn acknowledged(message: &Message, view: &LogView) -> Result<(), Dropped> {
    if !message.reject && view.is_leader && message.term == view.term && message.index > view.last {
        return Err(Dropped::AckBeyondLog);
    }
    Ok(())
}

fn proposed(message: &Message, view: &LogView) -> Result<(), Dropped> {
    if !view.is_leader {
        return Err(Dropped::NotLeader);
    }
    if !view.sender_is_member {
        return Err(Dropped::NotMember);
    }
    if message.entries.is_empty() || message.entries.iter().any(|entry| entry.data.is_empty()) {
        return Err(Dropped::Entries);
    }
    message.entries.iter().try_for_each(readable)
}

/// What can't be read must not get into the log: a committed entry has to be applied.
fn readable(entry: &Entry) -> Result<(), Dropped> {
    let read = match entry.kind {
        EntryKind::Proposals if entry.data.is_empty() => Ok(()),
        EntryKind::Proposals => batch::Batch::decode(entry.data.clone()).map(drop),
        EntryKind::Membership => batch::decode_change(entry.data.clone()).map(drop),
    };
    read.map_err(|_| Dropped::Entries)
}
