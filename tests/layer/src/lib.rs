//! A file system over a directory, with the faults that storage has: latency, a rate limit with or without burst credit,
//! stalls, a neighbor's load, syncs that are acknowledged and not done, and a power cut. For tests; nothing ships it.
//!
//! Files below the mount point are the files of the backing directory. What an operation costs is decided in one place
//! (`brake`) in the way a disk would: writes to the page cache are free, what must reach the device is not. That
//! is a sync, a write with `O_DSYNC` or `RWF_DSYNC`, and a write or read with `O_DIRECT`.
//!
//! With the setting `volatile`, what was not synced can be lost: the layer remembers, for each change since the last sync
//! that it honored, what was there before (`journal`), and a cut takes the changes back, all or a part of them,
//! as the harshest disk within the rules would: data of a file is safe after a sync of that file, names in a directory
//! only after a sync of a directory. A sync that is dropped leaves the changes where a cut takes them.
//!
//! Settings change while it is mounted: by [`Layer::set`], or by writing lines like `latency 5ms` to the file
//! `.layer` in the root of the mount; reading that file gives the settings and what was counted.

mod brake;
mod control;
mod disk;
mod error;
mod faults;
mod filesystem;
mod handles;
mod journal;
mod mount;
mod names;
mod nodes;

pub use control::CONTROL;
pub use disk::{Counted, Cut, CutReport};
pub use error::{Error, Result};
pub use faults::{Faults, SETTINGS};
pub use mount::{Layer, Options, is_fuse};
