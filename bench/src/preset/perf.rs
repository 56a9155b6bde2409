//! `check perf`: does a rate of puts go through without long waits?

use std::time::{Duration, Instant};

use measure::{Progress, Stop};

use super::arguments::{Perf, PerfArguments, check_prefix};
use super::clean::{check_empty, clean};
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
const LONGEST: f64 = 0.5;
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
    let target = arguments.shared.target()?;
    check_empty(&target, &arguments.prefix)?;
    note(format_args!(
        "{per_second} puts/s from {clients} clients for {} s below {:?}; they are deleted afterwards",
        arguments.duration, arguments.prefix
    ));
    let mut client = Lean::connect(&target, clients)?;
    let mut progress = Progress::new(1);
    progress.stage("check perf");
    let interval = Duration::from_secs(1) / per_second;
    let pace = Pace::Every { interval, until: Instant::now() + arguments.duration() };
    let mut puts = Puts::new(&arguments.prefix, SIZES, clients, pace, &mut progress);
    let driven = drive(&mut client, clients, &stop, &mut puts);
    let found = puts.found();
    drop((client, progress));
    let cleaned = clean(&target, &arguments.prefix, &arguments.shared);
    driven?;
    note(found.percentiles());
    let passed = judged(&found, per_second);
    cleaned?;
    if passed { Ok(()) } else { Err(Error::Failed) }
}

/// etcd's lines, word for word; whether they all say PASS.
fn judged(found: &Found, wanted: u32) -> bool {
    let mut ok = !found.say_errors();
    let per_second = found.per_second();
    let shown = per_second as u64 + 1;
    if per_second / f64::from(wanted) <= LEAST_SHARE {
        say(format_args!("FAIL: Throughput too low: {shown} writes/s"));
        ok = false;
    } else {
        say(format_args!("PASS: Throughput is {shown} writes/s"));
    }
    let longest = found.latencies.longest().as_secs_f64();
    if longest > LONGEST {
        say(format_args!("Slowest request took too long: {longest:.6}s"));
        ok = false;
    } else {
        say(format_args!("PASS: Slowest request took {longest:.6}s"));
    }
    let deviation = found.deviation();
    if deviation > MOST_DEVIATION {
        say(format_args!("Stddev too high: {deviation:.6}s"));
        ok = false;
    } else {
        say(format_args!("PASS: Stddev is {deviation:.6}s"));
    }
    say(if ok { "PASS" } else { "FAIL" });
    ok
}
