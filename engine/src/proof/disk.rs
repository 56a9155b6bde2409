//! A disk in memory: it keeps a journal of everything done to it, fails at one operation when asked to, and knows what
//! a process sees, which is more than what a power cut leaves (`states.rs`).
//!
//! File 0 is the database and can be mapped; further files (the log's, in the tests of the whole store) live in
//! vectors. Used by this crate's own tests and, by path, by those of the whole store.
#![allow(dead_code, reason = "the engine's own tests use one part, those of the whole store another")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use engine::{File, Map, OsFile};

/// The number of the database among the files of a disk.
pub(crate) const DATABASE: usize = 0;

/// Something done to the disk, or noted by the script that ran on it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write {
        file: usize,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    SetLen {
        file: usize,
        len: u64,
    },
    Sync {
        file: usize,
    },
    Create {
        path: PathBuf,
        file: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    SyncDir,
    /// A sync of the file failed: what was written to it since the last one stays in the page cache, and is never stored.
    Lose {
        file: usize,
    },
    Note(Note),
}

impl Op {
    /// Whether a lack of space here gives up a checkpoint and nothing else.
    pub(crate) fn takes_space(&self) -> bool {
        match self {
            Op::SetLen { .. } => true,
            Op::Write { file, offset, .. } => *file == DATABASE && *offset >= 2 * PAGE,
            _ => false,
        }
    }
}

/// What the script knows at a point of the journal; numbers are the script's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A checkpoint of this state was begun: from here on it may be what a power cut leaves.
    Begun(u64),
    /// It is complete: from here on no older state may be left.
    Durable(u64),
    /// An append up to here was begun.
    Offered(u64),
    /// It was acknowledged.
    Acknowledged(u64),
}

/// The bytes and names on a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) files: Vec<Vec<u8>>,
    pub(crate) names: BTreeMap<PathBuf, usize>,
}

impl Image {
    /// A disk whose database has these bytes and that holds nothing else.
    pub(crate) fn of_database(bytes: Vec<u8>) -> Image {
        Image { files: vec![bytes], names: BTreeMap::new() }
    }

    /// Does an operation as if it had reached the disk.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, offset, bytes } => {
                let file = self.file(*file);
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[start..end].copy_from_slice(bytes);
            }
            Op::SetLen { file, len } => self.file(*file).resize(*len as usize, 0),
            Op::Create { path, file } => {
                self.file(*file);
                self.names.insert(path.clone(), *file);
            }
            Op::Rename { from, to } => {
                let file = self.names.remove(from).expect("only what is there was renamed");
                self.names.insert(to.clone(), file);
            }
            Op::Remove { path } => {
                self.names.remove(path).expect("only what is there was removed");
            }
            Op::Sync { .. } | Op::SyncDir | Op::Lose { .. } | Op::Note(_) => {}
        }
    }

    fn file(&mut self, file: usize) -> &mut Vec<u8> {
        if self.files.len() <= file {
            self.files.resize(file + 1, Vec::new());
        }
        &mut self.files[file]
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Eio,
    Enospc,
    /// Half of a write arrives; anything else fails with EIO.
    Short,
}

/// How a process ends at an operation. The system goes on, with what it has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is killed before it.
    Killed,
    /// The operation fails; if it is a sync, what was to be stored stays in the page cache, and is never stored.
    LosesData,
}

/// See the module's text. Clones of the `Arc` share it.
pub(crate) struct Disk {
    database: std::fs::File,
    inner: Mutex<Inner>,
}

struct Inner {
    journal: Vec<Op>,
    /// What the process sees, but for the database.
    image: Image,
    /// Operations that could have failed so far.
    operations: usize,
    /// Those of them that write, or change lengths or names.
    changes: usize,
    fault: Option<(usize, Fault)>,
    end: Option<(usize, End)>,
    /// Pages of the database that the page cache shows and the device does not hold: what is there.
    lost: BTreeMap<u64, Vec<u8>>,
    failed: Option<Op>,
    /// How often the database was to grow so far, and from which time on there is no space for it.
    growths: usize,
    full_from: usize,
}

impl Disk {
    pub(crate) fn new(image: Image) -> Arc<Disk> {
        let database = anonymous();
        let bytes = image.files.first().cloned().unwrap_or_default();
        database.set_len(bytes.len() as u64).unwrap();
        database.write_all_at(&bytes, 0).unwrap();
        let (growths, full_from) = (0, usize::MAX);
        let inner = Inner {
            journal: Vec::new(),
            image,
            operations: 0,
            changes: 0,
            fault: None,
            end: None,
            lost: BTreeMap::new(),
            failed: None,
            growths,
            full_from,
        };
        Arc::new(Disk { database, inner: Mutex::new(inner) })
    }

    /// The operation with this number, counted from 0, fails.
    pub(crate) fn fail_at(&self, number: usize, fault: Fault) {
        self.lock().fault = Some((number, fault));
    }

