//! Everything that can go wrong, with what the caller can do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error of the log.
///
/// After [`Error::Io`] the log is poisoned: nothing can be appended before it was opened again, and the process is
/// expected to end. [`Error::NoSegment`], [`Error::TooLarge`] and [`Error::Order`] are refusals before anything
/// was written; the log stays usable. Everything else comes from opening and means that the log was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed. A sync is never tried again: what the device then holds is unknown.
    #[error("{operation} {path} at offset {offset}: {source}{}", errno(source))]
    Io {
        /// What was attempted: `write`, `read`, `open`, `rename`...
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// File offset, 0 where there is none.
        offset: u64,
        /// What the system said. A short write appears as [`io::ErrorKind::WriteZero`].
        source: io::Error,
    },
    /// An earlier operation failed; it is repeated here.
    #[error("the log is stopped since this failed: {operation} {path} at offset {offset}: {message}")]
    Poisoned {
        /// What had been attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// File offset.
        offset: u64,
        /// The system's error number, if there was one.
        errno: Option<i32>,
        /// What the system had said.
        message: String,
    },
    /// There is no space for the next segment, or the process is out of file descriptors. Nothing was written, the log is not
    /// poisoned, and the next append that needs the segment tries again. Where it could not be prepared for another
    /// reason, that is [`Error::Io`].
    #[error("no room for the next segment: {operation} {path}: {source}{}", errno(source))]
    NoSegment {
        /// What was attempted.
        operation: &'static str,
        /// The file being prepared.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The batch does not fit into one segment.
    #[error("a batch of {bytes} bytes does not fit into one frame (limit {limit} bytes)")]
    TooLarge {
        /// Bytes of the batch with its framing.
        bytes: u64,
        /// The most a frame may have.
        limit: u64,
    },
    /// Entries are not consecutive, leave a gap after the last entry, or replace entries that were released.
    #[error("entry {found} cannot be appended: the log accepts {lowest} to {highest}")]
    Order {
        /// Index of the entry.
        found: u64,
        /// Lowest index that may come here.
        lowest: u64,
        /// Highest index that may come here.
        highest: u64,
    },
    /// Metadata longer than the header has room for.
    #[error("metadata has {bytes} bytes, more than 256")]
    MetadataTooLong {
        /// Its length.
        bytes: usize,
    },
    /// There is a log in the directory already.
    #[error("{dir} holds a log already")]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no log in the directory.
    #[error("{dir} holds no log")]
    NotFound {
        /// The directory.
        dir: PathBuf,
    },
    /// Bytes that had been durable are not what was written.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
    /// A segment that the log needs is not there.
    #[error("segment {id} is missing: {path} was expected ({evidence})")]
    MissingSegment {
        /// Its id.
        id: u64,
        /// Where it would be.
        path: PathBuf,
        /// Why it is known to have existed.
        evidence: String,
    },
    /// A file holds another segment than its name says: swapped, copied or renamed.
    #[error("{path} holds segment {found}, expected segment {expected}")]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// Id by its name.
        expected: u64,
        /// Id by its header.
        found: u64,
    },
    /// A segment does not continue the one before: it comes from another log.
    #[error("{path} belongs to another log: expected {expected}, found {found}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What would have continued this log.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// Written by a later release.
    #[error("{path} has format version {found}; this release reads up to {supported}")]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version understood.
        supported: u32,
    },
}

impl Error {
    /// Whether the log refuses everything from now on.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Poisoned { .. })
    }
}

/// Damaged bytes: where, what should be there, and how it is known that it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} is damaged at offset {offset}: expected {expected}, found {found} ({evidence})")]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// File offset of the damaged frame or header.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// Why this is no torn write of something that was never acknowledged.
    pub evidence: Evidence,
}

/// How damage is told from a write that power cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A frame that was begun only after the damaged one was durable.
    LaterFrame {
        /// File offset of the later frame.
        offset: u64,
        /// Its sequence.
        sequence: u64,
    },
    /// A sector behind the damaged frame that only a later write can have written.
    LaterWrite {
        /// File offset of the sector.
        offset: u64,
    },
    /// A segment that was begun or prepared only after the damaged bytes were durable.
    LaterSegment {
        /// Its id.
        id: u64,
    },
    /// The log, open since, had made frames up to this sequence durable.
    Acknowledged {
        /// The newest sequence known durable.
        sequence: u64,
    },
    /// Every sector of the write is there, so that it was not cut short.
    WholeOnDisk,
    /// The file has its name, which it gets only after the bytes were durable.
    Named,
    /// The content contradicts itself or what came before although its checksum holds.
    Contradiction,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaterFrame { offset, sequence } => {
                write!(f, "frame {sequence} at offset {offset} was written after it was durable")
            }
            Self::LaterWrite { offset } => {
                write!(f, "the sector at offset {offset} was written after it was durable")
            }
            Self::LaterSegment { id } => write!(f, "segment {id} came after it was durable"),
            Self::Acknowledged { sequence } => {
                write!(f, "all frames up to {sequence} had been made durable by the log that is open")
            }
            Self::WholeOnDisk => f.write_str("all its sectors were written"),
            Self::Named => f.write_str("the file got its name after they were durable"),
            Self::Contradiction => f.write_str("its checksum holds but its content contradicts the log"),
        }
    }
}

fn errno(source: &io::Error) -> String {
    source.raw_os_error().map_or_else(String::new, |number| format!(" (errno {number})"))
}
