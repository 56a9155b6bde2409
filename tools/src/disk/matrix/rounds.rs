//! Rounds of visits, in an order that is new each time.

use std::io;
use std::path::Path;
use std::time::Duration;

use measure::{Latencies, Result, Stop};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rustix::io::Errno;

use super::SIZES;
use super::measured::{Cell, Extents, Measured, Outcome};
use super::places::{Place, pattern};
use super::statistics::estimate;
use super::ways::{Bounds, Visit, Way, Writer};

/// Counted writes of a visit, by size: small ones cost time, large ones bytes.
fn writes(bytes: usize) -> usize {
    match bytes {
        0..=16_384 => 12,
        16_385..=65_536 => 8,
        65_537..=262_144 => 4,
        _ => 3,
    }
}

/// Large writes take part in one round of so many.
fn every(bytes: usize) -> usize {
    if bytes > 64 << 10 { 3 } else { 1 }
}

/// The writes of a visit that do not count beside those that do: what fills the ring, and what empties it.
fn uncounted(way: Way) -> usize {
    2 * usize::from(way.depth())
}

/// All cells, and what was seen of them.
pub(super) struct Rounds {
    tracks: Vec<Track>,
    places: Vec<(Extents, bool, std::result::Result<Place, String>)>,
    writers: Writers,
    generator: ChaCha8Rng,
}

/// One cell while it is measured.
struct Track {
    extents: Extents,
    way: Way,
    bytes: usize,
    /// Its file among the places.
    place: usize,
    medians: Vec<f64>,
    rates: Vec<f64>,
    latencies: Latencies,
    refused: Option<String>,
}

impl Rounds {
    /// What so many rounds write.
    pub(super) fn bytes(rounds: usize) -> u64 {
        let cell = |way: Way, bytes: usize| {
            let visits = rounds.div_ceil(every(bytes));
            (visits * (writes(bytes) + uncounted(way)) * bytes) as u64
        };
        let each: u64 = Way::ALL.iter().flat_map(|&way| SIZES.map(|bytes| cell(way, bytes))).sum();
        each * Extents::ALL.len() as u64
    }

    /// Makes the files. What cannot be made is a reason in its cells.
    pub(super) fn prepare(dir: &Path, generator: ChaCha8Rng) -> Result<Rounds> {
        let mut places = Vec::new();
        let mut tracks = Vec::new();
        for extents in Extents::ALL {
            for direct in [false, true] {
                places.push((extents, direct, Place::create(dir, extents, direct)));
                let place = places.len() - 1;
                for way in Way::ALL.into_iter().filter(|way| way.is_direct() == direct) {
                    for bytes in SIZES {
                        tracks.push(Track {
                            extents,
                            way,
                            bytes,
                            place,
                            medians: Vec::new(),
                            rates: Vec::new(),
                            latencies: Latencies::new(),
                            refused: None,
                        });
                    }
                }
            }
        }
        let bytes = pattern(SIZES[SIZES.len() - 1]);
        Ok(Rounds { tracks, places, writers: Writers { open: Vec::new(), bytes }, generator })
    }

    pub(super) fn cells(&self) -> usize {
        self.tracks.len()
    }

    /// Visits every cell once.
    pub(super) fn round(&mut self, number: usize, time: Duration, stop: &Stop) -> Result<()> {
        let mut order: Vec<usize> = (0..self.tracks.len()).collect();
        order.shuffle(&mut self.generator);
        for index in order {
            stop.check()?;
            let track = &mut self.tracks[index];
            if track.refused.is_some() || !number.is_multiple_of(every(track.bytes)) {
                continue;
            }
            let visit = match &mut self.places[track.place].2 {
                Ok(place) => visit(track, place, &mut self.writers, time),
                Err(why) => Err(why.clone()),
            };
            match visit {
                Ok(visit) => track.take(&visit),
                Err(why) => track.refused = Some(why),
            }
        }
        Ok(())
    }

    /// What came of it, in the order of tables.
    pub(super) fn results(self) -> Vec<Cell> {
        self.tracks.into_iter().map(Track::cell).collect()
    }
}

/// Files that are open, each for one way; they stay so.
struct Writers {
    open: Vec<(usize, Way, std::result::Result<Writer, String>)>,
    bytes: Vec<u8>,
}

