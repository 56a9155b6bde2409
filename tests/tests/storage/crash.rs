//! Power cuts of a whole member: every acknowledged entry is there afterwards, in full and once, whatever of the unsynced
//! sectors and names of database and log the disk kept.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cores::{on_all_cores, scaled};
use super::disk::{Disk, Image, Note, Op};
use super::member::{Failure, Mistake, open};
use super::script::{Step, random_script};
use super::states::{Amount, Moment, moments};

/// Crashes in a row.
const DEPTH: usize = 3;
/// Runs of the programme, and the least number of states they make.
const RUNS: u64 = 120;
const LEAST: u64 = 60_000;

type Tried = [u64; DEPTH];

pub(crate) struct Recorded {
    start: Image,
    journal: Vec<Op>,
    /// What clients see, by the last index.
    seen: BTreeMap<u64, u32>,
}

/// Opens what is in `start`, and runs a script on it.
pub(crate) fn record(
    random: &mut ChaCha8Rng,
    start: Image,
    script: &[Step],
    mistake: Mistake,
) -> Result<Recorded, Failure> {
    let disk = Disk::new(start.clone());
    let mut opened = open(&disk, random.random(), mistake)?;
    let mut seen = BTreeMap::new();
    for step in script {
        opened.machine.step(*step)?;
        if *step == Step::Reopen {
            seen.append(&mut opened.machine.log.seen);
            let (last, seed) = (opened.machine.store.applied().index, opened.machine.random.random());
            opened.machine.step(Step::Release)?;
            drop(opened);
            opened = open(&disk, seed, mistake)?;
            let again = opened.machine.log.seen.get(&last);
            if opened.last != last || again != seen.get(&last) {
                return Err(Failure::Lost(format!("reopened at {last}: {} is there", opened.last)));
            }
        }
    }
    seen.append(&mut opened.machine.log.seen);
    Ok(Recorded { start, journal: disk.journal(), seen })
}

/// The last indexes that may be found. `before` was there when the run began.
pub(crate) fn allowed(moment: &Moment<'_>, before: u64) -> Vec<u64> {
    let acknowledged = moment.notes.iter().rposition(|note| matches!(note, Note::Acknowledged(_)));
    let mut allowed = match acknowledged.map(|at| moment.notes[at]) {
        Some(Note::Acknowledged(index)) => vec![index],
        _ => vec![before],
    };
    let since = &moment.notes[acknowledged.map_or(0, |at| at + 1)..];
    allowed.extend(since.iter().filter_map(|note| match note {
        Note::Offered(index) => Some(*index),
        _ => None,
    }));
    allowed
}

/// Opens what is left: database and log agree, and give what was acknowledged.
pub(crate) fn recover(
    image: &Image,
    seen: &BTreeMap<u64, u32>,
    allowed: &[u64],
    audited: bool,
    mistake: Mistake,
) -> Result<u64, String> {
    let mut image = image.clone();
    image.files.resize(image.files.len().max(1), Vec::new());
    let disk = Disk::new(image);
    let opened = open(&disk, 0, mistake).map_err(|e| e.to_string())?;
    if !allowed.contains(&opened.last) {
        return Err(format!("entry {} is the last where {allowed:?} were possible", opened.last));
    }
    // A crash while opening changes nothing.
    if opened.changes > 0 {
        return Err(format!("opening made {} changes", opened.changes));
    }
    let found = opened.machine.log.seen.get(&opened.last);
    if found != seen.get(&opened.last) {
        return Err(format!("after entry {} clients see something else", opened.last));
    }
    let last = opened.last;
    if audited {
        drop(opened);
        let opened = open(&disk, 1, mistake).map_err(|e| format!("a second time: {e}"))?;
        if opened.machine.log.seen.get(&opened.last) != seen.get(&last) {
            return Err("a second opening gives something else".into());
        }
        let findings = opened.machine.store.reader().view().audit().map_err(|e| e.to_string())?;
        if !findings.is_empty() {
            return Err(format!("audit: {findings:?}"));
        }
        let report = engine::check(&*disk).map_err(|e| e.to_string())?;
        if !report.findings.is_empty() {
            return Err(format!("check: {:?}", report.findings));
        }
    }
    Ok(last)
}

fn crash(
    random: &mut ChaCha8Rng,
    run: &Recorded,
    before: u64,
    depth: usize,
    mistake: Mistake,
    tried: &mut Tried,
) -> Result<(), String> {
    let amount = [
        Amount { all_up_to: 4, most: 12 },
        Amount { all_up_to: 2, most: 4 },
        Amount { all_up_to: 1, most: 2 },
    ][depth];
    moments(run.start.clone(), &run.journal, |moment| {
        let allowed = allowed(moment, before);
        let (mut at, mut survivor) = (0, None);
        let survives = random.random_range(0..2);
        let mut chances = random.clone();
        tried[depth] += moment
            .images(&mut chances, amount, |image| {
                let last = recover(image, &run.seen, &allowed, at % 8 == 0, mistake)?;
                if at <= survives {
                    survivor = Some((image.clone(), last));
                }
                at += 1;
                Ok::<_, String>(())
            })
            .map_err(|e| format!("depth {}, moment {}: {e}", depth + 1, moment.number))?
            as u64;
        *random = chances;
        let goes_on = depth + 1 < DEPTH && random.random_range(0..12) == 0;
        if let Some((image, last)) = survivor.filter(|_| goes_on) {
            let script = random_script(random, 5);
            let again = record(random, image, &script, mistake).map_err(|e| format!("again: {e}"))?;
            crash(random, &again, last, depth + 1, mistake, tried).map_err(|e| format!("again: {e}"))?;
        }
        Ok(())
    })
}

fn programme(runs: u64, mistake: Mistake) -> Result<Tried, String> {
    let tried = on_all_cores(0..runs, |seed| {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let script = random_script(random, 30);
        let first = record(random, Image::default(), &script, mistake).map_err(|e| e.to_string())?;
        let mut tried = Tried::default();
        crash(random, &first, 0, 0, mistake, &mut tried)?;
        Ok(tried)
    })?;
    let sum = |depth: usize| tried.iter().map(|tried| tried[depth]).sum();
    Ok(std::array::from_fn(sum))
}

#[test]
fn nothing_acknowledged_is_lost() {
    let tried = programme(scaled(RUNS), Mistake::None).unwrap();
    let all: u64 = tried.iter().sum();
    println!("{all} states of database and log, by crashes in a row: {tried:?}");
    assert!(all >= scaled(LEAST), "{all}");
    assert!((tried[1] + tried[2]) * 10 >= all, "{tried:?}");
}

#[test]
fn mistakes_between_log_and_store_are_found() {
    let mistakes = [
        Mistake::AcknowledgesEarly,
        Mistake::ReleasesApplied,
        Mistake::SkipsAnEntry,
        Mistake::RepeatsAnEntry,
    ];
    for mistake in mistakes {
        let error = programme(RUNS, mistake).expect_err("a planted mistake");
        println!("{mistake:?}: {error}");
    }
}
