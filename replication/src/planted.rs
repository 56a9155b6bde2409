//! Faults planted on purpose, so that the tests can show that they would find them. Nothing is ever planted
//! outside of this crate's own tests.

/// What a replay may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Leaves an entry out.
    SkipsAnEntry,
    /// Applies the entry after the commit index.
    CommitTooFar,
    /// Keeps entries that wait, although others have replaced them.
    KeepsReplaced,
    /// Takes what follows an entry that the state does not know.
    TrustsOpened,
    /// Steps over a change of the membership.
    PassesMembership,
    /// Applies all there is to one view.
    NeverShows,
    /// Goes on although memory is full.
    GoesOnFull,
}

#[cfg(not(test))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(crate) use in_tests::{plant, planted};

#[cfg(test)]
mod in_tests {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Plants a fault, or none, in this thread from here on.
    pub(crate) fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub(crate) fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}
