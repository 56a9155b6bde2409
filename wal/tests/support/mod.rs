//! A disk in memory that loses what was not made durable, fails when told to, and can be damaged by hand.

#![allow(unreachable_pub, reason = "shared by the test files")]
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wal::{
    Access, Batch, Chosen, Entry, Error, File, Fill, HardState, Io, Metadata, Method, Options, Recovered,
    Start, Upkeep, Wal,
};

pub const SECTOR: usize = 512;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;

/// What happens at the operation chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails, nothing of it happened.
    Eio,
    /// The same, for lack of space.
    Enospc,
    /// The same, for lack of file descriptors: of what opens a file.
    Emfile,
    /// A write does half, says so, and the rest works on. Other operations fail with EIO.
    Short,
    /// Power fails during the operation: any sectors of it may be on disk; nothing works afterwards.
    PowerCut,
}

#[derive(Clone, Default)]
struct Content {
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Default)]
struct State {
    files: Vec<Content>,
    visible: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Changes of the directory since it was synced.
    changes: Vec<Change>,
    /// The last one, and the names before it.
    last_change: Option<(BTreeMap<PathBuf, usize>, Change)>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    off: bool,
    full: bool,
    seed: u64,
    /// By what files were written that were created.
    created_with: Vec<Method>,
    /// Every name of an operation, for messages.
    log: Vec<String>,
}

#[derive(Clone)]
enum Change {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to) => {
                let file = names.remove(from).unwrap();
                names.insert(to.clone(), file);
            }
            Self::Remove(path) => {
                names.remove(path).unwrap();
            }
        }
    }
}

/// The disk. Clones share it.
#[derive(Clone, Default)]
pub struct MemIo {
    state: Arc<Mutex<State>>,
    renamed: Arc<Condvar>,
}

struct MemFile {
    io: MemIo,
    path: PathBuf,
    file: usize,
}

enum Verdict {
    Go,
    Half,
    Torn,
}

impl State {
    fn change(&mut self, change: Change) {
        self.last_change = Some((self.visible.clone(), change.clone()));
        change.apply(&mut self.visible);
        self.changes.push(change);
    }

