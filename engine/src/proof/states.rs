//! Everything a power cut could leave of a journal.
//!
//! What was synced is there. Of what was done to a file since its last sync any subset is there: of a write any of its
//! sectors of 512 bytes, growing and cutting on their own. Names in a directory appear in the order they were made
//! in, as file systems with a journal have it. The cut is placed right before each sync, when the most is pending; what an
//! earlier cut could leave is among the subsets.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::disk::{Image, Note, Op};

/// Sector size: what a disk writes whole or not at all.
const SECTOR: usize = 512;

/// How many of the subsets are tried at one point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Up to so many pending parts every subset is tried.
    pub(crate) all_up_to: usize,
    /// Above, so many.
    pub(crate) most: usize,
}

/// A point of the journal at which the power fails.
pub(crate) struct Moment<'j> {
    /// Everything that was synced.
    pub(crate) durable: &'j Image,
    /// What was noted up to here.
    pub(crate) notes: &'j [Note],
    /// Which sync comes next, counted from 0.
    pub(crate) number: usize,
    /// Parts that may or may not be there, in their order.
    units: Vec<Op>,
    /// Changes of names, of which the first few are there.
    names: Vec<Op>,
}

/// Visits every moment of a journal that began on `start`.
pub(crate) fn moments<E>(
    start: Image,
    journal: &[Op],
    mut visit: impl FnMut(&Moment<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut durable = start;
    let (mut notes, mut pending, mut number) = (Vec::new(), Vec::<Op>::new(), 0);
    let is_name = |op: &Op| matches!(op, Op::Create { .. } | Op::Rename { .. } | Op::Remove { .. });
    let end = [Op::SyncDir];
    for op in journal.iter().chain(&end) {
        if let Op::Note(note) = op {
            notes.push(*note);
        }
        if let Op::Lose { file: lost } = op {
            pending.retain(|op| !matches!(op, Op::Write { file, .. } if file == lost));
            continue;
        }
        if !matches!(op, Op::Sync { .. } | Op::SyncDir) {
            pending.push(op.clone());
            continue;
        }
        let units = units(&durable, pending.iter().filter(|op| !is_name(op)));
        let names = pending.iter().filter(|op| is_name(op)).cloned().collect();
        visit(&Moment { durable: &durable, notes: &notes, number, units, names })?;
        number += 1;
        pending.retain(|pending| {
            let synced = match (pending, op) {
                (Op::Note(_), _) => true,
                (Op::Write { file, .. } | Op::SetLen { file, .. }, Op::Sync { file: synced }) => {
                    file == synced
                }
                (Op::Create { .. } | Op::Rename { .. } | Op::Remove { .. }, Op::SyncDir) => true,
                _ => false,
            };
            if synced {
                durable.apply(pending);
            }
            !synced
        });
    }
    Ok(())
}

/// Pending operations in parts that reach the disk on their own, without those that would change nothing.
fn units<'o>(durable: &Image, pending: impl Iterator<Item = &'o Op>) -> Vec<Op> {
    let mut units = Vec::new();
    let mut touched = BTreeSet::new();
    for op in pending {
        let Op::Write { file, offset, bytes } = op else {
            units.extend((!matches!(op, Op::Note(_))).then(|| op.clone()));
            continue;
        };
        let old = durable.files.get(*file).map_or(&[][..], Vec::as_slice);
        for (sector, bytes) in bytes.chunks(SECTOR).enumerate() {
            let at = *offset as usize + sector * SECTOR;
            let same = old.get(at..at + bytes.len()) == Some(bytes);
            if touched.insert((*file, at)) && same {
                touched.remove(&(*file, at));
                continue;
            }
            units.push(Op::Write { file: *file, offset: at as u64, bytes: bytes.into() });
        }
    }
    units
}

impl Moment<'_> {
    /// Images that the power cut could leave, one after the other; `each` gets them and says when to stop.
    pub(crate) fn images<E>(
        &self,
        random: &mut ChaCha8Rng,
        amount: Amount,
        mut each: impl FnMut(&Image) -> Result<(), E>,
    ) -> Result<usize, E> {
        let units = self.units.len();
        let mut make = |keep: &dyn Fn(usize) -> bool, names: usize| {
            let mut image = self.durable.clone();
            for name in &self.names[..names] {
                image.apply(name);
            }
            for unit in self.units.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, unit)| unit) {
                image.apply(unit);
            }
            each(&image)
        };
        let mut tried = 0;
        if units <= amount.all_up_to {
            for subset in 0..1u64 << units {
                make(&|unit| subset >> unit & 1 == 1, random.random_range(0..=self.names.len()))?;
                tried += 1;
            }
            return Ok(tried);
        }
        let mut kept = vec![false; units];
        while tried < amount.most {
            match random.random_range(0..8) {
                // In order up to a point, as most disks do it.
                0 | 1 => {
                    let end = random.random_range(0..=units);
                    kept.iter_mut().enumerate().for_each(|(at, kept)| *kept = at < end);
                }
                // One part missing, or one part there.
                2 => kept.fill(true),
                3 => kept.fill(false),
                // Whole pages or single sectors, few to most of them.
                mode => {
                    let density = random.random_range(1..16);
                    let together = if mode < 6 { 8 } else { 1 };
                    for kept in kept.chunks_mut(together) {
                        kept.fill(random.random_range(0..16) < density);
                    }
                }
            }
            if random.random_range(0..2) == 0 {
                let flipped = random.random_range(0..units);
                kept[flipped] = !kept[flipped];
            }
            make(&|unit| kept[unit], random.random_range(0..=self.names.len()))?;
            tried += 1;
        }
        Ok(tried)
    }

    #[allow(dead_code, reason = "the whole store asks what was acknowledged")]
    /// The checkpoints that may be found: the last complete one and those begun after it.
    pub(crate) fn checkpoints(&self) -> Vec<u64> {
        let complete = self.notes.iter().rposition(|note| matches!(note, Note::Durable(_)));
        let mut allowed: Vec<u64> = Vec::new();
        if let Some(Note::Durable(number)) = complete.map(|at| self.notes[at]) {
            allowed.push(number);
        }
        let since = &self.notes[complete.map_or(0, |at| at + 1)..];
        allowed.extend(since.iter().filter_map(|note| match note {
            Note::Begun(number) => Some(*number),
            _ => None,
        }));
        allowed
    }
}
