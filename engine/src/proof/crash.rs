//! Power cuts of a whole store: whatever of the unsynced sectors is there, opening finds the last complete checkpoint or
//! the one that was being written, and finds it exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Error, File, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::{Disk, Image, Medium, Note, Op};
use super::script::{Machine, NoLog, Step, fingerprint, options, random_script};
use super::states::{Amount, moments};
use super::{on_all_cores, scaled};

/// Crashes in a row.
const DEPTH: usize = 3;
/// Runs of the programme, and the least number of states they make.
const RUNS: u64 = 250;
const LEAST: u64 = 45_000;

/// States tried, by how many crashes came before.
type Tried = [u64; DEPTH];

struct Recorded {
    start: Image,
    journal: Vec<Op>,
    /// Fingerprints by state.
    states: BTreeMap<u64, u32>,
}

fn open(disk: &Arc<Disk>) -> Result<Store, Error> {
    Store::open(Arc::clone(disk) as Arc<dyn File>, options())
}

/// Runs a random script on `start`, which opens to state `opened`.
fn record(random: &mut ChaCha8Rng, start: Image, opened: u64, steps: usize) -> Result<Recorded, Error> {
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

/// Crashes a recorded run at every moment; one survivor of some goes on and crashes again.
fn crash(
    random: &mut ChaCha8Rng,
    medium: &mut Medium,
    run: &Recorded,
    depth: usize,
    tried: &mut Tried,
) -> Result<(), String> {
    let amount = [
        Amount { all_up_to: 8, most: 32 },
        Amount { all_up_to: 3, most: 6 },
        Amount { all_up_to: 2, most: 4 },
    ][depth];
    moments(run.start.clone(), &run.journal, |moment| {
        let allowed = moment.checkpoints();
        let survives = random.random_range(0..amount.most / 2);
        let (mut at, mut survivor) = (0, None);
        let mut chances = random.clone();
        tried[depth] += moment
            .images(&mut chances, amount, |image| {
                let state = recover(medium, image, &run.states, &allowed, at % 8 == 0)?;
                if at <= survives {
                    survivor = Some((image.clone(), state));
                }
                at += 1;
                Ok::<_, String>(())
            })
            .map_err(|e| format!("depth {}, moment {}: {e}", depth + 1, moment.number))?
            as u64;
        *random = chances;
        let goes_on = depth + 1 < DEPTH && random.random_range(0..4) == 0;
        if let Some((image, state)) = survivor.filter(|_| goes_on) {
            let again = record(random, image, state, 6).map_err(|e| format!("again: {e}"))?;
            crash(random, medium, &again, depth + 1, tried).map_err(|e| format!("again: {e}"))?;
        }
        Ok(())
    })
}

/// The programme for some seeds.
pub(crate) fn programme(runs: u64) -> Result<[u64; 3], String> {
    let tried = on_all_cores(0..runs, |seed| {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let first = record(random, Image::of_database(Vec::new()), 0, 24).map_err(|e| e.to_string())?;
        let mut tried = Tried::default();
        crash(random, &mut Medium::new(), &first, 0, &mut tried)?;
        Ok(tried)
    })?;
    let sum = |depth: usize| tried.iter().map(|tried| tried[depth]).sum();
    Ok(std::array::from_fn(sum))
}

#[test]
fn every_state_of_a_store_opens_to_a_checkpoint() {
    let tried = programme(scaled(RUNS)).unwrap();
    let all: u64 = tried.iter().sum();
    println!("{all} states of the store's file, by crashes in a row: {tried:?}");
    assert!(all >= scaled(LEAST), "{all}");
    assert!((tried[1] + tried[2]) * 10 >= all && tried[2] * 100 >= all, "{tried:?}");
}
