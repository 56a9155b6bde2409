//! One lane at work: the writes of its plan, each made durable by its method before anybody hears of it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use measure::{Aligned, WalMethod};
use wal::{Access, Io, Method, OsIo};

use super::plan::{Lane, Pattern, Sync};
use super::record::Ack;
use super::sector::{SECTOR, Sector};

/// What a lane works with.
pub(crate) struct Hands {
    pub(crate) lane: Lane,
    dir: PathBuf,
    run: u64,
    seed: u64,
    begun: Instant,
    os: OsIo,
    open: Option<(u64, Target)>,
    memory: Aligned,
}

/// How the open file is written to: the log's file layer where it has the method, plain calls where it has not.
enum Target {
    Plain(File),
    Log(Box<dyn wal::File>),
}

impl Hands {
    pub(crate) fn new(dir: &Path, lane: Lane, run: u64, seed: u64, begun: Instant) -> Hands {
        let memory = Aligned::new(usize::try_from(lane.block).expect("a block is small"));
        Hands { lane, dir: dir.to_owned(), run, seed, begun, os: OsIo::new(), open: None, memory }
    }

    /// What must be there before the first write: written and synced, its name by the caller. Says which method is not to
    /// be had here, and what is used instead.
    pub(crate) fn prepare(&mut self) -> io::Result<Option<String>> {
        if self.lane.pattern != Pattern::InPlace {
            return Ok(None);
        }
        let file = File::create_new(self.dir.join(self.lane.file_name(0)))?;
        for piece in self.lane.write(self.seed, 0) {
            self.fill(0, 0, piece.offset);
            file.write_all_at(self.memory.as_slice(), piece.offset)?;
        }
        file.sync_all()?;
        drop(file);
        self.open_file(0, Access::Write)?;
        let Some((_, Target::Log(file))) = &self.open else { return Ok(None) };
        let chosen = file.chosen();
        let method = WalMethod::from(chosen.method).name();
        Ok(chosen.refused.map(|why| format!("{}: {why}; {method} instead", self.lane.name())))
    }

    /// Makes a write, and returns what to tell the witness once it is durable.
    pub(crate) fn write(&mut self, sequence: u64) -> io::Result<Ack> {
        let pieces = self.lane.write(self.seed, sequence);
        let first = pieces[0];
        if let Some(removed) = self.lane.removes(sequence) {
            fs::remove_file(self.dir.join(self.lane.file_name(removed)))?;
        }
        match self.lane.pattern {
            Pattern::Append | Pattern::InPlace => {
                if self.open.as_ref().is_none_or(|(file, _)| *file != first.file) {
                    self.open_file(first.file, Access::Create)?;
                    self.sync_directory()?;
                }
                for piece in &pieces {
                    self.fill(sequence, piece.file, piece.offset);
                    self.put(piece.offset)?;
                }
                self.sync()?;
            }
            Pattern::Create => {
                let file = File::create_new(self.dir.join(self.lane.file_name(first.file)))?;
                self.fill(sequence, first.file, 0);
                file.write_all_at(self.memory.as_slice(), 0)?;
                file.sync_all()?;
                self.sync_directory()?;
            }
            Pattern::Rename => {
                let next = self.dir.join(self.lane.next_name());
                let file = File::create(&next)?;
                self.fill(sequence, first.file, 0);
                file.write_all_at(self.memory.as_slice(), 0)?;
                file.sync_all()?;
                fs::rename(&next, self.dir.join(self.lane.file_name(first.file)))?;
                self.sync_directory()?;
            }
        }
        Ok(Ack {
            run: self.run,
            lane: self.lane.number,
            sequence,
            time: self.time(),
            file: first.file,
            offset: first.offset,
            length: pieces.iter().map(|piece| piece.length).sum(),
        })
    }

    fn time(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Sectors of one block that begins at `offset`.
    fn fill(&mut self, sequence: u64, file: u64, offset: u64) {
        let (run, lane, time) = (self.run, self.lane.number, self.time());
        for (at, bytes) in self.memory.as_mut_slice().chunks_mut(SECTOR).enumerate() {
            let offset = offset + (at * SECTOR) as u64;
            Sector { run, lane, file, offset, sequence, time }.encode(bytes);
        }
    }

    fn open_file(&mut self, file: u64, access: Access) -> io::Result<()> {
        let path = self.dir.join(self.lane.file_name(file));
        let log = |method| Ok::<_, io::Error>(Target::Log(self.os.open(&path, access, method)?));
        let target = match self.lane.sync {
            Sync::Fdatasync | Sync::Fsync => {
                let create = access == Access::Create;
                Target::Plain(File::options().write(true).create(create).truncate(false).open(&path)?)
            }
            Sync::Dsync => log(Method::Dsync)?,
            Sync::DirectDsync => log(Method::DirectDsync)?,
            Sync::Ring => log(Method::Ring)?,
        };
        self.open = Some((file, target));
        Ok(())
    }

    fn put(&mut self, offset: u64) -> io::Result<()> {
        let bytes = self.memory.as_slice();
        match &mut self.open.as_mut().expect("a file is open").1 {
            Target::Plain(file) => file.write_all_at(bytes, offset),
            Target::Log(file) => match file.write_durable(offset, bytes)? {
                written if written == bytes.len() => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            },
        }
    }

    fn sync(&self) -> io::Result<()> {
        match (self.lane.sync, &self.open.as_ref().expect("a file is open").1) {
            (Sync::Fdatasync, Target::Plain(file)) => file.sync_data(),
            (_, Target::Plain(file)) => file.sync_all(),
            (_, Target::Log(_)) => Ok(()),
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
