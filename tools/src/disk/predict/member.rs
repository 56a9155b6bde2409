//! The process that serves, seen from the one that measures.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use measure::{Error, Result, Stop, WalMethod};

use super::serve::COMMAND;

/// How long it may take until it serves: it writes a segment of the log first.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often Ctrl-C is looked at meanwhile.
const NAP: Duration = Duration::from_millis(50);
/// Of its last words.
const MOST_CHARS: usize = 300;

/// A member on an empty directory. Killed when dropped: what it holds is thrown away in any case.
pub(super) struct Member {
    child: Child,
    address: Option<SocketAddr>,
    said: PathBuf,
}

impl Member {
    /// Starts it in `dir` and waits until it serves.
    ///
    /// # Errors
    /// With its last words where it does not; [`Error::Interrupted`].
    pub(super) fn start(dir: &Path, method: wal::Method, stop: &Stop) -> Result<Member> {
        let said = dir.join("said");
        let log = File::create(&said).map_err(Error::io("create", &said))?;
        let program = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
        let mut child = Command::new(&program)
            .arg(COMMAND)
            .arg(dir.join("data"))
            .args(["--method", &WalMethod::from(method).name()])
            // Ctrl-C in the terminal is for the one that measures.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::io("start", &program))?;
        let out = child.stdout.take().expect("it is piped");
        let mut member = Member { child, address: None, said };
        let (told, heard) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            // Nothing is said where it ends before it serves.
            let _ = BufReader::new(out).read_line(&mut line);
            let _ = told.send(line);
        });
        member.address = Some(member.first_words(&heard, stop)?);
        Ok(member)
    }

    fn first_words(&mut self, heard: &Receiver<String>, stop: &Stop) -> Result<SocketAddr> {
        let begun = Instant::now();
        loop {
            stop.check()?;
            match heard.recv_timeout(NAP) {
                Ok(line) => return line.trim().parse().map_err(|_| self.failed("does not start")),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < PATIENCE => {}
                Err(_) => {
                    return Err(
                        self.failed(&format!("does not serve {} s after its start", PATIENCE.as_secs()))
                    );
                }
            }
        }
    }

    /// Where it listens for clients.
    pub(super) fn address(&self) -> SocketAddr {
        self.address.expect("it has started")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What went wrong, or that it has ended, if that is the reason.
    pub(super) fn explain(&mut self, error: Error) -> Error {
        match error {
            Error::Interrupted => Error::Interrupted,
            // A process closes its sockets a moment before it has ended.
            other => match self.ends_within(Duration::from_millis(500)) {
                true => self.failed("ended under load"),
                false => other,
            },
        }
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if begun.elapsed() < time => thread::sleep(Duration::from_millis(5)),
                Ok(status) => return status.is_some(),
                Err(_) => return false,
            }
        }
    }

    /// With how it ended, if it has, and what it said last.
    fn failed(&mut self, what: &str) -> Error {
        let status = if self.ends_within(NAP) { self.child.try_wait().ok().flatten() } else { None };
        let how = match status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => format!(" (exit code {code})"),
            Some((None, Some(signal))) => format!(" (signal {signal})"),
            _ => String::new(),
        };
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let last = last.map_or("nothing".to_owned(), |line| line.chars().take(MOST_CHARS).collect());
        Error::Wrong(format!("the server on this disk {what}{how}; it said last: {last}"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
