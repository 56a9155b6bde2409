//! The data directory: who may use it, and what lies where.
//!
//! ```text
//! <data-dir>/            0700
//!   GRAVEN               marker: format version; locked while a member runs on it
//!   member/db            the engine's file
//!   member/wal-method    how the log writes fastest here; may be deleted at any time
//!   member/wal/          log segments (unless --wal-dir says otherwise)
//! ```
//!
//! A directory that is somebody else's (etcd's, another program's, a newer Graven's) or that can't be written is
//! refused before a byte of it changes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const MARKER: &str = "GRAVEN";
const FORMAT: u32 = 1;
const FIRST_LINE: &str = "graven data directory";
const LONGEST_MARKER: u64 = 4096;

/// Why a data directory can't be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The path exists and is something else.
    #[error("data directory {path} is not a directory")]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// Another process runs on it.
    #[error("data directory {path} is in use by another process (lock on {file} is held)")]
    Locked {
        /// The path given.
        path: PathBuf,
        /// The locked file.
        file: PathBuf,
    },
    /// It holds files that are not ours.
    #[error(
        "data directory {path} holds {found} and no {MARKER} file: it belongs to {owner}; choose another directory"
    )]
    Foreign {
        /// The path given.
        path: PathBuf,
        /// The entry that gave it away.
        found: String,
        /// Whose it looks like.
        owner: &'static str,
    },
    /// The marker can't be understood.
    #[error("{file} is damaged: {reason}")]
    DamagedMarker {
        /// The marker's path.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer Graven wrote it.
    #[error("data directory {path} has format {found}; this version reads up to format {FORMAT}")]
    Newer {
        /// The path given.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// The engine's file is there, its log is not.
    #[error(
        "{engine} is there, but {wal} holds no log: the member's state is incomplete; restore the log or start from an empty directory"
    )]
    NoLog {
        /// The engine's file.
        engine: PathBuf,
        /// Where the log should be.
        wal: PathBuf,
    },
    /// Others may write to it.
    #[error("data directory {path} may be written by group or others (mode {mode:04o}); make it 0700")]
    Permissions {
        /// The path given.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

/// A directory that is ours alone for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    wal: PathBuf,
    _locks: Vec<File>,
}

impl DataDir {
    /// Takes `path`, making it if it does not exist.
    pub fn open(path: &Path, wal_dir: Option<&Path>) -> Result<Self, DataDirError> {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => return Err(DataDirError::NotADirectory { path: path.to_owned() }),
            Ok(meta) => refuse_writable_by_others(path, meta.mode())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_private(path)?,
            Err(error) => return Err(failed("open data directory", path)(error)),
        }
        let lock = match OpenOptions::new().read(true).write(true).open(path.join(MARKER)) {
            Ok(marker) => take_known(path, marker)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => take_fresh(path)?,
            Err(error) => return Err(failed("open", &path.join(MARKER))(error)),
        };
        let wal = wal_dir.map_or_else(|| path.join("member/wal"), Path::to_owned);
        let mut dir = Self { path: path.to_owned(), wal, _locks: vec![lock] };
        if dir.engine_file().exists() && !dir.wal.is_dir() {
            return Err(DataDirError::NoLog { engine: dir.engine_file(), wal: dir.wal });
        }
        for private in [dir.path.join("member"), dir.wal.clone()] {
            if !private.is_dir() {
                make_private(&private)?;
            }
        }
        if wal_dir.is_some() {
            dir._locks.push(lock_wal_dir(&dir.wal)?);
        }
        Ok(dir)
    }

    /// Makes the names of the files in the directory durable: a file that was synced but is not found is lost.
    pub fn sync_entries(&self) -> Result<(), DataDirError> {
        sync_dir(&self.path.join("member"))?;
        sync_dir(&self.wal)
    }

    /// The engine's file.
    pub fn engine_file(&self) -> PathBuf {
        self.path.join("member/db")
    }

    /// Where the outcome of measuring the log's durable writes is kept.
    pub fn wal_method_file(&self) -> PathBuf {
        self.path.join("member/wal-method")
    }

    /// The log's directory.
    pub fn wal_dir(&self) -> &Path {
        &self.wal
    }
}

/// Whether a member was here before: its log is.
pub(crate) fn holds_log(data_dir: &Path, wal_dir: Option<&Path>) -> bool {
    let wal = wal_dir.map_or_else(|| data_dir.join("member/wal"), Path::to_owned);
    wal::exists(&wal, &wal::OsIo::new()).unwrap_or(false)
}

fn refuse_writable_by_others(path: &Path, mode: u32) -> Result<(), DataDirError> {
    let mode = mode & 0o7777;
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(DataDirError::Permissions { path: path.to_owned(), mode });
    }
    Ok(())
}

fn make_private(path: &Path) -> Result<(), DataDirError> {
    let absent = |p: &&Path| !p.as_os_str().is_empty() && !p.exists();
    let mut missing: Vec<_> = path.ancestors().take_while(absent).collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("create directory", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed("set mode of", path))?;
    // Every directory that was made has to be found again through its parent.
    while let Some(made) = missing.pop() {
        if let Some(parent) = made.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
    }
    Ok(())
}

fn sync_dir(path: &Path) -> Result<(), DataDirError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("sync directory", path))
}

