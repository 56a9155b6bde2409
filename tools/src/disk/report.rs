//! `graven-disk report`: shows a report again.

use std::path::PathBuf;

use clap::Args;
use measure::Result;

use super::document::Document;
use super::outcome::Outcome;
use super::qualify::show;

/// Options of `graven-disk report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// A report that `qualify --json` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    show(&Document::read(&arguments.file)?);
    Ok(Outcome::Fit)
}
