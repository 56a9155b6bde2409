//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{preset, storage};
use crate::terminal::note;

/// Measurements of Graven.
#[derive(Parser)]
#[command(name = "graven-bench", version, about = "Measurements of Graven's storage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The log and the engine without a network, against their goals and beside other embedded stores.
    #[command(after_help = storage::rows_help())]
    Storage(Box<storage::Arguments>),
    /// etcd's `check perf`: does a cluster carry the puts of its size, and how long does each take?
    #[command(after_help = CHECK_HELP)]
    Perf(Box<preset::PerfArguments>),
    /// etcd's `check datascale`: how much memory does a server take for the keys of its size?
    #[command(after_help = CHECK_HELP)]
    Datascale(Box<preset::DatascaleArguments>),
    /// What a measurement kills or looks at from outside: a member in a process of its own.
    #[command(hide = true)]
    StorageChild(storage::ChildArguments),
}

const CHECK_HELP: &str = "Loads: s (50 clients, 150 puts/s or 10,000 keys), m (200; 1,000; 100,000), l (500; 8,000; 1,000,000), xl \
    (1,000; 15,000; 3,000,000).\n\nExit codes: 0 passed, 1 failed, 2 the request cannot be carried out, 130 interrupted.";

/// Runs the command line of this process. The exit code is 0 when everything asked for was measured, whether goals were
/// reached or not; 2 when the request is at fault; 130 after Ctrl-C; 1 otherwise.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Storage(arguments) => storage::run(&arguments),
        Command::Perf(arguments) => preset::run_perf(&arguments),
        Command::Datascale(arguments) => preset::run_datascale(&arguments),
        Command::StorageChild(arguments) => storage::run_child(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("graven-bench: {error}"));
            error.exit_code()
        }
    }
}
