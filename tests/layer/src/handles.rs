//! Open files and directories, by the number that the kernel hands back.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;

use crate::nodes::Node;

/// What was opened.
#[derive(Debug)]
pub(crate) enum Handle {
    /// Opened for reading and writing in the backing directory wherever it may be written to, whatever was asked for: what
    /// a write replaces is read first.
    File { node: Arc<Node>, file: Arc<File> },
    /// The names as they were when it was opened: inode number, kind, name.
    Directory { entries: Vec<(u64, rustix::fs::FileType, OsString)> },
    /// The control file, with what it said when it was opened.
    Control { text: String },
}

/// All that is open.
#[derive(Debug, Default)]
pub(crate) struct Handles(RwLock<(u64, HashMap<u64, Arc<Handle>>)>);

impl Handles {
    pub(crate) fn open(&self, handle: Handle) -> u64 {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        open.0 += 1;
        let number = open.0;
        open.1.insert(number, Arc::new(handle));
        number
    }

    pub(crate) fn get(&self, number: u64) -> io::Result<Arc<Handle>> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.1.get(&number).cloned().ok_or_else(|| Errno::BADF.into())
    }

    pub(crate) fn close(&self, number: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).1.remove(&number);
    }
}
