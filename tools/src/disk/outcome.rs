//! How the program ends.

use std::process::ExitCode;

/// What the shell learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The disk is fit; or what was asked for, other than a verdict, was done.
    Fit,
    /// It is not.
    Unfit,
    /// It was not measured well enough to say.
    CouldNotTell,
}

impl Outcome {
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Outcome::Fit => 0,
            Outcome::Unfit => 1,
            Outcome::CouldNotTell => 2,
        })
    }
}

/// 1 says that a disk is unfit and nothing else, so that every failure but an interruption is 2.
pub(crate) fn of_error(error: &measure::Error) -> ExitCode {
    match error {
        measure::Error::Interrupted => ExitCode::from(130),
        _ => Outcome::CouldNotTell.exit_code(),
    }
}
