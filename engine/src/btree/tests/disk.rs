//! Files in memory: plain, failing at operation N, and recording what a power cut could leave.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use crate::file::{File, OsFile};
use crate::mmap::Map;

/// An anonymous file, gone when closed.
pub(super) fn memory_file() -> OsFile {
    OsFile::new(anonymous())
}

fn anonymous() -> std::fs::File {
    rustix::fs::memfd_create("graven-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
}

/// A file in memory holding `bytes`.
pub(super) fn holding(bytes: &[u8]) -> Arc<dyn File> {
    let file = memory_file();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(0, bytes).unwrap();
    Arc::new(file)
}

/// Something done to a file.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Sync,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Eio,
    Enospc,
    /// Half of the write arrives.
    Short,
}

/// Records everything done to it, and fails at one operation if asked to.
pub(super) struct Disk {
    seen: std::fs::File,
    inner: Mutex<Inner>,
}

struct Inner {
    ops: Vec<Op>,
    fault: Option<(usize, Fault)>,
    failed: bool,
    /// Attempts to grow so far, and from which on they are refused.
    grown: usize,
    full_from: usize,
}

impl Disk {
    pub(super) fn new(bytes: &[u8]) -> Arc<Disk> {
        let seen = anonymous();
        seen.set_len(bytes.len() as u64).unwrap();
        seen.write_all_at(bytes, 0).unwrap();
        Arc::new(Disk {
            seen,
            inner: Mutex::new(Inner {
                ops: Vec::new(),
                fault: None,
                failed: false,
                grown: 0,
                full_from: usize::MAX,
            }),
        })
    }

    /// The operation with this number, counted from 0, fails.
    pub(super) fn fail_at(&self, number: usize, fault: Fault) {
        self.inner.lock().unwrap().fault = Some((number, fault));
    }

    /// From the growth with this number on, counted from 0, there is no space to grow.
    pub(super) fn full_from(&self, number: usize) {
        self.inner.lock().unwrap().full_from = number;
    }

    pub(super) fn failed(&self) -> bool {
        self.inner.lock().unwrap().failed
    }

    pub(super) fn ops(&self) -> Vec<Op> {
        self.inner.lock().unwrap().ops.clone()
    }

    /// What the running system sees.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.seen.metadata().unwrap().len() as usize];
        self.seen.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn step(&self, op: Op) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        assert!(!inner.failed, "nothing is tried again after a failure: {op:?}");
        if matches!(op, Op::SetLen(len) if len > self.seen.metadata()?.len()) {
            inner.grown += 1;
            // Not a failure: the file is as it was, and whoever asked may ask again.
            let planted = inner
                .fault
                .is_some_and(|(number, fault)| number == inner.ops.len() && fault == Fault::Enospc);
            if inner.grown > inner.full_from || planted {
                inner.fault = inner.fault.filter(|_| !planted);
                return Err(rustix::io::Errno::NOSPC.into());
            }
        }
        let fault = inner.fault.filter(|(number, _)| *number == inner.ops.len()).map(|(_, fault)| fault);
        inner.failed = fault.is_some();
        let op = match (op, fault) {
            (Op::Write { offset, mut bytes }, Some(Fault::Short)) => {
                bytes.truncate(bytes.len() / 2);
                Op::Write { offset, bytes }
            }
            (_, Some(Fault::Enospc)) => return Err(rustix::io::Errno::NOSPC.into()),
            (_, Some(_)) => return Err(rustix::io::Errno::IO.into()),
            (op, None) => op,
        };
        match &op {
            Op::Write { offset, bytes } => self.seen.write_all_at(bytes, *offset)?,
            Op::SetLen(len) => self.seen.set_len(*len)?,
            Op::Sync => {}
        }
        inner.ops.push(op);
        if inner.failed { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

impl File for Disk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step(Op::Write { offset, bytes: bytes.to_vec() })
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Op::Sync)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.seen.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.step(Op::SetLen(bytes))
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        Map::of_file(&self.seen, reserve)
    }
}

/// Does `op` to an image; of a write only the sectors that `keep` lets through.
pub(super) fn apply(image: &mut Vec<u8>, op: &Op, mut keep: impl FnMut() -> bool) {
    match op {
        Op::Write { offset, bytes } => {
            let start = *offset as usize;
            if image.len() < start + bytes.len() {
                image.resize(start + bytes.len(), 0);
            }
            for (sector, bytes) in bytes.chunks(512).enumerate() {
                if keep() {
                    let at = start + sector * 512;
                    image[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        Op::SetLen(len) => image.resize(*len as usize, 0),
        Op::Sync => {}
    }
}
