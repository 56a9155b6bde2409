//! `graven-disk compare`: several reports side by side.

use std::path::PathBuf;

use clap::Args;
use measure::Result;

use super::document::Document;
use super::outcome::Outcome;
use super::qualify::show;
use super::terminal::say;

/// Options of `graven-disk compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Reports that `qualify --json` wrote.
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(crate) files: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let documents: Vec<_> = arguments.files.iter().map(|path| Document::read(path)).collect::<Result<_>>()?;
    for (path, document) in arguments.files.iter().zip(&documents) {
        say(format_args!("{}: {}\n", path.display(), document.dir));
        show(document);
    }
    Ok(Outcome::Fit)
}
