//! What each lane writes: a function of the seed and the write's number, so that it can be said again after a cut.

use measure::{Error, Result};

use super::sector::SECTOR;

/// How many writes a lane may be ahead of what the witness has recorded.
pub(crate) const WINDOW: u64 = 32;
/// Segments that a lane which appends keeps.
pub(crate) const SEGMENTS: u64 = 3;
/// Files that a lane which makes new ones keeps; more than two windows, so that none in question is removed.
pub(crate) const FILES: u64 = 3 * WINDOW;
/// Files that a lane which renames replaces in turn.
pub(crate) const REPLACED: u64 = 4;
/// Writes of one sync, at most, where a sync follows them.
const PIECES: u64 = 4;
/// The least that makes sense: each lane keeps some history.
pub(crate) const MIN_SIZE: u64 = 32 << 20;

/// The way a lane uses files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// At the end of a file, which is followed by a new one; old ones are removed.
    Append,
    /// Over what was there, in a file of fixed size.
    InPlace,
    /// A new file is written and synced, then renamed over an old one.
    Rename,
    /// New files, and old ones removed.
    Create,
}

/// How a lane makes its writes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    Fdatasync,
    Fsync,
    /// RWF_DSYNC through the page cache.
    Dsync,
    /// RWF_DSYNC and O_DIRECT.
    DirectDsync,
    /// The same through io_uring.
    Ring,
}

impl Sync {
    const ALL: [Sync; 5] = [Sync::Fdatasync, Sync::Fsync, Sync::Dsync, Sync::DirectDsync, Sync::Ring];

    /// Also a part of file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sync::Fdatasync => "fdatasync",
            Sync::Fsync => "fsync",
            Sync::Dsync => "dsync",
            Sync::DirectDsync => "direct-dsync",
            Sync::Ring => "ring",
        }
    }

    /// Bytes of one write. Those of a lane that syncs afterwards are not whole pages.
    fn block(self) -> u64 {
        match self {
            Sync::Fdatasync => 2560,
            Sync::Fsync => 6144,
            Sync::Dsync => 4096,
            Sync::DirectDsync => 8192,
            Sync::Ring => 8192,
        }
    }

    /// Whether a sync of its own follows the writes.
    pub(crate) fn follows(self) -> bool {
        matches!(self, Sync::Fdatasync | Sync::Fsync)
    }
}

/// A sequence of writes, each durable before the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) pattern: Pattern,
    pub(crate) sync: Sync,
    /// Bytes of one write.
    pub(crate) block: u64,
    /// Blocks in a file: of a segment, or in place.
    pub(crate) blocks: u64,
}

/// One write, of consecutive bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which of the lane's files.
    pub(crate) file: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Everything that a run writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Bytes that the files take, at most.
    pub(crate) size: u64,
    pub(crate) lanes: Vec<Lane>,
}

impl Plan {
    pub(crate) fn new(seed: u64, size: u64) -> Result<Plan> {
        if size < MIN_SIZE {
            return Err(Error::Usage(format!("--size is too small: give at least {} MiB", MIN_SIZE >> 20)));
        }
        let patterns = [Pattern::Append, Pattern::InPlace];
        let both = patterns.into_iter().flat_map(|pattern| Sync::ALL.map(|sync| (pattern, sync)));
        let all = both.chain([(Pattern::Rename, Sync::Fsync), (Pattern::Create, Sync::Fsync)]);
        let share = size / 12;
        let lanes = all.zip(0..).map(|((pattern, sync), number)| {
            let block = sync.block();
            let blocks = match pattern {
                // A segment is longer than what a lane may be ahead.
                Pattern::Append => (share / (SEGMENTS + 1) / block).clamp(2 * WINDOW, 4096),
                Pattern::InPlace => (share / block).clamp(8, 1024),
                Pattern::Rename | Pattern::Create => 1,
            };
            Lane { number, pattern, sync, block, blocks }
        });
        Ok(Plan { seed, size, lanes: lanes.collect() })
    }
}

impl Lane {
    /// For people.
    pub(crate) fn name(&self) -> String {
        let pattern = match self.pattern {
            Pattern::Append => "append",
            Pattern::InPlace => "in-place",
            Pattern::Rename => "rename",
            Pattern::Create => "create",
        };
        format!("{pattern}-{}", self.sync.name())
    }

    /// Of one of its files.
    pub(crate) fn file_name(&self, file: u64) -> String {
        format!("{}.{file:010}", self.name())
    }

    /// Where a file is written before it gets its name.
    pub(crate) fn next_name(&self) -> String {
        format!("{}.next", self.name())
    }

