//! Multi-version storage as etcd defines it, on the tree.

mod changes;
mod compaction;
mod contents;
mod hash;
mod head;
mod key_range;
mod range;
mod record;
mod revision;
mod state;
mod store;
mod system;
mod varint;
mod view;
mod write;

pub use changes::{Changes, StoredChange};
pub use compaction::{CompactError, Slice};
pub use contents::{Contents, Item, RevisionError};
pub use hash::HashKv;
pub use head::Head;
pub use key_range::{End, KeyRange};
pub use range::Range;
pub use revision::Revision;
pub use state::Applied;
pub use store::{Checkpoint, CheckpointDone, Options, Pressure, Sizes, Store};
pub use system::SystemBucket;
pub use view::{Reader, View};
pub use write::{Change, ChangeKind, Finished, Write};
