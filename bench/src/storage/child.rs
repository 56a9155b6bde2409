//! A member in a process of its own: one that works until it is killed, and one that looks at what was left.
//!
//! Parent and child talk in lines: `loaded`, then the newest acknowledged revision now and then; the looker answers with
//! one line of JSON.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use engine::KeyRange;
use measure::WalMethod;
use serde::{Deserialize, Serialize};

use super::Bench;
use super::arguments::Sizes;
use super::drive::{Pace, drive};
use super::fill::{fill, random_puts};
use super::load;
use super::member::{Member, Opened};
use crate::error::{Error, Result};
use crate::terminal::say;
use measure::Stop;

/// Options of the hidden `storage-child`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChildArguments {
    #[arg(value_enum)]
    task: Task,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    keys: u64,
    #[arg(long)]
    quick: bool,
    #[arg(long, value_enum)]
    wal_method: WalMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Fills a new store, then puts until it is killed.
    Work,
    /// Opens it again and says how that went.
    Look,
}

/// Values that the working child puts.
const VALUE: usize = 256;
/// Requests between two lines about how far it is.
const REPORT_EVERY: u64 = 6_400;

/// What opening again found, and how long it took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    /// The engine's file, up to a first count of all keys.
    pub(crate) engine_seconds: f64,
    /// Reading the log, and applying what the last checkpoint did not have.
    pub(crate) tail_seconds: f64,
    /// What of it went into applying.
    pub(crate) applying_seconds: f64,
    /// Changes applied.
    pub(crate) changes: u64,
    pub(crate) keys: u64,
    pub(crate) revision: i64,
}

/// Runs in the child.
pub(crate) fn run_child(arguments: &ChildArguments) -> Result<()> {
    // Where the parent is killed nobody is left to kill this.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let sizes = Sizes::plain(arguments.quick);
    let options = sizes.member(arguments.wal_method.method());
    match arguments.task {
        Task::Work => {
            let stop = Stop::default();
            let mut member = Member::create(&arguments.dir, options)?;
            fill(&stop, &mut member, 0, arguments.keys, VALUE)?;
            say("loaded");
            let next = random_puts(arguments.keys, VALUE, 31);
            let mut said = 0;
            drive(&mut member, Pace::Callers(64), &stop, next, |progress| {
                if progress.requests >= said + REPORT_EVERY {
                    said = progress.requests;
                    say(progress.member.revision());
                }
                false
            })?;
            Ok(())
        }
        Task::Look => {
            let begun = Instant::now();
            let (member, Opened { engine, tail, applying, changes }) = Member::open(&arguments.dir, options)?;
            let opened = begun.elapsed();
            let view = member.reader().view();
            let keys = view.count(&KeyRange::prefix(load::PREFIX), 0)?;
            let count = begun.elapsed() - opened;
            let look = Look {
                engine_seconds: (engine + count).as_secs_f64(),
                tail_seconds: tail.as_secs_f64(),
                applying_seconds: applying.as_secs_f64(),
                changes,
                keys,
                revision: view.revision(),
            };
            say(serde_json::to_string(&look).expect("plain numbers"));
            Ok(())
        }
    }
}

/// A working child. It is killed when dropped.
pub(crate) struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts it and waits until it has filled its store.
    pub(crate) fn start(bench: &Bench, dir: &Path, keys: u64) -> Result<Worker> {
        let mut child = spawn(bench, "work", dir, keys)?;
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut worker = Worker { child, lines };
        match worker.line()?.as_str() {
            "loaded" => Ok(worker),
            // It has said why on standard error.
            _ => {
                bench.stop.check()?;
                Err(Error::Wrong("the member in a process of its own did not get to work".to_owned()))
            }
        }
    }

    /// Lets it work for so long, kills it, and returns the newest revision that it had acknowledged for sure.
    pub(crate) fn kill_after(mut self, bench: &Bench, time: Duration) -> Result<i64> {
        let begun = Instant::now();
        let mut newest = 0;
        while begun.elapsed() < time {
            bench.stop.check()?;
            let line = self.line()?;
            newest = line
                .parse()
                .map_err(|_| Error::Wrong("the member that was to be killed ended".to_owned()))?;
        }
        self.child.kill().map_err(Error::io("kill the member in", Path::new("")))?;
        Ok(newest)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines
            .read_line(&mut line)
            .map_err(|error| Error::Wrong(format!("the member's pipe: {error}")))?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a killed member's files in a new process.
pub(crate) fn look(bench: &Bench, dir: &Path, keys: u64) -> Result<Look> {
    let output = spawn(bench, "look", dir, keys)?
        .wait_with_output()
        .map_err(|error| Error::Wrong(format!("a process of our own: {error}")))?;
    bench.stop.check()?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::Wrong("the killed member's files did not open".to_owned()))
}

fn spawn(bench: &Bench, task: &str, dir: &Path, keys: u64) -> Result<Child> {
    let program = std::env::current_exe()
        .map_err(|error| Error::Wrong(format!("cannot find this program's file: {error}")))?;
    let mut command = Command::new(&program);
    command.arg("storage-child").arg(task).arg("--dir").arg(dir).args(["--keys", &keys.to_string()]);
    command.args(["--wal-method", &bench.arguments.wal_method.name()]);
    if bench.arguments.quick {
        command.arg("--quick");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(Error::io("run", &program))
}
