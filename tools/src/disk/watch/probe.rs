//! The file that is written to.

use std::path::PathBuf;

use measure::{Aligned, Error, Result, WalMethod};
use wal::{Access, File, Io, Method, OsIo};

use super::Arguments;

/// Writes until the first is overwritten.
const WRITES: u64 = 64;

/// A small file, written before, whose blocks are overwritten in turn.
pub(super) struct Probe {
    path: PathBuf,
    io: OsIo,
    asked: Method,
    /// None after an error: what it has in memory may not be what is on the disk.
    file: Option<Box<dyn File>>,
    bytes: Aligned,
    next: u64,
}

impl Probe {
    /// Length of the file for writes of so many bytes.
    pub(super) fn file_bytes(bytes: usize) -> u64 {
        WRITES * bytes as u64
    }

    pub(super) fn create(path: PathBuf, arguments: &Arguments) -> Result<Probe> {
        let mut bytes = Aligned::new(arguments.bytes);
        bytes.as_mut_slice().fill(0x5a);
        let asked = arguments.method.method();
        let mut probe = Probe { path, io: OsIo::new(), asked, file: None, bytes, next: 0 };
        probe.open()?;
        Ok(probe)
    }

    fn open(&mut self) -> Result<()> {
        let io = |what| Error::io(what, &self.path);
        let mut file = self.io.open(&self.path, Access::Create, self.asked).map_err(io("open"))?;
        let length = self.bytes.as_slice().len();
        file.allocate(Self::file_bytes(length)).map_err(io("allocate"))?;
        for number in 0..WRITES {
            let written = file.write(number * length as u64, self.bytes.as_slice()).map_err(io("write"))?;
            whole(written, length).map_err(io("write"))?;
        }
        file.sync().map_err(io("sync"))?;
        self.file = Some(file);
        Ok(())
    }

    /// How writes are made durable, as the metrics name it.
    pub(super) fn method(&self) -> String {
        let chosen = self.file.as_ref().map(|file| file.chosen().method);
        WalMethod::from(chosen.unwrap_or(self.asked)).name()
    }

    /// One durable write. After one that failed the file is made anew first.
    pub(super) fn write(&mut self) -> Result<()> {
        if self.file.is_none() {
            self.open()?;
        }
        let length = self.bytes.as_slice().len();
        let file = self.file.as_mut().expect("it was opened above");
        let written = file.write_durable(self.next * length as u64, self.bytes.as_slice());
        let written = written.and_then(|written| whole(written, length));
        if written.is_err() {
            self.file = None;
        }
        self.next = (self.next + 1) % WRITES;
        written.map_err(Error::io("write durably", &self.path))
    }
}

fn whole(written: usize, length: usize) -> std::io::Result<()> {
    if written == length { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) }
}
