//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::load::{self, Kind, Load, LoadArguments, Plan};
use crate::storage;
use crate::terminal::note;

/// Measurements of Graven.
#[derive(Parser)]
#[command(
    name = "graven-bench",
    version,
    about = "Loads etcd-compatible servers, and measures Graven's storage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts.
    Put(Box<Load<load::Nothing>>),
    /// Reads of single keys, of a range, or of all keys with a prefix.
    Range(Box<Load<load::RangeArguments>>),
    /// Transactions of puts.
    TxnPut(Box<Load<load::TxnArguments>>),
    /// Transactions of puts and transactions of reads.
    TxnMixed(Box<Load<load::TxnMixedArguments>>),
    /// Single puts and single reads.
    Mixed(Box<Load<load::MixedArguments>>),
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
        Command::Put(load) => run_load(Ok(Kind::Put), &load.shared, false),
        Command::Range(load) => {
            run_load(load::what(&load.own).map(Kind::Range), &load.shared, load.own.how.fill)
        }
        Command::TxnPut(load) => {
            run_load(Ok(Kind::TxnPut { operations: load.own.operations }), &load.shared, false)
        }
        Command::TxnMixed(load) => {
            let operations = load.own.txn.operations;
            let kind =
                load::reads(&load.own.mixed).map(|(reads, what)| Kind::TxnMixed { operations, reads, what });
            run_load(kind, &load.shared, load.own.mixed.range.how.fill)
        }
        Command::Mixed(load) => {
            let kind = load::reads(&load.own).map(|(reads, what)| Kind::Mixed { reads, what });
            run_load(kind, &load.shared, load.own.range.how.fill)
        }
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

fn run_load(kind: Result<Kind>, shared: &LoadArguments, fills: bool) -> Result<()> {
    load::run(&Plan::new(kind?, shared, fills)?)
}
