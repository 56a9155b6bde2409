//! The one directory that is written to. It is made here, marked, locked, and removed at the end; anything that was not
//! made here is left alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::error::{Error, Result};
use crate::undo::{Undo, remove_for_good};

/// Lies in every directory of ours, and holds the lock of who uses it.
const MARK: &str = "made-by-graven";

/// Who makes the directory: for its name and for messages.
#[derive(Clone, Copy, Debug)]
pub struct Maker {
    /// The program, whose name the directory bears: `graven-bench`.
    pub program: &'static str,
    /// How its command line asks for another place: `--dir`, `another DIR`.
    pub option: &'static str,
}

impl Maker {
    fn directory(self) -> String {
        format!("{}.work", self.program)
    }
}

/// A directory of our own; gone when dropped.
pub struct WorkDir {
    path: PathBuf,
    /// Locked as long as this lives.
    _mark: File,
    /// A panic removes it as well.
    _undo: Undo,
}

impl WorkDir {
    /// Makes the directory below `parent`, which exists. One that an earlier run left behind (killed, a power cut) is
    /// removed first; one that bears no mark of ours, or that somebody is using, is refused.
    pub fn create(parent: &Path, maker: Maker) -> Result<WorkDir> {
        match fs::metadata(parent) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(usage(parent, &format!("is not a directory: give {}", maker.option))),
            Err(error) => return Err(usage(parent, &format!("cannot be used: {error}"))),
        }
        let path = parent.join(maker.directory());
        if path.symlink_metadata().is_ok() {
            remove_leftover(&path, maker)?;
        }
        fs::create_dir(&path).map_err(|error| usage(parent, &format!("cannot be written to: {error}")))?;
        let mark = path.join(MARK);
        let made = File::create_new(&mark).and_then(|mut file| {
            writeln!(file, "Everything in here is removed when {} ends.", maker.program)?;
            lock(&file)?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let all = path.clone();
                Ok(WorkDir { path, _mark: file, _undo: Undo::new(move || remove_for_good(&all)) })
            }
            Err(error) => {
                // The directory was made a moment ago and is empty but for the mark.
                let _ = fs::remove_dir_all(&path);
                Err(usage(parent, &format!("cannot be written to: {error}")))
            }
        }
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new, empty directory for one measurement.
    pub fn fresh(&self, name: &str) -> Result<Scratch> {
        Scratch::create(self.path.join(name))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What can't be removed is removed by the next run.
        remove_for_good(&self.path);
    }
}

/// A directory of one measurement; gone when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory `path`.
    pub fn create(path: PathBuf) -> Result<Scratch> {
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(Scratch { path })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Bytes that can be written below a directory.
pub fn free_bytes(dir: &Path) -> Result<u64> {
    let found = statvfs(dir).map_err(|error| Error::io("ask for the space in", dir)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn remove_leftover(path: &Path, maker: Maker) -> Result<()> {
    let Maker { program, option } = maker;
    let Ok(mark) = File::open(path.join(MARK)) else {
        return Err(usage(path, &format!("was not made by {program}: move it away or give {option}")));
    };
    lock(&mark)
        .map_err(|_| usage(path, &format!("is in use by another {program}: wait or give {option}")))?;
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

    const MAKER: Maker = Maker { program: "graven-test", option: "another --dir" };

    #[test]
    fn makes_one_directory_and_removes_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = WorkDir::create(parent.path(), MAKER).unwrap();
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
        let foreign = parent.path().join(MAKER.directory());
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("precious"), "content").unwrap();
        let refused = WorkDir::create(parent.path(), MAKER).err().unwrap().to_string();
        assert!(refused.contains("was not made by graven-test"), "{refused}");
        assert!(foreign.join("precious").exists());
    }

    #[test]
    fn refuses_what_is_in_use_and_removes_what_was_left_behind() {
        let parent = tempfile::tempdir().unwrap();
        let dir = WorkDir::create(parent.path(), MAKER).unwrap();
        let refused = WorkDir::create(parent.path(), MAKER).err().unwrap().to_string();
        assert!(refused.contains("in use"), "{refused}");
        drop(dir);
        // As a killed run leaves it: marked, not locked.
        let left = parent.path().join(MAKER.directory());
        fs::create_dir(&left).unwrap();
        fs::write(left.join(MARK), "").unwrap();
        fs::write(left.join("db"), "content").unwrap();
        let dir = WorkDir::create(parent.path(), MAKER).unwrap();
        assert!(!dir.path().join("db").exists());
    }
}
