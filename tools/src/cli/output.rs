//! What goes to the terminal.

use super::exit::Code;
use std::io::Write;

/// To stdout, at once. Without a reader there is nothing left to do.
pub(crate) fn write_out(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(i32::from(Code::Error.number()));
    }
}

/// To stderr; there is nobody to tell when that fails.
pub(crate) fn write_err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
