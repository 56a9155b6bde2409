//! What goes into the log and comes back out of it.

use bytes::Bytes;

/// Opaque bytes fixed when the log is created and repeated in every segment (at most 256): who the log belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(pub Bytes);

/// A place in the log: an entry's index and the term it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Index of the entry; 0 is before the first.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

/// The position just before the first entry of a log.
pub type Start = Position;

/// One entry. The log keeps kind and data as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place in the log; consecutive.
    pub index: u64,
    /// Term under which it was proposed.
    pub term: u64,
    /// The caller's own distinction between kinds of entries.
    pub kind: u8,
    /// Content.
    pub data: Bytes,
}

/// What must survive beside the entries; the newest wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Who was voted for in that term; 0 for nobody.
    pub vote: u64,
    /// Highest index known to be committed.
    pub commit: u64,
}

/// What one append makes durable, whole or not at all.
///
/// Entries are consecutive. The first follows the last entry of the log, or lies before it: then everything from its
/// index on is replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Entries, in order; may be empty.
    pub entries: &'a [Entry],
    /// The hard state from now on, if it changed.
    pub hard_state: Option<HardState>,
}
