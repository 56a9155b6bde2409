//! `perf` and `datascale`: the scenarios of `etcdctl check` with their thresholds and words, and with percentiles beside them.
//!
//! Keys go below a prefix that has to be empty, and are deleted again, also after Ctrl-C. As in etcd each client has a
//! connection of its own and one put outstanding; keys and values have etcd's lengths.

mod arguments;
mod clean;
mod datascale;
mod document;
mod memory;
mod perf;
mod puts;

pub(crate) use arguments::{DatascaleArguments, PerfArguments};
pub(crate) use datascale::run as run_datascale;
pub(crate) use document::{DATASCALE, Document, PERF};
pub(crate) use perf::run as run_perf;
