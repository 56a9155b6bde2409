//! The write-ahead log: segments, group commit, recovery.

mod batch;
mod error;
mod io;
mod log;
mod options;
mod recovery;
mod scan;
mod segment;
mod stats;
mod tail;
mod terms;
mod upkeep;

pub use batch::{Batch, Entry, HardState, Metadata, Position, Start};
pub use error::{Damage, Error, Evidence};
pub use io::{Access, Chosen, File, Io, Method, OsIo};
pub use log::{Recovered, TornTail, Wal, exists};
pub use options::{Fill, Options, Upkeep};
pub use stats::{Histogram, NextSegment, Stats};
