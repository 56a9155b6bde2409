//! What upkeep has come to the end of, for whoever waits for it.

use std::sync::Arc;

/// Something that happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Everything stored was read again and is sound; so many bytes.
    Verified {
        /// Bytes read.
        bytes: u64,
    },
    /// The engine's file was made smaller without being asked.
    AutoDefragmented,
    /// The log was damaged and has begun anew.
    LogRenewed,
    /// A view of this revision is held for long.
    LongView {
        /// What it sees.
        revision: i64,
    },
    /// What the load of memory lets in has changed.
    MemoryLoad,
}

/// Called on the thread where it happened; must not wait.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;
