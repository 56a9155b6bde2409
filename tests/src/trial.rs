//! A server tried on a data directory that may be spoilt: it serves or it ends, within bounds of time and memory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};

/// A trial that takes longer hangs. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Anonymous memory a process may have, in KiB. A spoilt length must not become an allocation.
const MEMORY_KIB: u64 = 1 << 20;

/// How a program is started: bounded, and by whom.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// What comes before the program, such as `setpriv` and its flags.
    pub through: Vec<String>,
    /// Flags beside those that name directories and addresses.
    pub flags: Vec<String>,
}

/// What became of a start.
#[derive(Debug)]
pub enum Outcome {
    /// It ended by itself.
    Refused(ExitStatus, String),
    /// Clients may come.
    Serving(Serving),
}

/// A server that serves. It is killed when dropped.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    lines: Receiver<String>,
    said: String,
    /// HOST:PORT for clients.
    pub endpoint: String,
}

impl Trial {
    /// `program` with the bounds; arguments are the caller's.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let script = format!("ulimit -d {MEMORY_KIB}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "trial"]).args(&self.through).arg(program);
        command.env_remove("GRAVEN_BIN").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts the server under test on `data`.
    pub fn serve(&self, data: &Path) -> anyhow::Result<Outcome> {
        let mut command = self.command(crate::program());
        command
            .args(["--data-dir".as_ref(), data.as_os_str()])
            .args([
                "--listen-client-urls",
                "http://127.0.0.1:0",
                "--advertise-client-urls",
                "http://127.0.0.1:1",
            ])
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            .args(&self.flags);
        let mut child = command.spawn().context("the server does not start")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut serving = Serving { child, lines, said: String::new(), endpoint: String::new() };
        loop {
            match serving.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let address = line.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next());
                    serving.hear(&line);
                    if let Some(address) = address.filter(|_| line.contains("serving client traffic")) {
                        serving.endpoint = address.to_owned();
                        return Ok(Outcome::Serving(serving));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let (status, said) = serving.ended()?;
                    return Ok(Outcome::Refused(status, said));
                }
                Err(RecvTimeoutError::Timeout) => bail!("nothing after {PATIENCE:?}: {}", serving.said),
            }
        }
    }
}

impl Serving {
    fn hear(&mut self, line: &str) {
        self.said.push_str(line);
        self.said.push('\n');
    }

    /// Waits for its end, which it finds itself; with everything it said.
    pub fn ended(&mut self) -> anyhow::Result<(ExitStatus, String)> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.hear(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("it did not end in {PATIENCE:?}: {}", self.said),
            }
        }
        Ok((self.child.wait()?, std::mem::take(&mut self.said)))
    }

    /// Asks it to end, as an operator does.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        let done = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        anyhow::ensure!(done.success(), "kill -TERM failed");
        Ok(self.ended()?.0)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
