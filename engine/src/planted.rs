//! Faults planted on purpose, so that the tests can show that they would find them. Nothing is ever planted
//! outside of this crate's own tests.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Compaction drops a tombstone exactly at its revision.
    TombstoneAtCompact,
    /// Compaction forgets the tombstones that the one before has spared.
    SparedTombstones,
    /// A walk into the past goes one record too far when it meets the revision exactly.
    WalkTooFar,
    /// A deleted key stays attached to its lease.
    LeaseNotDetached,
    /// The open extent is left out of a checkpoint.
    TailNotInCheckpoint,
    /// What was dropped of an extent is not noted.
    BitmapLost,
    /// Packing extents anew loses a record that is still needed.
    RepackLosesRecord,
    /// Extents that were packed anew are taken for what was appended.
    PackedAsAppended,
    /// What continues an extent that was packed anew is taken for what was appended.
    ContinuedAsAppended,
    /// A search in an extent's directory ends one place too early.
    SearchOffByOne,
    /// A view sees records that were appended after its publication.
    #[cfg(test)]
    TailGrowsInView,
    /// The meta page is not synced before the pages of the state before are taken for free.
    NoMetaSync,
    /// The file is not synced before its newest state is chosen.
    OpensUnsynced,
    /// The newest state is chosen by what the page cache shows.
    OpensFromCache,
    /// The free map leaves out what only views and the state before hold.
    MapForgets,
    /// After a failed write or sync the tree goes on.
    PoisonForgotten,
    /// A page's own checksum is not looked at.
    ChecksumUnchecked,
    /// What the parent says of a page's checksum is not looked at.
    StaleAccepted,
    /// Counts do not see deletions.
    CountDrifts,
    /// A way is followed though its bucket was changed since it was taken.
    StaleWay,
    /// One of the tree's own.
    #[cfg(test)]
    Tree(crate::btree::Planted),
}

#[cfg(not(test))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(crate) use in_tests::{here, plant, planted, replant};

#[cfg(test)]
mod in_tests {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Plants a fault for the rest of this thread.
    pub(crate) fn plant(fault: Fault) {
        PLANTED.set(Some(fault));
    }

    /// What is planted in this thread.
    pub(crate) fn here() -> Option<Fault> {
        PLANTED.get()
    }

    /// Makes it `fault`, or nothing, from here on.
    pub(crate) fn replant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub(crate) fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}