    /// From the operation with this number on, counted from 0, the process can do nothing more.
    pub(crate) fn end_at(&self, number: usize, end: End) {
        self.lock().end = Some((number, end));
    }

    /// Another process has taken its place.
    pub(crate) fn restarted(&self) {
        self.lock().end = None;
    }

    /// From the database's growth with this number on, counted from 0, there is no space.
    pub(crate) fn full_from(&self, number: usize) {
        self.lock().full_from = number;
    }

    /// The operation that was made to fail.
    pub(crate) fn failed(&self) -> Option<Op> {
        self.lock().failed.clone()
    }

    pub(crate) fn note(&self, note: Note) {
        self.lock().journal.push(Op::Note(note));
    }

    pub(crate) fn journal(&self) -> Vec<Op> {
        self.lock().journal.clone()
    }

    /// What the running system sees.
    pub(crate) fn image(&self) -> Image {
        let mut image = self.lock().image.clone();
        let mut bytes = vec![0; self.database.metadata().unwrap().len() as usize];
        self.database.read_exact_at(&mut bytes, 0).unwrap();
        *image.file(DATABASE) = bytes;
        image
    }

    /// The kernel lost what was not synced: the process sees the disk, at the length it knew.
    pub(crate) fn lose_unsynced(&self) {
        let (mut durable, _) = database_of(&self.lock().journal);
        let len = self.database.metadata().unwrap().len() as usize;
        durable.file(DATABASE).resize(len, 0);
        self.database.write_all_at(durable.file(DATABASE), 0).unwrap();
    }

    /// Runs `look` on what the process sees of everything but the database.
    pub(crate) fn with_image<T>(&self, look: impl FnOnce(&Image) -> T) -> T {
        look(&self.lock().image)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Operations so far that write, or change lengths or names.
    pub(crate) fn changes(&self) -> usize {
        self.lock().changes
    }

    /// Creates an empty file and returns its number.
    pub(crate) fn create(&self, path: PathBuf) -> io::Result<usize> {
        let file = self.lock().image.files.len().max(DATABASE + 1);
        self.step(Op::Create { path, file })?;
        Ok(file)
    }

    /// Does `op`, or lets it fail. Of a short write the first half is done, in whole sectors.
    pub(crate) fn step(&self, op: Op) -> io::Result<()> {
        let mut inner = self.lock();
        if matches!(op, Op::SetLen { file: DATABASE, len } if len > self.database.metadata()?.len()) {
            inner.growths += 1;
            if inner.growths > inner.full_from {
                return Err(rustix::io::Errno::NOSPC.into());
            }
        }
        let number = inner.operations;
        inner.operations += 1;
        if let Some((at, end)) = inner.end.filter(|(at, _)| number >= *at) {
            if let (true, End::LosesData, Op::Sync { file }) = (number == at, end, &op) {
                inner.lose(*file);
            }
            return Err(rustix::io::Errno::IO.into());
        }
        inner.changes += usize::from(!matches!(op, Op::Sync { .. } | Op::SyncDir));
        let fault = inner.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        if let Some(earlier) = &inner.failed {
            let forgiven =
                inner.fault.is_some_and(|(_, fault)| fault == Fault::Enospc) && earlier.takes_space();
            assert!(forgiven || may_follow(earlier, &op), "after {} failed: {}", brief(earlier), brief(&op));
        }
        if fault.is_some() {
            inner.failed = Some(op.clone());
        }
        let op = match (op, fault) {
            (Op::Write { file, offset, bytes }, Some(Fault::Short)) => {
                let half = bytes.len() / 2 / 512 * 512;
                Op::Write { file, offset, bytes: bytes[..half].into() }
            }
            (_, Some(Fault::Enospc)) => return Err(rustix::io::Errno::NOSPC.into()),
            (_, Some(_)) => return Err(rustix::io::Errno::IO.into()),
            (op, None) => op,
        };
        match &op {
            Op::Write { file: DATABASE, offset, bytes } => {
                self.database.write_all_at(bytes, *offset)?;
                let pages = offset / PAGE..(offset + bytes.len() as u64).div_ceil(PAGE);
                inner.lost.retain(|page, _| !pages.contains(page));
            }
            Op::SetLen { file: DATABASE, len } => self.database.set_len(*len)?,
            other => inner.image.apply(other),
        }
        inner.journal.push(op);
        if fault.is_some() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

impl Inner {
    /// What was written to the file since its last sync will never be stored.
    fn lose(&mut self, file: usize) {
        if file == DATABASE {
            let (mut durable, pending) = database_of(&self.journal);
            for op in &pending {
                let Op::Write { offset, bytes, .. } = op else { continue };
                for page in offset / PAGE..(offset + bytes.len() as u64).div_ceil(PAGE) {
                    let from = (page * PAGE) as usize;
                    let stored = durable.file(DATABASE);
                    stored.resize(stored.len().max(from + PAGE as usize), 0);
                    self.lost.insert(page, stored[from..from + PAGE as usize].to_vec());
                }
            }
        }
        self.journal.push(Op::Lose { file });
    }
}

const PAGE: u64 = 4096;

/// The database as its syncs have stored it, and what was done to it since the last one.
fn database_of(journal: &[Op]) -> (Image, Vec<Op>) {
    let (mut durable, mut pending) = (Image::default(), Vec::new());
    for op in journal {
        match op {
            Op::Sync { file: DATABASE } => pending.drain(..).for_each(|op| durable.apply(&op)),
            Op::Lose { file: DATABASE } => pending.retain(|op| matches!(op, Op::SetLen { .. })),
            Op::Write { file: DATABASE, .. } | Op::SetLen { file: DATABASE, .. } => pending.push(op.clone()),
            _ => {}
        }
    }
    (durable, pending)
}

/// Whether something may be done to a disk on which `failed` has failed: growing a file may be tried again, and what
/// failed elsewhere is no reason to leave the database alone.
fn may_follow(failed: &Op, next: &Op) -> bool {
    let written = |op: &Op| {
        matches!(
            op,
            Op::Write { file: DATABASE, .. }
                | Op::Sync { file: DATABASE }
                | Op::SetLen { file: DATABASE, .. }
        )
    };
    matches!(failed, Op::SetLen { .. }) || !written(failed) || !written(next)
}

fn brief(op: &Op) -> String {
    match op {
        Op::Write { file, offset, bytes } => format!("write of {} at {offset} of file {file}", bytes.len()),
        other => format!("{other:?}"),
    }
}

impl File for Disk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Others would go through the page cache of a file that takes direct writes, and nobody would notice.
        let aligned = (bytes.as_ptr() as u64 | bytes.len() as u64 | offset).is_multiple_of(PAGE);
        assert!(
            aligned,
            "a write of {} bytes at {offset} is not in whole pages of memory and file",
            bytes.len()
        );
        self.step(Op::Write { file: DATABASE, offset, bytes: bytes.into() })
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Op::Sync { file: DATABASE })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.database.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.step(Op::SetLen { file: DATABASE, len: bytes })
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        Map::of_file(&self.database, reserve)
    }

