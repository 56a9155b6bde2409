//! `watch`: prints events until it is stopped; may run a command for each. With `-i` it reads lines, each of which
//! adds a watcher.

use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Flags, Kind};
use super::super::go::quote;
use super::super::print::{Answer, Style, WatchReport, write_err, write_out};
use super::super::range::{Extent, bounds};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use super::super::words::split;
use super::input::Lines;
use super::watch_args::{EnvironmentKeys, Words, from_command_line, from_interactive_line};
use super::watch_stream::{Report, WatchStream};
use api::etcdserverpb as pb;
use api::mvccpb::{Event, event::EventType};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use tokio::sync::mpsc;

pub(super) static WATCH: Command = Command {
    usage: "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    short: "Watches events stream on keys or prefixes",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::with_short("interactive", 'i', Kind::Bool(false), "Interactive mode"),
        Flag::new("prefix", Kind::Bool(false), "Watch on a prefix if prefix is set"),
        Flag::new("rev", Kind::Int(0), "Revision to start watching"),
        Flag::new("prev-kv", Kind::Bool(false), "get the previous key-value pair before the event happens"),
        Flag::new(
            "progress-notify",
            Kind::Bool(false),
            "get periodic watch progress notification from server",
        ),
    ],
    action: Action::Run(run),
    ..Command::EMPTY
};

fn run(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let variable = |name| std::env::var_os(name).unwrap_or_default().into_vec();
    let environment = EnvironmentKeys {
        key: variable("ETCDCTL_WATCH_KEY"),
        range_end: variable("ETCDCTL_WATCH_RANGE_END"),
    };
    if environment.key.is_empty() && !environment.range_end.is_empty() {
        let end = quote(&environment.range_end);
        return Err(Exit::bad_args(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}"
        )));
    }
    if invocation.flags.bool("interactive") {
        let session = Session::open(&mut invocation)?;
        return session.run(interactive(&session, &environment));
    }
    let words = from_command_line(invocation.raw, &invocation.args, &environment)?;
    let session = Session::open(&mut invocation)?;
    let request = create_request(&invocation.flags, &words.keys).map_err(Exit::bad_args)?;
    let mut stream = WatchStream::new(&session.client);
    stream.watch(request);
    loop {
        for report in session.run(stream.next()) {
            show(session.style, &report, &words.command)?;
            if report.end.is_some() {
                return Err(Exit::new(Code::Interrupted, "watch is canceled by the server"));
            }
        }
    }
}

/// Until stdin ends, which ends the program.
async fn interactive(session: &Session, environment: &EnvironmentKeys) -> Result<(), Exit> {
    let mut stream = WatchStream::new(&session.client);
    let mut commands: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut lines = read_lines()?;
    loop {
        tokio::select! {
            biased;
            reports = stream.next() => {
                for report in reports {
                    show(session.style, &report, &commands[report.watcher])?;
                }
            }
            line = lines.recv() => {
                let line = match line.unwrap_or_else(|| Err("EOF".to_owned())) {
                    Ok(line) => line,
                    Err(why) => {
                        let message = format!("error reading watch request line: {why}");
                        return Err(Exit::new(Code::InvalidInput, message));
                    }
                };
                match understand(&line, environment)? {
                    Order::Watch(request, command) => {
                        let id = stream.watch(request);
                        commands.push(command);
                        while !stream.is_settled(id) {
                            for report in stream.next().await {
                                show(session.style, &report, &commands[report.watcher])?;
                            }
                        }
                    }
                    Order::Progress => stream.request_progress(),
                    Order::None => {}
                }
            }
        }
    }
}

/// Reads on a thread of its own, because stdin cannot be waited for otherwise.
fn read_lines() -> Result<mpsc::Receiver<Result<Vec<u8>, String>>, Exit> {
    let (sender, receiver) = mpsc::channel(1);
    let mut lines = Lines::open()?;
    std::thread::spawn(move || {
        loop {
            let line = lines.next();
            let is_end = line.is_err();
            if sender.blocking_send(line).is_err() || is_end {
                return;
            }
        }
    });
    Ok(receiver)
}

