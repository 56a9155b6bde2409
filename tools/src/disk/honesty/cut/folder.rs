//! The folder that a run writes to, and who may remove it: only what this program made, and only the one process that holds the
//! lock of the file [`RUN`] in it. A folder is evidence until it was verified.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use measure::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::place::Uptime;
use super::plan::{MIN_SIZE, Plan};
use super::record::{Line, Run, read_line};

/// Made in DIR, and holds everything that is written.
pub(crate) const FOLDER: &str = "graven-disk.honesty";
/// In the folder: the run that wrote it, as the witness knows it, and since when the machine was up.
const RUN: &str = "run";

/// What a folder says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) run: Run,
    /// None if that line is missing.
    pub(crate) uptime: Option<Uptime>,
}

/// A folder in the hands of this process alone, until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    folder: PathBuf,
    run: File,
}

impl Claim {
    /// A folder that is there. What is not of a run, and what another process works with, is refused; nothing is changed.
    pub(crate) fn earlier(folder: &Path) -> Result<Claim> {
        let found = folder.symlink_metadata().map_err(Error::io("look at", folder))?;
        if !found.is_dir() {
            return Err(Error::Usage(format!(
                "{} is not a run of graven-disk: move it away",
                folder.display()
            )));
        }
        ours(folder)?;
        // A cut may have taken the file; without it there would be no lock.
        let path = folder.join(RUN);
        let run = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let run = run.map_err(Error::io("open", &path))?;
        lock(folder, &run)?;
        Ok(Claim { folder: folder.to_owned(), run })
    }

    /// Makes the folder. One that is there, also since a moment ago, is refused and left alone.
    pub(crate) fn make(folder: &Path) -> Result<Claim> {
        let busy = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => in_use(folder),
            _ => Error::io("make", folder)(error),
        };
        fs::create_dir(folder).map_err(busy)?;
        let run = File::create_new(folder.join(RUN)).map_err(busy)?;
        lock(folder, &run)?;
        Ok(Claim { folder: folder.to_owned(), run })
    }

    /// Writes down whose folder it is, and syncs that.
    pub(crate) fn describe(&self, about: &About) -> Result<()> {
        let uptime = about.uptime.clone().map_or_else(String::new, |uptime| Line::Up(uptime).encode());
        let text = Line::Head.encode() + &Line::Run(about.run.clone()).encode() + &uptime;
        let mut file = &self.run;
        file.rewind()
            .and_then(|()| io::Write::write_all(&mut file, text.as_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", &self.folder.join(RUN)))
    }

    /// Bytes that its files take.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let files = ours(&self.folder)?;
        Ok(files.iter().filter_map(|path| Some(path.symlink_metadata().ok()?.blocks() * 512)).sum())
    }

    /// Removes what the run wrote, file by file: whatever else may have come into the folder stays, and the folder with it.
    pub(crate) fn remove(self) -> Result<()> {
        let files = ours(&self.folder)?;
        let run = self.folder.join(RUN);
        for file in files.iter().filter(|file| **file != run).chain([&run]) {
            fs::remove_file(file).map_err(Error::io("remove", file))?;
        }
        fs::remove_dir(&self.folder).map_err(Error::io("remove", &self.folder))
    }
}

/// What the folder says of itself, if it still can. A folder that a run writes to at this moment is refused: what it holds
/// changes while one looks.
pub(crate) fn about(folder: &Path) -> Result<Option<About>> {
    let Ok(file) = File::open(folder.join(RUN)) else { return Ok(None) };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Err(in_use(folder)),
        // A file system without locks has no reader or writer to fear.
        _ => Ok(read(file)),
    }
}

fn read(file: impl Read) -> Option<About> {
    let mut file = BufReader::new(file);
    let mut next = || Line::decode(&read_line(&mut file).ok()?).ok();
    let (Line::Head, Line::Run(run)) = (next()?, next()?) else { return None };
    let uptime = match next() {
        Some(Line::Up(uptime)) => Some(uptime),
        _ => None,
    };
    Some(About { run, uptime })
}

