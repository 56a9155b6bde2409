//! `graven-disk watch`: one durable write now and then, beside a live member, as a histogram for Prometheus.
//!
//! It overwrites blocks of a small file of its own, which was written before, through the log's file layer: what it sees is
//! what the log's appends see. At the default of one a second it costs the disk nothing that would be noticed.

mod metrics;
mod probe;
mod serve;
mod textfile;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use measure::units::micros;
use measure::{Error, Latencies, Maker, Result, Stop, WalMethod, WorkDir};

use super::arguments::time;
use super::guard;
use super::outcome::Outcome;
use super::terminal::{note, say};
use metrics::Metrics;
use probe::Probe;
use textfile::TextFile;

/// Options of `graven-disk watch`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("to").required(true).multiple(true))]
pub(crate) struct Arguments {
    /// Directory on the disk to watch: beside the member's, not in it. Only a directory made in it is written to.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Serve the metrics at http://ADDRESS/metrics; HOST:PORT, with port 0 a free one, which is printed.
    #[arg(long, value_name = "ADDRESS", group = "to")]
    pub(crate) listen: Option<String>,
    /// Keep the metrics in FILE, whose name ends in .prom, for node-exporter's textfile collector.
    #[arg(long, value_name = "FILE", group = "to")]
    pub(crate) textfile: Option<PathBuf>,
    /// Durable writes a second: at least 0.001, at most 10.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = rate)]
    pub(crate) rate: f64,
    /// Bytes of a write: a multiple of 4096, at most 1 MiB.
    #[arg(long, value_name = "BYTES", default_value = "4096", value_parser = size)]
    pub(crate) bytes: usize,
    /// Count a write that takes longer as a stall. Etcd's leaders beat every 100 ms by default.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    pub(crate) stall: Duration,
    /// How writes are made durable.
    #[arg(long, value_enum, default_value_t = WalMethod::Auto)]
    pub(crate) method: WalMethod,
    /// Watch memory, where DIR lies on a tmpfs.
    #[arg(long)]
    pub(crate) allow_tmpfs: bool,
}

/// More would be a load, and no watch.
const FASTEST: f64 = 10.0;
/// Less would see nothing: four an hour.
const SLOWEST: f64 = 0.001;

fn rate(text: &str) -> std::result::Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|rate| (SLOWEST..=FASTEST).contains(rate));
    found.ok_or_else(|| format!("give a number from {SLOWEST} to {FASTEST} writes a second"))
}

fn size(text: &str) -> std::result::Result<usize, String> {
    let found = text.parse::<usize>().ok();
    found
        .filter(|size| (4096..=1 << 20).contains(size) && size.is_multiple_of(4096))
        .ok_or_else(|| "give a multiple of 4096, at most 1048576".to_owned())
}

/// Its own name, so that a disk can be qualified while it is watched.
const MAKER: Maker = Maker { program: "graven-disk-watch", option: "another DIR" };

/// Ends when it is asked to, which is the usual end: the exit code is 0 then.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    guard::check_dir(&arguments.dir, arguments.allow_tmpfs)?;
    guard::check_no_member(&arguments.dir)?;
    let mut textfile = arguments.textfile.as_deref().map(TextFile::new).transpose()?;
    guard::check_space(&arguments.dir, Probe::file_bytes(arguments.bytes), "free some")?;
    let stop = Stop::listen()?;
    let metrics = Arc::new(Metrics::new(arguments));
    // Before anything is written: an address in use is a bad request.
    if let Some(address) = &arguments.listen {
        let bound = serve::listen(address, Arc::clone(&metrics))?;
        say(format_args!("listening on http://{bound}/metrics"));
    }
    let dir = WorkDir::create(&arguments.dir, MAKER)?;
    if let Some(file) = &mut textfile {
        file.keep(Arc::clone(&metrics))?;
    }
    if let Some(file) = &arguments.textfile {
        say(format_args!("writing to {}", file.display()));
    }
    let seen = watch(arguments, dir.path().join("watch"), &metrics, textfile.as_ref(), &stop);
    drop(textfile);
    drop(dir);
    let seen = seen?;
    note(format_args!(
        "graven-disk: {} durable writes: p50 {}, p99 {}, longest {}",
        seen.count(),
        micros(seen.micros(0.5)),
        micros(seen.micros(0.99)),
        micros(seen.micros(1.0)),
    ));
    Ok(Outcome::Fit)
}

fn watch(
    arguments: &Arguments,
    path: PathBuf,
    metrics: &Metrics,
    textfile: Option<&TextFile>,
    stop: &Stop,
) -> Result<Latencies> {
    let mut probe = Probe::create(path, arguments)?;
    metrics.describe(&probe.method());
    let period = Duration::from_secs_f64(1.0 / arguments.rate);
    let mut seen = Latencies::new();
    let mut due = Instant::now();
    loop {
        match stop.sleep(due.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(Error::Interrupted) => return Ok(seen),
            Err(error) => return Err(error),
        }
        metrics.begin();
        let before = Instant::now();
        match probe.write() {
            Ok(()) => {
                let took = before.elapsed();
                seen.record(took);
                metrics.end(Some(took));
            }
            // A watch that goes away with the disk's first error would miss what it is for.
            Err(error) => {
                metrics.end(None);
                note(format_args!("graven-disk: {error}"));
            }
        }
        due += period;
        let now = Instant::now();
        while due < now {
            // What a stall made impossible is not made up for: that would be a burst.
            due += period;
            metrics.miss();
        }
        if let Some(file) = textfile {
            file.check()?;
            // Who asked for a file wants to see that it works.
            if seen.count() == 1 {
                file.refresh();
            }
        }
    }
}
