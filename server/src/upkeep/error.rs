//! Why upkeep ends the member.

/// Storage can't be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The engine's file.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] wal::Error),
}
