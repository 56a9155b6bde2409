//! Where the command talks: results go to standard output, progress and complaints to standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// A line of the result. A reader that has gone away is no reason to stop measuring: there may be a JSON file too.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line about what happens meanwhile.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
