//! `graven-disk`: what is this disk worth to a control plane?
//!
//! `qualify` runs phases one after the other (`qualify.rs` has their list); each puts what it found into one document
//! (`document.rs`), from which tables, pages and comparisons are made. `honesty` asks whether a sync reaches the medium.
//! `watch` keeps measuring, lightly, beside a live member.
//!
//! Nothing is written outside a directory of its own (`measure::WorkDir`), which is removed at the end, also after
//! Ctrl-C and errors. What cannot work is refused before anything is written (`guard.rs`).
//!
//! Exit codes: 0 fit, 1 unfit, 2 could not tell or a bad request (one line that says what and what to do), 130 after Ctrl-C.

mod arguments;
mod commit;
mod compare;
mod disturb;
mod document;
mod environment;
mod guard;
mod honesty;
mod matrix;
mod outcome;
mod overtime;
mod predict;
mod qualify;
mod recipes;
mod report;
mod terminal;
mod verdict;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Cli, Command};
use clap::Parser;
use outcome::Outcome;
use terminal::note;

/// Runs one command line; the first of `args` is the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let result = match cli.command {
        Command::Qualify(arguments) => qualify::run(&arguments),
        Command::Honesty(arguments) => honesty::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::BesideFio(arguments) => recipes::run_beside_fio(&arguments),
        Command::ServeMember(arguments) => predict::serve(&arguments),
    };
    match result {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            note(format_args!("graven-disk: {error}"));
            outcome::of_error(&error)
        }
    }
}

/// Help as clap prints it; a mistake in one line.
fn refused(error: &clap::Error) -> ExitCode {
    match measure::mistake("graven-disk", error) {
        Some(line) => {
            note(line);
            Outcome::CouldNotTell.exit_code()
        }
        None => {
            let _ = error.print();
            Outcome::Fit.exit_code()
        }
    }
}
