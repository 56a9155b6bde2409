//! How long a copy into memory, a write to the device and a sync take.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use measure::{Aligned, Error, Latencies, Result, Stop};
use rustix::fs::OFlags;

use super::stretch::{AllCounts, Stretch};

const BLOCK: usize = 4096;
/// Of each kind, unless time is over before.
const TIMES: u64 = 400;
const TIME: Duration = Duration::from_secs(4);
/// Syncs and quiet alternate: whoever else flushes the device is seen while this program does not.
const SLICES: u64 = 4;
const QUIET: Duration = Duration::from_millis(250);
/// Blocks of the file.
const BLOCKS: u64 = 64;
/// Written at one time.
pub(super) const BYTES: u64 = BLOCKS * BLOCK as u64;

/// Medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probe {
    /// A write into the page cache.
    pub(super) copy: Duration,
    /// A write to the device, past the page cache and without a sync; where the file system can.
    pub(super) direct: Option<Duration>,
    /// A write and `fdatasync`, over the same block each time.
    pub(super) sync: Duration,
    /// How many syncs there were.
    pub(super) syncs: u64,
}

/// What was counted on the devices...
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// ...while this program did nothing...
    pub(super) quiet: Stretch,
    /// ...and while it synced.
    pub(super) syncs: Stretch,
}

/// Measures in a directory that is removed afterwards. `counts` asks the kernel.
pub(super) fn run(dir: &Path, stop: &Stop, counts: &dyn Fn() -> AllCounts) -> Result<(Probe, Counted)> {
    let path = dir.join("honesty");
    let fail = || Error::io("write", &path);
    let file = File::options().create_new(true).read(true).write(true).open(&path).map_err(fail())?;
    let mut block = Aligned::new(BLOCK);
    for at in 0..BLOCKS {
        file.write_all_at(block.as_slice(), at * BLOCK as u64).map_err(fail())?;
    }
    file.sync_all().map_err(fail())?;
    let copy = median(stop, |at| file.write_all_at(block.as_slice(), at % BLOCKS * BLOCK as u64))?;
    file.sync_all().map_err(fail())?;
    let direct = File::options().write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(&path);
    let direct = match direct {
        Ok(direct) => {
            // Refused by some file systems only at the first write.
            match direct.write_all_at(block.as_slice(), 0) {
                Ok(()) => Some(median(stop, |_| direct.write_all_at(block.as_slice(), 0))?),
                Err(_) => None,
            }
        }
        Err(_) => None,
    };
    file.sync_all().map_err(fail())?;
    let mut counted = Counted::default();
    let mut latencies = Latencies::new();
    for _ in 0..SLICES {
        counted.quiet.over(counts, || stop.sleep(QUIET))?;
        let bounds = (TIMES / SLICES, TIME / SLICES as u32);
        counted.syncs.over(counts, || {
            many(stop, bounds, &mut latencies, |at| {
                // Never the same content twice: nobody may find that there is nothing to do.
                block.as_mut_slice()[..8].copy_from_slice(&(at + 1).to_le_bytes());
                file.write_all_at(block.as_slice(), 0)?;
                file.sync_data()
            })
        })?;
    }
    let (sync, syncs) = (latencies.quantile(0.5), latencies.count());
    Ok((Probe { copy, direct, sync, syncs }, counted))
}

/// The median of many calls.
fn median(stop: &Stop, call: impl FnMut(u64) -> io::Result<()>) -> Result<Duration> {
    let mut latencies = Latencies::new();
    many(stop, (TIMES, TIME), &mut latencies, call)?;
    Ok(latencies.quantile(0.5))
}

/// So many calls, or until the time is over; each is told how many there were before.
fn many(
    stop: &Stop,
    (times, time): (u64, Duration),
    latencies: &mut Latencies,
    mut call: impl FnMut(u64) -> io::Result<()>,
) -> Result<()> {
    let (begun, before) = (Instant::now(), latencies.count());
    while latencies.count() - before < times && begun.elapsed() < time {
        stop.check()?;
        let start = Instant::now();
        call(latencies.count()).map_err(Error::io("write", Path::new("the file of the measurement")))?;
        latencies.record(start.elapsed());
    }
    Ok(())
}
