//! What the matrix found, as it stands in the document.

use measure::units::percent;
use serde::{Deserialize, Serialize};
use wal::{Method, Probe};

use super::Way;

/// Everything measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Matrix {
    /// Of the order in which cells were visited.
    pub(crate) seed: u64,
    pub(crate) rounds: usize,
    pub(crate) cells: Vec<Cell>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) picked: Option<Picked>,
}

/// How the space that is written to came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Extents {
    /// Written before: a write changes no metadata. The log's segments are so.
    Written,
    /// Allocated and never written (`fallocate`): the file system notes each first write. etcd's segments are so.
    Unwritten,
    /// A hole: each write allocates.
    Sparse,
}

impl Extents {
    pub(crate) const ALL: [Extents; 3] = [Extents::Written, Extents::Unwritten, Extents::Sparse];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Extents::Written => "space written before (Graven's log)",
            Extents::Unwritten => "space allocated, not written (etcd's log)",
            Extents::Sparse => "holes (a growing file)",
        }
    }
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) extents: Extents,
    pub(crate) way: Way,
    /// Of one write.
    pub(crate) bytes: usize,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Measured(Measured),
    /// Why it cannot be done here.
    NotPossible(String),
}

/// Figures of a cell; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Of the visits' medians, the median...
    pub(crate) median_us: f64,
    /// ...and the interval that holds the true one...
    pub(crate) low_us: f64,
    pub(crate) high_us: f64,
    /// ...in this share of cases.
    pub(crate) coverage: f64,
    /// Of all writes.
    pub(crate) p99_us: f64,
    /// Durable writes a second; median of the visits.
    pub(crate) per_second: f64,
    /// Counted writes.
    pub(crate) writes: u64,
    pub(crate) visits: usize,
}

impl Measured {
    /// By how much of the median the interval reaches to its farther side.
    pub(crate) fn spread(&self) -> f64 {
        (self.high_us - self.median_us).max(self.median_us - self.low_us) / self.median_us
    }
}

impl Cell {
    pub(crate) fn measured(&self) -> Option<&Measured> {
        match &self.outcome {
            Outcome::Measured(measured) => Some(measured),
            Outcome::NotPossible(_) => None,
        }
    }
}

impl Matrix {
    pub(crate) fn find(&self, extents: Extents, way: Way, bytes: usize) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.extents == extents && cell.way == way && cell.bytes == bytes)
    }
}

/// What the log's own probe picks at a start, and what the matrix says to that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Picked {
    /// By the log's probe; none where it could not decide.
    pub(crate) way: Option<Way>,
    /// The fastest of the log's methods at 4 KiB of written space, by the matrix.
    pub(crate) fastest: Option<Way>,
    /// Whether the picked one is the fastest, or not clearly slower.
    pub(crate) agrees: bool,
    /// In a sentence.
    pub(crate) text: String,
}

/// Of one block, as the probe's.
const PROBED_BYTES: usize = 4096;
/// The log's methods.
const LOG: [Method; 4] = [Method::DirectDsync, Method::Dsync, Method::Fdatasync, Method::Ring];
/// The probe's own margin: within it the order of preference decides.
const MARGIN: f64 = 0.10;

impl Picked {
    /// What the rest of a run uses: the probe's, unless another is clearly faster. None where neither knows.
    pub(crate) fn method(&self) -> Option<Method> {
        let way = if self.agrees { self.way } else { self.fastest.or(self.way) };
        LOG.into_iter().find(|&method| way.is_some() && Way::of_log(method) == way)
    }