    fn read_device_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.database.read_exact_at(bytes, offset)?;
        let inner = self.lock();
        for (page, into) in (offset / PAGE..).zip(bytes.chunks_exact_mut(PAGE as usize)) {
            if let Some(stored) = inner.lost.get(&page) {
                into.copy_from_slice(stored);
            }
        }
        Ok(())
    }
}

/// An anonymous file, gone when closed.
pub(crate) fn anonymous() -> std::fs::File {
    rustix::fs::memfd_create("graven-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
}

/// A plain database file in memory.
pub(crate) fn memory_file() -> OsFile {
    OsFile::new(anonymous())
}

/// One file in memory that shows one image after another: only what differs from the image before is written.
pub(crate) struct Medium {
    file: Arc<std::fs::File>,
    shown: Vec<u8>,
}

impl Medium {
    pub(crate) fn new() -> Medium {
        Medium { file: Arc::new(anonymous()), shown: Vec::new() }
    }

    /// The file, holding `bytes`. What was handed out before must not be in use any more.
    pub(crate) fn show(&mut self, bytes: &[u8]) -> Arc<Shown> {
        if self.shown.len() != bytes.len() {
            self.file.set_len(bytes.len() as u64).unwrap();
            self.shown.resize(bytes.len(), 0);
        }
        for (page, (old, new)) in self.shown.chunks_mut(4096).zip(bytes.chunks(4096)).enumerate() {
            if old != new {
                self.file.write_all_at(new, page as u64 * 4096).unwrap();
                old.copy_from_slice(new);
            }
        }
        Arc::new(Shown { file: Arc::clone(&self.file), changed: Mutex::new(0) })
    }

    /// To be called when a [`Shown`] was written to.
    pub(crate) fn reread(&mut self) {
        self.shown.resize(self.file.metadata().unwrap().len() as usize, 0);
        self.file.read_exact_at(&mut self.shown, 0).unwrap();
    }
}

/// A database on a [`Medium`]; counts what is done to it.
pub(crate) struct Shown {
    file: Arc<std::fs::File>,
    changed: Mutex<usize>,
}

impl Shown {
    /// How many operations changed it.
    pub(crate) fn changes(&self) -> usize {
        *self.changed.lock().unwrap()
    }
}

impl File for Shown {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        *self.changed.lock().unwrap() += 1;
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        *self.changed.lock().unwrap() += 1;
        self.file.set_len(bytes)
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        Map::of_file(&self.file, reserve)
    }
}
