//! `graven-disk` as a process.

#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn disk(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-disk"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `qualify --quick`, to its end.
pub(crate) fn quick(dir: &Path, arguments: &[&str]) -> Output {
    disk(&["qualify", "--quick"]).args(arguments).arg(dir).output().unwrap()
}

pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Sends a signal: `INT`, `TERM`.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}
