//! The rows of the goals, in their order: what each is called, how long it takes, how much it writes, and how it is run.

mod bytes;
mod compaction;
mod count;
mod defragment;
mod file_size;
mod large;
mod log_many;
mod log_one;
mod memory;
mod open;
mod peers;
mod put;
mod read;

use super::Bench;
use super::arguments::Sizes;
use super::report::Row;
use crate::error::Result;

/// A row of the goals.
pub(crate) struct Kind {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) title: &'static str,
    /// At full size, on a disk with 10,000 durable writes a second.
    pub(crate) minutes: f64,
    /// What it takes of the disk.
    pub(crate) space: fn(&Sizes) -> Space,
    /// Measures it.
    pub(crate) run: fn(&Kind, &mut Bench) -> Result<Row>,
}

/// Bytes on the disk; estimates, on the safe side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Written in all.
    pub(crate) written: u64,
    /// There at one time.
    pub(crate) at_once: u64,
}

pub(crate) const ALL: &[Kind] = &[
    log_one::KIND,
    log_many::KIND,
    put::KIND,
    read::KIND,
    count::KIND,
    open::MILLION,
    open::TEN_MILLION,
    memory::KIND,
    compaction::KIND,
    defragment::KIND,
    file_size::KIND,
    bytes::KIND,
    large::KIND,
    peers::KIND,
];