    /// The number in a name that [`Lane::file_name`] made.
    pub(crate) fn file_of(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.name())?.strip_prefix('.')?;
        digits.parse().ok().filter(|_| digits.len() == 10)
    }

    /// What write number `sequence`, counted from 1, consists of. Number 0 stands for what is there before the first:
    /// the whole file of a lane that overwrites.
    pub(crate) fn write(&self, seed: u64, sequence: u64) -> Vec<Piece> {
        let block = self.block;
        match self.pattern {
            Pattern::InPlace if sequence == 0 => {
                (0..self.blocks).map(|slot| Piece { file: 0, offset: slot * block, length: block }).collect()
            }
            _ if sequence == 0 => Vec::new(),
            Pattern::Append => {
                let (file, at) = ((sequence - 1) / self.blocks, (sequence - 1) % self.blocks);
                vec![Piece { file, offset: at * block, length: block }]
            }
            Pattern::InPlace => {
                let chance = mix(seed ^ mix(u64::from(self.number) << 48 ^ sequence));
                let pieces = if self.sync.follows() { 1 + chance % PIECES } else { 1 };
                let mut slots: Vec<u64> =
                    (0..pieces).map(|piece| mix(chance ^ piece << 32) % self.blocks).collect();
                slots.sort_unstable();
                slots.dedup();
                slots.into_iter().map(|slot| Piece { file: 0, offset: slot * block, length: block }).collect()
            }
            Pattern::Rename => vec![Piece { file: sequence % REPLACED, offset: 0, length: block }],
            Pattern::Create => vec![Piece { file: sequence, offset: 0, length: block }],
        }
    }

    /// The file whose removal is durable once this write is.
    pub(crate) fn removes(&self, sequence: u64) -> Option<u64> {
        match self.pattern {
            Pattern::Append if (sequence - 1).is_multiple_of(self.blocks) => {
                ((sequence - 1) / self.blocks).checked_sub(SEGMENTS)
            }
            Pattern::Create => sequence.checked_sub(FILES).filter(|file| *file > 0),
            _ => None,
        }
    }
}

/// A number that looks like chance; the finalizer of splitmix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const _: () = assert!(2560 % SECTOR == 0 && 6144 % SECTOR == 0);
const _: () = assert!(FILES > 2 * WINDOW);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_plans_the_same_and_stays_within_its_size() {
        for size in [MIN_SIZE, 64 << 20, 1 << 30] {
            let plan = Plan::new(7, size).unwrap();
            assert_eq!(plan, Plan::new(7, size).unwrap());
            assert_eq!(plan.lanes.len(), 12);
            let mut used = 0;
            for lane in &plan.lanes {
                assert!(lane.pattern != Pattern::Append || lane.blocks > WINDOW + 1, "{lane:?}");
                let files = match lane.pattern {
                    Pattern::Append => SEGMENTS + 1,
                    Pattern::InPlace => 1,
                    Pattern::Rename => REPLACED + 1,
                    Pattern::Create => FILES + 1,
                };
                used += files * lane.blocks * lane.block;
                for sequence in 0..2000 {
                    for piece in lane.write(plan.seed, sequence) {
                        assert!(piece.offset + piece.length <= lane.blocks * lane.block);
                        assert!(piece.offset % SECTOR as u64 == 0 && piece.length % SECTOR as u64 == 0);
                    }
                }
            }
            assert!(used <= size, "{used} of {size}");
        }
        assert!(Plan::new(7, MIN_SIZE - 1).is_err());
        let (a, b) = (Plan::new(1, MIN_SIZE).unwrap(), Plan::new(2, MIN_SIZE).unwrap());
        assert_ne!(a.lanes[5].write(a.seed, 9), b.lanes[5].write(b.seed, 9));
    }

    #[test]
    fn file_names_lead_back_to_their_numbers() {
        let plan = Plan::new(1, MIN_SIZE).unwrap();
        for lane in &plan.lanes {
            assert_eq!(lane.file_of(&lane.file_name(17)), Some(17));
            assert_eq!(lane.file_of(&lane.next_name()), None);
        }
        // The name of one lane begins with that of another.
        assert_eq!(plan.lanes[0].file_of("append-fdatasync.17"), None);
        assert_eq!(plan.lanes[2].file_of("append-dsync-x.0000000017"), None);
    }

    #[test]
    fn what_is_removed_is_older_than_what_is_in_question() {
        let plan = Plan::new(1, MIN_SIZE).unwrap();
        for lane in plan.lanes.iter().filter(|lane| matches!(lane.pattern, Pattern::Append | Pattern::Create))
        {
            let mut there = std::collections::BTreeSet::new();
            for sequence in 1..10_000 {
                let file = lane.write(plan.seed, sequence)[0].file;
                there.insert(file);
                if let Some(removed) = lane.removes(sequence) {
                    assert!(there.remove(&removed), "{} {sequence}: {removed}", lane.name());
                }
            }
            assert!(there.len() as u64 <= FILES);
        }
    }
}
