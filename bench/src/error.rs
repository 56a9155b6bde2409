//! Everything that can end a measurement. Each message is one line that says what and what to do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why nothing, or no more, was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request can't be carried out; nothing was measured.
    #[error("{0}")]
    Usage(String),
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
    /// What measurements share refused or failed.
    #[error(transparent)]
    Measure(#[from] measure::Error),
    /// Ctrl-C, where nothing has to be removed.
    #[error("interrupted; shown is what was measured until then")]
    Interrupted,
    /// The log failed.
    #[error("the log failed: {0}")]
    Wal(#[from] wal::Error),
    /// The engine failed.
    #[error("the engine failed: {0}")]
    Engine(#[from] engine::Error),
    /// What was measured did not do what it should: the figures would mean nothing.
    #[error("{0}")]
    Wrong(String),
    /// A server ended, or was lost, while it was measured; what was found until then was shown.
    #[error("{0}")]
    Died(String),
    /// A check did not pass; its own lines have said why.
    #[error("the check did not pass")]
    Failed,
}

/// What every measurement returns.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// 2: the request, or the server, is at fault; 130: interrupted; 1: all else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage(_) | Error::Died(_) => ExitCode::from(2),
            Error::Interrupted => ExitCode::from(130),
            Error::Measure(error) => ExitCode::from(error.exit_code()),
            _ => ExitCode::from(1),
        }
    }

    /// Whether it is that somebody asked to end.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self, Error::Interrupted | Error::Measure(measure::Error::Interrupted))
    }

    /// For `map_err` on file operations.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    }
}
