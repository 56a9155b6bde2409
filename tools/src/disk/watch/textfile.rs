//! A file for node-exporter's textfile collector.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use measure::{Error, Result};

use super::metrics::{Metrics, PREFIX};
use crate::disk::guard;

/// How old the content may become: what Prometheus's usual scrape intervals do not notice.
const INTERVAL: Duration = Duration::from_secs(5);

/// Replaced as a whole, by a thread of its own: while a durable write hangs the file has to say so. Gone at the end: figures
/// of a watch that has ended must not look like today's.
pub(super) struct TextFile {
    path: PathBuf,
    /// Where the next content is written; the collector does not read names that end so.
    next: PathBuf,
    writer: Option<(Sender<()>, JoinHandle<()>)>,
    failed: Arc<Mutex<Option<Error>>>,
}

impl TextFile {
    /// Refuses what cannot be written, and a file that is somebody else's.
    pub(super) fn new(path: &Path) -> Result<TextFile> {
        if path.extension().is_none_or(|ext| ext != "prom") {
            let path = path.display();
            return Err(Error::Usage(format!(
                "--textfile {path}: the collector reads names that end in .prom only: give such a name"
            )));
        }
        let next = path.with_extension(format!("prom.{}", std::process::id()));
        for path in [path, &next] {
            guard::check_output("--textfile", path)?;
            check_is_ours(path)?;
        }
        Ok(TextFile { path: path.to_owned(), next, writer: None, failed: Arc::default() })
    }

    /// Begins to write the metrics: at once, and at intervals.
    pub(super) fn keep(&mut self, metrics: Arc<Metrics>) -> Result<()> {
        self.keep_at(INTERVAL, metrics)
    }

    fn keep_at(&mut self, interval: Duration, metrics: Arc<Metrics>) -> Result<()> {
        replace(&self.next, &self.path, &metrics)?;
        let (wake, woken) = mpsc::channel();
        let (next, path, failed) = (self.next.clone(), self.path.clone(), Arc::clone(&self.failed));
        let thread = thread::Builder::new().name("textfile".to_owned()).spawn(move || {
            while woken.recv_timeout(interval) != Err(RecvTimeoutError::Disconnected) {
                if let Err(error) = replace(&next, &path, &metrics) {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
            }
        });
        let thread = thread.map_err(Error::io("start a thread for", &self.path))?;
        self.writer = Some((wake, thread));
        Ok(())
    }

    /// The metrics have changed so much that nobody should wait for them.
    pub(super) fn refresh(&self) {
        if let Some((wake, _)) = &self.writer {
            // A thread that has ended left the reason.
            let _ = wake.send(());
        }
    }

    /// An error if the file could not be written.
    pub(super) fn check(&self) -> Result<()> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let Some((wake, thread)) = self.writer.take() else { return };
        drop(wake);
        let _ = thread.join();
        // What cannot be removed says by its timestamp how old it is.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.next);
    }
}

/// A file that is there has to begin as ours do: it is replaced, and removed at the end.
fn check_is_ours(path: &Path) -> Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    let mut begin = vec![0; PREFIX.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    if found.is_file() && read.is_ok() && begin == PREFIX.as_bytes() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--textfile {}: is there, and not from a watch: give another name, or move it away",
        path.display()
    )))
}

fn replace(next: &Path, path: &Path, metrics: &Metrics) -> Result<()> {
    fs::write(next, metrics.text()).map_err(Error::io("write", next))?;
    fs::rename(next, path).map_err(Error::io("replace", path))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::of(
            Path::new("/data"),
            Duration::from_millis(100),
            [4096.to_string(), 1.to_string()],
        ))
    }

    fn in_flight(path: &Path) -> f64 {
        let text = fs::read_to_string(path).unwrap();
        let line =
            text.lines().find(|line| line.starts_with("graven_disk_watch_in_flight_seconds{")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_write_that_hangs_is_seen_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watch.prom");
        let metrics = metrics();
        let mut file = TextFile::new(&path).unwrap();
        file.keep_at(Duration::from_millis(10), Arc::clone(&metrics)).unwrap();
        assert_eq!(in_flight(&path), 0.0);
        metrics.begin();
        // Nothing is ever heard of that write again.
        let begun = Instant::now();
        while in_flight(&path) < 0.05 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the file is not kept up to date");
        }
        file.check().unwrap();
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_from_a_watch_is_neither_replaced_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.prom");
        for content in ["# HELP node_boot_time_seconds\n", "", "# HELP graven_disk"] {
            fs::write(&path, content).unwrap();
            let refused = TextFile::new(&path).err().unwrap().to_string();
            assert!(refused.contains("not from a watch"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        // What a watch that was killed has left is ours.
        fs::write(&path, metrics().text()).unwrap();
        drop(TextFile::new(&path).unwrap());
        assert!(path.exists(), "nothing was written, so that nothing is removed");
        TextFile::new(&path).unwrap().keep(metrics()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_any_more_ends_the_watch() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let mut file = TextFile::new(&inner.join("watch.prom")).unwrap();
        file.keep_at(Duration::from_millis(5), metrics()).unwrap();
        fs::rename(&inner, dir.path().join("gone")).unwrap();
        let begun = Instant::now();
        while file.check().is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody hears of it");
        }
    }
}
