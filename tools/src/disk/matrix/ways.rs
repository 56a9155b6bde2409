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
    RwfDsync,
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
        Way::RwfDsync,
        Way::DirectDsync,
        Way::Ring,
        Way::RingLinked,
        Way::Ring2,
        Way::Ring4,
        Way::TokioUring,
    ];

    /// As in the document and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Fdatasync => "fdatasync",
            Way::RwfDsync => "rwf-dsync",
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
            Way::RwfDsync => "pwritev2 with RWF_DSYNC through the page cache",
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
            Method::Dsync => Some(Way::RwfDsync),
            Method::Fdatasync => Some(Way::Fdatasync),
        }
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
        !matches!(self, Way::Fdatasync | Way::RwfDsync)
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

impl Visit {
    /// Whether there is enough of it; never without a latency.
    fn is_complete(&self, bounds: Bounds) -> bool {
        self.latencies.len() >= bounds.writes || (self.took > bounds.time && !self.latencies.is_empty())
    }
}

/// When a visit ends: after so many writes, or after one that ends behind the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) writes: usize,
    pub(super) time: Duration,
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
            Way::Fdatasync | Way::RwfDsync | Way::DirectDsync => {
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
    let mut visit = Visit::default();
    let mut first_ended = None;
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
        let first = *first_ended.get_or_insert(now);
        if first != now {
            visit.latencies.push(now - before);
            visit.ended += 1;
            visit.took = now - first;
            if visit.took > bounds.time {
                break;
            }
        }
    }
    Ok(visit)
}

/// Keeps `depth` writes under way, and leaves out those that were begun before the ring was full.
fn in_flight(
    ring: &mut RingWriter,
    depth: u16,
    mut offsets: impl Iterator<Item = u64>,
    length: usize,
    bounds: Bounds,
) -> io::Result<Visit> {
    let mut visit = Visit::default();
    let mut begun: Vec<Option<Instant>> = vec![None; usize::from(depth)];
    let mut under_way = 0;
    for slot in 0..depth {
        if let Some(offset) = offsets.next() {
            ring.start(slot, offset, length)?;
            under_way += 1;
        }
    }
    let mut failed = None;
    let mut first_ended = None;
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
        let first = *first_ended.get_or_insert(now);
        // The last ones are waited for, but with fewer beside them they do not count.
        if visit.is_complete(bounds) {
            continue;
        }
        if first != now {
            visit.ended += 1;
            visit.took = now - first;
            visit.latencies.extend(begun[usize::from(slot)].map(|begun| now - begun));
        }
        if !visit.is_complete(bounds)
            && let Some(offset) = offsets.next()
        {
            begun[usize::from(slot)] = Some(Instant::now());
            ring.start(slot, offset, length)?;
            under_way += 1;
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(visit),
    }
}
