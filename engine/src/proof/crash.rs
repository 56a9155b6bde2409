//! Power cuts of a whole store: whatever of the unsynced sectors is there, opening finds the last complete checkpoint or
//! the one that was being written, and finds it exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Error, File, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::{Disk, Image, Medium, Note};
use super::lives::{Life, Recorded, Tried, crash, sum};
use super::script::{Machine, NoLog, Step, fingerprint, options, random_script};
use super::states::Amount;
use super::{on_all_cores, scaled};

/// Runs of the programme, and the least number of states they make.
const RUNS: u64 = 250;
const LEAST: u64 = 45_000;

/// Fingerprints by state.
type States = BTreeMap<u64, u32>;

fn open(disk: &Arc<Disk>) -> Result<Store, Error> {
    Store::open(Arc::clone(disk) as Arc<dyn File>, options())
}

/// Runs a random script on `start`, which opens to state `opened`.
fn record(
    random: &mut ChaCha8Rng,
    start: Image,
    opened: u64,
    steps: usize,
) -> Result<Recorded<States>, Error> {
    let disk = Disk::new(start.clone());
    disk.note(Note::Durable(opened));
    let mut machine = Machine::new(Arc::clone(&disk), open(&disk)?, NoLog, random.random());
    for step in random_script(random, steps) {
        machine.step(step)?;
        if step == Step::Reopen {
            let states = std::mem::take(&mut machine.states);
            let seed = machine.random.random();
            // The views and the store go before the file is mapped again.
            machine.step(Step::Release)?;
            drop(machine);
            machine = Machine::new(Arc::clone(&disk), open(&disk)?, NoLog, seed);
            machine.states.extend(states);
        }
    }
    Ok(Recorded { start, journal: disk.journal(), states: machine.states })
}

/// Opens what is left twice, and says which state it is.
pub(crate) fn recover(
    medium: &mut Medium,
    image: &Image,
    states: &BTreeMap<u64, u32>,
    allowed: &[u64],
    audited: bool,
) -> Result<u64, String> {
    let file = medium.show(&image.files[0]);
    for opening in 1..=2 {
        let before = file.changes();
        let store =
            Store::open(Arc::clone(&file) as Arc<dyn File>, options()).map_err(|e| format!("open: {e}"))?;
        let state = store.applied().term;
        if !allowed.contains(&state) {
            return Err(format!("state {state} where {allowed:?} were possible"));
        }
        if file.changes() != before {
            // Only the creation of a file writes, and only once.
            if opening == 2 || state != 0 {
                return Err(format!("opening {opening} of state {state} wrote to the file"));
            }
            medium.reread();
            continue;
        }
        let view = store.reader().view();
        let found = fingerprint(&view).map_err(|e| format!("read: {e}"))?;
        if found != states[&state] {
            return Err(format!("state {state} is not what was stored"));
        }
        if audited {
            let findings = view.audit().map_err(|e| format!("audit: {e}"))?;
            if !findings.is_empty() {
                return Err(format!("audit: {findings:?}"));
            }
        }
        drop((view, store));
        let report = crate::check(&*file).map_err(|e| format!("check: {e}"))?;
        if !report.findings.is_empty() {
            return Err(format!("check: {:?}", report.findings));
        }
        return Ok(state);
    }
    Err("the second opening wrote to the file".into())
}

/// A store's file.
struct OfStore;

impl Life for OfStore {
    type States = States;

    const FIRST: Amount = Amount { all_up_to: 8, most: 32 };
    const GOES_ON: u32 = 4;

    fn recover(
        medium: &mut Medium,
        image: &Image,
        states: &States,
        allowed: &[u64],
        at: usize,
    ) -> Result<u64, String> {
        recover(medium, image, states, allowed, at.is_multiple_of(8))
    }

    fn again(
        random: &mut ChaCha8Rng,
        image: Image,
        state: u64,
        _: &States,
    ) -> Result<Recorded<States>, String> {
        record(random, image, state, 6).map_err(|e| e.to_string())
    }
}

/// The programme for some seeds.
pub(crate) fn programme(runs: u64) -> Result<Tried, String> {
    let tried = on_all_cores(0..runs, |seed| {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let first = record(random, Image::of_database(Vec::new()), 0, 24).map_err(|e| e.to_string())?;
        let mut tried = Tried::default();
        crash::<OfStore>(random, &mut Medium::new(), &first, 0, &mut tried)?;
        Ok(tried)
    })?;
    Ok(sum(&tried))
}

#[test]
fn every_state_of_a_store_opens_to_a_checkpoint() {
    let tried = programme(scaled(RUNS)).unwrap();
    let all: u64 = tried.iter().sum();
    println!("{all} states of the store's file, by crashes in a row: {tried:?}");
    assert!(all >= scaled(LEAST), "{all}");
    assert!((tried[1] + tried[2]) * 10 >= all && tried[2] * 100 >= all, "{tried:?}");
}
