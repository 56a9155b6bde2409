//! In place of the product's file of this name: here faults can be planted, one at a time, on one thread.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    AcknowledgesFirst,
    IgnoresChain,
    IgnoresChecksum,
    CutsTooMuch,
    KeepsOldHeader,
    ForgetsDirectory,
    TrustsNames,
    ReleasesEarly,
    ReadsCache,
    GoesOn,
    ShowsEarly,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// The fault planted on this thread.
pub(crate) fn fault() -> Option<Fault> {
    PLANTED.get()
}

/// Runs a check on a log with this fault: what it finds, or a panic, is what it is for.
pub(crate) fn must_find<T>(fault: Fault, check: impl FnOnce() -> Result<T, String>) {
    PLANTED.set(Some(fault));
    let found = catch_unwind(AssertUnwindSafe(check));
    PLANTED.set(None);
    match found {
        Ok(Ok(_)) => panic!("{fault:?} was not found"),
        Ok(Err(words)) => println!("{fault:?} is found: {words}"),
        Err(_) => println!("{fault:?} is found: the log contradicts itself"),
    }
}
