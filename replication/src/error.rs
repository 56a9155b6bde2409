//! What can go wrong beyond a refusal.

/// An error of the log or of what is stored in it. Each of them is final: the member can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The write-ahead log failed, or can't be opened as it is.
    #[error(transparent)]
    Wal(#[from] wal::Error),
    /// A bound or an interval in the configuration makes no sense.
    #[error("bad replication configuration: {0}")]
    Config(String),
    /// The log belongs to another member or cluster.
    #[error(
        "the log belongs to member {found_member:x} of cluster {found_cluster:x}, \
         not to member {member:x} of cluster {cluster:x}"
    )]
    ForeignLog {
        /// Member in the log.
        found_member: u64,
        /// Cluster in the log.
        found_cluster: u64,
        /// Member expected.
        member: u64,
        /// Cluster expected.
        cluster: u64,
    },
    /// The log's own description of itself can't be understood.
    #[error("the log's metadata is not ours: {0}")]
    Metadata(String),
    /// The state is ahead of the log: acknowledged entries are missing.
    #[error("the state has index {applied} applied, but the log ends at {last}: log entries have been lost")]
    LogBehindState {
        /// Applied index of the state.
        applied: u64,
        /// Last index of the log.
        last: u64,
    },
    /// The log begins after the state ends: the entries between them are missing.
    #[error(
        "the state has index {applied} applied, but the log starts at {first}: entries between are missing"
    )]
    StateBehindLog {
        /// Applied index of the state.
        applied: u64,
        /// First index of the log.
        first: u64,
    },
    /// The log ends before entries that it calls committed itself.
    #[error("the log has index {commit} committed, but ends at {last}: log entries have been lost")]
    LogBehindCommit {
        /// Commit index in the log.
        commit: u64,
        /// Last index of the log.
        last: u64,
    },
    /// State and log disagree about the same entry.
    #[error("the state was made from entry {index} of term {state_term}, the log has it at term {log_term}")]
    TermMismatch {
        /// Index of the entry.
        index: u64,
        /// Term according to the state.
        state_term: u64,
        /// Term according to the log.
        log_term: u64,
    },
    /// An entry, a stored membership or a message is not in the format expected.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which kind of thing.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The driver's thread ended without a result.
    #[error("the replication driver ended unexpectedly")]
    DriverEnded,
}
