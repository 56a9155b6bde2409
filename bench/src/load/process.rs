//! The server's process, looked at from outside.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

/// What it has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// Memory of its own.
    pub(crate) rss_anon_bytes: u64,
    /// Pages of files it has mapped.
    pub(crate) rss_file_bytes: u64,
    /// Bytes it caused to be written to storage; none where the system does not let us see.
    pub(crate) written_bytes: Option<u64>,
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

    /// What it has used; none once it has ended.
    pub(crate) fn usage(self) -> Option<Usage> {
        let pid = self.pid.to_string();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the program's name, which may hold anything: state, ten others, user time, system time.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        let mut ticks = fields.skip(10).map_while(|field| field.parse::<u64>().ok());
        let ticks = ticks.next()? + ticks.next()?;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).ok();
        let written = io.and_then(|io| {
            io.lines()
                .find_map(|line| line.strip_prefix("write_bytes: "))
                .and_then(|number| number.parse().ok())
        });
        Some(Usage {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_anon_bytes: measure::machine::status_bytes(&pid, "RssAnon")?,
            rss_file_bytes: measure::machine::status_bytes(&pid, "RssFile")?,
            written_bytes: written,
        })
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

    #[test]
    fn sees_itself_and_nobody_who_is_not_there() {
        let me = Process::find(std::process::id()).unwrap();
        let before = me.usage().unwrap();
        assert!(before.rss_anon_bytes > 4096, "{before:?}");
        let mut ballast = vec![0u8; 64 << 20];
        ballast.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let after = me.usage().unwrap();
        assert!(
            after.rss_anon_bytes >= before.rss_anon_bytes + (32 << 20),
            "{before:?} {after:?} {}",
            ballast[5]
        );
        assert!(after.cpu_seconds >= before.cpu_seconds);
        assert!(Process::find(u32::MAX >> 1).is_err());
    }
}