/// A directory without a marker: fine when it is empty.
fn take_fresh(path: &Path) -> Result<File, DataDirError> {
    let entries = fs::read_dir(path).map_err(failed("list", path))?;
    for entry in entries {
        let name = entry.map_err(failed("list", path))?.file_name().to_string_lossy().into_owned();
        if name == "lost+found" {
            continue;
        }
        let owner = if name == "member" { "etcd, or the file was lost" } else { "something else" };
        return Err(DataDirError::Foreign { path: path.to_owned(), found: name, owner });
    }
    let file = path.join(MARKER);
    let mut marker = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .map_err(failed("create", &file))?;
    lock(path, &file, &marker)?;
    marker
        .write_all(format!("{FIRST_LINE}\nformat {FORMAT}\n").as_bytes())
        .and_then(|()| marker.sync_all())
        .map_err(failed("write", &file))?;
    sync_dir(path)?;
    Ok(marker)
}

/// A log directory of its own is outside the marker's lock: two members must not append to the same segments.
fn lock_wal_dir(path: &Path) -> Result<File, DataDirError> {
    let file = path.join("LOCK");
    let taken =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
    let taken = taken.map_err(failed("open", &file))?;
    lock(path, &file, &taken)?;
    Ok(taken)
}

fn take_known(path: &Path, mut marker: File) -> Result<File, DataDirError> {
    let file = path.join(MARKER);
    lock(path, &file, &marker)?;
    let mut text = String::new();
    marker.seek(SeekFrom::Start(0)).map_err(failed("read", &file))?;
    let damaged =
        |reason: &str| DataDirError::DamagedMarker { file: file.clone(), reason: reason.to_owned() };
    (&marker)
        .take(LONGEST_MARKER)
        .read_to_string(&mut text)
        .map_err(|error| damaged(&format!("not text ({error})")))?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(damaged(&format!("the first line is not {FIRST_LINE:?}")));
    }
    let format = lines.next().and_then(|line| line.strip_prefix("format "));
    match format.and_then(|number| number.parse::<u32>().ok()) {
        None | Some(0) => Err(damaged("the second line is not \"format N\"")),
        Some(found) if found > FORMAT => Err(DataDirError::Newer { path: path.to_owned(), found }),
        Some(_) => Ok(marker),
    }
}

fn lock(path: &Path, file: &Path, marker: &File) -> Result<(), DataDirError> {
    match flock(marker, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(DataDirError::Locked { path: path.to_owned(), file: file.to_owned() })
        }
        Err(error) => Err(failed("lock", file)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>, u32)> {
        let mut all = Vec::new();
        let mut pending = vec![dir.to_owned()];
        while let Some(next) = pending.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let mode = fs::metadata(&path).unwrap().mode();
                match path.is_dir() {
                    true => {
                        all.push((path.clone(), Vec::new(), mode));
                        pending.push(path);
                    }
                    false => all.push((path.clone(), fs::read(&path).unwrap(), mode)),
                }
            }
        }
        all.sort();
        all
    }

    #[test]
    fn fresh_then_known() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("deep/er");
        drop(DataDir::open(&path, None).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let again = DataDir::open(&path, None).unwrap();
        assert!(again.wal_dir().is_dir());
    }

    #[test]
    fn refusals_leave_the_directory_as_it_was() {
        type Prepare = fn(&Path);
        let cases: &[(&str, Prepare, &str)] = &[
            ("etcd's", |d| fs::create_dir_all(d.join("member/snap")).unwrap(), "belongs to etcd"),
            ("foreign", |d| fs::write(d.join("x"), b"1").unwrap(), "belongs to something else"),
            (
                "newer",
                |d| fs::write(d.join("GRAVEN"), "graven data directory\nformat 2\n").unwrap(),
                "has format 2",
            ),
            ("junk", |d| fs::write(d.join("GRAVEN"), "hello\n").unwrap(), "is damaged: the first line"),
            ("binary", |d| fs::write(d.join("GRAVEN"), [0xff, 0xfe]).unwrap(), "is damaged: not text"),
            (
                "no format",
                |d| fs::write(d.join("GRAVEN"), "graven data directory\n").unwrap(),
                "is damaged: the second line",
            ),
            (
                "open to all",
                |d| fs::set_permissions(d, fs::Permissions::from_mode(0o777)).unwrap(),
                "(mode 0777)",
            ),
        ];
        for (name, prepare, text) in cases {
            let tmp = tempfile::tempdir().unwrap();
            prepare(tmp.path());
            let before = contents(tmp.path());
            let error = DataDir::open(tmp.path(), None).unwrap_err().to_string();
            assert!(error.contains(text), "{name}: {error}");
            assert_eq!(contents(tmp.path()), before, "{name}");
        }
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("f");
        fs::write(&path, b"data").unwrap();
        assert!(matches!(DataDir::open(&path, None), Err(DataDirError::NotADirectory { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[test]
    fn a_log_directory_of_its_own_is_locked_too() {
        let tmp = tempfile::tempdir().unwrap();
        let wal = tmp.path().join("wal");
        let _first = DataDir::open(&tmp.path().join("a"), Some(&wal)).unwrap();
        let second = DataDir::open(&tmp.path().join("b"), Some(&wal));
        assert!(matches!(second, Err(DataDirError::Locked { .. })), "{second:?}");
    }

    #[test]
    fn one_member_at_a_time() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        let first = DataDir::open(&path, None).unwrap();
        let before = contents(&path);
        assert!(matches!(DataDir::open(&path, None), Err(DataDirError::Locked { .. })));
        assert_eq!(contents(&path), before);
        drop(first);
        DataDir::open(&path, None).unwrap();
    }
}
