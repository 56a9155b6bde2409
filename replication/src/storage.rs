//! From raft's values to the write-ahead log's and back, and the order in which they become durable.

use crate::Error;
use crate::ready::{HardState, Persist};
use crate::transport::{Entry, EntryKind};

pub(crate) fn to_wal(entry: &Entry) -> wal::Entry {
    wal::Entry { index: entry.index, term: entry.term, kind: entry.kind as u8, data: entry.data.clone() }
}

pub(crate) fn from_wal(entry: wal::Entry) -> Result<Entry, Error> {
    let kind = match entry.kind {
        kind if kind == EntryKind::Proposals as u8 => EntryKind::Proposals,
        kind if kind == EntryKind::Membership as u8 => EntryKind::Membership,
        other => {
            let why = format!("entry {} is of unknown kind {other}", entry.index);
            return Err(Error::Malformed { what: "log", why });
        }
    };
    Ok(Entry { index: entry.index, term: entry.term, kind, data: entry.data })
}

pub(crate) fn hard_state_to_wal(hard_state: HardState) -> wal::HardState {
    wal::HardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit }
}

/// The log with what need not be written at once: a commit index that waits for the next batch.
pub(crate) struct Storage {
    wal: wal::Wal,
    /// Most bytes of entries in one append; the rest goes into the next.
    append_bytes: usize,
    unwritten: Option<HardState>,
    wal_entries: Vec<wal::Entry>,
    written_since_tick: bool,
    released: u64,
}

impl Storage {
    pub(crate) fn new(wal: wal::Wal, append_bytes: usize) -> Storage {
        Storage {
            wal,
            append_bytes,
            unwritten: None,
            wal_entries: Vec::new(),
            written_since_tick: true,
            released: 0,
        }
    }

    /// Durable when it returns, but for a commit index alone.
    pub(crate) fn persist(&mut self, persist: Persist) -> Result<(), Error> {
        let before = self.unwritten;
        if persist.hard_state.is_some() {
            self.unwritten = persist.hard_state;
        }
        if persist.can_wait {
            return Ok(());
        }
        self.wal_entries.clear();
        let mut bytes = 0;
        for entry in &persist.entries {
            if bytes + entry.data.len() > self.append_bytes && !self.wal_entries.is_empty() {
                // Term and vote are never behind the entries, the commit index never ahead of them.
                let commit = before.map_or(0, |before| before.commit);
                self.append(self.unwritten.map(|hard_state| HardState { commit, ..hard_state }))?;
                bytes = 0;
            }
            bytes += entry.data.len();
            self.wal_entries.push(to_wal(entry));
        }
        let hard_state = self.unwritten.take();
        self.append(hard_state)
    }

    fn append(&mut self, hard_state: Option<HardState>) -> Result<(), Error> {
        let hard_state = hard_state.map(hard_state_to_wal);
        self.written_since_tick = true;
        self.wal.append(&wal::Batch { entries: &self.wal_entries, hard_state })?;
        self.wal_entries.clear();
        Ok(())
    }

    /// After a tick without writes, what is left is written and the log sealed.
    pub(crate) fn tick(&mut self) -> Result<(), Error> {
        if !self.written_since_tick {
            self.seal()?;
        }
        self.written_since_tick = false;
        Ok(())
    }

    /// Writes what is left, and that all before is durable. False if there is no space for that now: nobody waits for it.
    pub(crate) fn seal(&mut self) -> Result<bool, Error> {
        let left = self.unwritten.take();
        let appended = left.map_or(Ok(()), |hard_state| self.append(Some(hard_state)));
        let sealed = appended.and_then(|()| Ok(self.wal.seal()?));
        if is_without_space(&sealed) {
            self.unwritten = left;
            return Ok(false);
        }
        sealed.map(|()| true)
    }

    pub(crate) fn release_before(&mut self, index: u64) -> Result<(), Error> {
        if index > self.released {
            self.released = index;
            self.wal.release_before(index)?;
        }
        Ok(())
    }

    /// Index of the last entry in the log.
    pub(crate) fn last_index(&self) -> u64 {
        self.wal.last_index()
    }

