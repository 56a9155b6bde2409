//! What a command needs to talk to the cluster and to print the answer.

use super::client::{Client, Deadline, Failure, Repeat};
use super::environment;
use super::exit::{Code, Exit};
use super::flags::{Flag, Flags};
use super::print::{Answer, Format, Style, write_err};
use super::settings::Settings;
use super::tree::Invocation;
use std::io::BufRead;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Response, Status};

pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) style: Style,
    command_timeout: Duration,
    runtime: tokio::runtime::Runtime,
}

impl Session {
    /// Lets the environment complete the flags, then checks them. Connects to nobody.
    pub(crate) fn open(invocation: &mut Invocation<'_>) -> Result<Session, Exit> {
        let inherited: Vec<&'static Flag> = invocation.path.inherited().collect();
        let flags = &mut invocation.flags;
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        let is_watch = invocation.path.command().name() == "watch";
        let warnings = environment::apply(flags, &inherited, is_watch, variables)?;
        warnings.iter().for_each(|warning| write_err(warning));
        if flags.bool("debug") {
            show_settings(flags, inherited);
        }
        let settings = Settings::from_flags(flags, ask_password)?;
        let format = Format::parse(flags.text("write-out"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let session = Session {
            client: Client::new(settings)?,
            style: Style { format, hex: flags.bool("hex"), values_only: false },
            command_timeout: Duration::from_nanos(
                u64::try_from(flags.duration("command-timeout")).unwrap_or(0),
            ),
            runtime: runtime.map_err(|error| Exit::new(Code::Error, error))?,
        };
        session.run(session.client.authenticate(session.deadline()))?;
        Ok(session)
    }

    /// For commands that `--command-timeout` limits.
    pub(crate) fn deadline(&self) -> Deadline {
        Some(Instant::now() + self.command_timeout)
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// One call over whichever endpoint answers.
    pub(crate) fn call<T>(
        &self,
        repeat: Repeat,
        deadline: Deadline,
        send: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.run(self.client.call(repeat, deadline, send))
    }

    pub(crate) fn print(&self, answer: &Answer) -> Result<(), Exit> {
        self.style.print(answer)
    }
}

fn show_settings(flags: &Flags, mut known: Vec<&'static Flag>) {
    known.sort_by_key(|flag| flag.name);
    for flag in known {
        write_err(&format!("{}={}\n", environment::variable(flag.name), flags.shown(flag.name)));
    }
}

/// A line of the terminal, or of whatever stdin is, unseen where there is an echo to switch off.
fn ask_password() -> Result<String, Exit> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    super::print::write_out(b"Password: ");
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).ok();
    if let Some(mut silent) = before.clone() {
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Now, &silent);
    }
    let mut line = String::new();
    let result = stdin.lock().read_line(&mut line);
    if let Some(before) = before {
        let _ = tcsetattr(&stdin, OptionalActions::Now, &before);
    }
    // The user's own newline was not shown.
    super::print::write_out(b"\n");
    result.map_err(|error| Exit::new(Code::Error, error))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
