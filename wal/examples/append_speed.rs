//! How fast the log alone is: one writer, and 64 writers whose records go out in whatever batches gather.
//!
//! ```text
//! cargo run --release -p graven-wal --example append_speed -- DIR [one|many|batches|probe|encode|fill] [SECONDS] [METHOD]
//! ```
//!
//! `one`: each 300-byte record durable before the next. `many`: 64 writers, each waiting for its own record; one thread
//! appends what is queued, another stands for the writers. `batches`: the same records in batches of 64 without that
//! hand-over. `probe`: the table of methods. `encode`: batches of 64 onto a disk that does nothing, for counting
//! instructions. `fill`: one writer in the first seconds of a new log.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wal::{
    Access, Batch, Chosen, Entry, File, Fill, Io, Metadata, Method, Options, OsIo, Start, Upkeep, Wal, probe,
};

const RECORD: usize = 300;
const WRITERS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = Path::new(arguments.first().expect("a directory"));
    let what = arguments.get(1).map_or("one", String::as_str);
    let seconds = arguments.get(2).map_or(3.0, |seconds| seconds.parse().unwrap());
    let method = match arguments.get(3).map(String::as_str) {
        Some("dsync") => Method::Dsync,
        Some("fdatasync") => Method::Fdatasync,
        Some("ring") => Method::Ring,
        _ => Method::DirectDsync,
    };
    let time = Duration::from_secs_f64(seconds);
    match what {
        "probe" => {
            for row in probe(dir, &OsIo::new(), Instant::now).rows {
                println!("{:<12} {:?}", format!("{:?}", row.method), row.outcome);
            }
            println!("picked {:?}", probe(dir, &OsIo::new(), Instant::now).picked);
        }
        "encode" => encode(seconds as u64),
        _ => {
            let log = dir.join(format!("log-{}", std::process::id()));
            std::fs::create_dir(&log).unwrap();
            match what {
                "one" => one(&log, time, method),
                "many" => many(&log, time, method),
                "batches" => batches(&log, time, method),
                _ => fill(&log, time, method),
            }
            std::fs::remove_dir_all(&log).unwrap();
        }
    }
}

fn create(dir: &Path, method: Method) -> Wal {
    let options = Options { method, ..Options::default() };
    Wal::create(dir, Arc::new(OsIo::new()), Metadata::default(), Start::default(), options).unwrap()
}

fn record(index: u64, data: &Bytes) -> Entry {
    Entry { index, term: 1, kind: 0, data: data.clone() }
}