enum Order {
    Watch(pb::WatchCreateRequest, Vec<Vec<u8>>),
    Progress,
    /// The line made no sense; that has been said.
    None,
}

fn understand(line: &[u8], environment: &EnvironmentKeys) -> Result<Order, Exit> {
    let shown = String::from_utf8_lossy(line);
    let words = split(line).ok_or_else(|| Exit::new(Code::InvalidInput, "invalid syntax"))?;
    let complaint = match words.first().map(Vec::as_slice) {
        None => format!("Invalid command: {shown} (watch and progress supported)\n"),
        Some(b"watch") if words.len() < 2 && environment.key.is_empty() => {
            format!("Invalid command {shown} (command type or key is not provided)\n")
        }
        Some(b"watch") => {
            let mut flags = Flags::new(WATCH.flags);
            let Words { keys, command } = from_interactive_line(&words, environment, &mut flags)?;
            match create_request(&flags, &keys) {
                Ok(request) => return Ok(Order::Watch(request, command)),
                Err(why) => format!("Invalid command {shown} ({why})\n"),
            }
        }
        Some(b"progress") => return Ok(Order::Progress),
        Some(_) => format!("Invalid command {shown} (only support watch)\n"),
    };
    write_err(&complaint);
    Ok(Order::None)
}

/// Keys after the second do not count.
fn create_request(flags: &Flags, keys: &[Vec<u8>]) -> Result<pb::WatchCreateRequest, &'static str> {
    let prefix = flags.bool("prefix");
    let (key, extent) = match keys {
        [] => return Err("bad number of arguments"),
        [_, _] if prefix => return Err("`range_end` and `--prefix` are mutually exclusive"),
        [key, end] => (key, Extent::Until(end)),
        [key, ..] if prefix => (key, Extent::Prefix),
        [key, ..] => (key, Extent::One),
    };
    let (key, range_end) = bounds(key, extent);
    Ok(pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: flags.int("rev"),
        progress_notify: flags.bool("progress-notify"),
        prev_kv: flags.bool("prev-kv"),
        ..Default::default()
    })
}

fn show(style: Style, report: &Report, command: &[Vec<u8>]) -> Result<(), Exit> {
    if let Some(why) = &report.end {
        write_err(&format!("watch was canceled ({why})\n"));
    }
    let report = &report.report;
    let revision = report.header.unwrap_or_default().revision;
    let events = report.events.as_deref().unwrap_or_default();
    if events.is_empty() && !report.canceled && report.compact_revision == 0 && revision != 0 {
        write_out(format!("progress notify: {revision}\n").as_bytes());
    }
    style.print(&Answer::Watch(WatchReport::clone(report)))?;
    if !command.is_empty() {
        events.iter().try_for_each(|event| execute(command, event, revision))?;
    }
    Ok(())
}

/// Runs the user's command for one event and waits for it.
fn execute(command: &[Vec<u8>], event: &Event, revision: i64) -> Result<(), Exit> {
    let kv = event.kv.clone().unwrap_or_default();
    let kind = match event.r#type() {
        EventType::Put => "\"PUT\"",
        EventType::Delete => "\"DELETE\"",
    };
    let status = std::process::Command::new(OsStr::from_bytes(&command[0]))
        .args(command[1..].iter().map(|arg| OsStr::from_bytes(arg)))
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", kind)
        .env("ETCD_WATCH_KEY", quote(&kv.key))
        .env("ETCD_WATCH_VALUE", quote(&kv.value))
        .stdin(std::process::Stdio::null())
        .status();
    let why = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !command[0].contains(&b'/') => {
            format!("exec: {}: executable file not found in $PATH", quote(&command[0]))
        }
        Err(error) => format!("fork/exec {}: {error}", String::from_utf8_lossy(&command[0])),
    };
    let words: Vec<_> = command.iter().map(|word| quote(word)).collect();
    write_err(&format!("command [{}] error ({why})\n", words.join(" ")));
    Err(Exit::silent(Code::Error))
}
