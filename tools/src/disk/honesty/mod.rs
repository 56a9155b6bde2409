//! `graven-disk honesty`: does a sync reach the medium?

use std::path::PathBuf;

use clap::{Args, Subcommand};
use measure::{Error, Result};

use super::guard;
use super::outcome::Outcome;

/// Options of `graven-disk honesty`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Whether what the kernel counts and how long it takes are plausible.
    Check {
        /// Directory on the disk to look at.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let Command::Check { dir } = &arguments.command;
    guard::check_dir(dir, true)?;
    Err(Error::Usage("honesty is not available yet".to_owned()))
}
