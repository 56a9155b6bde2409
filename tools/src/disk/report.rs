//! `graven-disk report`: shows a report again.

use std::path::PathBuf;

use clap::Args;
use measure::Result;

use super::document::Document;
use super::outcome::Outcome;
use super::qualify::{show, write_page};

/// Options of `graven-disk report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// A report that `qualify --json` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write a page with pictures to PAGE instead.
    #[arg(long, value_name = "PAGE")]
    pub(crate) html: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let document = Document::read(&arguments.file)?;
    match &arguments.html {
        Some(path) => write_page(&document, path)?,
        None => show(&document),
    }
    Ok(Outcome::Fit)
}
