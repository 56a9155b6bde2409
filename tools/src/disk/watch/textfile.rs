//! A file for node-exporter's textfile collector.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use measure::{Error, Result};

use crate::disk::guard;

/// Replaced as a whole, and gone at the end: figures of a watch that has ended must not look like today's.
pub(super) struct TextFile {
    path: PathBuf,
    /// Where the next content is written; the collector does not read names that end so.
    next: PathBuf,
    /// Whether what lies there is ours.
    written: Cell<bool>,
}

impl TextFile {
    /// How old the content may become: what Prometheus's usual scrape intervals do not notice.
    pub(super) const INTERVAL: Duration = Duration::from_secs(5);

    pub(super) fn new(path: &Path) -> Result<TextFile> {
        if path.extension().is_none_or(|ext| ext != "prom") {
            let path = path.display();
            return Err(Error::Usage(format!(
                "--textfile {path}: the collector reads names that end in .prom only: give such a name"
            )));
        }
        guard::check_output("--textfile", path)?;
        let next = path.with_extension(format!("prom.{}", std::process::id()));
        guard::check_output("--textfile", &next)?;
        Ok(TextFile { path: path.to_owned(), next, written: Cell::new(false) })
    }

    pub(super) fn write(&self, text: &[u8]) -> Result<()> {
        fs::write(&self.next, text).map_err(Error::io("write", &self.next))?;
        fs::rename(&self.next, &self.path).map_err(Error::io("replace", &self.path))?;
        self.written.set(true);
        Ok(())
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        // What cannot be removed says by its timestamp how old it is.
        if self.written.get() {
            let _ = fs::remove_file(&self.path);
        }
        let _ = fs::remove_file(&self.next);
    }
}