impl Writers {
    fn of(&mut self, track: &Track, place: &Place) -> std::result::Result<&mut Writer, String> {
        let known = self.open.iter().position(|(at, way, _)| *at == track.place && *way == track.way);
        let index = known.unwrap_or_else(|| {
            self.open.push((track.place, track.way, Writer::open(track.way, place.path(), &self.bytes)));
            self.open.len() - 1
        });
        self.open[index].2.as_mut().map_err(|why| why.clone())
    }
}

fn visit(
    track: &Track,
    place: &mut Place,
    writers: &mut Writers,
    time: Duration,
) -> std::result::Result<Visit, String> {
    let bounds = Bounds { writes: writes(track.bytes), time };
    let writer = writers.of(track, place)?;
    let offsets = place.offsets(bounds.writes + uncounted(track.way), track.bytes);
    let offsets = offsets.map_err(|error| error.to_string())?;
    writer.visit(offsets.into_iter(), track.bytes, bounds).map_err(|error| reason(&error, track))
}

/// Why a write failed, for a reader.
fn reason(error: &io::Error, track: &Track) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL) if track.way.is_direct() && track.bytes < 4096 => {
            format!("O_DIRECT refuses {} bytes here: its blocks are larger", track.bytes)
        }
        Some(Errno::OPNOTSUPP) => "RWF_DSYNC is not supported here".to_owned(),
        _ => error.to_string(),
    }
}

impl Track {
    fn take(&mut self, visit: &Visit) {
        let mut sorted = visit.latencies.clone();
        sorted.sort_unstable();
        let Some(median) = sorted.get(sorted.len() / 2) else { return };
        self.medians.push(median.as_secs_f64() * 1e6);
        self.rates.push(visit.ended as f64 / visit.took.as_secs_f64().max(1e-9));
        for latency in sorted {
            self.latencies.record(latency);
        }
    }

    fn cell(self) -> Cell {
        let outcome = match (self.refused, estimate(&self.medians), estimate(&self.rates)) {
            (Some(why), _, _) => Outcome::NotPossible(why),
            (None, Some(median), Some(rate)) => Outcome::Measured(Measured {
                median_us: median.median,
                low_us: median.low,
                high_us: median.high,
                coverage: median.coverage,
                p99_us: self.latencies.micros(0.99),
                per_second: rate.median,
                writes: self.latencies.count(),
                visits: self.medians.len(),
            }),
            (None, _, _) => Outcome::NotPossible("the time ran out before it was measured".to_owned()),
        };
        Cell { extents: self.extents, way: self.way, bytes: self.bytes, outcome }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn every_cell_has_a_figure_or_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let mut rounds = Rounds::prepare(dir.path(), ChaCha8Rng::seed_from_u64(3)).unwrap();
        rounds.round(0, Duration::from_millis(1), &Stop::default()).unwrap();
        let cells = rounds.results();
        assert_eq!(cells.len(), 8 * 3 * 6);
        for cell in &cells {
            match &cell.outcome {
                Outcome::Measured(found) => {
                    assert!(
                        found.median_us > 0.0 && found.p99_us > 0.0 && found.per_second > 0.0,
                        "{cell:?}"
                    );
                    assert!(found.writes >= 1 && found.visits == 1, "{cell:?}");
                }
                Outcome::NotPossible(why) => assert!(!why.is_empty(), "{cell:?}"),
            }
        }
        let plain = cells.iter().find(|cell| cell.way == Way::Fdatasync).unwrap();
        assert!(plain.measured().is_some(), "every file system can do that: {plain:?}");
        let text = serde_json::to_string(&cells).unwrap();
        let read: Vec<Cell> = serde_json::from_str(&text).unwrap();
        let kinds = |cells: &[Cell]| cells.iter().map(|cell| cell.measured().is_some()).collect::<Vec<_>>();
        assert_eq!(kinds(&read), kinds(&cells));
    }

    #[test]
    fn what_is_refused_is_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let mut rounds = Rounds::prepare(dir.path(), ChaCha8Rng::seed_from_u64(3)).unwrap();
        // A kind of space that the file system does not have.
        for (extents, _, place) in &mut rounds.places {
            if *extents == Extents::Unwritten {
                *place = Err("fallocate: Operation not supported".to_owned());
            }
        }
        rounds.round(0, Duration::from_millis(1), &Stop::default()).unwrap();
        for cell in rounds.results().iter().filter(|cell| cell.extents == Extents::Unwritten) {
            assert_eq!(cell.outcome, Outcome::NotPossible("fallocate: Operation not supported".to_owned()));
        }
    }
}
