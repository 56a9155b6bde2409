//! A server that was started for a round.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use measure::{Scratch, Stop, Undo};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};

use super::command::{Command, Places};
use super::heir::Heir;
use crate::client::{Endpoint, Target, log_in};
use crate::error::{Error, Result};
use crate::process;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(60);
/// How often it is asked whether it does.
const ASK: Duration = Duration::from_millis(20);
/// How long it may take to end when it is asked to, before it is killed.
const END: Duration = Duration::from_secs(10);
/// How long a process may take from its last word to its end.
const CLOSING: Duration = Duration::from_millis(500);
/// Of what it said last.
const LINES: usize = 3;
const LINE_CHARS: usize = 300;

/// A process group that answers as an etcd does. Ended when dropped.
pub(super) struct Server {
    child: Child,
    group: Pid,
    /// In the results.
    pub(super) name: String,
    pub(super) target: Target,
    /// As it says itself.
    pub(super) version: String,
    said: Said,
    heir: Rc<Heir>,
    /// A panic ends it as well.
    _undo: Undo,
    /// Its folder; last, so that it is removed when nothing runs any more.
    _dir: Scratch,
}

impl Server {
    /// Starts it in `dir` and waits until it answers.
    ///
    /// # Errors
    /// [`Error::Usage`] with its last words when it does not.
    pub(super) fn start(command: &Command, dir: Scratch, heir: &Rc<Heir>, stop: &Stop) -> Result<Server> {
        let (client, peer) = free_ports()?;
        let line = command.filled(&Places { dir: dir.path(), client, peer });
        let refused = |what: String| Error::Usage(format!("{}: {what}", command.flag));
        // A group of its own: Ctrl-C in the terminal reaches us and not it, and all it starts ends with it.
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", &line])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| refused(format!("cannot start a shell: {error}")))?;
        let said = Said::default();
        said.listen(child.stdout.take());
        said.listen(child.stderr.take());
        let group = Pid::from_child(&child);
        heir.add(group);
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: client, tls: Some(false) };
        let target = Target { endpoints: vec![endpoint], tls: None, token: None };
        let name = command.name.clone();
        let version = String::new();
        let (heir, _undo) = (heir.clone(), Undo::new(move || kill(group)));
        let mut server = Server { child, group, name, target, version, said, heir, _undo, _dir: dir };
        let begun = Instant::now();
        loop {
            stop.check()?;
            if let Some(status) = server.ended() {
                return Err(refused(format!("does not start: it ended with {}", server.last_words(status))));
            }
            match log_in(&mut server.target, None) {
                Ok(version) => {
                    server.version = version;
                    return Ok(server);
                }
                Err(why) if begun.elapsed() > START => {
                    let heard = server.said.last();
                    return Err(refused(format!(
                        "does not answer {} s after its start: {why}; {heard}",
                        START.as_secs()
                    )));
                }
                Err(_) => stop.sleep(ASK)?,
            }
        }
    }

    /// Its processes that live now.
    pub(super) fn processes(&self) -> Vec<u32> {
        process::members(self.group)
    }

    /// An error with its last words if it runs no more.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => {
                let words = self.last_words(status);
                Err(Error::Died(format!("{}: the server ended in the middle of a round: {words}", self.name)))
            }
        }
    }

    /// The same when something has failed: a process closes its sockets a moment before it has ended.
    pub(super) fn check_gone(&mut self) -> Result<()> {
        let by = Instant::now() + CLOSING;
        while Instant::now() < by {
            self.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn last_words(&self, status: ExitStatus) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no status".to_owned(),
        };
        format!("{how}; {}", self.said.last())
    }

    /// Asks all its processes to end, and kills those that do not.
    fn end(&mut self) {
        let _ = kill_process_group(self.group, Signal::TERM);
        let by = Instant::now() + END;
        while Instant::now() < by {
            // The leader has to be waited for, or it stays in the group.
            let _ = self.child.try_wait();
            if test_kill_process_group(self.group).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        self.heir.remove(self.group);
    }
}

/// Kills a group without asking, and takes leave of those that are our children.
fn kill(group: Pid) {
    let _ = kill_process_group(group, Signal::KILL);
    while let Ok(Some(_)) = waitpgid(group, WaitOptions::empty()) {}
}

/// The last lines that a server has written.
#[derive(Clone, Default)]
struct Said {
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

#[derive(Default)]
struct Heard {
    lines: VecDeque<String>,
    /// Streams that have not ended.
    open: usize,
}

impl Said {
    /// Reads on to the end, so that the server never waits for somebody to take its log.
    fn listen(&self, from: Option<impl Read + Send + 'static>) {
        let said = self.clone();
        let from = BufReader::new(from.expect("it is piped"));
        said.lock().open += 1;
        std::thread::spawn(move || {
            for line in from.split(b'\n').map_while(std::result::Result::ok) {
                let line: String = String::from_utf8_lossy(&line).trim().chars().take(LINE_CHARS).collect();
                let lines = &mut said.lock().lines;
                if !line.is_empty() {
                    lines.push_back(line);
                }
                if lines.len() > LINES {
                    lines.pop_front();
                }
            }
            said.lock().open -= 1;
            said.heard.1.notify_all();
        });
    }

    /// In one line. What a process wrote just before its end may still be on its way through the pipe.
    fn last(&self) -> String {
        let waited = self.heard.1.wait_timeout_while(self.lock(), CLOSING, |heard| heard.open > 0);
        let (heard, _) = waited.expect("nothing panics while it is held");
        if heard.lines.is_empty() {
            return "it said nothing".to_owned();
        }
        let lines: Vec<&str> = heard.lines.iter().map(String::as_str).collect();
        format!("it said: {}", lines.join(" | "))
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.0.lock().expect("nothing panics while it is held")
    }
}

/// Two ports that nobody listens on right now.
fn free_ports() -> Result<(u16, u16)> {
    let listen = || TcpListener::bind("127.0.0.1:0").and_then(|one| Ok((one.local_addr()?.port(), one)));
    let failed = |error| Error::Wrong(format!("no free port: {error}"));
    let ((a, one), (b, other)) = (listen().map_err(failed)?, listen().map_err(failed)?);
    drop((one, other));
    Ok((a, b))
}
