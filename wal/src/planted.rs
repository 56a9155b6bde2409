//! Faults that the crash programme plants, to prove that it would find them. In the product there is none: what is asked here
//! is a constant. `tests/crash` compiles these sources once more with a file of its own in this one's place.

/// What a log may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Acknowledges what is written, but not durable.
    AcknowledgesFirst,
    /// Takes a frame that follows another history.
    IgnoresChain,
    /// Takes a frame whose checksum does not hold.
    IgnoresChecksum,
    /// Takes whatever does not hold at the end for a write cut short.
    CutsTooMuch,
    /// Uses a released file again with its old header.
    KeepsOldHeader,
    /// Uses a segment whose name is not durable.
    ForgetsDirectory,
    /// Takes the names it finds for durable.
    TrustsNames,
    /// Puts segments aside that no durable frame has given up yet.
    ReleasesEarly,
    /// Recovers what is only in the page cache.
    ReadsCache,
    /// Goes on after a failed write.
    GoesOn,
    /// Shows a frame that may have been cut short.
    ShowsEarly,
}

pub(crate) const fn planted(_: Fault) -> bool {
    false
}
