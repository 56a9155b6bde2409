//! The one directory that is written to. It is made here, marked, locked, and removed at the end; anything that was not
//! made here is left alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::error::{Error, Result};

/// Name of the directory, below the one that is given.
const NAME: &str = "graven-bench.work";
/// Lies in every directory of ours, and holds the lock of who uses it.
const MARK: &str = "made-by-graven-bench";

/// A directory of our own; gone when dropped.
pub(crate) struct WorkDir {
    path: PathBuf,
    /// Locked as long as this lives.
    _mark: File,
}

impl WorkDir {
    /// Makes the directory below `parent`, which exists. One that an earlier run left behind (killed, a power cut) is
    /// removed first; one that bears no mark of ours, or that somebody is using, is refused.
    pub(crate) fn create(parent: &Path) -> Result<WorkDir> {
        match fs::metadata(parent) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(usage(parent, "is not a directory: give one with --dir")),
            Err(error) => return Err(usage(parent, &format!("cannot be used: {error}"))),
        }
        let path = parent.join(NAME);
        if path.symlink_metadata().is_ok() {
            remove_leftover(&path)?;
        }
        fs::create_dir(&path).map_err(|error| usage(parent, &format!("cannot be written to: {error}")))?;
        let mark = path.join(MARK);
        let made = File::create_new(&mark).and_then(|mut file| {
            writeln!(file, "Everything in here is removed when graven-bench ends.")?;
            lock(&file)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(WorkDir { path, _mark: file }),
            Err(error) => {
                // The directory was made a moment ago and is empty but for the mark.
                let _ = fs::remove_dir_all(&path);
                Err(usage(parent, &format!("cannot be written to: {error}")))
            }
        }
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new, empty directory for one measurement.
    pub(crate) fn fresh(&self, name: &str) -> Result<Scratch> {
        Scratch::create(self.path.join(name))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What can't be removed is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A directory of one measurement; gone when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory `path`.
    pub(crate) fn create(path: PathBuf) -> Result<Scratch> {
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(Scratch { path })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Bytes that can be written below a directory.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64> {
    let found = statvfs(dir).map_err(|error| Error::io("ask for the space in", dir)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn remove_leftover(path: &Path) -> Result<()> {
    let Ok(mark) = File::open(path.join(MARK)) else {
        return Err(usage(path, "was not made by graven-bench: move it away or give another --dir"));
    };
    lock(&mark).map_err(|_| usage(path, "is in use by another graven-bench: wait or give another --dir"))?;
    fs::remove_dir_all(path).map_err(|error| usage(path, &format!("cannot be removed: {error}")))
}

fn lock(mark: &File) -> io::Result<()> {
    Ok(flock(mark, FlockOperation::NonBlockingLockExclusive)?)
}

fn usage(path: &Path, what: &str) -> Error {
    Error::Usage(format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_one_directory_and_removes_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = WorkDir::create(parent.path()).unwrap();
        let scratch = dir.fresh("row").unwrap();
        fs::write(scratch.path().join("file"), "content").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the mark is left");
        drop(dir);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn leaves_alone_what_it_did_not_make() {
        let parent = tempfile::tempdir().unwrap();
        let foreign = parent.path().join(NAME);
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("precious"), "content").unwrap();
        let refused = WorkDir::create(parent.path()).err().unwrap().to_string();
        assert!(refused.contains("was not made by graven-bench"), "{refused}");
        assert!(foreign.join("precious").exists());
    }

    #[test]
    fn refuses_what_is_in_use_and_removes_what_was_left_behind() {
        let parent = tempfile::tempdir().unwrap();
        let dir = WorkDir::create(parent.path()).unwrap();
        let refused = WorkDir::create(parent.path()).err().unwrap().to_string();
        assert!(refused.contains("in use"), "{refused}");
        drop(dir);
        // As a killed run leaves it: marked, not locked.
        let left = parent.path().join(NAME);
        fs::create_dir(&left).unwrap();
        fs::write(left.join(MARK), "").unwrap();
        fs::write(left.join("db"), "content").unwrap();
        let dir = WorkDir::create(parent.path()).unwrap();
        assert!(!dir.path().join("db").exists());
    }
}
