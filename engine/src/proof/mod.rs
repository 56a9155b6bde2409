//! The proof that nothing is lost: crashes, failing disks, damage, planted faults. `docs/RELIABILITY.md` says what is
//! proved and how to run more of it.

mod cores;
mod crash;
mod damage;
pub(crate) mod disk;
mod faults;
pub(crate) mod lives;
mod planted;
mod readers;
mod restart;
mod schedules;
mod script;
mod scripts;
pub(crate) mod states;
mod warm;

use std::ops::Range;

pub(crate) use schedules::step;
pub(crate) use warm::verified;

pub(crate) use cores::scaled;

/// See [`cores::on_all_cores`]. What is planted in this thread is planted in those, too.
pub(crate) fn on_all_cores<T: Send>(
    seeds: Range<u64>,
    work: impl Fn(u64) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let fault = crate::planted::here();
    cores::on_all_cores(seeds, |seed| {
        crate::planted::replant(fault);
        work(seed)
    })
}
