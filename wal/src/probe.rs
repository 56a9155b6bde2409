//! Which durable-write method is fastest here: measured, not believed.
//!
//! The methods take turns, so that whatever else the machine does meets all of them alike. A turn is two writes, of which the
//! second counts: the first meets what the method before it left behind (a device that waited through a slow one answers late,
//! which made the one after it look twice as slow). They write
//! where the log will: whole blocks, one after the other, in a file of the log's directory that was written with zeros.
//! The decision is a pure function of the table ([`pick`]): the usual order stays unless another method is clearly faster,
//! so that two starts on one machine seldom differ.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::io::{Access, AlignedBuffer, File, Io, Method};
use crate::segment::sector::BLOCK;

/// The methods in the order in which they are preferred. What the order is worth: research on this path found direct
/// writes fastest or level everywhere, and a ring no faster with one write in flight.
const PREFERRED: [Method; 4] = [Method::DirectDsync, Method::Dsync, Method::Fdatasync, Method::Ring];
/// Rounds that count, at most...
const ROUNDS: usize = 48;
/// ...after this one, in which a method may find out that the kernel does not know it.
const WARM_UP: usize = 1;
/// A median of fewer writes says nothing.
const FEWEST: usize = 5;
/// The measurement ends after this time, whatever came of it by then; only a write under way is waited for. Making the file comes
/// before it and takes a few milliseconds; on a device so busy that it takes long, there is still something to go by.
const BUDGET: Duration = Duration::from_millis(250);
/// A method earlier in the order keeps its place unless its median is longer than the best one by more than this.
const MARGIN_PERCENT: u32 = 10;
/// Pieces in which the file is filled before the measurement.
const FILL_BYTES: usize = 256 << 10;
const NAME: &str = "probe.tmp";

/// What the methods take here, and which one to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// One row a method, in the order of preference.
    pub rows: Vec<ProbeRow>,
    /// For [`crate::Options::method`]. [`Method::Auto`] where nothing could be measured.
    pub picked: Method,
}

/// One method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRow {
    /// The method.
    pub method: Method,
    /// What its writes took, or why it cannot be used, in the system's words.
    pub outcome: Result<Timing, String>,
}

/// What durable writes of one block took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Writes measured.
    pub writes: u32,
    /// Half of them took no longer.
    pub median: Duration,
    /// All but one in a hundred took no longer.
    pub p99: Duration,
}

/// Measures the methods against each other in the log's directory, which exists, in about a quarter of a second at most. Never
/// fails: what cannot be used is a row that says why. The file it needs is removed, and one left by a crash is used again.
pub fn probe(dir: &Path, io: &dyn Io, clock: fn() -> Instant) -> Probe {
    let rows = match measure(dir, io, clock) {
        Ok(rows) => rows,
        Err(error) => {
            let row = |method| ProbeRow { method, outcome: Err(format!("no file to measure with: {error}")) };
            PREFERRED.map(row).to_vec()
        }
    };
    // What stays behind is written over the next time.
    let _ = io.remove(&dir.join(NAME));
    Probe { picked: pick(&rows), rows }
}

/// The first method in the order that is not clearly slower than the fastest.
fn pick(rows: &[ProbeRow]) -> Method {
    let median = |row: &ProbeRow| match &row.outcome {
        Ok(timing) if timing.writes as usize >= FEWEST => Some(timing.median),
        _ => None,
    };
    let Some(best) = rows.iter().filter_map(median).min() else {
        return Method::Auto;
    };
    let limit = best * (100 + MARGIN_PERCENT) / 100;
    let picked = rows.iter().find(|row| median(row).is_some_and(|median| median <= limit));
    picked.expect("the best one is within the limit").method
}

struct Contender {
    method: Method,
    /// Gone once it failed.
    file: Option<Box<dyn File>>,
    failed: Option<String>,
    latencies: Vec<Duration>,
}

