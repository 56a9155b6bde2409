//! `graven-disk watch`: keeps measuring, lightly.

use std::path::PathBuf;

use clap::Args;
use measure::{Error, Result};

use super::guard;
use super::outcome::Outcome;

/// Options of `graven-disk watch`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Directory on the disk to watch.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    guard::check_dir(&arguments.dir, true)?;
    Err(Error::Usage("watch is not available yet".to_owned()))
}
