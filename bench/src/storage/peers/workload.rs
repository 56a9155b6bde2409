//! What every store goes through, and what is measured of it.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::error::{Error, Result};
use crate::storage::load::{self, Values};
use crate::storage::report::Spec;
use measure::Stop;
use measure::cpu;
use measure::machine::own_written_bytes;

/// Puts to a durable commit.
const BATCH: u64 = 64;
/// Keys to a range.
const RANGE: usize = 500;
const VALUE: usize = 256;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) puts: u64,
    pub(crate) keys: u64,
    pub(crate) reads: u64,
}

/// What one store did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) puts_per_second: f64,
    pub(crate) cpu_micros_per_put: f64,
    pub(crate) written_bytes_per_put: f64,
    pub(crate) get_micros: f64,
    pub(crate) range_keys_per_second: f64,
    pub(crate) dropped_per_second: f64,
    pub(crate) reopen_millis: f64,
    pub(crate) space_megabytes: f64,
}

/// In the order of [`Outcome::values`].
pub(crate) const METRICS: [Spec; 8] = [
    Spec::shown("puts/s, 64 to a durable commit", "1/s"),
    Spec::shown("CPU of a put, all threads", "us"),
    Spec::shown("bytes written per put, log and files", "B"),
    Spec::shown("point read", "us"),
    Spec::shown("keys/s of ranges of 500", "1/s"),
    Spec::shown("compaction, records dropped/s", "1/s"),
    Spec::shown("reopen and first read", "ms"),
    Spec::shown("disk space afterwards, logs included", "MB"),
];

impl Outcome {
    pub(crate) fn values(&self) -> [f64; METRICS.len()] {
        [
            self.puts_per_second,
            self.cpu_micros_per_put,
            self.written_bytes_per_put,
            self.get_micros,
            self.range_keys_per_second,
            self.dropped_per_second,
            self.reopen_millis,
            self.space_megabytes,
        ]
    }
}

/// The same numbers here and in the Go program: SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

pub(super) fn run(
    plan: &Plan,
    dir: &Path,
    stop: &Stop,
    open: &dyn Fn(&Path) -> Result<Box<dyn Peer>>,
) -> Result<Outcome> {
    let mut peer = open(dir)?;
    let (cpu_before, written_before) = (cpu::of_process(), own_written_bytes());
    let took = put_all(&mut *peer, plan, stop)?;
    let puts = plan.puts as f64;
    let cpu_of_puts = cpu::of_process() - cpu_before;
    let written = match (own_written_bytes(), written_before) {
        (Some(after), Some(before)) => (after - before) as f64 / puts,
        _ => f64::NAN,
    };
    let get = get_all(&mut *peer, plan, stop)?;
    let range_keys_per_second = range_all(&mut *peer, plan, stop)?;
    let begun = Instant::now();
    let dropped = peer.compact()?;
    let compaction = begun.elapsed();
    if dropped != plan.puts - plan.keys {
        return Err(Error::Wrong(format!("{dropped} records dropped, not {}", plan.puts - plan.keys)));
    }
    peer.close()?;
    let begun = Instant::now();
    let mut peer = open(dir)?;
    expect_key(&mut *peer, plan.keys / 2, &mut Vec::new())?;
    let reopen = begun.elapsed();
    peer.close()?;
    Ok(Outcome {
        puts_per_second: puts / took.as_secs_f64(),
        cpu_micros_per_put: cpu_of_puts.as_secs_f64() * 1e6 / puts,
        written_bytes_per_put: written,
        get_micros: get.as_secs_f64() * 1e6 / plan.reads as f64,
        range_keys_per_second,
        dropped_per_second: dropped as f64 / compaction.as_secs_f64(),
        reopen_millis: reopen.as_secs_f64() * 1e3,
        space_megabytes: space(dir)? as f64 / 1e6,
    })
}

/// Every key once, then random ones. Only the store's time counts.
fn put_all(peer: &mut dyn Peer, plan: &Plan, stop: &Stop) -> Result<Duration> {
    let (mut dice, mut values, mut key) = (Dice(1), Values::new(1), Vec::new());
    let mut took = Duration::ZERO;
    let mut next = 0;
    while next < plan.puts {
        stop.check()?;
        let puts: Vec<_> = (next..plan.puts.min(next + BATCH))
            .map(|number| {
                load::key(if number < plan.keys { number } else { dice.below(plan.keys) }, &mut key);
                (key.clone(), values.next(VALUE).to_vec())
            })
            .collect();
        let begun = Instant::now();
        // Revision 1 is the empty store's.
        peer.put(next + 2, &puts)?;
        took += begun.elapsed();
        next += puts.len() as u64;
    }
    Ok(took)
}

fn expect_key(peer: &mut dyn Peer, number: u64, key: &mut Vec<u8>) -> Result<()> {
    load::key(number, key);
    match black_box(peer.get(key)?) {
        Some(bytes) if bytes >= VALUE => Ok(()),
        found => Err(Error::Wrong(format!("key {number} was put, and {found:?} is read"))),
    }
}

fn get_all(peer: &mut dyn Peer, plan: &Plan, stop: &Stop) -> Result<Duration> {
    let (mut dice, mut key) = (Dice(2), Vec::new());
    let begun = Instant::now();
    for number in 0..plan.reads {
        if number % 1024 == 0 {
            stop.check()?;
        }
        expect_key(peer, dice.below(plan.keys), &mut key)?;
    }
    Ok(begun.elapsed())
}

fn range_all(peer: &mut dyn Peer, plan: &Plan, stop: &Stop) -> Result<f64> {
    let (mut dice, mut key, mut answer) = (Dice(3), Vec::new(), Vec::new());
    let mut keys = 0;
    let begun = Instant::now();
    for _ in 0..plan.reads.div_ceil(100) {
        stop.check()?;
        load::key(dice.below(plan.keys), &mut key);
        answer.clear();
        keys += peer.range(&key, RANGE, &mut answer)?;
        black_box(&answer);
    }
    Ok(keys as f64 / begun.elapsed().as_secs_f64())
}

/// Bytes that the directory takes on the disk.
pub(super) fn space(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let found = entry.metadata().map_err(Error::io("look at", &entry.path()))?;
        bytes += if found.is_dir() { space(&entry.path())? } else { found.blocks() * 512 };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_are_those_of_the_go_program() {
        let mut dice = Dice(1);
        let thrown: Vec<_> = (0..4).map(|_| dice.below(1_000_000)).collect();
        assert_eq!(thrown, [822_465, 428_519, 890_590, 780_235]);
    }
}
