//! Stdin without Rust's own buffer, so that whoever reads next finds what was not taken yet.

use super::super::exit::{Code, Exit};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

fn stdin() -> std::io::Result<File> {
    Ok(File::from(std::io::stdin().as_fd().try_clone_to_owned()?))
}

/// Everything there is.
pub(super) fn rest() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdin()?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Stdin by lines.
pub(super) struct Lines(BufReader<File>);

impl Lines {
    pub(super) fn open() -> Result<Lines, Exit> {
        let file = stdin().map_err(|error| Exit::new(Code::InvalidInput, error))?;
        Ok(Lines(BufReader::with_capacity(4096, file)))
    }

    /// Without its newline. A last line that has none does not count: that is the end, reported as `EOF`.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if line.pop() != Some(b'\n') {
            return Err("EOF".to_owned());
        }
        Ok(line)
    }
}
