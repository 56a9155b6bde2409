//! The proof that nothing is lost: crashes, failing disks, damage, planted faults. `docs/RELIABILITY.md` says what is
//! proved and how to run more of it.

mod cores;
mod crash;
mod damage;
pub(crate) mod disk;
mod faults;
mod script;
mod scripts;
pub(crate) mod states;

pub(crate) use cores::{on_all_cores, scaled};
