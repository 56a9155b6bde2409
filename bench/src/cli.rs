//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::storage;
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
    /// What a measurement kills or looks at from outside: a member in a process of its own.
    #[command(hide = true)]
    StorageChild(storage::ChildArguments),
}

/// Runs the command line of this process. The exit code is 0 when everything asked for was measured, whether goals were
/// reached or not; 2 when the request is at fault; 130 after Ctrl-C; 1 otherwise.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Storage(arguments) => storage::run(&arguments),
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
