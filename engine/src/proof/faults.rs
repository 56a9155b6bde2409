//! Every operation of every script fails once: with EIO, with ENOSPC, or half done. Writing ends there, reading goes on,
//! and whatever of the unsynced writes the disk kept, opening finds the last complete checkpoint or the one being written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::{Error, File, Store};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::crash::recover;
use super::disk::{Disk, Fault, Image, Medium, Note, Op};
use super::on_all_cores;
use super::script::{Machine, NoLog, Step, fingerprint, options};
use super::scripts::SCRIPTS;
use super::states::{Amount, moments};

const AMOUNT: Amount = Amount { all_up_to: 2, most: 4 };

/// What a run left: fingerprints by state, and the store that met the failure.
struct Left {
    states: BTreeMap<u64, u32>,
    failure: Option<(Error, Option<Machine<NoLog>>)>,
}

fn open(disk: &Arc<Disk>) -> Result<Store, Error> {
    Store::open(Arc::clone(disk) as Arc<dyn File>, options())
}

fn drive(disk: &Arc<Disk>, script: &[Step]) -> Left {
    let mut left = Left { states: BTreeMap::from([(0, 0)]), failure: None };
    let begin = |seed| open(disk).map(|store| Machine::new(Arc::clone(disk), store, NoLog, seed));
    let mut machine = match begin(1) {
        Ok(machine) => machine,
        Err(e) => {
            left.states = empty();
            left.failure = Some((e, None));
            return left;
        }
    };
    for (number, step) in script.iter().enumerate() {
        let mut result = machine.step(*step);
        left.states.extend(machine.states.iter());
        if let Err(Error::NoSpace { .. }) = result {
            // Nothing has happened but that: the same again, and on.
            result = machine.step(*step);
            left.states.extend(machine.states.iter());
        }
        match result {
            Err(e) => {
                left.failure = Some((e, Some(machine)));
                return left;
            }
            Ok(()) if *step == Step::Reopen => {
                drop(machine);
                machine = match begin(number as u64 + 2) {
                    Ok(machine) => machine,
                    Err(e) => {
                        left.failure = Some((e, None));
                        return left;
                    }
                };
            }
            Ok(()) => {}
        }
    }
    left
}

/// What an empty store looks like.
fn empty() -> BTreeMap<u64, u32> {
    let disk = Disk::new(Image::default());
    let store = open(&disk).unwrap();
    BTreeMap::from([(0, fingerprint(&store.reader().view()).unwrap())])
}

/// Runs a script with one failure; false when it has fewer operations.
fn fail(medium: &mut Medium, script: &[Step], number: usize, fault: Fault) -> Result<bool, String> {
    let disk = Disk::new(Image::default());
    disk.note(Note::Durable(0));
    disk.fail_at(number, fault);
    let left = drive(&disk, script);
    let Some(failed) = disk.failed() else {
        return left.failure.map_or(Ok(false), |(e, _)| Err(format!("failed without a fault: {e}")));
    };
    // Growing the file may fail, or writing what nothing refers to yet, and be tried again with less or later.
    let forgiven = fault == Fault::Enospc && failed.takes_space();
    match left.failure {
        None if forgiven => {}
        None => return Err("the failure was not noticed".into()),
        Some((Error::NoSpace { .. }, None)) if forgiven => {}
        Some((Error::Io { .. }, None)) => {}
        Some((Error::Io { .. }, Some(machine))) => poisoned(&disk, machine, &failed)?,
        Some((error, _)) => return Err(format!("the failure became: {error}")),
    }
    let journal = disk.journal();
    let mut allowed = Vec::new();
    let mut images = vec![disk.image()];
    let random = &mut ChaCha8Rng::seed_from_u64(number as u64);
    moments(Image::default(), &journal, |moment| {
        // Only the end matters here: the rest is the crash programme's.
        (allowed, images) = (moment.checkpoints(), vec![disk.image(), moment.durable.clone()]);
        moment.images(random, AMOUNT, |image| {
            images.push(image.clone());
            Ok::<_, String>(())
        })?;
        Ok::<_, String>(())
    })?;
    for mut image in images {
        image.files.resize(1, Vec::new());
        recover(medium, &image, &left.states, &allowed, true)?;
    }
    Ok(true)
}

/// Nothing is written any more, and readers go on, also when the kernel has dropped what it could not write.
fn poisoned(disk: &Disk, mut machine: Machine<NoLog>, failed: &Op) -> Result<(), String> {
    let view = machine.store.reader().view();
    let before = fingerprint(&view).map_err(|e| format!("after the failure: {e}"))?;
    let refused = machine.store.begin().put(b"k", b"v", 0).map(drop);
    if !matches!(refused, Err(Error::Poisoned)) {
        return Err(format!("a put after the failure: {refused:?}"));
    }
    if machine.store.begin_checkpoint().is_some() {
        return Err("a checkpoint after the failure".into());
    }
    if matches!(failed, Op::Sync { .. }) {
        disk.lose_unsynced();
        let after = fingerprint(&view).map_err(|e| format!("after losing what was not synced: {e}"))?;
        if before != after {
            return Err("a view has changed when what was not synced was lost".into());
        }
    }
    Ok(())
}

/// How many failures there were to meet.
pub(crate) fn programme() -> Result<u64, String> {
    let runs = on_all_cores(0..SCRIPTS.len() as u64, |at| {
        let (name, script) = SCRIPTS[at as usize];
        let mut medium = Medium::new();
        let mut runs = 0;
        for fault in [Fault::Eio, Fault::Enospc, Fault::Short] {
            for number in 0.. {
                let met = fail(&mut medium, script, number, fault)
                    .map_err(|e| format!("{name}, {fault:?} at operation {number}: {e}"))?;
                if !met {
                    break;
                }
                runs += 1;
            }
        }
        Ok(runs)
    })?;
    Ok(runs.iter().sum())
}

#[test]
fn a_failure_at_every_operation_of_every_script() {
    assert!(SCRIPTS.len() >= 60, "{} scripts", SCRIPTS.len());
    let names: BTreeSet<_> = SCRIPTS.iter().map(|(name, _)| name).collect();
    let steps: BTreeSet<_> = SCRIPTS.iter().map(|(_, steps)| format!("{steps:?}")).collect();
    assert_eq!((names.len(), steps.len()), (SCRIPTS.len(), SCRIPTS.len()), "each is there once");
    let all = programme().unwrap();
    println!("{all} failures in {} scripts", SCRIPTS.len());
    assert!(all >= 3000, "{all}");
}
