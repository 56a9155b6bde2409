//! Damage of every kind to every page of several files: flipped bits, runs of zeros, swapped, stale and misdirected pages,
//! files cut short. A store that opens and is read through must say so, or give exactly what was stored: the newest
//! state, or the one before when it is the newest meta page that was hit. `check` must say so too.

use std::sync::Arc;

use engine::{Error, File, OsFile, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::{Disk, Image, Medium, anonymous};
use super::script::{
    Machine, NoLog,
    Step::{self, Batch, Checkpoint, Compact, DeleteRange, Slice, Slices},
    Values::{Large, Mixed, Small},
    fingerprint, options,
};
use super::{on_all_cores, scaled};

const PAGE: usize = 4096;
/// Files to damage: many small pages, history, large values, half a compaction, much that is free, next to nothing.
const SUBJECTS: &[&[Step]] = &[
    &[Batch(120, Small), Checkpoint, Batch(120, Small), Checkpoint],
    &[Batch(60, Mixed), Checkpoint, Batch(60, Mixed), Checkpoint, Batch(9, Mixed), Checkpoint],
    &[Batch(6, Large), Checkpoint, Batch(6, Large), Checkpoint],
    &[Batch(60, Mixed), Checkpoint, Compact(80), Slice(30), Checkpoint],
    &[
        Batch(60, Mixed),
        Checkpoint,
        Compact(100),
        Slices,
        Checkpoint,
        DeleteRange,
        Batch(40, Small),
        Checkpoint,
    ],
    &[Batch(1, Small), Checkpoint, Batch(1, Small), Checkpoint],
];
/// Damages tried, about, and the least that must have hit something in use.
const TRIED: u64 = 420_000;
const LEAST: u64 = 350_000;

/// A file, and what it may be read as.
struct Subject {
    bytes: Vec<u8>,
    /// The file one checkpoint earlier.
    before: Vec<u8>,
    /// Whether the newest state refers to a page; the meta pages count.
    used: Vec<bool>,
    newest_meta: usize,
    newest: u32,
    older: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    detected: u64,
    /// Of no consequence: in pages that hold nothing.
    unused: u64,
}

/// What reading a damaged file through gave.
enum Outcome {
    Refused(Error),
    Read(u32),
}

fn subject(script: &[Step], seed: u64) -> Subject {
    let disk = Disk::new(Image::default());
    let store = Store::open(Arc::clone(&disk) as Arc<dyn File>, options()).unwrap();
    let mut machine = Machine::new(Arc::clone(&disk), store, NoLog, seed);
    let (mut before, mut prints) = (Vec::new(), Vec::new());
    for step in script {
        if *step == Checkpoint {
            before = disk.image().files[0].clone();
        }
        machine.step(*step).unwrap();
        if *step == Checkpoint {
            prints.push(fingerprint(&machine.store.reader().view()).unwrap());
        }
    }
    let bytes = disk.image().files[0].clone();
    let [.., older, newest] = prints[..] else { panic!("two checkpoints or more") };
    let mut medium = Medium::new();
    let report = crate::check(&*medium.show(&bytes)).unwrap();
    assert!(report.findings.is_empty() && report.other_meta.is_none(), "{report:?}");
    let used = |page: usize| {
        let mut bytes = bytes.clone();
        bytes[page * PAGE..][..PAGE].fill(0x55);
        page < 2 || !crate::check(&*medium.show(&bytes)).unwrap().findings.is_empty()
    };
    let used: Vec<bool> = (0..bytes.len() / PAGE).map(used).collect();
    let unused = used.iter().filter(|used| !**used).count() as u64;
    assert_eq!(report.free_pages, unused + report.pages - used.len() as u64, "a page is used or free");
    Subject { bytes, before, used, newest_meta: (report.generation % 2) as usize, newest, older }
}

impl Subject {
    /// Opens and reads a damaged file; `hit` are the pages that are not what they were. Every fourth is also checked.
    fn judge(&self, file: &Arc<dyn File>, hit: &[usize], tally: &mut Tally) -> Result<(), String> {
        let outcome = match read(file) {
            Ok(print) => Outcome::Read(print),
            Err(e) => Outcome::Refused(e),
        };
        let used = hit.iter().any(|page| self.used.get(*page).is_some_and(|used| *used));
        if (tally.detected + tally.unused).is_multiple_of(4) {
            let check = crate::check(&**file);
            let noticed = match &check {
                Ok(report) => !report.findings.is_empty() || report.other_meta.is_some(),
                Err(Error::Damaged { .. } | Error::Foreign(_) | Error::NewerFormat { .. }) => true,
                Err(e) => return Err(format!("check: {e}")),
            };
            if noticed != used {
                return Err(format!("check says {check:?}"));
            }
        }
        match outcome {
            // A wrong version number cannot be told from a newer one before the checksum is understood.
            Outcome::Refused(Error::Damaged { .. } | Error::Foreign(_) | Error::NewerFormat { .. })
                if used => {}
            Outcome::Refused(e) => return Err(format!("read: {e}")),
            Outcome::Read(print) => {
                let metas_only = hit.iter().all(|page| *page < 2 || !self.used[*page]);
                let right = match used {
                    false => print == self.newest,
                    true if hit.contains(&self.newest_meta) => print == self.older,
                    true => metas_only && print == self.newest,
                };
                if !right {
                    return Err("read without an error, and wrong".into());
                }
            }
        }
        if used {
            tally.detected += 1
        } else {
            tally.unused += 1
        }
        Ok(())
    }

    /// Single bits, and eight bytes zeroed, all over the file.
    fn bytes(&self, random: &mut ChaCha8Rng, damages: u64, tally: &mut Tally) -> Result<(), String> {
        let plain = OsFile::new(anonymous());
        plain.set_len(self.bytes.len() as u64).and_then(|()| plain.write_at(0, &self.bytes)).unwrap();
        let file: Arc<dyn File> = Arc::new(plain);
        let in_use: Vec<usize> = (0..self.used.len()).filter(|page| self.used[*page]).collect();
        let places = (in_use.len() * PAGE) as u64;
        for number in 0..damages {
            // Evenly over everything in use, in odd strides; now and then a page that is not.
            let place = (number as u128 * u128::from(places) / u128::from(damages)) as usize;
            let mut page = in_use[place / PAGE];
            if random.random_range(0..200) == 0 {
                page = random.random_range(0..self.used.len());
            }
            let mut at = page * PAGE + place % PAGE;
            let mut new = [0; 8];
            let mut len = 8;
            if number % 8 == 0 {
                at = at / 8 * 8;
            } else {
                len = 1;
                new[0] = self.bytes[at] ^ 1 << random.random_range(0..8);
            }
            let old = &self.bytes[at..at + len];
            if old == &new[..len] {
                continue;
            }
            file.write_at(at as u64, &new[..len]).unwrap();
            self.judge(&file, &[page], tally)
                .map_err(|e| format!("{len} bytes at {} of page {page}: {e}", at % PAGE))?;
            file.write_at(at as u64, old).unwrap();
        }
        Ok(())
    }

    /// Pages that are somewhere else, or from another time.
    fn pages(&self, random: &mut ChaCha8Rng, tally: &mut Tally) -> Result<(), String> {
        let mut medium = Medium::new();
        let pages = self.used.len();
        let page = |bytes: &[u8], page: usize| bytes[page * PAGE..][..PAGE].to_vec();
        for one in 0..pages {
            for _ in 0..6 {
                let other = random.random_range(0..pages);
                let (here, there) = (page(&self.bytes, one), page(&self.bytes, other));
                if here == there {
                    continue;
                }
                let mut bytes = self.bytes.clone();
                bytes[one * PAGE..][..PAGE].copy_from_slice(&there);
                // Misdirected: a page was written over another.
                let file: Arc<dyn File> = medium.show(&bytes);
                self.judge(&file, &[one], tally).map_err(|e| format!("page {other} over {one}: {e}"))?;
                bytes[other * PAGE..][..PAGE].copy_from_slice(&here);
                let file: Arc<dyn File> = medium.show(&bytes);
                self.judge(&file, &[one, other], tally)
                    .map_err(|e| format!("pages {one} and {other} swapped: {e}"))?;
            }
        }
        // Lost writes. A lost meta page is a checkpoint that never was: the state before it is what there is.
        for lost in 2..pages {
            let Some(old) = self.before.get(lost * PAGE..(lost + 1) * PAGE) else { continue };
            if old == page(&self.bytes, lost) {
                continue;
            }
            let mut bytes = self.bytes.clone();
            bytes[lost * PAGE..][..PAGE].copy_from_slice(old);
            let file: Arc<dyn File> = medium.show(&bytes);
            self.judge(&file, &[lost], tally).map_err(|e| format!("page {lost} is stale: {e}"))?;
        }
        let mut bytes = self.bytes.clone();
        let meta = self.newest_meta;
        bytes[meta * PAGE..][..PAGE].copy_from_slice(&self.before[meta * PAGE..][..PAGE]);
        let file: Arc<dyn File> = medium.show(&bytes);
        if read(&file).map_err(|e| format!("the newest meta page was lost: {e}"))? != self.older {
            return Err("the newest meta page was lost: not the state before".into());
        }
        Ok(())
    }

    /// Files cut short or followed by junk.
    fn lengths(&self, tally: &mut Tally) -> Result<(), String> {
        let mut medium = Medium::new();
        for cut in (0..self.bytes.len()).step_by(PAGE / 2).skip(1) {
            let file: Arc<dyn File> = medium.show(&self.bytes[..cut]);
            let Err(Error::Damaged { .. }) = read(&file) else {
                return Err(format!("cut at {cut} and not noticed"));
            };
            tally.detected += 1;
        }
        for junk in [1, 511, PAGE, 3 * PAGE + 17] {
            let mut bytes = self.bytes.clone();
            bytes.resize(bytes.len() + junk, 0xa5);
            let file: Arc<dyn File> = medium.show(&bytes);
            if read(&file).map_err(|e| format!("{junk} bytes behind the end: {e}"))? != self.newest {
                return Err(format!("{junk} bytes behind the end change what is read"));
            }
            tally.unused += 1;
        }
        Ok(())
    }
}

/// Opens and reads everything. Nothing is cached from one call to the next.
fn read(file: &Arc<dyn File>) -> Result<u32, Error> {
    let store = Store::open(Arc::clone(file), options())?;
    fingerprint(&store.reader().view())
}

/// Damages every subject; in how many parts the work is cut is of no consequence.
pub(crate) fn programme(damages: u64) -> Result<Tally, String> {
    const PARTS: u64 = 4;
    let tallies = on_all_cores(0..SUBJECTS.len() as u64 * PARTS, |job| {
        let (at, part) = ((job / PARTS) as usize, job % PARTS);
        let subject = subject(SUBJECTS[at], 1 + part);
        let random = &mut ChaCha8Rng::seed_from_u64(job);
        let mut tally = Tally::default();
        let inside = |e: String| format!("file {at}: {e}");
        subject.bytes(random, damages / (SUBJECTS.len() as u64 * PARTS), &mut tally).map_err(inside)?;
        subject.pages(random, &mut tally).map_err(inside)?;
        subject.lengths(&mut tally).map_err(inside)?;
        Ok(tally)
    })?;
    Ok(tallies.iter().fold(Tally::default(), |sum, tally| Tally {
        detected: sum.detected + tally.detected,
        unused: sum.unused + tally.unused,
    }))
}

#[test]
fn damage_is_found_before_it_is_used() {
    let tally = programme(scaled(TRIED)).unwrap();
    println!("{} damages detected, {} in pages that hold nothing", tally.detected, tally.unused);
    assert!(tally.detected >= scaled(LEAST), "{tally:?}");
}
