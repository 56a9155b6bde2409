//! The command-line programs: `gravenctl`, which talks to a running cluster, and `gravenutl`, which works on the files of a
//! member that is stopped.

mod cli;
mod ctl;
mod disk;
mod utl;

pub use ctl::main as ctl;
pub use utl::main as utl;
