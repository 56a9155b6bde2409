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

/// Bytes for people, in powers of ten as disks are sold.
pub(crate) fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{} GB", bytes.div_ceil(1_000_000_000)),
    }
}

/// A length of time for people, not finer than they wait.
pub(crate) fn time_text(time: std::time::Duration) -> String {
    match time.as_secs() {
        0..1 => "a second".to_owned(),
        seconds @ 1..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}
