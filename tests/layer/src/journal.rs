//! What a power cut may take back from the files: every change since the last honored sync, with what was there before.
//!
//! The backing files always hold the newest state, so that reads need no care. Changes of one file stay in order. A sync
//! marks those before it as safe, a durable write only itself: what is in flight beside it may still be lost, as on a disk
//! that serves two requests in any order. Once the oldest changes are safe they are forgotten. A cut undoes all that is
//! remembered, newest first, and then repeats, oldest first, what was safe or what chance lets survive.
//!
//! More than a limit is not remembered: the oldest changes are then safe, as in a disk whose cache is full.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rustix::fs::FallocateFlags;

use crate::disk::Cut;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The changes of all files.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    files: HashMap<u64, Pending>,
    next: u64,
    bytes: u64,
    limit: u64,
}

/// The changes of one file, oldest first.
#[derive(Debug)]
struct Pending {
    file: Arc<File>,
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Change {
    sequence: u64,
    safe: bool,
    size_before: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Write {
        offset: u64,
        before: Vec<u8>,
        after: Vec<u8>,
    },
    /// With what was cut off.
    Resize {
        to: u64,
        tail: Vec<u8>,
    },
}

impl Change {
    fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::Write { before, after, .. } => (before.len() + after.len()) as u64,
            Kind::Resize { tail, .. } => tail.len() as u64,
        }
    }
}

/// How many changes of files a cut took back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lost: u64,
    pub(crate) torn: u64,
    pub(crate) kept: u64,
}

impl Journal {
    /// Remembers so many bytes at most.
    pub(crate) fn new(limit: u64) -> Journal {
        Journal { limit, ..Journal::default() }
    }

