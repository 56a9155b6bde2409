//! Every operation of every script on database and log fails once: with EIO, with ENOSPC, or half done. The error is
//! typed, what was acknowledged is there when the member is opened again, and it goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::cores::on_all_cores;
use super::crash::{allowed, record, recover};
use super::disk::{DATABASE, Disk, Fault, Image, Op};
use super::member::{Failure, Mistake, Opened, open, visible};
use super::script::Step::{
    self, Batch, Checkpoint, CheckpointBeside, Compact, Defragment, DeleteRange, Hold, Release,
    ReleaseMemory, Reopen, Repack, Slice, Slices,
};
use super::script::Values::{Large, Mixed, Small};
use super::script::{Entry, options};
use super::states::{Amount, moments};

const AMOUNT: Amount = Amount { all_up_to: 2, most: 4 };

const SCRIPTS: &[(&str, &[Step])] = &[
    ("create", &[Batch(1, Small), Checkpoint]),
    ("create and reopen", &[Reopen, Batch(1, Small), Reopen, Checkpoint, Reopen, Batch(1, Small), Reopen]),
    ("only the log", &[Batch(3, Small), Batch(9, Mixed), Reopen, Batch(9, Mixed), Reopen]),
    ("rotation", &[Batch(200, Small), Batch(200, Small), Batch(200, Small), Reopen, Batch(200, Small)]),
    (
        "rotation and release",
        &[
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Batch(300, Small),
            Checkpoint,
            Batch(300, Small),
            Batch(300, Small),
            Checkpoint,
        ],
    ),
    (
        "rotation beside a checkpoint",
        &[Batch(200, Small), CheckpointBeside(3), Batch(200, Small), Checkpoint],
    ),
    (
        "release, reopen, rotate",
        &[Batch(300, Small), Checkpoint, Reopen, Batch(300, Small), Checkpoint, Reopen, Batch(300, Small)],
    ),
    ("growth", &[Batch(6, Large), Checkpoint, Batch(12, Large), Checkpoint, Batch(20, Large), Checkpoint]),
    ("beside checkpoints", &[Batch(20, Mixed), CheckpointBeside(2), Reopen, CheckpointBeside(3), Reopen]),
    (
        "compaction",
        &[Batch(30, Mixed), Compact(60), Slice(9), Checkpoint, Reopen, Slices, Checkpoint, Batch(5, Mixed)],
    ),
    (
        "compaction and repacking",
        &[
            Batch(60, Mixed),
            Checkpoint,
            Compact(80),
            Slices,
            Repack(10),
            CheckpointBeside(1),
            Reopen,
            Checkpoint,
        ],
    ),
    (
        "defragment",
        &[
            Batch(20, Large),
            Checkpoint,
            DeleteRange,
            Compact(100),
            Slices,
            Defragment(9),
            Batch(5, Mixed),
            Reopen,
        ],
    ),
    (
        "defragment under a view",
        &[Batch(20, Large), Checkpoint, Hold, Compact(100), Slices, Defragment(30), Release, Defragment(30)],
    ),
    (
        "everything",
        &[
            Batch(100, Mixed),
            CheckpointBeside(1),
            DeleteRange,
            Compact(90),
            Slice(20),
            Checkpoint,
            Reopen,
            Slices,
            Repack(10),
            Defragment(20),
            ReleaseMemory,
            Batch(200, Small),
            CheckpointBeside(2),
            Reopen,
            Batch(3, Mixed),
        ],
    ),
];

/// What was run so far, and what clients saw.
#[derive(Default)]
struct Run {
    offered: BTreeMap<u64, Entry>,
    seen: BTreeMap<u64, u32>,
}

impl Run {
    fn keep(&mut self, opened: &mut Opened) {
        self.offered.append(&mut opened.machine.log.offered);
        self.seen.append(&mut opened.machine.log.seen);
    }

    /// What clients see after entry `last`, also when the run ended before they could.
    fn expect(&mut self, last: u64) -> Result<(), engine::Error> {
        if self.seen.contains_key(&last) {
            return Ok(());
        }
        let disk = Disk::new(Image::of_database(Vec::new()));
        let mut store = engine::Store::open(disk, options())?;
        for (index, entry) in self.offered.range(..=last) {
            entry.apply(&mut store, *index, 0)?;
        }
        store.publish();
        self.seen.insert(last, visible(&store.reader().view())?);
        Ok(())
    }
}

/// A refusal for lack of space: nothing has happened, and it may be tried again.
fn refused(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Engine(engine::Error::NoSpace { .. }) | Failure::Wal(wal::Error::NoSegment { .. })
    )
}

/// Runs a script until something fails for good.
fn drive(disk: &Arc<Disk>, script: &[Step], mistake: Mistake, run: &mut Run) -> Result<(), Failure> {
    let reopen = |seed| match open(disk, seed, mistake) {
        Err(failure) if refused(&failure) => open(disk, seed, mistake),
        other => other,
    };
    let mut opened = reopen(1)?;
    for (number, step) in script.iter().enumerate() {
        let mut result = opened.machine.step(*step);
        if result.as_ref().is_err_and(refused) {
            result = opened.machine.step(*step);
        }
        if *step == Reopen && result.is_ok() {
            result = opened.machine.step(Release);
        }
        run.keep(&mut opened);
        if let Err(failure) = result {
            stopped(&mut opened, &failure).map_err(Failure::Lost)?;
            return Err(failure);
        }
        if *step == Reopen {
            drop(opened);
            opened = reopen(number as u64 + 2)?;
        }
    }
    run.keep(&mut opened);
    Ok(())
}

