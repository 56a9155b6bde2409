//! What no file says: whether rings are permitted, and what a sync costs beside a write.

use std::fs::{self, OpenOptions};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use measure::units::{micros, number};
use measure::{Aligned, Error, Latencies, Result, Stop};
use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;
use wal::{RingSync, RingWriter};

use super::{Fact, Level, read};

const BLOCK: usize = 4096;
/// Writes of each kind, one after the other in pairs.
const PAIRS: usize = 200;
/// What the trial takes on the disk.
pub(super) const BYTES: u64 = (PAIRS * BLOCK * 2) as u64;

/// A durable write that takes less than this many times a plain one has nothing to flush.
const PROTECTED_RATIO: f64 = 1.5;

pub(super) fn facts(dir: &Path, stop: &Stop) -> Result<Vec<Fact>> {
    let mut facts = vec![ring(dir)?];
    facts.push(protection(dir, stop)?);
    Ok(facts)
}

/// Tried for real: the setting alone does not say it, as container runtimes forbid the call.
fn ring(dir: &Path) -> Result<Fact> {
    const WHY: &str = "Where rings are denied the log loses nothing: it writes with pwritev2.";
    let path = dir.join("ring");
    let file = fs::File::create(&path).map_err(Error::io("create", &path))?;
    let tried = RingWriter::new(OwnedFd::from(file), &[0; BLOCK], 1, RingSync::Dsync).and_then(|mut ring| {
        ring.start(0, 0, BLOCK)?;
        ring.finish().1
    });
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    let setting = read(Path::new("/proc/sys/kernel/io_uring_disabled"));
    let setting = setting.map_or_else(String::new, |value| format!(" (kernel.io_uring_disabled={value})"));
    Ok(match tried {
        Ok(_) => Fact::new("io_uring", format!("works{setting}"), Level::Fine, WHY),
        Err(error) => Fact::new("io_uring", format!("refused: {error}{setting}"), Level::Note, WHY),
    })
}

/// Whether a durable write costs about as much as one that is not: then nothing volatile is behind it, or nobody flushes it.
fn protection(dir: &Path, stop: &Stop) -> Result<Fact> {
    const NAME: &str = "power_loss_protection";
    let path = dir.join("protection");
    let open = |direct: OFlags| {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(direct.bits() as i32)
            .open(&path)
    };
    let Ok(file) = open(OFlags::DIRECT) else {
        let why = "It is guessed from direct writes, which this file system refuses.";
        return Ok(Fact::new(NAME, "could not be guessed", Level::Fine, why));
    };
    let block = Aligned::new(BLOCK);
    let write = |offset: usize, flags: ReadWriteFlags| {
        rustix::io::pwritev2(&file, &[IoSlice::new(block.as_slice())], offset as u64, flags)
            .map_err(|error| Error::io("write", &path)(error.into()))
    };
    for index in 0..2 * PAIRS {
        write(index * BLOCK, ReadWriteFlags::empty())?;
    }
    file.sync_all().map_err(Error::io("sync", &path))?;
    let (mut plain, mut durable) = (Latencies::new(), Latencies::new());
    for pair in 0..PAIRS {
        stop.check()?;
        let begun = Instant::now();
        write(2 * pair * BLOCK, ReadWriteFlags::empty())?;
        let between = Instant::now();
        if write((2 * pair + 1) * BLOCK, ReadWriteFlags::DSYNC).is_err() {
            let why = "It is guessed from writes with RWF_DSYNC, which this file system refuses.";
            return Ok(Fact::new(NAME, "could not be guessed", Level::Fine, why));
        }
        plain.record(between - begun);
        durable.record(between.elapsed());
    }
    Ok(guess(plain.micros(0.5), durable.micros(0.5)))
}

fn guess(plain_us: f64, durable_us: f64) -> Fact {
    const NAME: &str = "power_loss_protection";
    let ratio = durable_us / plain_us;
    let figures = format!(
        "a durable write takes {} times a plain one ({} and {})",
        number(ratio),
        micros(durable_us),
        micros(plain_us)
    );
    if ratio < PROTECTED_RATIO {
        let why = "Either the device's cache survives a power cut, as that of drives for servers does, or syncs do not \
                   reach it: graven-disk honesty tells the two apart.";
        Fact::new(NAME, format!("likely: {figures}"), Level::Note, why)
    } else {
        let why = "The device has to empty its cache at each sync; one with protected memory need not.";
        Fact::new(NAME, format!("unlikely: {figures}"), Level::Fine, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_that_costs_nothing_is_told() {
        let (free, paid) = (guess(20.0, 22.0), guess(35.0, 85.0));
        assert!(free.value.starts_with("likely: ") && free.level == Level::Note, "{free:?}");
        assert!(paid.value.starts_with("unlikely: a durable write takes 2.43 times"), "{paid:?}");
    }

    #[test]
    fn trials_leave_facts_whatever_comes_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let facts = facts(dir.path(), &Stop::default()).unwrap();
        let names: Vec<_> = facts.iter().map(|fact| fact.name.as_str()).collect();
        assert_eq!(names, ["io_uring", "power_loss_protection"]);
    }
}
