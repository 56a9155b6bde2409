//! Engine and log together on one disk in memory: what was acknowledged survives every power cut and every failure.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "../../../engine/src/proof/cores.rs"]
mod cores;
mod crash;
#[path = "../../../engine/src/proof/disk.rs"]
mod disk;
mod faults;
mod member;
#[path = "../../../engine/src/proof/script.rs"]
mod script;
#[path = "../../../engine/src/proof/states.rs"]
mod states;
mod vdisk;