    /// Comes after everything so far.
    pub(crate) fn moment(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Writes to the file `node`, which was opened for reading and writing.
    pub(crate) fn write(&mut self, node: u64, file: &Arc<File>, offset: u64, data: &[u8]) -> io::Result<u64> {
        let size_before = file.metadata()?.len();
        let end = offset.saturating_add(data.len() as u64).min(size_before);
        let before = read(file, offset, end)?;
        file.write_all_at(data, offset)?;
        let kind = Kind::Write { offset, before, after: data.to_vec() };
        self.remember(node, file, size_before, kind)
    }

    /// Changes the size of the file.
    pub(crate) fn resize(&mut self, node: u64, file: &Arc<File>, to: u64) -> io::Result<u64> {
        let size_before = file.metadata()?.len();
        let tail = read(file, to, size_before)?;
        file.set_len(to)?;
        self.remember(node, file, size_before, Kind::Resize { to, tail })
    }

    /// Reserves space; only the size can be lost.
    pub(crate) fn allocate(
        &mut self,
        node: u64,
        file: &Arc<File>,
        flags: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> io::Result<u64> {
        if !(flags - FallocateFlags::KEEP_SIZE).is_empty() {
            return Err(rustix::io::Errno::OPNOTSUPP.into());
        }
        let size_before = file.metadata()?.len();
        rustix::fs::fallocate(file, flags, offset, length)?;
        let to = file.metadata()?.len();
        self.remember(node, file, size_before, Kind::Resize { to, tail: Vec::new() })
    }

    fn remember(&mut self, node: u64, file: &Arc<File>, size_before: u64, kind: Kind) -> io::Result<u64> {
        let sequence = self.moment();
        let change = Change { sequence, safe: false, size_before, kind };
        self.bytes += change.bytes();
        let pending = self.files.entry(node);
        let pending = pending.or_insert_with(|| Pending { file: file.clone(), changes: VecDeque::new() });
        pending.changes.push_back(change);
        self.make_room();
        Ok(sequence)
    }

    /// A sync of the file that was asked for at `moment` is honored.
    pub(crate) fn sync(&mut self, node: u64, moment: u64) {
        if let Some(pending) = self.files.get_mut(&node) {
            pending.changes.iter_mut().filter(|c| c.sequence <= moment).for_each(|c| c.safe = true);
        }
        self.forget_safe(node);
    }

    /// A durable write is honored.
    pub(crate) fn make_safe(&mut self, node: u64, sequence: u64) {
        if let Some(pending) = self.files.get_mut(&node) {
            pending.changes.iter_mut().filter(|c| c.sequence == sequence).for_each(|c| c.safe = true);
        }
        self.forget_safe(node);
    }

    fn forget_safe(&mut self, node: u64) {
        let Some(pending) = self.files.get_mut(&node) else { return };
        while let Some(change) = pending.changes.pop_front_if(|change| change.safe) {
            self.bytes -= change.bytes();
        }
        if pending.changes.is_empty() {
            self.files.remove(&node);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.limit {
            let oldest = self.files.iter().filter_map(|(node, p)| Some((p.changes.front()?.sequence, *node)));
            let Some((sequence, node)) = oldest.min() else { return };
            self.make_safe(node, sequence);
        }
    }

    /// The power fails: the files become what the medium holds.
    pub(crate) fn cut(&mut self, cut: Cut, dice: &mut ChaCha8Rng) -> io::Result<Taken> {
        let mut taken = Taken::default();
        // In a fixed order, so that a seed always does the same.
        let mut files: Vec<_> = std::mem::take(&mut self.files).into_iter().collect();
        files.sort_by_key(|(_, pending)| pending.changes.front().map(|change| change.sequence));
        self.bytes = 0;
        for (_, pending) in files {
            let Pending { file, changes } = pending;
            if cut == Cut::Nothing {
                taken.kept += changes.len() as u64;
                continue;
            }
            for change in changes.iter().rev() {
                undo(&file, change)?;
            }
            for change in &changes {
                repeat(&file, change, cut, dice, &mut taken)?;
            }
            file.sync_all()?;
        }
        Ok(taken)
    }
}

fn undo(file: &File, change: &Change) -> io::Result<()> {
    match &change.kind {
        Kind::Write { offset, before, .. } => file.write_all_at(before, *offset)?,
        Kind::Resize { to, tail } => {
            if !tail.is_empty() {
                file.write_all_at(tail, *to)?;
            }
        }
    }
    file.set_len(change.size_before)
}

fn repeat(
    file: &File,
    change: &Change,
    cut: Cut,
    dice: &mut ChaCha8Rng,
    taken: &mut Taken,
) -> io::Result<()> {
    let survives = |dice: &mut ChaCha8Rng| dice.next_u64() & 1 == 0;
    let whole = change.safe || (cut == Cut::Reordered && survives(dice));
    match &change.kind {
        Kind::Write { offset, after, .. } if whole => {
            file.write_all_at(after, *offset)?;
            taken.kept += 1;
        }
        Kind::Write { offset, after, .. } if cut == Cut::Torn => {
            let (mut at, mut written, mut pieces) = (0, 0, 0);
            while at < after.len() {
                let sector_end = SECTOR - usize::try_from(*offset % SECTOR as u64).expect("below 512");
                let first = if at == 0 { sector_end } else { SECTOR };
                let end = (at + first).min(after.len());
                pieces += 1;
                if survives(dice) {
                    file.write_all_at(&after[at..end], offset + at as u64)?;
                    written += 1;
                }
                at = end;
            }
            match written {
                0 => taken.lost += 1,
                all if all == pieces => taken.kept += 1,
                _ => taken.torn += 1,
            }
        }
        Kind::Resize { to, .. } if whole || (cut == Cut::Torn && survives(dice)) => {
            file.set_len(*to)?;
            taken.kept += 1;
        }
        Kind::Write { .. } | Kind::Resize { .. } => taken.lost += 1,
    }
    Ok(())
}

/// The bytes from `offset` to `end`, which may lie before it.
fn read(file: &File, offset: u64, end: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(end.saturating_sub(offset)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    fn content(file: &File) -> Vec<u8> {
        read(file, 0, file.metadata().unwrap().len()).unwrap()
    }

    fn cut(journal: &mut Journal, cut: Cut, seed: u64) -> Taken {
        journal.cut(cut, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
    }

    #[test]
    fn a_cut_goes_back_to_the_last_sync() {
        let (file, mut journal) = (file(), Journal::new(1 << 20));
        journal.write(1, &file, 0, b"synced").unwrap();
        let moment = journal.moment();
        journal.sync(1, moment);
        journal.write(1, &file, 3, b"overwritten and longer").unwrap();
        journal.resize(1, &file, 2).unwrap();
        journal.write(1, &file, 9, b"after a hole").unwrap();
        journal.allocate(1, &file, FallocateFlags::empty(), 0, 10_000).unwrap();
        let taken = cut(&mut journal, Cut::Lost, 0);
        assert_eq!((content(&file).as_slice(), taken.lost), (&b"synced"[..], 4));
    }

    #[test]
    fn a_durable_write_is_safe_beside_others_that_are_not() {
        let (file, mut journal) = (file(), Journal::new(1 << 20));
        journal.write(1, &file, 0, b"aaaa").unwrap();
        let durable = journal.write(1, &file, 2, b"bbbb").unwrap();
        journal.write(1, &file, 4, b"cccc").unwrap();
        journal.make_safe(1, durable);
        cut(&mut journal, Cut::Lost, 0);
        assert_eq!(content(&file), b"\0\0bbbb");
    }

    #[test]
    fn a_full_cache_writes_its_oldest_changes() {
        let (file, mut journal) = (file(), Journal::new(10));
        for (at, letter) in [b"aaaa", b"bbbb", b"cccc", b"dddd"].into_iter().enumerate() {
            journal.write(1, &file, 4 * at as u64, letter).unwrap();
        }
        cut(&mut journal, Cut::Lost, 0);
        assert_eq!(content(&file), b"aaaabbbb");
    }

    #[test]
    fn writes_survive_whole_or_by_sectors() {
        let seen = |how: Cut| {
            let mut seen = [0; 3];
            for seed in 0..64 {
                let (file, mut journal) = (file(), Journal::new(1 << 20));
                file.set_len(4 * SECTOR as u64).unwrap();
                journal.write(1, &file, 100, &[1; 3 * SECTOR]).unwrap();
                let taken = cut(&mut journal, how, seed);
                let bytes = content(&file);
                assert_eq!(bytes.len(), 4 * SECTOR);
                for sector in bytes.chunks(SECTOR).skip(1).take(2) {
                    assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
                }
                let ones = bytes.iter().filter(|byte| **byte == 1).count();
                let fate = match ones {
                    0 => 0,
                    n if n == 3 * SECTOR => 1,
                    _ => 2,
                };
                assert_eq!([taken.lost, taken.kept, taken.torn][fate], 1, "{taken:?} with {ones} bytes");
                seen[fate] += 1;
            }
            seen
        };
        assert_eq!(seen(Cut::Lost), [64, 0, 0]);
        assert_eq!(seen(Cut::Nothing), [0, 64, 0]);
        let [lost, kept, torn] = seen(Cut::Reordered);
        assert!(lost > 20 && kept > 20 && torn == 0);
        assert!(seen(Cut::Torn)[2] > 40);
    }
}
