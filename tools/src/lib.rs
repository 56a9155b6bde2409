//! The command-line programs: `gravenctl`, which talks to a running cluster.

mod ctl;

pub use ctl::main as ctl;
