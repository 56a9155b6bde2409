//! The command-line programs: `gravenctl`, which talks to a running cluster, `gravenutl`, which works on the files of a
//! member that is stopped, and `graven-disk`, which measures what a disk is worth to a control plane.

mod cli;
mod ctl;
mod disk;
mod utl;

pub use ctl::main as ctl;
pub use disk::main as disk;
pub use utl::main as utl;
