//! Options: values only.

use std::time::Instant;

use crate::io::Method;
use crate::watch::Watch;

/// How the log is to behave. The defaults are for production.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a segment file, a multiple of 4096, at least two blocks. A batch must fit into one.
    pub segment_bytes: u64,
    /// How appends are made durable.
    pub method: Method,
    /// Who prepares the next segment and recycles released ones.
    pub upkeep: Upkeep,
    /// Whether new segments are written with zeros before use.
    pub fill: Fill,
    /// How many released segments are kept for reuse; more are removed.
    pub spares: usize,
    /// Where the latency of syncs is read from; the log needs no time for anything else.
    pub clock: fn() -> Instant,
    /// Shows the log to other threads; keep a clone.
    pub watch: Watch,
}

/// Where the work beside the appends is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// On a thread of the log's own: appends never wait for it, unless no segment is ready.
    Thread,
    /// Within the calls themselves, in a fixed order: for simulation and tests of faults.
    Inline,
}

/// What new segment files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros that were written: a later append then changes no file system metadata. Left out where it is useless, on
    /// file systems that copy on write.
    Zeros {
        /// Bytes a second at most, when the appends come near the end of their segment; an eighth of it before. 0 for
        /// no limit.
        pace: u64,
    },
    /// Allocated only, where writing zeros is not worth the time (tests).
    Allocate,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            method: Method::Auto,
            upkeep: Upkeep::Thread,
            fill: Fill::Zeros { pace: 100 << 20 },
            spares: 2,
            clock: Instant::now,
            watch: Watch::default(),
        }
    }
}
