//! What can go wrong in the storage engine, and what the caller can do about it: stop, unless it says otherwise.

use std::io;

use crate::limits::PAGE_BYTES;

/// A storage failure. None of these is an answer to a client: the engine refuses to go on and the process
/// stops with the text of the error. Only after [`Error::NoSpace`] it goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused or cut short an operation on the file. Never retried.
    #[error("{operation} at byte {offset}{} of {file}: {source}", page_of(operation, *offset))]
    Io {
        /// Which file; "the database" where only that is known.
        file: String,
        /// What was tried: "read", "write", "sync", "set length", "map", "length".
        operation: &'static str,
        /// Byte offset in the file; 0 where the operation has none.
        offset: u64,
        /// The errno.
        source: io::Error,
    },
    /// Bytes in the file are not what was written there.
    #[error("page {page} (byte {}) of {file} is damaged: {reason}", .page.saturating_mul(PAGE_BYTES as u64))]
    Damaged {
        /// Which file; "the database" where only that is known.
        file: String,
        /// Page number: byte offset divided by 4096.
        page: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// Every page is what was written there, but what they hold contradicts itself.
    #[error("{file} contradicts itself: {reason}")]
    Inconsistent {
        /// Which file; "the database" where only that is known.
        file: String,
        /// What is missing, garbled or there twice.
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
    /// The file could not grow, or pages of it that were free could not be written: the file system or a quota is full. The
    /// checkpoint was given up before it wrote anything that counts; the store goes on in memory, and the next checkpoint
    /// may succeed.
    #[error("{file} can't take {wanted_bytes} more bytes: {source}")]
    NoSpace {
        /// Which file.
        file: String,
        /// How many bytes it was to take.
        wanted_bytes: u64,
        /// ENOSPC or EDQUOT.
        source: io::Error,
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

/// Of what is done to pages, the first one's number.
fn page_of(operation: &str, offset: u64) -> String {
    match operation {
        "read" | "write" => format!(" (page {})", offset / PAGE_BYTES as u64),
        _ => String::new(),
    }
}

/// What an error calls a file before somebody who knows its path has seen it.
const SOME_FILE: &str = "the database";

impl Error {
    pub(crate) fn io(operation: &'static str, offset: u64, source: io::Error) -> Self {
        Error::Io { file: SOME_FILE.into(), operation, offset, source }
    }

    pub(crate) fn damaged(page: u64, reason: impl Into<String>) -> Self {
        Error::Damaged { file: SOME_FILE.into(), page, reason: reason.into() }
    }

    pub(crate) fn inconsistent(reason: impl Into<String>) -> Self {
        Error::Inconsistent { file: SOME_FILE.into(), reason: reason.into() }
    }

    /// The file could not grow to `bytes`, by `wanted_bytes`.
    pub(crate) fn growing(name: &str, bytes: u64, wanted_bytes: u64, source: io::Error) -> Self {
        Error::without_space("set length", name, bytes, wanted_bytes, source)
    }

    /// So many bytes could not be written to free pages.
    pub(crate) fn writing(name: &str, offset: u64, bytes: u64, source: io::Error) -> Self {
        Error::without_space("write", name, offset, bytes, source)
    }

    fn without_space(
        operation: &'static str,
        name: &str,
        offset: u64,
        wanted_bytes: u64,
        source: io::Error,
    ) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Error::NoSpace { file: name.into(), wanted_bytes, source },
            _ => Error::io(operation, offset, source).of_file(name),
        }
    }

    /// The same error with the name of its file.
    pub(crate) fn of_file(mut self, name: &str) -> Self {
        if let Error::Io { file, .. } | Error::Damaged { file, .. } | Error::Inconsistent { file, .. } =
            &mut self
            && file == SOME_FILE
        {
            name.clone_into(file);
        }
        self
    }
}
