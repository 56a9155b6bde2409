//! `check perf`: does a rate of puts go through without long waits?

use std::time::{Duration, Instant, SystemTime};

use measure::{Progress, Stop};

use super::arguments::{Perf, PerfArguments, check_prefix};
use super::clean::{check_empty, clean, clean_on_panic};
use super::document::{Document, PERF, Settings};
use super::puts::{Found, Pace, Puts};
use crate::calls::drive;
use crate::client::Lean;
use crate::error::{Error, Result};
use crate::terminal::{note, say};

/// Of keys behind the prefix, and of values.
const SIZES: (usize, usize) = (256, 1024);
/// Of the rate; less is too little.
const LEAST_SHARE: f64 = 0.9;
/// Seconds.
pub(super) const LONGEST: f64 = 0.5;
/// Seconds.
const MOST_DEVIATION: f64 = 0.1;

/// Loads the servers and prints etcd's lines.
///
/// # Errors
/// [`Error::Failed`] when a line says FAIL.
pub(crate) fn run(arguments: &PerfArguments) -> Result<()> {
    let Perf { per_second, clients } = arguments.shared.load.perf();
    check_prefix(&arguments.prefix)?;
    let stop = Stop::listen()?;
    let (target, server) = arguments.shared.target()?;
    check_empty(&target, &arguments.prefix)?;
    let _undo = clean_on_panic(&target, &arguments.prefix);
    note(format_args!(
        "{per_second} puts/s from {clients} clients for {} s below {:?}; they are deleted afterwards",
        arguments.duration, arguments.prefix
    ));
    let mut client = Lean::connect(&target, clients)?;
    let mut progress = Progress::new(1);
    progress.stage("check perf");
    let started = SystemTime::now();
    let interval = Duration::from_secs(1) / per_second;
    let pace = Pace::Every { interval, until: Instant::now() + arguments.duration() };
    let mut puts = Puts::new(&arguments.prefix, SIZES, clients, pace, &mut progress);
    let driven = drive(&mut client, clients, &stop, &mut puts);
    let found = puts.found();
    drop((client, progress));
    let cleaned = clean(&target, &arguments.prefix, &arguments.shared);
    if driven.is_err() {
        note(found.percentiles());
    }
    driven?;
    note(found.percentiles());
    let (lines, passed) = judged(&found, per_second, arguments.duration());
    lines.iter().for_each(say);
    let settings = Settings {
        load: arguments.shared.load.name().to_owned(),
        clients,
        per_second: Some(per_second),
        seconds: Some(arguments.duration().as_secs_f64()),
        keys: None,
        prefix: arguments.prefix.clone(),
        key_bytes: SIZES.0,
        value_bytes: SIZES.1,
    };
    let document = Document::new(PERF, started, server, settings, found.results(None), (lines, passed));
    arguments.shared.write(&document)?;
    if let Some(why) = found.lost() {
        return Err(Error::Died(why));
    }
    cleaned?;
    if passed { Ok(()) } else { Err(Error::Failed) }
}

/// etcd's lines, word for word; whether they all say PASS.
fn judged(found: &Found, wanted: u32, asked: Duration) -> (Vec<String>, bool) {
    let mut lines = found.error_lines();
    let mut ok = lines.is_empty();
    // Of a server that was lost on the way, the time that it was not there counts too.
    let lasted = if found.lost().is_some() { found.lasted.max(asked) } else { found.lasted };
    let per_second = found.latencies.count() as f64 / lasted.as_secs_f64().max(1e-9);
    let shown = per_second as u64 + 1;
    if per_second / f64::from(wanted) <= LEAST_SHARE {
        lines.push(format!("FAIL: Throughput too low: {shown} writes/s"));
        ok = false;
    } else {
        lines.push(format!("PASS: Throughput is {shown} writes/s"));
    }
    let longest = found.latencies.longest().as_secs_f64();
    if longest > LONGEST {
        lines.push(format!("Slowest request took too long: {longest:.6}s"));
        ok = false;
    } else {
        lines.push(format!("PASS: Slowest request took {longest:.6}s"));
    }
    let deviation = found.deviation();
    if deviation > MOST_DEVIATION {
        lines.push(format!("Stddev too high: {deviation:.6}s"));
        ok = false;
    } else {
        lines.push(format!("PASS: Stddev is {deviation:.6}s"));
    }
    lines.push(if ok { "PASS" } else { "FAIL" }.to_owned());
    (lines, ok)
}
