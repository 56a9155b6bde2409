//! The ways of making a write durable, each as code that does a few writes one after the other, or several at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use measure::Aligned;
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};
use serde::{Deserialize, Serialize};
use wal::{Method, RingSync, RingWriter};

use super::tokio_writer::TokioWriter;

/// A way of making a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    Fdatasync,
    /// Its name in documents, which is older than the server's word for it.
    #[serde(rename = "rwf-dsync")]
    Dsync,
    DirectDsync,
    Ring,
    RingLinked,
    Ring2,
    Ring4,
    TokioUring,
}

impl Way {
    pub(crate) const ALL: [Way; 8] = [
        Way::Fdatasync,
        Way::Dsync,
        Way::DirectDsync,
        Way::Ring,
        Way::RingLinked,
        Way::Ring2,
        Way::Ring4,
        Way::TokioUring,
    ];

    /// As in tables; of the log's methods the word of the server's `--wal-sync-method`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Fdatasync => "fdatasync",
            Way::Dsync => "dsync",
            Way::DirectDsync => "direct-dsync",
            Way::Ring => "ring",
            Way::RingLinked => "ring-linked",
            Way::Ring2 => "ring-2",
            Way::Ring4 => "ring-4",
            Way::TokioUring => "tokio-uring",
        }
    }

    /// What it does.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Way::Fdatasync => "pwrite, then fdatasync",
            Way::Dsync => "pwritev2 with RWF_DSYNC through the page cache",
            Way::DirectDsync => "pwritev2 with O_DIRECT and RWF_DSYNC",
            Way::Ring => "io_uring, one O_DIRECT write with RWF_DSYNC",
            Way::RingLinked => "io_uring, an O_DIRECT write linked to an fsync",
            Way::Ring2 => "as ring, two writes at a time",
            Way::Ring4 => "as ring, four writes at a time",
            Way::TokioUring => "tokio-uring, one write to a file opened with O_DIRECT and O_DSYNC",
        }
    }

    /// The log's method of this kind; none for [`Method::Auto`].
    pub(crate) fn of_log(method: Method) -> Option<Way> {
        match method {
            Method::Auto => None,
            Method::Ring => Some(Way::Ring),
            Method::DirectDsync => Some(Way::DirectDsync),
            Method::Dsync => Some(Way::Dsync),
            Method::Fdatasync => Some(Way::Fdatasync),
        }
    }

    /// Whether the log can use it.
    pub(super) fn is_logs(self) -> bool {
        matches!(self, Way::Fdatasync | Way::Dsync | Way::DirectDsync | Way::Ring)
    }

    /// Writes at a time.
    pub(crate) fn depth(self) -> u16 {
        match self {
            Way::Ring2 => 2,
            Way::Ring4 => 4,
            _ => 1,
        }
    }

    /// Whether it goes around the page cache.
    pub(super) fn is_direct(self) -> bool {
        !matches!(self, Way::Fdatasync | Way::Dsync)
    }
}

/// What a visit saw. The first writes, as many as are in flight at a time, are not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Visit {
    pub(super) latencies: Vec<Duration>,
    /// Writes that ended after the first one: with several in flight more than there are latencies.
    pub(super) ended: usize,
    /// From the first write's end to the last counted one's.
    pub(super) took: Duration,
}

/// When a visit ends: after so many writes, or after one that ends behind the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) writes: usize,
    pub(super) time: Duration,
}

/// A visit that is under way.
pub(super) struct Taking {
    visit: Visit,
    bounds: Bounds,
    first_ended: Option<Instant>,
}

impl Taking {
    pub(super) fn new(bounds: Bounds) -> Taking {
        Taking { visit: Visit::default(), bounds, first_ended: None }
    }

    /// A write has ended now. Without `begun` it has no latency: it was begun before as many as should be were in flight. The first one
    /// that ends is the beginning, and what ends after there is enough counts no more. Says whether there is.
    pub(super) fn ended(&mut self, begun: Option<Instant>, now: Instant) -> bool {
        match self.first_ended {
            None => self.first_ended = Some(now),
            Some(first) if !self.is_complete() => {
                self.visit.ended += 1;
                self.visit.took = now - first;
                self.visit.latencies.extend(begun.map(|begun| now - begun));
            }
            Some(_) => {}
        }
        self.is_complete()
    }

    /// Never without a latency.
    fn is_complete(&self) -> bool {
        let Visit { latencies, took, .. } = &self.visit;
        latencies.len() >= self.bounds.writes || (*took > self.bounds.time && !latencies.is_empty())
    }

    pub(super) fn visit(self) -> Visit {
        self.visit
    }
}

/// A file opened for one way.
pub(super) enum Writer {
    Calls { way: Way, file: File, bytes: Aligned },
    Ring { ring: Box<RingWriter>, depth: u16 },
    Tokio(TokioWriter),
}