/// Whoever failed takes nothing more, and says why.
fn stopped(opened: &mut Opened, failure: &Failure) -> Result<(), String> {
    let store = &mut opened.machine.store;
    let refusal = match failure {
        Failure::Engine(engine::Error::Io { .. }) => {
            if store.begin_checkpoint().is_some() {
                return Err("a checkpoint after the failure".into());
            }
            let refusal = store.begin().put(b"k", b"v", 0);
            matches!(refusal, Err(engine::Error::Poisoned)).then_some(()).ok_or(format!("{refusal:?}"))
        }
        Failure::Wal(wal::Error::Io { .. }) => {
            let refusal = opened.machine.step(Batch(1, Small));
            let poisoned = matches!(refusal, Err(Failure::Wal(wal::Error::Poisoned { .. })));
            poisoned.then_some(()).ok_or(format!("{refusal:?}"))
        }
        other => Err(other.to_string()),
    };
    refusal.map_err(|e| format!("after {failure}: {e}"))
}

/// What kind of operation failed.
fn kind(op: &Op) -> &'static str {
    match op {
        Op::Write { file: DATABASE, .. } => "database write",
        Op::Sync { file: DATABASE } => "database sync",
        Op::SetLen { file: DATABASE, .. } => "database length",
        Op::Write { .. } => "log write",
        Op::Sync { .. } => "log sync",
        Op::SetLen { .. } => "log length",
        Op::Create { .. } => "create",
        Op::Rename { .. } => "rename",
        Op::Remove { .. } => "remove",
        Op::SyncDir => "directory sync",
        Op::Lose { .. } => "lost sync",
        Op::Note(_) => "note",
    }
}

/// Runs a script with one failure; `None` when it has fewer operations.
fn fail(
    script: &[Step],
    number: usize,
    fault: Fault,
    mistake: Mistake,
) -> Result<Option<&'static str>, String> {
    let disk = Disk::new(Image::default());
    disk.fail_at(number, fault);
    let mut run = Run::default();
    let result = drive(&disk, script, mistake, &mut run);
    let Some(failed) = disk.failed() else {
        return result.map(|()| None).map_err(|e| format!("failed without a fault: {e}"));
    };
    let kind = kind(&failed);
    let forgiven = fault == Fault::Enospc && failed.takes_space();
    match result {
        // Making the next segment, and removing old ones, can wait. Whether entries did is seen below.
        Ok(()) if matches!(kind, "database write" | "database sync") && !forgiven => {
            return Err(format!("a failed {kind} was not noticed"));
        }
        Ok(()) | Err(Failure::Engine(engine::Error::Io { .. }) | Failure::Wal(wal::Error::Io { .. })) => {}
        Err(failure) => return Err(format!("a failed {kind} became: {failure}")),
    }
    let journal = disk.journal();
    let random = &mut ChaCha8Rng::seed_from_u64(number as u64);
    let (mut possible, mut images) = (Vec::new(), Vec::new());
    moments(Image::default(), &journal, |moment| {
        // Only the end matters here: the rest is the crash programme's.
        (possible, images) = (allowed(moment, 0), vec![disk.image(), moment.durable.clone()]);
        moment.images(random, AMOUNT, |image| {
            images.push(image.clone());
            Ok::<_, String>(())
        })?;
        Ok::<_, String>(())
    })?;
    possible.iter().try_for_each(|last| run.expect(*last)).map_err(|e| e.to_string())?;
    let after = |e| format!("after a failed {kind}: {e}");
    for image in &images {
        recover(image, &run.seen, &possible, true, mistake).map_err(after)?;
    }
    // The process was started anew on what the system still had, and goes on.
    let going_on = [Batch(3, Mixed), Checkpoint, Reopen, Batch(2, Small), Reopen];
    let mut start = disk.image();
    start.files.resize(start.files.len().max(1), Vec::new());
    record(random, start, &going_on, mistake).map_err(|e| after(format!("going on: {e}")))?;
    Ok(Some(kind))
}

/// How many failures there were to meet, by kind.
fn programme(mistake: Mistake) -> Result<BTreeMap<&'static str, u64>, String> {
    let runs = on_all_cores(0..SCRIPTS.len() as u64, |at| {
        let (name, script) = SCRIPTS[at as usize];
        let mut met = BTreeMap::<_, u64>::new();
        for fault in [Fault::Eio, Fault::Enospc, Fault::Short] {
            for number in 0.. {
                let kind = fail(script, number, fault, mistake)
                    .map_err(|e| format!("{name}, {fault:?} at operation {number}: {e}"))?;
                let Some(kind) = kind else { break };
                *met.entry(kind).or_default() += 1;
            }
        }
        Ok(met)
    })?;
    let mut all = BTreeMap::new();
    for (kind, met) in runs.into_iter().flatten() {
        *all.entry(kind).or_default() += met;
    }
    Ok(all)
}

#[test]
fn a_failure_at_every_operation_loses_nothing_acknowledged() {
    let met = programme(Mistake::None).unwrap();
    let all: u64 = met.values().sum();
    println!("{all} failures in {} scripts of database and log: {met:?}", SCRIPTS.len());
    assert!(all >= 1500, "{all}");
    assert_eq!(met.len(), 10, "every kind of operation has failed: {met:?}");
}

#[test]
fn mistakes_after_a_failure_are_found() {
    for mistake in [Mistake::AcknowledgesEarly, Mistake::OverlooksFailure] {
        let error = programme(mistake).expect_err("a planted mistake");
        println!("{mistake:?}: {error}");
    }
}
