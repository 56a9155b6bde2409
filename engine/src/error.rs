//! What can go wrong in the storage engine, and what the caller can do about it: nothing but stop.

use std::io;

/// A storage failure. None of these is an answer to a client: the engine refuses to go on and the process
/// stops with the text of the error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused or cut short an operation on the file. Never retried.
    #[error("{operation} at byte {offset} of the database: {source}")]
    Io {
        /// What was tried: "write", "sync", "set length", "map", "length".
        operation: &'static str,
        /// Byte offset in the file; 0 where the operation has none.
        offset: u64,
        /// The errno.
        source: io::Error,
    },
    /// Bytes in the file are not what was written there.
    #[error("page {page} of the database is damaged: {reason}")]
    Damaged {
        /// Page number: byte offset divided by 4096.
        page: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// The file was written by another program.
    #[error("not a graven database: {0}")]
    Foreign(String),
    /// The file was written by a newer version of the format.
    #[error("database format {found} is newer than the newest this program reads ({supported})")]
    NewerFormat {
        /// Version in the file.
        found: u32,
        /// Newest version understood.
        supported: u32,
    },
    /// The file was written by an older version of the format, which this program does not read.
    #[error("database format {found} is older than the oldest this program reads ({supported})")]
    OlderFormat {
        /// Version in the file.
        found: u32,
        /// Oldest version understood.
        supported: u32,
    },
    /// An earlier write or sync failed: what is on disk is unknown, so nothing more is written.
    #[error("the database stopped after an earlier storage error")]
    Poisoned,
    /// A bound of the format would be exceeded.
    #[error("{what} of {found} exceeds the limit of {limit}")]
    Limit {
        /// Which bound.
        what: &'static str,
        /// What was asked for.
        found: u64,
        /// What the format allows.
        limit: u64,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, offset: u64, source: io::Error) -> Self {
        Error::Io { operation, offset, source }
    }

    pub(crate) fn damaged(page: u64, reason: impl Into<String>) -> Self {
        Error::Damaged { page, reason: reason.into() }
    }
}
