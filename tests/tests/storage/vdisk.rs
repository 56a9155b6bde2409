//! The log's view of the disk that the database is on, too: one journal, one power cut for both.

use std::io;
use std::path::Path;
use std::sync::Arc;

use wal::{Access, Chosen, Io, Method};

use super::disk::{Disk, Op};

/// Where the log lives.
pub(crate) fn dir() -> &'static Path {
    Path::new("/log")
}

pub(crate) struct Vdisk(pub(crate) Arc<Disk>);

struct Handle {
    disk: Arc<Disk>,
    file: usize,
}

impl Io for Vdisk {
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let name = |path: &std::path::PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(self.0.with_image(|image| image.names.keys().filter_map(name).collect()))
    }

    fn open(&self, path: &Path, access: Access, _: Method) -> io::Result<Box<dyn wal::File>> {
        let known = self.0.with_image(|image| image.names.get(path).copied());
        let file = match known {
            Some(file) => file,
            None if access == Access::Create => self.0.create(path.to_owned())?,
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(Handle { disk: Arc::clone(&self.0), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.0.with_image(|image| image.names.contains_key(from)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.0.step(Op::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.0.step(Op::SyncDir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.0.with_image(|image| image.names.contains_key(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.0.step(Op::Remove { path: path.to_owned() })
    }
}

impl wal::File for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.with_image(|image| image.files[self.file].len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.disk.with_image(|image| {
            let content = &image.files[self.file];
            let from = content.len().min(offset as usize);
            let bytes = (content.len() - from).min(into.len());
            into[..bytes].copy_from_slice(&content[from..from + bytes]);
            bytes
        }))
    }

    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write(offset, bytes)?;
        self.sync()?;
        Ok(written)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.step(Op::Write { file: self.file, offset, bytes: bytes.into() })?;
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(Op::Sync { file: self.file })
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.step(Op::SetLen { file: self.file, len: bytes })
    }

    fn chosen(&self) -> Chosen {
        Chosen { method: Method::DirectDsync, refused: None }
    }
}
