//! What can end any measurement. Each message is one line that says what and what to do.

use std::path::{Path, PathBuf};

/// Why nothing, or no more, was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request can't be carried out; nothing was measured.
    #[error("{0}")]
    Usage(String),
    /// Ctrl-C, or a request to end.
    #[error("interrupted; everything that was written is removed")]
    Interrupted,
    /// The operating system refused something while measuring.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The log failed.
    #[error("the log failed: {0}")]
    Wal(#[from] wal::Error),
    /// What was measured did not do what it should: the figures would mean nothing.
    #[error("{0}")]
    Wrong(String),
}

/// What every measurement returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For the shell: 2 when the request is at fault, 130 after an interruption, 1 for all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Interrupted => 130,
            _ => 1,
        }
    }

    /// For `map_err` on file operations.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    }
}