/// Waits until the next segment is ready, so that only appends are measured.
fn settle(wal: &Wal) {
    while wal.stats().next_segment == wal::NextSegment::Preparing {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn report(what: &str, records: u64, took: Duration, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "{what}: {:.0} records/s, p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us",
        records as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

fn one(dir: &Path, time: Duration, method: Method) {
    let mut wal = create(dir, method);
    settle(&wal);
    let data = Bytes::from(vec![7; RECORD]);
    let mut latencies = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    let mut before = start;
    while before - start < time {
        let entries = [record(wal.last_index() + 1, &data)];
        wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
        let now = Instant::now();
        latencies.push(now - before);
        before = now;
    }
    report(&format!("one {method:?}"), latencies.len() as u64, before - start, &mut latencies);
}

fn batches(dir: &Path, time: Duration, method: Method) {
    let mut wal = create(dir, method);
    settle(&wal);
    let data = Bytes::from(vec![7; RECORD]);
    let mut latencies = Vec::with_capacity(1 << 20);
    let mut released = 0;
    let start = Instant::now();
    let mut before = start;
    while before - start < time {
        let first = wal.last_index() + 1;
        let entries: [Entry; WRITERS] = std::array::from_fn(|at| record(first + at as u64, &data));
        wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
        if first > released + 100_000 {
            released = first;
            wal.release_before(first).unwrap();
        }
        let now = Instant::now();
        latencies.push(now - before);
        before = now;
    }
    let records = latencies.len() * WRITERS;
    report(&format!("batches of {WRITERS} {method:?}"), records as u64, before - start, &mut latencies);
}

fn fill(dir: &Path, time: Duration, method: Method) {
    let start = Instant::now();
    let mut wal = create(dir, method);
    println!("created in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let data = Bytes::from(vec![7; RECORD]);
    let start = Instant::now();
    while start.elapsed() < time {
        let second = Instant::now();
        let mut latencies = Vec::new();
        while second.elapsed() < Duration::from_millis(500) {
            let before = Instant::now();
            let entries = [record(wal.last_index() + 1, &data)];
            wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
            latencies.push(before.elapsed());
        }
        let next = format!("{:?}", wal.stats().next_segment);
        report(
            &format!("  {:.1} s, next {next}", start.elapsed().as_secs_f64()),
            latencies.len() as u64,
            second.elapsed(),
            &mut latencies,
        );
    }
}

/// What the writers and the log exchange.
#[derive(Default)]
struct Desk {
    queued: Vec<(usize, Bytes)>,
    /// Writers whose record is durable.
    done: Vec<usize>,
    closed: bool,
}

fn many(dir: &Path, time: Duration, method: Method) {
    let mut wal = create(dir, method);
    settle(&wal);
    let desk = Mutex::new(Desk::default());
    let (to_log, to_writers) = (Condvar::new(), Condvar::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut batch = Vec::new();
            let mut entries = Vec::new();
            let mut released = 0;
            loop {
                let mut guard = desk.lock().unwrap();
                while guard.queued.is_empty() && !guard.closed {
                    guard = to_log.wait(guard).unwrap();
                }
                if guard.queued.is_empty() {
                    break;
                }
                std::mem::swap(&mut batch, &mut guard.queued);
                drop(guard);
                let first = wal.last_index() + 1;
                entries.clear();
                entries.extend((first..).zip(&batch).map(|(index, (_, data))| record(index, data)));
                wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
                if wal.last_index() > released + 100_000 {
                    released = wal.last_index();
                    wal.release_before(released).unwrap();
                }
                desk.lock().unwrap().done.extend(batch.drain(..).map(|(writer, _)| writer));
                to_writers.notify_one();
            }
            let stats = wal.stats();
            println!(
                "  {:.1} records a batch, sync p50 {:?} p99 {:?}, {} rotations, {} waits",
                stats.entries as f64 / stats.batches as f64,
                stats.sync_latency.quantile(0.5),
                stats.sync_latency.quantile(0.99),
                stats.rotations,
                stats.waits
            );
        });
        let data = Bytes::from(vec![7; RECORD]);
        let mut began = [Instant::now(); WRITERS];
        let mut latencies = Vec::with_capacity(1 << 22);
        let mut done: Vec<usize> = (0..WRITERS).collect();
        let start = Instant::now();
        let mut first = true;
        while start.elapsed() < time {
            let now = Instant::now();
            for &writer in &done {
                if !first {
                    latencies.push(now - began[writer]);
                }
                began[writer] = now;
            }
            first = false;
            let mut guard = desk.lock().unwrap();
            guard.queued.extend(done.drain(..).map(|writer| (writer, data.clone())));
            to_log.notify_one();
            while guard.done.is_empty() {
                guard = to_writers.wait(guard).unwrap();
            }
            std::mem::swap(&mut done, &mut guard.done);
        }
        let took = start.elapsed();
        desk.lock().unwrap().closed = true;
        to_log.notify_one();
        report(&format!("{WRITERS} writers {method:?}"), latencies.len() as u64, took, &mut latencies);
    });
}

/// A disk that does nothing.
struct Nothing;

impl Io for Nothing {
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn open(&self, _: &Path, _: Access, _: Method) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Nothing))
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl File for Nothing {
    fn length(&self) -> io::Result<u64> {
        Ok(64 << 20)
    }
    fn read_at(&self, _: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(into.len())
    }
    fn write_durable(&mut self, _: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn write(&mut self, _: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn allocate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn chosen(&self) -> Chosen {
        Chosen { method: Method::DirectDsync, refused: None }
    }
}

fn encode(batches: u64) {
    let options = Options { upkeep: Upkeep::Inline, fill: Fill::Allocate, ..Options::default() };
    let dir = Path::new("/nowhere");
    let mut wal =
        Wal::create(dir, Arc::new(Nothing), Metadata::default(), Start::default(), options).unwrap();
    let data = Bytes::from(vec![7; RECORD]);
    let start = Instant::now();
    for _ in 0..batches {
        let first = wal.last_index() + 1;
        let entries: [Entry; WRITERS] = std::array::from_fn(|at| record(first + at as u64, &data));
        wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
    }
    let took = start.elapsed().as_nanos() as f64;
    println!(
        "encode: {:.1} ns a record, {} records",
        took / (batches as f64 * WRITERS as f64),
        batches * WRITERS as u64
    );
}
