//! The server's process while a load runs.

use crate::error::{Error, Result};
use crate::process::{self, Usage};
use crate::terminal::note;

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// # Errors
    /// [`Error::Usage`] when there is no such process, or it can't be looked at.
    pub(crate) fn find(pid: u32) -> Result<Process> {
        let process = Process { pid };
        match process.usage() {
            Some(_) => Ok(process),
            None => Err(Error::Usage(format!(
                "--pid {pid}: there is no such process here; it must run on this machine"
            ))),
        }
    }

    /// Makes sure that it may be the server: `pidof` may name another.
    ///
    /// # Errors
    /// [`Error::Usage`] when it can be looked into and listens nowhere. That it listens on another port is only told:
    /// somebody may stand between.
    pub(crate) fn check_listens(self, ports: &[u16]) -> Result<()> {
        let Some(own) = process::listening_ports(self.pid) else { return Ok(()) };
        if ports.iter().any(|port| own.contains(port)) {
            return Ok(());
        }
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let (pid, ports) = (self.pid, ports.join(" or "));
        if own.is_empty() {
            return Err(Error::Usage(format!(
                "--pid {pid}: this process does not listen on port {ports}, nor on any other; give the process of the \
                 server that is loaded"
            )));
        }
        note(format_args!("process {pid} does not listen on port {ports}: is it the server that is loaded?"));
        Ok(())
    }

    /// What it has used; none once it has ended.
    pub(crate) fn usage(self) -> Option<Usage> {
        process::usage(self.pid)
    }
}

/// A process over the time that counts.
pub(super) struct Watched {
    process: Process,
    counts: bool,
    /// When it began to count.
    pub(super) before: Usage,
    /// Now; once the process has ended, what was seen last stands for it.
    pub(super) last: Usage,
    /// The most that was seen.
    pub(super) peak_rss_anon_bytes: u64,
}

impl Watched {
    /// Looks for the first time, right before it begins to count, or before a warm-up. None if the process has ended.
    pub(super) fn new(process: Process, counts: bool) -> Option<Watched> {
        let before = process.usage()?;
        Some(Watched { process, counts, before, last: before, peak_rss_anon_bytes: before.rss_anon_bytes })
    }

    /// Looks again; `counts` when the warm-up is over.
    pub(super) fn look(&mut self, counts: bool) {
        if let Some(usage) = self.process.usage() {
            self.see(usage, counts);
        }
    }

    fn see(&mut self, usage: Usage, counts: bool) {
        if !self.counts {
            self.before = usage;
            self.counts = counts;
        }
        self.last = usage;
        self.peak_rss_anon_bytes = self.peak_rss_anon_bytes.max(usage.rss_anon_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a warm-up it begins with the first look behind that, without one with the look before the first request.
    #[test]
    fn what_counts_begins_behind_the_warm_up() {
        let at = |cpu_seconds| Usage { cpu_seconds, rss_anon_bytes: 5, ..Usage::default() };
        for (warm, expected) in [(true, [3.0, 9.0]), (false, [0.0, 9.0])] {
            let process = Process { pid: 0 };
            let before = at(0.0);
            let mut watched =
                Watched { process, counts: !warm, before, last: before, peak_rss_anon_bytes: 5 };
            for (cpu_seconds, counts) in [(1.0, !warm), (2.0, !warm), (3.0, true), (9.0, true)] {
                watched.see(at(cpu_seconds), counts);
            }
            assert_eq!([watched.before.cpu_seconds, watched.last.cpu_seconds], expected, "warm-up: {warm}");
        }
    }
}