fn measure(dir: &Path, io: &dyn Io, clock: fn() -> Instant) -> io::Result<Vec<ProbeRow>> {
    let path = dir.join(NAME);
    fill(&path, io)?;
    let started = clock();
    let mut contenders = PREFERRED.map(|method| match io.open(&path, Access::Write, method) {
        Ok(file) => Contender { method, file: Some(file), failed: None, latencies: Vec::new() },
        Err(error) => {
            Contender { method, file: None, failed: Some(error.to_string()), latencies: Vec::new() }
        }
    });
    let block = AlignedBuffer::new(BLOCK);
    let mut offset = 0;
    'rounds: for round in 0..WARM_UP + ROUNDS {
        for contender in &mut contenders {
            let before = clock();
            if before.saturating_duration_since(started) > BUDGET {
                break 'rounds;
            }
            contender.write(offset, block.as_ref());
            let between = clock();
            contender.write(offset, block.as_ref());
            if round >= WARM_UP && contender.file.is_some() {
                contender.latencies.push(clock().saturating_duration_since(between));
            }
            offset += BLOCK as u64;
        }
    }
    Ok(contenders.into_iter().map(Contender::row).collect())
}

/// Space that was written before, as a segment's is.
fn fill(path: &Path, io: &dyn Io) -> io::Result<()> {
    let bytes = (PREFERRED.len() * (WARM_UP + ROUNDS) * BLOCK) as u64;
    let mut file = io.open(path, Access::Create, Method::DirectDsync)?;
    file.allocate(bytes)?;
    let zeros = AlignedBuffer::new(FILL_BYTES);
    let mut offset = 0;
    while offset < bytes {
        let piece = (bytes - offset).min(FILL_BYTES as u64) as usize;
        if file.write(offset, &zeros.as_ref()[..piece])? != piece {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += piece as u64;
    }
    file.sync()
}

impl Contender {
    fn write(&mut self, offset: u64, block: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let failed = match file.write_durable(offset, block) {
            Ok(written) if written == block.len() => {
                let chosen = file.chosen();
                (chosen.method != self.method).then(|| chosen.refused.unwrap_or_else(|| "refused".to_owned()))
            }
            Ok(written) => Some(format!("short write, {written} of {} bytes", block.len())),
            Err(error) => Some(error.to_string()),
        };
        if failed.is_some() {
            self.failed = failed;
            self.file = None;
        }
    }

    fn row(mut self) -> ProbeRow {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let outcome = match self.failed {
            Some(why) => Err(why),
            None if count == 0 => Err("the time ran out before it was measured".to_owned()),
            None => Ok(Timing {
                writes: count as u32,
                median: self.latencies[(count - 1) / 2],
                p99: self.latencies[(count * 99).div_ceil(100) - 1],
            }),
        };
        ProbeRow { method: self.method, outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows in the order of preference; 0 microseconds stand for a method that failed.
    fn table(medians: [u64; 4], writes: u32) -> Vec<ProbeRow> {
        let row = |(method, micros): (Method, u64)| {
            let time = Duration::from_micros(micros);
            let timing = Timing { writes, median: time, p99: time * 3 };
            ProbeRow { method, outcome: if micros == 0 { Err("refused".to_owned()) } else { Ok(timing) } }
        };
        PREFERRED.into_iter().zip(medians).map(row).collect()
    }

    #[test]
    fn the_usual_order_stays_unless_another_is_clearly_faster() {
        let cases = [
            // All level: the first.
            ([80, 80, 80, 80], Method::DirectDsync),
            // Faster within the margin, and exactly at it: noise.
            ([88, 80, 80, 80], Method::DirectDsync),
            // Beyond it.
            ([89, 80, 81, 82], Method::Dsync),
            ([200, 190, 150, 80], Method::Ring),
            // Not the fastest, but before it in the order and as good.
            ([120, 85, 100, 80], Method::Dsync),
            // Refused methods are passed over.
            ([0, 90, 100, 95], Method::Dsync),
            ([0, 0, 100, 0], Method::Fdatasync),
            ([0, 0, 0, 0], Method::Auto),
        ];
        for (medians, picked) in cases {
            assert_eq!(pick(&table(medians, 48)), picked, "{medians:?}");
        }
    }

    #[test]
    fn too_few_writes_decide_nothing() {
        assert_eq!(pick(&table([500, 400, 300, 100], FEWEST as u32 - 1)), Method::Auto);
        assert_eq!(pick(&table([500, 400, 300, 100], FEWEST as u32)), Method::Ring);
    }
}
