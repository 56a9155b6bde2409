//! The data directory as `server/src/data_dir.rs` lays it out, looked at without touching it: the marker, its lock, and
//! where the files are.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::finding::{Finding, Severity, remedy};

const MARKER: &str = "GRAVEN";
const FORMAT: u32 = 1;
const FIRST_LINE: &str = "graven data directory";
const LONGEST_MARKER: u64 = 4096;

/// A data directory that no member runs on, and that none can begin to run on while this value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) database: PathBuf,
    pub(crate) wal: PathBuf,
    _locks: Vec<File>,
}

impl DataDir {
    /// Locks `path` and reads its marker. What a member would not start on is among the findings; an error is for a
    /// directory that can't be looked into now.
    pub(crate) fn open(
        path: &Path,
        wal_dir: Option<&Path>,
        findings: &mut Vec<Finding>,
    ) -> Result<DataDir, String> {
        let mode = fs::metadata(path).map_err(|error| said(path, &error))?.mode() & 0o7777;
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            let reason = format_args!("may be written by group or others (mode {mode:04o})");
            findings.push(Finding::new(Severity::Refusal, path, reason, remedy::MODE));
        }
        let wal = wal_dir.map_or_else(|| path.join("member/wal"), Path::to_owned);
        let mut dir = DataDir { database: path.join("member/db"), wal, _locks: Vec::new() };
        let marker = path.join(MARKER);
        match regular(&marker) {
            Ok(file) => {
                lock(path, &file, &marker)?;
                findings.extend(read_marker(&file, &marker));
                dir._locks.push(file);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                findings.push(without_marker(path, &marker)?);
            }
            Err(error) => findings.push(Finding::unreadable(&marker, "open it", &error)),
        }
        // A log directory of its own has a lock of its own.
        if let Some(wal) = wal_dir
            && let Ok(file) = regular(&wal.join("LOCK"))
        {
            lock(wal, &file, &wal.join("LOCK"))?;
            dir._locks.push(file);
        }
        Ok(dir)
    }
}

/// Opens a file to read it. Anything else, a pipe above all, is refused before it is opened.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

pub(crate) fn said(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn without_marker(path: &Path, marker: &Path) -> Result<Finding, String> {
    let mut found = None;
    for entry in fs::read_dir(path).map_err(|error| said(path, &error))? {
        let name = entry.map_err(|error| said(path, &error))?.file_name();
        if name != "lost+found" {
            found = Some(name.to_string_lossy().into_owned());
        }
    }
    match found {
        None => Err(format!("{} is empty: there is no member in it", path.display())),
        Some(name) => {
            let reason = format_args!(
                "the directory holds {name} and no {MARKER} file: it belongs to somebody else, or the file was lost"
            );
            Ok(Finding::new(Severity::Refusal, marker, reason, remedy::ANOTHER_PLACE))
        }
    }
}

fn read_marker(mut file: &File, path: &Path) -> Option<Finding> {
    let mut text = Vec::new();
    if let Err(error) = Read::by_ref(&mut file).take(LONGEST_MARKER).read_to_end(&mut text) {
        return Some(Finding::unreadable(path, "read it", &error));
    }
    let damaged = |reason: &str| Some(Finding::new(Severity::Damage, path, reason, remedy::MARKER));
    let Ok(text) = String::from_utf8(text) else { return damaged("it is not text") };
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return damaged("the first line is not \"graven data directory\"");
    }
    let format = lines.next().and_then(|line| line.strip_prefix("format "));
    match format.and_then(|number| number.parse::<u32>().ok()) {
        None | Some(0) => damaged("the second line is not \"format N\""),
        Some(found) if found > FORMAT => {
            let reason = format_args!("the directory has format {found}; this release reads up to {FORMAT}");
            Some(Finding::new(Severity::Unknown, path, reason, remedy::NEWER))
        }
        Some(_) => None,
    }
}

/// Shared: several may look at the same time, and none beside a member.
fn lock(dir: &Path, file: &File, path: &Path) -> Result<(), String> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "{} is in use by {}: it holds the lock on {}; stop the member first",
            dir.display(),
            holder(file).unwrap_or_else(|| "another process".to_owned()),
            path.display()
        )),
        Err(error) => Err(said(path, &error.into())),
    }
}

/// Who holds the lock, where the system tells: `process 123 (graven)`.
fn holder(file: &File) -> Option<String> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    for line in locks.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(flock) = words.iter().position(|word| *word == "FLOCK") else { continue };
        let (Some(pid), Some(place)) = (words.get(flock + 3), words.get(flock + 4)) else { continue };
        if place.rsplit(':').next() == Some(inode.as_str()) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim_end()));
        }
    }
    None
}
