//! The crash programme: what a power cut, a failing device or a damaged file can leave of a log, made in great number
//! from generated workloads, and opened.
//!
//! It passes where a log that is opened holds what was acknowledged, with or without the one batch that was under way,
//! and nothing else; damage is refused with an error, or harmless. Every class is also run against a log with a planted fault, and
//! must find it: for that the log's sources are compiled here once more, with `planted.rs` of this folder in place of theirs.
//!
//! `GRAVEN_CRASH_SCALE` (default 1) multiplies the work: `GRAVEN_CRASH_SCALE=20 cargo test -p graven-wal --test crash`.

#![allow(unreachable_pub, dead_code, unused_imports, reason = "the log's sources, of which this uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

macro_rules! sources {
    ($($path:literal $name:ident),* $(,)?) => { $(#[path = $path] mod $name;)* };
}

sources! {
    "../../src/ahead.rs" ahead,
    "../../src/batch.rs" batch,
    "../../src/error.rs" error,
    "../../src/inspect.rs" inspect,
    "../../src/io/mod.rs" io,
    "../../src/log.rs" log,
    "../../src/options.rs" options,
    "../../src/reading.rs" reading,
    "../../src/recovery.rs" recovery,
    "../../src/scan.rs" scan,
    "../../src/segment/mod.rs" segment,
    "../../src/stats.rs" stats,
    "../../src/sync.rs" sync,
    "../../src/tail.rs" tail,
    "../../src/terms.rs" terms,
    "../../src/upkeep/mod.rs" upkeep,
    "../../src/watch.rs" watch,
}

mod planted;

/// What the product's crate would be called.
mod wal {
    pub use crate::ahead::Passage;
    pub use crate::batch::{Batch, Entry, HardState, Metadata, Position, Start};
    pub use crate::error::{Damage, Error, Evidence};
    pub use crate::inspect::{SegmentContent, inspect};
    pub use crate::io::{Access, Chosen, File, Io, Method, OsIo};
    pub use crate::log::{Recovered, Wal, exists};
    pub use crate::options::{Fill, Options, Upkeep};
    pub use crate::stats::NextSegment;
}

mod damages;
mod disk;
mod faults;
mod programme;
mod states;
mod workload;
