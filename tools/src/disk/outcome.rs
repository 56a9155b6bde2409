//! How the program ends.

use std::process::ExitCode;

/// As shells say it of what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What the shell learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The disk is fit; or what was asked for, other than a verdict, was done.
    Fit,
    /// It is not.
    Unfit,
    /// Somebody asked to end before it was known.
    Interrupted,
    /// It was not measured well enough to say.
    CouldNotTell,
}

impl Outcome {
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Outcome::Fit => 0,
            Outcome::Unfit => 1,
            Outcome::CouldNotTell => 2,
            Outcome::Interrupted => INTERRUPTED,
        })
    }
}

/// 1 says that a disk is unfit and nothing else, so that every failure but an interruption is 2.
pub(crate) fn of_error(error: &measure::Error) -> ExitCode {
    match error {
        measure::Error::Interrupted => Outcome::Interrupted.exit_code(),
        _ => Outcome::CouldNotTell.exit_code(),
    }
}
