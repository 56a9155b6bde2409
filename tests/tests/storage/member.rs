//! A member's storage as the server puts it together: entries go to the log, then to the store; checkpoints release
//! the log; opening is the newest checkpoint and the log behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{KeyRange, Store, View};
use wal::{Batch, Fill, Metadata, Start, Upkeep, Wal};

use super::disk::{Disk, Note};
use super::script::{self, Entry, Log, Machine, options};
use super::vdisk::{Vdisk, dir};

/// What ends a script.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("engine: {0}")]
    Engine(#[from] engine::Error),
    #[error("log: {0}")]
    Wal(#[from] wal::Error),
    /// What the two have does not fit together, or is not what was acknowledged.
    #[error("{0}")]
    Lost(String),
}

/// Mistakes in how log and store are put together, for the programme to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mistake {
    #[default]
    None,
    /// Entries are acknowledged before they are in the log.
    AcknowledgesEarly,
    /// The log is released up to what is applied, not up to what a checkpoint holds.
    ReleasesApplied,
    /// Replay begins one entry late.
    SkipsAnEntry,
    /// Replay applies the last entry of the checkpoint again.
    RepeatsAnEntry,
    /// An append that failed is acknowledged all the same.
    OverlooksFailure,
}

/// The log, with what the script wants to know of it.
pub(crate) struct Journal {
    wal: Wal,
    disk: Arc<Disk>,
    mistake: Mistake,
    /// Every entry that was offered, by index.
    pub(crate) offered: BTreeMap<u64, Entry>,
    /// What a client can see after each batch, by the index of its last entry.
    pub(crate) seen: BTreeMap<u64, u32>,
}

impl Log for Journal {
    type Failure = Failure;

    fn append(&mut self, first: u64, entries: &[Entry]) -> Result<(), Failure> {
        let last = first + entries.len() as u64 - 1;
        self.disk.note(Note::Offered(last));
        if self.mistake == Mistake::AcknowledgesEarly {
            self.disk.note(Note::Acknowledged(last));
        }
        self.offered.extend((first..).zip(entries.iter().copied()));
        let entries: Vec<_> = (first..).zip(entries).map(|(index, entry)| encode(index, *entry)).collect();
        let appended = self.wal.append(&Batch { entries: &entries, hard_state: None });
        if self.mistake != Mistake::OverlooksFailure {
            appended?;
        }
        self.disk.note(Note::Acknowledged(last));
        if self.mistake == Mistake::ReleasesApplied {
            self.wal.release_before(first)?;
        }
        Ok(())
    }

    fn checkpointed(&mut self, index: u64) -> Result<(), Failure> {
        Ok(self.wal.release_before(index + 1)?)
    }

    fn published(&mut self, view: &View) {
        let seen = visible(view).expect("what was just written can be read");
        self.seen.insert(view.applied().index, seen);
    }
}

fn encode(index: u64, entry: Entry) -> wal::Entry {
    let (kind, number) = match entry {
        Entry::Write(seed, values) => (values as u8, seed),
        Entry::DeleteRange(seed) => (8, seed),
        Entry::Compact(revision) => (9, revision as u64),
    };
    wal::Entry { index, term: 1, kind, data: number.to_le_bytes().to_vec().into() }
}

fn decode(entry: &wal::Entry) -> Entry {
    use script::Values::{Large, Mixed, Small};
    let number = u64::from_le_bytes(entry.data[..].try_into().expect("eight bytes were appended"));
    match entry.kind {
        8 => Entry::DeleteRange(number),
        9 => Entry::Compact(number as i64),
        kind => Entry::Write(number, [Small, Mixed, Large][usize::from(kind)]),
    }
}

/// A sum over everything a client can see. How far compaction has come is none of it.
pub(crate) fn visible(view: &View) -> Result<u32, engine::Error> {
    let mut sum = 0;
    let mut add = |bytes: &[u8]| sum = crc32c::crc32c_append(sum, bytes);
    let (compact, revision) = (view.compact_revision(), view.revision());
    add(&revision.to_le_bytes());
    add(&compact.to_le_bytes());
    for at in [0, i64::midpoint(compact.max(1), revision)] {
        let mut range = view.range(&KeyRange::all(), at);
        while let Some(item) = range.try_next()? {
            add(item.key);
            add(item.record()?);
            add(&item.head.sub.to_le_bytes());
        }
    }
    for change in view.changes(compact + 1) {
        let change = change?;
        add(&change.revision.sub.to_le_bytes());
        add(change.record);
    }
    for lease in [5, 6] {
        view.lease_keys(lease)?.iter().for_each(|key| add(key));
    }
    add(&view.hash_kv(0)?.hash.to_le_bytes());
    Ok(sum)
}

fn wal_options() -> wal::Options {
    wal::Options {
        segment_bytes: 16 << 10,
        upkeep: Upkeep::Inline,
        fill: Fill::Allocate,
        spares: 1,
        ..wal::Options::default()
    }
}

/// How opening a member went.
pub(crate) struct Opened {
    pub(crate) machine: Machine<Journal>,
    /// The last index of the log.
    pub(crate) last: u64,
    /// Changes of the disk that opening the store made when there was one. The log may make its next segment ready.
    pub(crate) changes: usize,
}

/// Opens the store, then the log, and applies what only the log has. Creates both on an empty disk.
pub(crate) fn open(disk: &Arc<Disk>, seed: u64, mistake: Mistake) -> Result<Opened, Failure> {
    let store = Store::open(Arc::clone(disk) as Arc<dyn engine::File>, options())?;
    let checkpoint = store.applied().index;
    let changes = if checkpoint > 0 { disk.changes() } else { 0 };
    let io = Arc::new(Vdisk(Arc::clone(disk)));
    let exists = wal::exists(dir(), &*io).map_err(|e| Failure::Lost(format!("list: {e}")))?;
    let (wal, entries) = if exists {
        let (wal, recovered) = Wal::open(dir(), io, wal_options())?;
        if recovered.start.index > checkpoint {
            let start = recovered.start.index;
            return Err(Failure::Lost(format!("the store has {checkpoint}, the log begins after {start}")));
        }
        (wal, recovered.entries)
    } else if checkpoint > 0 {
        return Err(Failure::Lost(format!("the store has {checkpoint}, and there is no log")));
    } else {
        let metadata = Metadata(b"member 1".to_vec().into());
        (Wal::create(dir(), io, metadata, Start::default(), wal_options())?, Vec::new())
    };
    let last = wal.last_index();
    if last < checkpoint {
        return Err(Failure::Lost(format!("the store has {checkpoint}, the log ends with {last}")));
    }
    let (offered, seen) = (BTreeMap::new(), BTreeMap::new());
    let log = Journal { wal, disk: Arc::clone(disk), mistake, offered, seen };
    let mut machine = Machine::new(Arc::clone(disk), store, log, seed);
    let skipped = match mistake {
        Mistake::SkipsAnEntry => checkpoint + 1,
        Mistake::RepeatsAnEntry => checkpoint.saturating_sub(1),
        _ => checkpoint,
    };
    let entries: Vec<_> = entries.iter().filter(|entry| entry.index > skipped).collect();
    for entry in entries {
        machine.replay(entry.index, decode(entry))?;
    }
    machine.show()?;
    Ok(Opened { machine, last, changes })
}
