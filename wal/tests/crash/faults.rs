//! Every operation of generated lives fails once, in every way: a failed write or sync stops the log, what was acknowledged is
//! there afterwards, for the next process and after a power cut.

use crate::disk::{Disk, Failure, Image, dir};
use crate::planted::{Fault, must_find};
use crate::programme::{each_seed, scaled};
use crate::wal::exists;
use crate::workload::Life;

const STEPS: u64 = 14;

/// One life, once for every operation and failure.
fn run(seed: u64) -> Result<[u64; 3], String> {
    let whole = Life::new(Disk::of(Image::default()), seed);
    let disk = whole.disk.clone();
    let mut whole = whole;
    whole.run(STEPS).map_err(|error| error.to_string())?;
    let operations = disk.operations();
    let (mut failed, mut mended, mut lost) = (0, 0, 0);
    for number in 1..=operations {
        for failure in Failure::ALL {
            let disk = Disk::failing(number, failure);
            let mut life = Life::new(disk.clone(), seed);
            match life.run(STEPS) {
                Ok(()) => mended += 1,
                Err(_) => {
                    failed += 1;
                    lost += u64::from(failure == Failure::LosesData);
                    after(life).map_err(|words| format!("{failure:?} at operation {number}: {words}"))?;
                }
            }
        }
    }
    Ok([failed, mended, lost])
}

/// What comes after a failure: a power cut, or a new process that trusts what it reads, and then a power cut.
fn after(mut life: Life) -> Result<(), String> {
    life.disk.mended();
    let gone = |disk: &Disk| !exists(dir(), disk).unwrap_or(true);
    let (options, promise) = (life.options.clone(), life.promise.clone());
    let cut = Disk::of(life.disk.device());
    if !promise.created && (gone(&cut) || gone(&life.disk)) {
        return Ok(());
    }
    Life::again(cut, options.clone(), promise, 1).resume(3).map_err(|words| format!("power cut: {words}"))?;
    life.resume(0).map_err(|words| format!("started again: {words}"))?;
    let cut = Disk::of(life.disk.device());
    let settled = life.promise.clone();
    Life::again(cut, options, settled, 2)
        .resume(3)
        .map_err(|words| format!("started again, then power cut: {words}"))?;
    life.resume(3).map_err(|words| format!("started twice: {words}"))?;
    // What it acknowledged is in files whose names the process before had given.
    let cut = Disk::of(life.disk.device());
    Life::again(cut, life.options.clone(), life.promise.clone(), 3)
        .resume(1)
        .map_err(|words| format!("started twice, then power cut: {words}"))
}

#[test]
fn every_operation_fails_once() {
    let scripts = scaled(60);
    let [failed, mended, lost] = each_seed(scripts, run).unwrap_or_else(|words| panic!("{words}"));
    println!("{scripts} scripts: {failed} runs stopped, {mended} went on, {lost} syncs lost data");
    assert!(failed > scaled(4000) && mended > scaled(1500) && lost > scaled(600));
}

#[test]
fn planted_faults_are_found() {
    for fault in [Fault::GoesOn, Fault::ReadsCache, Fault::TrustsNames] {
        must_find(fault, || (0..10).try_for_each(|seed| run(seed).map(|_| ())));
    }
}
