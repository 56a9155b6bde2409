//! What the device itself can do: durable overwrites of 4 KiB in a file that was written before, one at a time, through
//! the log's own file layer (`O_DIRECT` with `RWF_DSYNC` where it is allowed). The yardstick beside every row, and the
//! witness that the machine was as quiet at the end as at the beginning.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wal::{Access, File, Io, Method, OsIo};

use crate::aligned::Aligned;
use crate::error::{Error, Result};
use crate::latencies::Latencies;
use crate::stop::Stop;

/// Unit of the overwrites.
pub const BLOCK: usize = 4096;
/// Unit in which the file is written first.
const PIECE: usize = 256 << 10;

/// A file to probe on.
pub struct Floor {
    file: Box<dyn File>,
    bytes: u64,
    offset: u64,
    block: Aligned,
}

/// One probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Durable writes a second.
    pub per_second: f64,
    /// Median of one, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of one, in microseconds.
    pub p99_us: f64,
}

impl Floor {
    /// Writes a file of `bytes` in `dir`, as the log prepares its segments.
    pub fn create(dir: &Path, bytes: u64, method: Method) -> Result<Floor> {
        let path = dir.join("floor");
        let io = OsIo::new();
        let failed = |error| Error::io("write", &path)(error);
        let mut file = io.open(&path, Access::Create, method).map_err(failed)?;
        file.allocate(bytes).map_err(Error::io("allocate", &path))?;
        let piece = Aligned::new(PIECE);
        for offset in (0..bytes).step_by(PIECE) {
            let length = PIECE.min((bytes - offset) as usize);
            file.write(offset, &piece.as_slice()[..length]).map_err(Error::io("write", &path))?;
        }
        file.sync().map_err(Error::io("sync", &path))?;
        let mut block = Aligned::new(BLOCK);
        block.as_mut_slice().fill(0x5a);
        Ok(Floor { file, bytes, offset: 0, block })
    }

    /// How writes are made durable here, and what was refused.
    pub fn method(&self) -> String {
        let chosen = self.file.chosen();
        match chosen.refused {
            Some(why) => format!("{:?} ({why})", chosen.method),
            None => format!("{:?}", chosen.method),
        }
    }

    /// Overwrites block after block for so long.
    pub fn probe(&mut self, duration: Duration, stop: &Stop) -> Result<Probe> {
        let (latencies, took) = self.overwrite(duration, stop)?;
        Ok(Probe::of(&latencies, took))
    }

    /// The same, with everything that was seen.
    pub fn overwrite(&mut self, duration: Duration, stop: &Stop) -> Result<(Latencies, Duration)> {
        let mut latencies = Latencies::new();
        let begun = Instant::now();
        let mut last = begun;
        while last - begun < duration {
            stop.check()?;
            let written = self.file.write_durable(self.offset, self.block.as_slice());
            if !matches!(written, Ok(BLOCK)) {
                return Err(Error::Wrong(format!("the probe's durable write failed: {written:?}")));
            }
            self.offset = (self.offset + BLOCK as u64) % self.bytes;
            let now = Instant::now();
            latencies.record(now - last);
            last = now;
        }
        Ok((latencies, last - begun))
    }
}

impl Probe {
    /// What a histogram of nanoseconds says.
    pub fn of(latencies: &Latencies, took: Duration) -> Probe {
        Probe {
            per_second: latencies.count() as f64 / took.as_secs_f64(),
            p50_us: latencies.micros(0.5),
            p99_us: latencies.micros(0.99),
        }
    }

    /// Whether two probes differ by more than 30 %: what was measured between them was disturbed.
    pub fn moved(&self, other: &Probe) -> bool {
        let ratio = self.per_second / other.per_second;
        !(0.7..=1.0 / 0.7).contains(&ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_a_file_it_has_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut floor = Floor::create(dir.path(), 300 << 10, Method::Auto).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("floor")).unwrap().len(), 300 << 10);
        let probe = floor.probe(Duration::from_millis(5), &Stop::default()).unwrap();
        assert!(probe.per_second > 0.0 && probe.p50_us > 0.0 && probe.p99_us >= probe.p50_us, "{probe:?}");
    }

    #[test]
    fn a_third_more_or_less_is_a_move() {
        let probe = |per_second| Probe { per_second, ..Probe::default() };
        assert!(!probe(10_000.0).moved(&probe(8_000.0)) && !probe(8_000.0).moved(&probe(10_000.0)));
        assert!(probe(10_000.0).moved(&probe(6_000.0)) && probe(6_000.0).moved(&probe(10_000.0)));
        assert!(probe(f64::NAN).moved(&probe(1.0)), "no rate at all is not steady");
    }
}
