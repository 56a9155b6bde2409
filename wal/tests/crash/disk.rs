//! A disk in memory that notes every operation, so that what a crash leaves can be made afterwards, and that fails when told to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::wal::{Access, Chosen, File, Io, Method};
use crate::workload::Promise;

pub const SECTOR: usize = 512;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Files and their names. Cheap to copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub files: Vec<Arc<Vec<u8>>>,
    pub names: BTreeMap<PathBuf, usize>,
}

impl Image {
    pub fn put(&mut self, file: usize, offset: usize, bytes: &[u8]) {
        let content = Arc::make_mut(&mut self.files[file]);
        if content.len() < offset + bytes.len() {
            content.resize(offset + bytes.len(), 0);
        }
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub fn file(&self, name: &str) -> Option<usize> {
        self.names.get(&dir().join(name)).copied()
    }

    /// Segments, oldest first.
    pub fn segments(&self) -> Vec<(String, usize)> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let all = self.names.iter().map(|(path, &file)| (name(path), file));
        all.filter(|(name, _)| name.ends_with(".wal")).collect()
    }
}

/// A change of the directory.
#[derive(Clone, Debug)]
pub enum Change {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    /// Says whether it could be done.
    pub fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) -> bool {
        match self {
            Self::Create(path, file) => names.insert(path.clone(), *file).is_none(),
            Self::Rename(from, to) => match names.remove(from) {
                Some(file) => {
                    names.insert(to.clone(), file);
                    true
                }
                None => false,
            },
            Self::Remove(path) => names.remove(path).is_some(),
        }
    }
}

/// What was done, and what was promised by then.
#[derive(Clone, Debug)]
pub enum Op {
    Change(Change),
    SyncDir,
    Write { file: usize, offset: usize, bytes: Arc<[u8]>, durable: bool },
    Sync(usize),
    Resize(usize, usize),
    Promise(Arc<Promise>),
}

/// What happens at the operation chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Eio,
    Enospc,
    /// A write does half and says so; anything else fails.
    Short,
    /// A durable write or a sync fails, of a file or of the directory. What was to be written stays in the system's memory, and
    /// clean: no later sync writes it.
    LosesData,
}

impl Failure {
    pub const ALL: [Self; 4] = [Self::Eio, Self::Enospc, Self::Short, Self::LosesData];
}

enum Verdict {
    Go,
    Half,
    Lost,
}

/// A file has this name, or none.
struct NameChange {
    file: usize,
    name: Option<PathBuf>,
}

#[derive(Default)]
struct Inner {
    /// What processes see.
    image: Image,
    ops: Option<Vec<Op>>,
    /// Sectors that the page cache shows and the device does not hold: their content there.
    lost: BTreeMap<(usize, usize), Vec<u8>>,
    /// Written, and not yet lost or synced.
    unsynced: BTreeMap<(usize, usize), Vec<u8>>,
    /// The names that the device holds, and the changes since.
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    count: u64,
    failure: Option<(u64, Failure)>,
}

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

pub fn dir() -> &'static Path {
    Path::new("/log")
}

impl Disk {
    pub fn of(image: Image) -> Self {
        Self::with(Inner { image, ..Inner::default() })
    }

    pub fn recording(image: Image) -> Self {
        Self::with(Inner { image, ops: Some(Vec::new()), ..Inner::default() })
    }

    fn with(mut inner: Inner) -> Self {
        inner.durable_names = inner.image.names.clone();
        Self(Arc::new(Mutex::new(inner)))
    }

    pub fn failing(at: u64, failure: Failure) -> Self {
        Self(Arc::new(Mutex::new(Inner { failure: Some((at, failure)), ..Inner::default() })))
    }

    pub fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().ops.take().unwrap_or_default()
    }

    pub fn promise(&self, promise: &Promise) {
        if let Some(ops) = &mut self.0.lock().unwrap().ops {
            ops.push(Op::Promise(Arc::new(promise.clone())));
        }
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().count
    }

    /// Nothing fails from now on, the process is another one; the page cache is the same.
    pub fn mended(&self) {
        self.0.lock().unwrap().failure = None;
    }

    pub fn image(&self) -> Image {
        self.0.lock().unwrap().image.clone()
    }

    /// What the device holds: the page cache without what was not synced, or lost by a failed sync.
    pub fn device(&self) -> Image {
        let inner = self.0.lock().unwrap();
        let mut image = inner.image.clone();
        image.names.clone_from(&inner.durable_names);
        for ((file, offset), bytes) in inner.lost.iter().chain(&inner.unsynced) {
            image.put(*file, *offset, bytes);
        }
        image
    }
}

impl Inner {
    fn operation(&mut self, name: &str) -> io::Result<Verdict> {
        self.count += 1;
        let Some((at, failure)) = self.failure else { return Ok(Verdict::Go) };
        if at != self.count {
            return Ok(Verdict::Go);
        }
        match failure {
            Failure::Enospc => Err(io::Error::from_raw_os_error(ENOSPC)),
            Failure::Short if name.starts_with("write") => Ok(Verdict::Half),
            Failure::LosesData if matches!(name, "write durably" | "sync" | "sync directory") => {
                Ok(Verdict::Lost)
            }
            Failure::LosesData => Ok(Verdict::Go),
            Failure::Eio | Failure::Short => Err(io::Error::from_raw_os_error(EIO)),
        }
    }