impl Writer {
    /// Opens a file that exists. `bytes` are what writes consist of, from their beginning. The error says why the way
    /// cannot be used.
    pub(super) fn open(way: Way, path: &Path, bytes: &[u8]) -> Result<Writer, String> {
        let flags = match way {
            Way::TokioUring => OFlags::DIRECT | OFlags::DSYNC,
            _ if way.is_direct() => OFlags::DIRECT,
            _ => OFlags::empty(),
        };
        let file = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path);
        let file = file.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::INVAL | Errno::OPNOTSUPP) => "the file system refuses O_DIRECT".to_owned(),
            _ => error.to_string(),
        })?;
        match way {
            Way::Fdatasync | Way::Dsync | Way::DirectDsync => {
                let mut own = Aligned::new(bytes.len());
                own.as_mut_slice().copy_from_slice(bytes);
                Ok(Writer::Calls { way, file, bytes: own })
            }
            Way::Ring | Way::RingLinked | Way::Ring2 | Way::Ring4 => {
                let sync = if way == Way::RingLinked { RingSync::LinkedFsync } else { RingSync::Dsync };
                let depth = way.depth();
                let ring = RingWriter::new(OwnedFd::from(file), bytes, depth, sync);
                let ring = ring.map_err(|error| format!("io_uring: {error}"))?;
                Ok(Writer::Ring { ring: Box::new(ring), depth })
            }
            Way::TokioUring => Ok(Writer::Tokio(
                TokioWriter::new(file, bytes).map_err(|error| format!("io_uring: {error}"))?,
            )),
        }
    }

    /// Writes `length` bytes durably at one offset after the other.
    pub(super) fn visit(
        &mut self,
        offsets: impl Iterator<Item = u64>,
        length: usize,
        bounds: Bounds,
    ) -> io::Result<Visit> {
        match self {
            Writer::Calls { way, file, bytes } => {
                calls(*way, file, &bytes.as_slice()[..length], offsets, bounds)
            }
            Writer::Ring { ring, depth } => in_flight(ring, *depth, offsets, length, bounds),
            Writer::Tokio(writer) => writer.visit(offsets, length, bounds),
        }
    }
}

/// A write that wrote less is no write.
pub(super) fn whole(written: usize, length: usize) -> io::Result<()> {
    if written == length { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn calls(
    way: Way,
    file: &File,
    bytes: &[u8],
    offsets: impl Iterator<Item = u64>,
    bounds: Bounds,
) -> io::Result<Visit> {
    let mut taking = Taking::new(bounds);
    for offset in offsets.take(bounds.writes + 1) {
        let before = Instant::now();
        let written = if way == Way::Fdatasync {
            let written = rustix::io::pwrite(file, bytes, offset)?;
            rustix::fs::fdatasync(file)?;
            written
        } else {
            rustix::io::pwritev2(file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC)?
        };
        let now = Instant::now();
        whole(written, bytes.len())?;
        if taking.ended(Some(before), now) {
            break;
        }
    }
    Ok(taking.visit())
}

/// Keeps `depth` writes under way, and leaves out those that were begun before the ring was full.
fn in_flight(
    ring: &mut RingWriter,
    depth: u16,
    mut offsets: impl Iterator<Item = u64>,
    length: usize,
    bounds: Bounds,
) -> io::Result<Visit> {
    let mut taking = Taking::new(bounds);
    let mut begun: Vec<Option<Instant>> = vec![None; usize::from(depth)];
    let mut under_way = 0;
    for slot in 0..depth {
        if let Some(offset) = offsets.next() {
            ring.start(slot, offset, length)?;
            under_way += 1;
        }
    }
    let mut failed = None;
    while under_way > 0 {
        let (slot, written) = ring.finish();
        let now = Instant::now();
        under_way -= 1;
        if let Err(error) = written.and_then(|written| whole(written, length)) {
            failed.get_or_insert(error);
        }
        if failed.is_some() {
            continue;
        }
        // The last ones are waited for, but with fewer beside them they do not count.
        if !taking.ended(begun[usize::from(slot)], now)
            && let Some(offset) = offsets.next()
        {
            begun[usize::from(slot)] = Some(Instant::now());
            ring.start(slot, offset, length)?;
            under_way += 1;
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(taking.visit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes that end a millisecond after each other, each having taken two.
    fn taken(bounds: Bounds, ends: usize) -> (Visit, Option<usize>) {
        let (begin, ms) = (Instant::now(), Duration::from_millis(1));
        let mut taking = Taking::new(bounds);
        let enough = |number: &u32| taking.ended(Some(begin + ms * *number), begin + ms * (number + 2));
        let enough = (0..ends as u32).filter(enough).map(|number| number as usize).collect::<Vec<_>>();
        (taking.visit(), enough.first().copied())
    }

    #[test]
    fn a_visit_counts_from_the_first_end_to_its_bound() {
        let ms = Duration::from_millis(1);
        // By number: the first write does not count, and what comes after there is enough does not either.
        let (visit, enough) = taken(Bounds { writes: 5, time: ms * 100 }, 9);
        assert_eq!((visit.latencies, visit.ended, visit.took, enough), (vec![ms * 2; 5], 5, ms * 5, Some(5)));
        // By time: the write that ends behind it is the last one.
        let (visit, enough) = taken(Bounds { writes: 50, time: ms * 3 }, 9);
        assert_eq!((visit.latencies.len(), visit.ended, visit.took, enough), (4, 4, ms * 4, Some(4)));
        // However short the time, there is a latency.
        assert_eq!(taken(Bounds { writes: 50, time: Duration::ZERO }, 9).0.latencies.len(), 1);
    }

    #[test]
    fn a_write_begun_before_the_ring_was_full_ends_without_a_latency() {
        let (begin, ms) = (Instant::now(), Duration::from_millis(1));
        let mut taking = Taking::new(Bounds { writes: 1, time: ms });
        for end in 1..=4 {
            assert!(!taking.ended(None, begin + ms * end), "the time is over, but there is no latency");
        }
        assert!(taking.ended(Some(begin + ms), begin + ms * 5));
        let visit = taking.visit();
        assert_eq!((visit.ended, visit.took, visit.latencies), (4, ms * 4, vec![ms * 4]));
    }
}