    pub(crate) fn of(probe: &Probe, matrix: &Matrix) -> Picked {
        let way = Way::of_log(probe.picked);
        let cell = |way| matrix.find(Extents::Written, way, PROBED_BYTES).and_then(Cell::measured);
        let measured = LOG.into_iter().filter_map(Way::of_log).filter_map(|way| Some((way, *cell(way)?)));
        let mut measured: Vec<(Way, Measured)> = measured.collect();
        measured.sort_by(|a, b| a.1.median_us.total_cmp(&b.1.median_us));
        let fastest = measured.first().copied();
        // Its interval reaches into the winner's: of two such nobody knows which is faster.
        let equal = measured
            .get(1)
            .filter(|(_, second)| fastest.is_some_and(|(_, first)| second.low_us <= first.high_us));
        let (agrees, text) = match (way, fastest) {
            (None, _) => (false, "the log's probe could not decide".to_owned()),
            (Some(way), None) => {
                (false, format!("the log would use {}; the matrix has no figures", way.name()))
            }
            (Some(way), Some((best, figures))) => match cell(way) {
                Some(own) => {
                    let slower = own.median_us / figures.median_us - 1.0;
                    // Intervals that meet say that the two cannot be told apart.
                    let agrees = slower <= MARGIN || own.low_us <= figures.high_us;
                    let name = way.name();
                    let text = if way == best {
                        match equal {
                            Some((other, _)) => format!(
                                "the log would use {name}, and the matrix finds none of the log's methods faster, but cannot tell it \
                                 from {}",
                                other.name()
                            ),
                            None => format!(
                                "the log would use {name}, and the matrix finds none of the log's methods faster"
                            ),
                        }
                    } else if agrees && slower > MARGIN {
                        format!(
                            "the log would use {name}; in the matrix {} is {} faster, but the intervals do not tell them apart",
                            best.name(),
                            percent(slower)
                        )
                    } else if agrees {
                        format!(
                            "the log would use {name}; in the matrix {} is {} faster, which is within the margin",
                            best.name(),
                            percent(slower)
                        )
                    } else {
                        format!(
                            "the log would use {name}, but in the matrix {} is {} faster: start it with --wal-sync-method {}, which \
                             the rest of this run uses unless --method says otherwise",
                            best.name(),
                            percent(slower),
                            best.name()
                        )
                    };
                    (agrees, text)
                }
                None => {
                    (false, format!("the log would use {}, which the matrix could not measure", way.name()))
                }
            },
        };
        Picked { way, fastest: fastest.map(|(way, _)| way), agrees, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(medians: [(Way, f64); 4]) -> Matrix {
        let cell = |(way, median_us): (Way, f64)| Cell {
            extents: Extents::Written,
            way,
            bytes: PROBED_BYTES,
            outcome: Outcome::Measured(Measured {
                median_us,
                low_us: median_us * 0.98,
                high_us: median_us * 1.02,
                coverage: 0.95,
                p99_us: median_us * 3.0,
                per_second: 1e6 / median_us,
                writes: 100,
                visits: 10,
            }),
        };
        Matrix { cells: medians.map(cell).to_vec(), ..Matrix::default() }
    }

    #[test]
    fn the_probe_and_the_matrix_are_compared() {
        let probe = |picked| Probe { rows: Vec::new(), picked };
        let table = |direct, dsync, fdatasync, ring| {
            matrix([
                (Way::DirectDsync, direct),
                (Way::Dsync, dsync),
                (Way::Fdatasync, fdatasync),
                (Way::Ring, ring),
            ])
        };
        let picked = Picked::of(&probe(Method::DirectDsync), &table(80.0, 90.0, 100.0, 85.0));
        assert!(picked.agrees && picked.fastest == Some(Way::DirectDsync), "{picked:?}");
        let picked = Picked::of(&probe(Method::DirectDsync), &table(88.0, 90.0, 100.0, 81.0));
        assert!(picked.agrees && picked.fastest == Some(Way::Ring), "{picked:?}");
        let told = Picked::of(&probe(Method::DirectDsync), &table(80.0, 90.0, 100.0, 85.0));
        assert!(told.text.ends_with("finds none of the log's methods faster"), "{told:?}");
        let alike = Picked::of(&probe(Method::DirectDsync), &table(80.0, 90.0, 100.0, 82.0));
        assert!(alike.text.ends_with("but cannot tell it from ring"), "{alike:?}");
        // A planted disagreement.
        let picked = Picked::of(&probe(Method::DirectDsync), &table(160.0, 90.0, 100.0, 150.0));
        assert!(!picked.agrees && picked.text.contains("dsync is 77.8 % faster"), "{picked:?}");
        assert!(picked.text.contains("--wal-sync-method dsync,"), "{picked:?}");
        assert_eq!(
            picked.method(),
            Some(Method::Dsync),
            "the rest of the run is measured with the faster one"
        );
        let undecided = Picked::of(&probe(Method::Auto), &table(80.0, 90.0, 100.0, 85.0));
        assert_eq!(undecided.method(), Some(Method::DirectDsync));
        assert_eq!(Picked::of(&probe(Method::Auto), &Matrix::default()).method(), None);
        assert_eq!(Picked::of(&probe(Method::Dsync), &Matrix::default()).method(), Some(Method::Dsync));
        assert!(!Picked::of(&probe(Method::Auto), &table(1.0, 1.0, 1.0, 1.0)).agrees);
        assert!(!Picked::of(&probe(Method::Dsync), &Matrix::default()).agrees);
    }
}
