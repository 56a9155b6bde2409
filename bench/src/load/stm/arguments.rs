//! What only `stm` is asked.

use clap::{Args, ValueEnum};

/// Optimistic transactions.
#[derive(Args, Clone, Debug)]
pub(crate) struct StmArguments {
    /// What a transaction may rely on.
    #[arg(long, value_enum, default_value_t = Isolation::SerializableSnapshots)]
    pub(crate) isolation: Isolation,
    /// Keys that each transaction reads and writes.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=40))]
    pub(crate) keys_per_txn: u64,
    /// How many keys there are; the fewer, the more transactions meet.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) txn_keyspace: u64,
    /// Keys are counters (set to zero first), each transaction adds one to each of its keys, and in the end nothing may be missing.
    #[arg(long)]
    pub(crate) verify: bool,
}

/// What a transaction may rely on; names and meaning are those of etcd's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isolation {
    /// Reads are of one revision, and neither what was read nor what is written has changed since.
    #[value(alias = "ss")]
    SerializableSnapshots,
    /// Reads are of one revision, and what was read has not changed since.
    #[value(alias = "s")]
    Serializable,
    /// What was read has not changed since, but may be of several revisions.
    #[value(alias = "r")]
    RepeatableReads,
    /// Nothing: transactions never conflict, and updates get lost.
    #[value(alias = "c")]
    ReadCommitted,
}

impl Isolation {
    /// As the command line knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Isolation::SerializableSnapshots => "serializable-snapshots",
            Isolation::Serializable => "serializable",
            Isolation::RepeatableReads => "repeatable-reads",
            Isolation::ReadCommitted => "read-committed",
        }
    }

    /// All reads of a transaction are of the revision of the first.
    pub(super) fn has_one_revision(self) -> bool {
        matches!(self, Isolation::SerializableSnapshots | Isolation::Serializable)
    }
}