/// The files in a folder; an error if one of them is not of a run.
fn ours(folder: &Path) -> Result<Vec<PathBuf>> {
    // Names do not depend on seed and size.
    let lanes = Plan::new(0, MIN_SIZE)?.lanes;
    let is_name = |name: &str| {
        name == RUN || lanes.iter().any(|lane| lane.file_of(name).is_some() || lane.next_name() == name)
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(Error::io("list", folder))?);
        if !kind.is_file() || !name.to_str().is_some_and(is_name) {
            return Err(Error::Usage(format!(
                "{} holds {}, which graven-disk did not write: move it away",
                folder.display(),
                name.display()
            )));
        }
        files.push(entry.path());
    }
    Ok(files)
}

fn lock(folder: &Path, run: &File) -> Result<()> {
    flock(run, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => in_use(folder),
        other => Error::io("lock", &folder.join(RUN))(other.into()),
    })?;
    // Who held the lock before may have removed the file, and perhaps there is a new one.
    let (locked, named) = (run.metadata(), folder.join(RUN).symlink_metadata());
    match (locked, named) {
        (Ok(locked), Ok(named)) if (locked.dev(), locked.ino()) == (named.dev(), named.ino()) => Ok(()),
        _ => Err(in_use(folder)),
    }
}

fn in_use(folder: &Path) -> Error {
    Error::Usage(format!("{} is in use by another graven-disk: end that first", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let (host, dir) = ("host".to_owned(), "/dir (ext4 x)".to_owned());
        Run { id: 7, seed: 1, size: MIN_SIZE, begun: 0, lanes: 12, host, dir }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_belongs_to_one_process_and_says_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        let claim = Claim::make(&folder).unwrap();
        let uptime = Some(Uptime { boot: "a-boot".to_owned(), mount: 31 });
        let said = About { run: run(), uptime };
        claim.describe(&said).unwrap();
        // Another process, which opens the files itself, gets neither the folder nor a look at it.
        for refused in
            [Claim::make(&folder).map(drop), Claim::earlier(&folder).map(drop), about(&folder).map(drop)]
        {
            assert!(refused.unwrap_err().to_string().contains("in use"));
        }
        assert_eq!(names(&folder), [RUN]);
        drop(claim);
        assert_eq!(about(&folder).unwrap(), Some(said));
        Claim::earlier(&folder).unwrap().remove().unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
        assert_eq!(about(&folder).unwrap(), None);
    }

    #[test]
    fn what_a_run_did_not_write_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        let plan = Plan::new(1, MIN_SIZE).unwrap();
        let refused = |what: &str| {
            let error = Claim::earlier(&folder).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("did not write"), "{error}");
        };
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(plan.lanes[0].file_name(3)), "sectors").unwrap();
        fs::write(folder.join(plan.lanes[11].next_name()), "sectors").unwrap();
        // Names that begin like a lane's.
        for name in ["append-fdatasync.notes", "create-fsync", "rename-fsync.1", "run.old"] {
            fs::write(folder.join(name), "precious").unwrap();
            refused(name);
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "precious");
            fs::remove_file(folder.join(name)).unwrap();
        }
        // And a lane's name that is no file: what is in it, or behind it, is somebody's.
        let (inner, name) = (folder.join(plan.lanes[11].file_name(9)), plan.lanes[11].file_name(9));
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("precious"), "content").unwrap();
        refused(&name);
        assert!(inner.join("precious").exists());
        fs::remove_dir_all(&inner).unwrap();
        std::os::unix::fs::symlink("/dev/null", &inner).unwrap();
        refused(&name);
        fs::remove_file(&inner).unwrap();
        // What comes while it is removed stays, too.
        let claim = Claim::earlier(&folder).unwrap();
        assert_eq!(names(&folder).len(), 3, "with the file that is locked");
        claim.remove().unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }
}
