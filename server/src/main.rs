//! `graven`: one member.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use server::{Config, FlagError, Flags, Parsed, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let environment = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    let flags = match Flags::parse(words, environment) {
        Ok(Parsed::Run(flags)) => flags,
        Ok(Parsed::Help) => {
            print(&server::help());
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&error),
    };
    if flags.asks_for_version() {
        print(&server::version_text());
        return ExitCode::SUCCESS;
    }
    let config = match Config::from_flags(&flags) {
        Ok(config) => config,
        Err(error) => {
            complain(&format!("failed to verify flags: {error}"));
            return ExitCode::from(1);
        }
    };
    match run(&config) {
        Ok(signal) => {
            // The shell sees what ended us, as with etcd. Does not return but for process 1.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = %format_args!("{error:#}"), "failed to start or run");
            ExitCode::from(1)
        }
    }
}

/// Runs until a signal asks to stop, and says which.
fn run(config: &Config) -> Result<i32> {
    server::start_log(&config.log_level, config.log_format, &config.log_output)
        .with_context(|| format!("cannot log to {}", config.log_output))
        .inspect_err(|error| complain(&format!("{error:#}")))?;
    for notice in &config.notices {
        warn!("{notice}");
    }
    info!(
        etcd_version = server::ETCD_VERSION,
        graven_version = env!("CARGO_PKG_VERSION"),
        name = %config.name,
        data_dir = %config.data_dir.display(),
        "starting an etcd server"
    );
    server::raise_descriptor_limit();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
    let server = Server::start(config)?;
    let signal = signals.forever().next().context("no signal can come any more")?;
    let name = if signal == SIGINT { "interrupt" } else { "terminated" };
    info!(signal = name, "received signal; shutting down");
    server.stop()?;
    Ok(signal)
}

fn refuse(error: &FlagError) -> ExitCode {
    match error {
        FlagError::Usage(text) => {
            complain(&format!("{text}\nsee 'graven --help'"));
            ExitCode::from(2)
        }
        other => {
            complain(&format!("failed to verify flags: {other}"));
            ExitCode::from(1)
        }
    }
}

/// To standard output. A reader that has gone away has read enough.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// To standard error: there is no log yet, and nobody to tell when that fails.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
