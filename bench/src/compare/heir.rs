//! Who ends the servers if this program is killed.
//!
//! They run in process groups of their own, so that Ctrl-C does not reach them, and neither does anything else that ends this program.
//! The heir is this program once more, in a group of its own too. It is told through a pipe which groups there are; the
//! pipe ends when this program does, however that comes about, and the heir kills the groups that are left.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Result};

/// The hidden subcommand that the heir runs.
pub(crate) const HEIR: &str = "compare-heir";

/// The other process. It ends when this is dropped.
pub(super) struct Heir {
    child: Child,
    /// None once it is closed.
    told: Option<ChildStdin>,
}

impl Heir {
    pub(super) fn start() -> Result<Heir> {
        let failed = |error: io::Error| Error::Wrong(format!("cannot start this program once more: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg(HEIR).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let told = child.stdin.take();
        Ok(Heir { child, told })
    }

    /// There is one more group.
    pub(super) fn add(&self, group: Pid) {
        self.tell('+', group);
    }

    /// It has ended.
    pub(super) fn remove(&self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&self, what: char, group: Pid) {
        // Without an heir everything works but this.
        if let Some(mut told) = self.told.as_ref() {
            let _ = told.write_all(format!("{what}{}\n", group.as_raw_pid()).as_bytes());
        }
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        self.told = None;
        let _ = self.child.wait();
    }
}

/// What the heir does.
pub(crate) fn run_heir() {
    for group in groups(io::stdin().lock()) {
        // It may just have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The groups that are left when nothing more is said.
fn groups(told: impl BufRead) -> Vec<Pid> {
    let mut left = BTreeSet::new();
    for line in told.lines().map_while(std::result::Result::ok) {
        let (what, number) = line.split_at_checked(1).unwrap_or_default();
        // To kill the group 1 would be to kill everything.
        let Some(number) = number.parse::<i32>().ok().filter(|number| *number > 1) else { continue };
        match what {
            "+" => left.insert(number),
            _ => left.remove(&number),
        };
    }
    left.into_iter().filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_killed_and_never_everything() {
        let left =
            |told: &str| -> Vec<i32> { groups(told.as_bytes()).into_iter().map(Pid::as_raw_pid).collect() };
        assert_eq!(left("+70\n+80\n-70\n+90\n"), [80, 90]);
        assert_eq!(left("+1\n+0\n+-5\n+x\n\n-9\n"), [0; 0]);
    }
}