    fn operation(&mut self, name: &str, path: &Path) -> io::Result<Verdict> {
        if self.off {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.operations += 1;
        if self.fault.is_some() {
            let short = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.log.push(format!("{name} {short}"));
        }
        match self.fault {
            Some((at, fault)) if at == self.operations => match fault {
                Fault::Eio => Err(io::Error::from_raw_os_error(EIO)),
                Fault::Enospc => Err(io::Error::from_raw_os_error(ENOSPC)),
                Fault::Emfile if name == "open" || path == dir() => Err(io::Error::from_raw_os_error(EMFILE)),
                Fault::Emfile => Ok(Verdict::Go),
                Fault::Short if name.starts_with("write") => Ok(Verdict::Half),
                Fault::Short => Err(io::Error::from_raw_os_error(EIO)),
                Fault::PowerCut => {
                    self.off = true;
                    Ok(Verdict::Torn)
                }
            },
            _ => Ok(Verdict::Go),
        }
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Puts some sectors of a write.
fn put_some(into: &mut Vec<u8>, offset: usize, bytes: &[u8], rng: &mut ChaCha8Rng) {
    let all = rng.random_range(0..4);
    for (at, sector) in bytes.chunks(SECTOR).enumerate() {
        let keep = match all {
            0 => true,
            1 => false,
            _ => rng.random_bool(0.5),
        };
        if keep && offset + at * SECTOR < into.len() {
            put(into, offset + at * SECTOR, sector);
        }
    }
}

impl MemIo {
    /// A fault at the operation with this number, counted from now; 1 is the next.
    pub fn fail_at(&self, number: u64, fault: Fault, seed: u64) {
        let mut state = self.state.lock().unwrap();
        state.operations = 0;
        state.log.clear();
        state.fault = Some((number, fault));
        state.seed = seed;
    }

    /// Whether there is space left for new files.
    pub fn set_full(&self, full: bool) {
        self.state.lock().unwrap().full = full;
    }

    pub fn operations(&self) -> u64 {
        self.state.lock().unwrap().operations
    }

    pub fn restart_count(&self) {
        let mut state = self.state.lock().unwrap();
        state.operations = 0;
        state.log.clear();
        state.fault = None;
    }

    pub fn created_with(&self) -> Vec<Method> {
        self.state.lock().unwrap().created_with.clone()
    }

    pub fn trace(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    /// What a power cut leaves: everything durable, and of the rest what chance brings.
    pub fn power_cut(&self, seed: u64) -> MemIo {
        let state = self.state.lock().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut left = State { durable: state.durable.clone(), ..State::default() };
        for content in &state.files {
            let mut durable = content.durable.clone();
            for (offset, bytes) in &content.pending {
                put_some(&mut durable, *offset, bytes, &mut rng);
            }
            left.files.push(Content { visible: durable.clone(), durable, pending: Vec::new() });
        }
        // File systems that journal keep the order of changes in a directory: the first few are there.
        let kept = rng.random_range(0..=state.changes.len());
        for change in &state.changes[..kept] {
            change.apply(&mut left.durable);
        }
        left.visible = left.durable.clone();
        MemIo { state: Arc::new(Mutex::new(left)), ..MemIo::default() }
    }

    /// As if the process had been killed before it synced the directory the last time: the last change of a name is not
    /// durable.
    pub fn forget_sync_of_directory(&self) {
        let mut state = self.state.lock().unwrap();
        let Some((before, change)) = state.last_change.clone() else { return };
        state.durable = before;
        state.changes = vec![change];
    }

    /// What a killed process leaves: everything that was done.
    pub fn killed(&self) -> MemIo {
        let mut left = self.state.lock().unwrap().clone();
        left.off = false;
        left.fault = None;
        left.operations = 0;
        MemIo { state: Arc::new(Mutex::new(left)), ..MemIo::default() }
    }

    pub fn names(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.visible.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// Waits until a file bears this name.
    pub fn await_name(&self, name: &str) {
        let path = dir().join(name);
        let state = self.state.lock().unwrap();
        let missing = |state: &mut State| !state.visible.contains_key(&path);
        let waited = self.renamed.wait_timeout_while(state, Duration::from_secs(60), missing).unwrap();
        assert!(!waited.1.timed_out(), "nothing becomes {name}");
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        state.files[state.visible[&dir().join(name)]].visible.clone()
    }

    pub fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let path = dir().join(name);
        state.files.push(Content { visible: bytes.clone(), durable: bytes, pending: Vec::new() });
        let file = state.files.len() - 1;
        state.visible.insert(path, file);
        state.durable = state.visible.clone();
        state.changes.clear();
    }

    pub fn flip(&self, name: &str, byte: usize, bit: u32) {
        let mut state = self.state.lock().unwrap();
        let file = state.visible[&dir().join(name)];
        state.files[file].visible[byte] ^= 1 << bit;
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.visible.remove(&dir().join(name)).unwrap();
        state.durable = state.visible.clone();
        state.changes.clear();
    }

    /// Everything, to compare.
    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        self.names().into_iter().map(|name| (name.clone(), self.bytes(&name))).collect()
    }
}

/// Where logs live on the disk in memory.
pub fn dir() -> &'static Path {
    Path::new("/log")
}

impl Io for MemIo {
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        self.state.lock().unwrap().operation("list", dir())?;
        Ok(self.names())
    }

    fn open(&self, path: &Path, access: Access, method: Method) -> io::Result<Box<dyn File>> {
        let mut state = self.state.lock().unwrap();
        state.operation("open", path)?;
        if access == Access::Create {
            state.created_with.push(method);
        }
        let file = match state.visible.get(path) {
            Some(&file) => file,
            None if access == Access::Create => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.change(Change::Create(path.to_path_buf(), file));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(MemFile { io: self.clone(), path: path.to_path_buf(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let verdict = state.operation("rename", from)?;
        if !state.visible.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        self.renamed.notify_all();
        if matches!(verdict, Verdict::Go) { Ok(()) } else { Err(io::Error::from_raw_os_error(EIO)) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        match state.operation("sync", path)? {
            Verdict::Go => {
                state.durable = state.visible.clone();
                state.changes.clear();
                Ok(())
            }
            _ => Err(io::Error::from_raw_os_error(EIO)),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.operation("remove", path)?;
        if !state.visible.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(path.to_path_buf()));
        Ok(())
    }
}

impl MemFile {
    fn put(&mut self, name: &str, offset: u64, bytes: &[u8], durable: bool) -> io::Result<usize> {
        assert!(
            offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096),
            "{name} is not in whole blocks"
        );
        assert!((bytes.as_ptr() as usize).is_multiple_of(4096), "{name} is not aligned");
        let mut state = self.io.state.lock().unwrap();
        let verdict = state.operation(name, &self.path)?;
        let seed = state.seed;
        let content = &mut state.files[self.file];
        let offset = offset as usize;
        let done = match verdict {
            Verdict::Go => bytes.len(),
            Verdict::Half => bytes.len() / 2 / SECTOR * SECTOR,
            Verdict::Torn => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                put_some(&mut content.durable, offset, bytes, &mut rng);
                content.visible = content.durable.clone();
                return Err(io::Error::from_raw_os_error(EIO));
            }
        };
        put(&mut content.visible, offset, &bytes[..done]);
        if durable {
            put(&mut content.durable, offset, &bytes[..done]);
        } else {
            content.pending.push((offset, bytes[..done].to_vec()));
        }
        Ok(done)
    }
}

impl File for MemFile {
    fn length(&self) -> io::Result<u64> {
        let state = self.io.state.lock().unwrap();
        Ok(state.files[self.file].visible.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.io.state.lock().unwrap();
        state.operation("read", &self.path)?;
        let content = &state.files[self.file].visible;
        let from = content.len().min(offset as usize);
        let bytes = (content.len() - from).min(into.len());
        into[..bytes].copy_from_slice(&content[from..from + bytes]);
        Ok(bytes)
    }

    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.put("write durably", offset, bytes, true)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.put("write", offset, bytes, false)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.io.state.lock().unwrap();
        if !matches!(state.operation("sync", &self.path)?, Verdict::Go) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let content = &mut state.files[self.file];
        content.pending.clear();
        content.durable = content.visible.clone();
        Ok(())
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.io.state.lock().unwrap();
        state.operation("allocate", &self.path)?;
        if state.full {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let content = &mut state.files[self.file];
        content.visible.resize(bytes as usize, 0);
        content.durable.resize(bytes as usize, 0);
        Ok(())
    }

    fn chosen(&self) -> Chosen {
        Chosen { method: Method::DirectDsync, refused: None }
    }
}

/// Small segments, everything in a fixed order.
pub fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, upkeep: Upkeep::Inline, fill: Fill::Allocate, ..Options::default() }
}

pub fn metadata() -> Metadata {
    Metadata(Bytes::from_static(b"cluster 1 member 2"))
}

pub fn create(io: &MemIo, options: &Options) -> Result<Wal, Error> {
    Wal::create(dir(), Arc::new(io.clone()), metadata(), Start::default(), options.clone())
}

pub fn open(io: &MemIo, options: &Options) -> Result<(Wal, Recovered), Error> {
    Wal::open(dir(), Arc::new(io.clone()), options.clone())
}

/// An entry whose content follows from its index, term and length.
pub fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let mut data = vec![0; bytes];
    ChaCha8Rng::seed_from_u64(index << 32 | term << 16 | bytes as u64).fill_bytes(&mut data);
    // Zeros too, as whole sectors: they must not pass for sectors that were never written.
    if index.is_multiple_of(3) {
        data.fill(0);
    }
    Entry { index, term, kind: (index % 3) as u8, data: Bytes::from(data) }
}

pub fn append(wal: &mut Wal, entries: &[Entry]) -> Result<(), Error> {
    wal.append(&Batch { entries, hard_state: None })
}

/// What a log must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
}

impl Model {
    pub fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) {
        if let Some(first) = entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend_from_slice(entries);
        }
        self.hard_state = hard_state.or(self.hard_state);
    }

    /// Whether a log holds this, with or without entries that may have been released.
    pub fn agrees(&self, recovered: &Recovered, released_before: u64) -> Result<(), String> {
        if self.hard_state != recovered.hard_state {
            return Err(format!("hard state {:?} instead of {:?}", recovered.hard_state, self.hard_state));
        }
        let first = recovered.start.index + 1;
        if first > 1 && first > released_before.max(1) {
            return Err(format!("starts at {first}, released only before {released_before}"));
        }
        let expected: Vec<_> = self.entries.iter().filter(|entry| entry.index >= first).cloned().collect();
        if expected != recovered.entries {
            let indexes = |entries: &[Entry]| entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>();
            return Err(format!("{:?} instead of {:?}", indexes(&recovered.entries), indexes(&expected)));
        }
        Ok(())
    }
}

/// The size of a heavy test: from the environment, or the one given.
pub fn size(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}