    fn note(&mut self, op: impl FnOnce() -> Op) {
        if let Some(ops) = &mut self.ops {
            ops.push(op());
        }
    }

    fn change(&mut self, change: Change) {
        let (old, name) = match &change {
            Change::Create(path, _) => (path, Some(path)),
            Change::Rename(from, to) => (from, Some(to)),
            Change::Remove(path) => (path, None),
        };
        let before = self.image.names.get(old).copied();
        assert!(change.apply(&mut self.image.names), "{change:?}");
        let file = before.unwrap_or_else(|| self.image.names[old]);
        self.unsynced_names.push(NameChange { file, name: name.cloned() });
        self.note(|| Op::Change(change));
    }

    /// Keeps what the device holds under a write that is not durable yet.
    fn keep_old(&mut self, file: usize, offset: usize, bytes: usize) {
        if self.failure.is_none() {
            return;
        }
        for at in (offset..offset + bytes).step_by(SECTOR) {
            let content = &self.image.files[file];
            let mut old = vec![0; SECTOR];
            let end = content.len().min(at + SECTOR);
            old[..end.saturating_sub(at)].copy_from_slice(&content[at.min(end)..end]);
            self.unsynced.entry((file, at)).or_insert(old);
        }
    }
}

impl Io for Disk {
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let mut inner = self.0.lock().unwrap();
        inner.operation("list")?;
        let names = inner.image.names.keys();
        Ok(names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>> {
        let mut inner = self.0.lock().unwrap();
        inner.operation("open")?;
        let file = match inner.image.names.get(path) {
            Some(&file) => file,
            None if access == Access::Create => {
                inner.image.files.push(Arc::default());
                let file = inner.image.files.len() - 1;
                inner.change(Change::Create(path.to_owned(), file));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(Open { disk: self.clone(), file, method }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.operation("rename")?;
        if !inner.image.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let verdict = inner.operation("sync directory")?;
        let changes = std::mem::take(&mut inner.unsynced_names);
        if matches!(verdict, Verdict::Lost) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        for NameChange { file, name } in changes {
            inner.durable_names.retain(|_, named| *named != file);
            inner.durable_names.extend(name.map(|name| (name, file)));
        }
        inner.note(|| Op::SyncDir);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.operation("remove")?;
        if !inner.image.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(path.to_owned()));
        Ok(())
    }
}

struct Open {
    disk: Disk,
    file: usize,
    method: Method,
}

impl Open {
    fn put(&self, name: &str, offset: u64, bytes: &[u8], durable: bool) -> io::Result<usize> {
        let aligned = offset.is_multiple_of(4096)
            && bytes.len().is_multiple_of(4096)
            && (bytes.as_ptr() as usize).is_multiple_of(4096);
        assert!(aligned, "{name} is not in whole blocks");
        let mut inner = self.disk.0.lock().unwrap();
        let verdict = inner.operation(name)?;
        let (file, offset) = (self.file, offset as usize);
        let done = match verdict {
            Verdict::Half => bytes.len() / 2 / SECTOR * SECTOR,
            Verdict::Go | Verdict::Lost => bytes.len(),
        };
        let written = &bytes[..done];
        if !durable || matches!(verdict, Verdict::Lost) {
            inner.keep_old(file, offset, done);
        }
        inner.image.put(file, offset, written);
        for at in (offset..offset + done).step_by(SECTOR) {
            match verdict {
                Verdict::Lost => {
                    let old = inner.unsynced.remove(&(file, at));
                    inner.lost.extend(old.map(|old| ((file, at), old)));
                }
                _ if durable => {
                    inner.unsynced.remove(&(file, at));
                    inner.lost.remove(&(file, at));
                }
                _ => {}
            }
        }
        inner.note(|| Op::Write { file, offset, bytes: written.into(), durable });
        if matches!(verdict, Verdict::Lost) { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(done) }
    }
}

impl File for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().unwrap().image.files[self.file].len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.disk.0.lock().unwrap();
        inner.operation("read")?;
        let content = &inner.image.files[self.file];
        let from = content.len().min(offset as usize);
        let bytes = (content.len() - from).min(into.len());
        into[..bytes].copy_from_slice(&content[from..from + bytes]);
        if !matches!(self.method, Method::Dsync | Method::Fdatasync) {
            // From the device, which never got what is clean in the page cache.
            for ((_, at), old) in inner.lost.range((self.file, from)..(self.file, from + bytes)) {
                into[at - from..at - from + SECTOR].copy_from_slice(old);
            }
        }
        Ok(bytes)
    }

    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.put("write durably", offset, bytes, true)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.put("write", offset, bytes, false)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        let verdict = inner.operation("sync")?;
        let file = self.file;
        let mut ours = inner.unsynced.split_off(&(file, 0));
        inner.unsynced.append(&mut ours.split_off(&(file + 1, 0)));
        if matches!(verdict, Verdict::Lost) {
            inner.lost.append(&mut ours);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        inner.note(|| Op::Sync(file));
        Ok(())
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        inner.operation("allocate")?;
        let file = self.file;
        Arc::make_mut(&mut inner.image.files[file]).resize(bytes as usize, 0);
        inner.note(|| Op::Resize(file, bytes as usize));
        Ok(())
    }

    fn chosen(&self) -> Chosen {
        Chosen { method: Method::DirectDsync, refused: None }
    }
}