    /// Gives up all that was written, and goes on in a segment of its own. False if there is no space for that now.
    pub(crate) fn release_all(&mut self) -> Result<bool, Error> {
        if !self.seal()? {
            return Ok(false);
        }
        match self.wal.release_all() {
            Ok(()) => Ok(true),
            Err(wal::Error::NoSegment { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that can be appended for sure.
    pub(crate) fn headroom(&self) -> u64 {
        self.wal.headroom()
    }

    /// Most bytes of entries in one append.
    pub(crate) fn append_bytes(&self) -> u64 {
        self.append_bytes as u64
    }

    /// Whether there will be no more room for the time being.
    pub(crate) fn is_refused_space(&self) -> bool {
        matches!(self.wal.next_segment(), wal::NextSegment::Refused { .. })
    }

    /// Whether there is no room for another reason than space: nothing to wait for.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.wal.next_segment(), wal::NextSegment::Failed { .. })
    }

    /// Why there is no more room, if it is known: what failed, with the path and the system's error.
    pub(crate) fn why_no_room(&self) -> Option<String> {
        match self.wal.next_segment() {
            wal::NextSegment::Refused { reason, .. } | wal::NextSegment::Failed { reason, .. } => {
                Some(reason)
            }
            wal::NextSegment::Preparing | wal::NextSegment::Ready => None,
        }
    }

    /// Waits for more room. False if there is no space for the time being; whatever else is in the way is an error.
    pub(crate) fn await_space(&mut self) -> Result<bool, Error> {
        match self.wal.await_segment() {
            Ok(()) => Ok(true),
            Err(wal::Error::NoSegment { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn stats(&self) -> wal::Stats {
        self.wal.stats()
    }
}

fn is_without_space(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::Wal(wal::Error::NoSegment { .. })))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// The real files; no new one while it is full.
    #[derive(Clone, Default)]
    struct Disk {
        inner: wal::OsIo,
        full: Arc<AtomicBool>,
    }

    impl wal::Io for Disk {
        fn list(&self, dir: &Path) -> std::io::Result<Vec<String>> {
            self.inner.list(dir)
        }

        fn open(
            &self,
            path: &Path,
            access: wal::Access,
            method: wal::Method,
        ) -> std::io::Result<Box<dyn wal::File>> {
            if access == wal::Access::Create && self.full.load(Ordering::Relaxed) {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.inner.open(path, access, method)
        }

        fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
            self.inner.rename(from, to)
        }

        fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
            self.inner.sync_dir(dir)
        }

        fn remove(&self, path: &Path) -> std::io::Result<()> {
            self.inner.remove(path)
        }
    }

    fn put(storage: &mut Storage, bytes: usize) -> Result<(), Error> {
        let index = storage.last_index() + 1;
        let entries = vec![Entry { index, term: 1, kind: EntryKind::Proposals, data: vec![7; bytes].into() }];
        storage.persist(Persist { entries, hard_state: None, can_wait: false })
    }

    /// Neither a seal nor a new beginning is worth the member: both are tried again.
    #[test]
    fn what_nobody_waits_for_needs_no_space() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        let options = wal::Options {
            segment_bytes: 8192,
            upkeep: wal::Upkeep::Inline,
            fill: wal::Fill::Allocate,
            ..wal::Options::default()
        };
        let (metadata, start) = (wal::Metadata::default(), wal::Start::default());
        let open = || wal::Wal::open(dir.path(), Arc::new(disk.clone()), options.clone()).unwrap();
        drop(wal::Wal::create(dir.path(), Arc::new(disk.clone()), metadata, start, options.clone()).unwrap());
        let mut storage = Storage::new(open().0, 4096);
        disk.full.store(true, Ordering::Relaxed);
        // To the last byte of the segment that is ready.
        for bytes in [3000, 1000, 300, 100, 10, 1] {
            while put(&mut storage, bytes).is_ok() {}
        }
        let hard_state = HardState { term: 3, vote: 1, commit: 2 };
        let waits = Persist { entries: Vec::new(), hard_state: Some(hard_state), can_wait: true };
        storage.persist(waits).unwrap();
        for _ in 0..3 {
            storage.tick().unwrap();
            assert!(!storage.seal().unwrap() && !storage.release_all().unwrap());
        }
        disk.full.store(false, Ordering::Relaxed);
        assert!(storage.release_all().unwrap());
        let last = storage.last_index();
        drop(storage);
        let (wal, recovered) = open();
        assert_eq!((wal.last_index(), recovered.hard_state), (last, Some(hard_state_to_wal(hard_state))));
    }
}
