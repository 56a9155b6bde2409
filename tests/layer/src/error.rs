//! Why a layer could not be mounted or told something.

use std::io;
use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// All of them are for a person to read; none is worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine gives no FUSE. Tests that need the layer fail with this; they do not pass in silence.
    #[error(
        "/dev/fuse cannot be opened ({0}): load the module `fuse`, or pass the device into the container"
    )]
    NoFuse(#[source] io::Error),
    /// The kernel refused the mount, mostly because this is not root.
    #[error("{path} cannot be mounted on ({source}): run as root")]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The backing directory or the mount point.
    #[error("{path} cannot be used: {source}")]
    Directory {
        /// Which of the two.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A setting that does not exist, or whose value makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A cut without the setting `volatile`, or a second one.
    #[error("{0}")]
    Cut(&'static str),
}
