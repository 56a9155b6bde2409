//! `gravenctl`: etcdctl's commands, flags, environment, output and exit codes.
//!
//! Scripts read what etcdctl prints and act on how it exits, so both are kept to the letter. The layers, from the
//! command line inwards: the parent's `cli` follows pflag and cobra and prints help in their layout, `environment`
//! completes the flags; each file of `commands` checks its arguments in etcdctl's order and makes its calls
//! through a `Session`; `print` has a file for each format. Where Go's own notation shows, `cli::go` has it.

mod client;
mod commands;
mod environment;
mod log;
mod print;
mod range;
mod session;
mod settings;
mod words;

use crate::cli::{exit, flags, go, help, tree};
use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(test)]
pub(crate) use commands::ROOT;

/// Runs one command line; the first of `args` is the program.
///
/// Called as `etcdctl`, the program calls itself so.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    crate::cli::main(args, "gravenctl", "etcdctl", &commands::ROOT)
}
