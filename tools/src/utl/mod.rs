//! `gravenutl`: works on the files of a member that is stopped.
//!
//! `check` proves that a member's files are whole and belong together, or says what is wrong where; `inspect` shows what is in
//! them. Both ask the code that a starting member asks (`engine::inspect`, `wal::walk`, `replication::LogRange`), so that they
//! say the same, and both only read: not a byte, name or length changes, and a directory that a member runs on is refused.
//!
//! `examine` looks and collects findings; `commands` has the command lines; `print` shows the result. The memory needed is
//! that of one log segment and one bit for each page of the database, whatever their size.

mod commands;
mod data_dir;
mod examine;
mod finding;
mod print;
mod report;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command line; the first of `args` is the program.
///
/// Called as `etcdutl`, the program calls itself so.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    crate::cli::main(args, "gravenutl", "etcdutl", &commands::ROOT)
}
