//! What a power cut may take back from the directories. Names are safe after a sync of a directory, in the order in which
//! they changed, as file systems with a journal keep them; syncs of files do nothing for them.
//!
//! What is removed moves to a graveyard in the backing directory, from where a cut brings it back.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::nodes::{Node, open_directory};

/// In the root of the backing directory; the mount does not show it.
pub(crate) const GRAVEYARD: &str = ".graven-layer";

/// Changes of names since the last sync of a directory, oldest first.
#[derive(Debug)]
pub(crate) struct Names {
    graveyard: OwnedFd,
    path: PathBuf,
    changes: VecDeque<Change>,
    buried: u64,
}

#[derive(Debug)]
struct Change {
    sequence: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Made { dir: Arc<Node>, name: OsString, is_dir: bool },
    Removed { dir: Arc<Node>, name: OsString, grave: Grave },
    Renamed { from: (Arc<Node>, OsString), to: (Arc<Node>, OsString), grave: Option<Grave> },
}

/// Something that has another name until it is gone for good.
#[derive(Debug)]
struct Grave {
    name: String,
    is_dir: bool,
}

impl Names {
    pub(crate) fn new(backing: &Path) -> io::Result<Names> {
        let path = backing.join(GRAVEYARD);
        match std::fs::create_dir(&path) {
            // Left behind by a layer that was killed: what is in there was removed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_dir_all(&path)?;
                std::fs::create_dir(&path)?;
            }
            made => made?,
        }
        Ok(Names { graveyard: open_directory(&path)?, path, changes: VecDeque::new(), buried: 0 })
    }

    /// A file or a directory was made.
    pub(crate) fn made(&mut self, sequence: u64, dir: &Arc<Node>, name: &OsStr, is_dir: bool) {
        let kind = Kind::Made { dir: dir.clone(), name: name.to_owned(), is_dir };
        self.changes.push_back(Change { sequence, kind });
    }

    /// Removes a file, or a directory that is empty.
    pub(crate) fn remove(
        &mut self,
        sequence: u64,
        dir: &Arc<Node>,
        name: &OsStr,
        is_dir: bool,
    ) -> io::Result<()> {
        if self.is_directory(dir, name)? != is_dir {
            return Err(if is_dir { Errno::NOTDIR } else { Errno::ISDIR }.into());
        }
        let grave = self.bury(dir, name, is_dir)?;
        let kind = Kind::Removed { dir: dir.clone(), name: name.to_owned(), grave };
        self.changes.push_back(Change { sequence, kind });
        Ok(())
    }

    /// Renames, over what is there.
    pub(crate) fn rename(
        &mut self,
        sequence: u64,
        from: (&Arc<Node>, &OsStr),
        to: (&Arc<Node>, &OsStr),
        flags: RenameFlags,
    ) -> io::Result<()> {
        let grave = match self.is_directory(to.0, to.1) {
            Ok(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(Errno::EXIST.into()),
            Ok(is_dir) if is_dir != self.is_directory(from.0, from.1)? => {
                return Err(if is_dir { Errno::ISDIR } else { Errno::NOTDIR }.into());
            }
            Ok(is_dir) => Some(self.bury(to.0, to.1, is_dir)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        rustix::fs::renameat(&from.0.fd, from.1, &to.0.fd, to.1)?;
        let (from, to) = ((from.0.clone(), from.1.to_owned()), (to.0.clone(), to.1.to_owned()));
        self.changes.push_back(Change { sequence, kind: Kind::Renamed { from, to, grave } });
        Ok(())
    }

    /// A sync of a directory that was asked for at `moment` is honored.
    pub(crate) fn sync(&mut self, moment: u64) -> io::Result<()> {
        while let Some(change) = self.changes.pop_front_if(|change| change.sequence <= moment) {
            let grave = match change.kind {
                Kind::Removed { grave, .. } => Some(grave),
                Kind::Renamed { grave, .. } => grave,
                Kind::Made { .. } => None,
            };
            if let Some(Grave { name, is_dir }) = grave {
                let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                rustix::fs::unlinkat(&self.graveyard, name, flags)?;
            }
        }
        Ok(())
    }

    /// How many changes could be lost.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The power fails: all but the first `kept` changes are taken back, newest first.
    pub(crate) fn cut(&mut self, kept: usize) -> io::Result<u64> {
        let mut lost = 0;
        while self.changes.len() > kept {
            let Some(change) = self.changes.pop_back() else { break };
            self.undo(change.kind)?;
            lost += 1;
        }
        self.sync(u64::MAX)?;
        Ok(lost)
    }

    fn undo(&self, kind: Kind) -> io::Result<()> {
        let bring_back = |grave: Grave, dir: &Node, name: &OsStr| {
            rustix::fs::renameat(&self.graveyard, grave.name, &dir.fd, name)
        };
        match kind {
            Kind::Made { dir, name, is_dir } => {
                let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                rustix::fs::unlinkat(&dir.fd, name, flags)?;
            }
            Kind::Removed { dir, name, grave } => bring_back(grave, &dir, &name)?,
            Kind::Renamed { from, to, grave } => {
                rustix::fs::renameat(&to.0.fd, &to.1, &from.0.fd, &from.1)?;
                if let Some(grave) = grave {
                    bring_back(grave, &to.0, &to.1)?;
                }
            }
        }
        Ok(())
    }

    fn bury(&mut self, dir: &Node, name: &OsStr, is_dir: bool) -> io::Result<Grave> {
        if is_dir {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&dir.fd, name, flags, Mode::empty())?;
            for entry in rustix::fs::Dir::read_from(&opened)? {
                let entry = entry?;
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    return Err(Errno::NOTEMPTY.into());
                }
            }
        }
        self.buried += 1;
        let grave = Grave { name: self.buried.to_string(), is_dir };
        rustix::fs::renameat(&dir.fd, name, &self.graveyard, &grave.name)?;
        Ok(grave)
    }

    fn is_directory(&self, dir: &Node, name: &OsStr) -> io::Result<bool> {
        let stat = rustix::fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // Unmounted with the power on: nothing is lost, and what was removed stays so.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
