//! A process ends in the middle of a checkpoint: it is killed, or its sync fails. The system goes on, the next process finds
//! what the page cache shows, and goes on, too; and then the power fails. What the second process has opened is what its log
//! is kept for, so that from then on nothing older may be left.

use std::sync::Arc;

use engine::{Error, File, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::crash::recover;
use super::disk::{Disk, End, Image, Medium, Note, Op};
use super::script::{Machine, NoLog, Step, options, random_script};
use super::states::{Amount, moments};
use super::{on_all_cores, scaled};

const RUNS: u64 = 30;
const AMOUNT: Amount = Amount { all_up_to: 2, most: 5 };

fn open(disk: &Arc<Disk>, seed: u64) -> Result<Machine<NoLog>, Error> {
    let store = Store::open(Arc::clone(disk) as Arc<dyn File>, options())?;
    disk.note(Note::Durable(store.applied().term));
    Ok(Machine::new(Arc::clone(disk), store, NoLog, seed))
}

/// Runs a script as far as it comes.
fn run(disk: &Arc<Disk>, script: &[Step]) -> Result<(), Error> {
    let mut machine = open(disk, 1)?;
    script.iter().try_for_each(|step| machine.step(*step))
}

/// Another process takes over, runs a script, and the power fails at each of its syncs. How many states were tried.
fn take_over(
    random: &mut ChaCha8Rng,
    medium: &mut Medium,
    disk: &Arc<Disk>,
    script: &[Step],
) -> Result<usize, String> {
    disk.restarted();
    let mut machine = open(disk, random.random()).map_err(|e| format!("open: {e}"))?;
    let is_sync = |op: &&Op| matches!(op, Op::Sync { .. } | Op::SyncDir);
    let before = disk.journal().iter().filter(is_sync).count();
    script.iter().try_for_each(|step| machine.step(*step)).map_err(|e| format!("going on: {e}"))?;
    let states = std::mem::take(&mut machine.states);
    drop(machine);
    let mut tried = 0;
    moments(Image::of_database(Vec::new()), &disk.journal(), |moment| {
        if moment.number < before {
            return Ok(());
        }
        let allowed = moment.checkpoints();
        tried += moment
            .images(random, AMOUNT, |image| recover(medium, image, &states, &allowed, false).map(drop))
            .map_err(|e| format!("moment {}: {e}", moment.number))?;
        Ok::<_, String>(())
    })?;
    Ok(tried)
}

/// How many processes ended, and how many states were tried.
pub(crate) fn programme(runs: u64) -> Result<[usize; 2], String> {
    let all = on_all_cores(0..runs, |seed| {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let without_reopening = |random: &mut ChaCha8Rng, steps| {
            let mut script = random_script(random, steps);
            script.retain(|step| *step != Step::Reopen);
            script
        };
        let (first, mut second) = (without_reopening(random, 14), without_reopening(random, 6));
        second.push(Step::Checkpoint);
        let whole = Disk::new(Image::default());
        run(&whole, &first).map_err(|e| format!("seed {seed}: {e}"))?;
        let journal = whole.journal();
        let operations = journal.iter().filter(|op| !matches!(op, Op::Note(_)));
        let syncs = operations.enumerate().filter(|(_, op)| matches!(op, Op::Sync { .. }));
        let mut medium = Medium::new();
        let mut count = [0, 0];
        for (number, _) in syncs {
            for end in [End::Killed, End::LosesData] {
                let disk = Disk::new(Image::default());
                disk.end_at(number, end);
                run(&disk, &first).err().ok_or("the process has not ended")?;
                count[0] += 1;
                count[1] += take_over(random, &mut medium, &disk, &second)
                    .map_err(|e| format!("seed {seed}, {end:?} at operation {number}: {e}"))?;
            }
        }
        Ok(count)
    })?;
    Ok(std::array::from_fn(|at| all.iter().map(|count| count[at]).sum()))
}

#[test]
fn what_a_restarted_process_relies_on_is_stored() {
    let [ended, tried] = programme(scaled(RUNS)).unwrap();
    println!("{ended} processes ended at a sync, {tried} states after the next one");
    assert!(ended >= scaled(RUNS) as usize * 4 && tried >= ended * 5, "{ended}, {tried}");
}
