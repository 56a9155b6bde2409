//! `check datascale`: how much memory does a server take for so many keys?

use std::time::SystemTime;

use measure::{Progress, Stop};

use super::arguments::{Datascale, DatascaleArguments, check_prefix};
use super::clean::{check_empty, clean, clean_on_panic};
use super::document::{DATASCALE, Document, Settings};
use super::memory::resident_bytes;
use super::puts::{Pace, Puts};
use crate::calls::drive;
use crate::client::Lean;
use crate::error::{Error, Result};
use crate::terminal::{note, say};

/// Of keys behind the prefix, and of values.
const SIZES: (usize, usize) = (512, 512);
/// As etcd says it: without the prefix.
const PAIR_BYTES: usize = SIZES.0 + SIZES.1;

/// Loads the servers and prints etcd's lines.
///
/// # Errors
/// [`Error::Failed`] when a line says FAIL.
pub(crate) fn run(arguments: &DatascaleArguments) -> Result<()> {
    let Datascale { keys, clients } = arguments.shared.load.datascale();
    let keys = arguments.keys.unwrap_or(keys);
    check_prefix(&arguments.prefix)?;
    let stop = Stop::listen()?;
    let (target, server) = arguments.shared.target()?;
    check_empty(&target, &arguments.prefix)?;
    let _undo = clean_on_panic(&target, &arguments.prefix);
    let before = memory(&target, "before")?;
    say(format_args!(
        "Start data scale check for work load [{keys} key-value pairs, {PAIR_BYTES} bytes per key-value, {clients} \
         concurrent clients]."
    ));
    let started = SystemTime::now();
    let mut client = Lean::connect(&target, clients)?;
    let mut progress = Progress::new(1);
    progress.stage("check datascale");
    let mut puts = Puts::new(&arguments.prefix, SIZES, clients, Pace::Total(keys), &mut progress);
    let driven = drive(&mut client, clients, &stop, &mut puts);
    let found = puts.found();
    drop((client, progress));
    let after = memory(&target, "after");
    let cleaned = clean(&target, &arguments.prefix, &arguments.shared);
    if driven.is_err() || found.lost().is_some() {
        note(found.percentiles());
    }
    driven?;
    if let Some(why) = found.lost() {
        return Err(Error::Died(why));
    }
    cleaned?;
    let after = after?;
    note(format_args!("{}/s; {}", measure::units::rounded(found.per_second()), found.percentiles()));
    let mut lines = found.error_lines();
    let passed = lines.is_empty();
    if passed {
        let megabytes = (after - before) / f64::from(1 << 20);
        lines.push(format!("PASS: Approximate system memory used : {megabytes:.2} MB."));
    }
    lines.iter().for_each(say);
    let settings = Settings {
        load: arguments.shared.load.name().to_owned(),
        clients,
        per_second: None,
        seconds: None,
        keys: Some(keys),
        prefix: arguments.prefix.clone(),
        key_bytes: SIZES.0,
        value_bytes: SIZES.1,
    };
    let results = found.results(Some(after - before));
    let document = Document::new(DATASCALE, started, server, settings, results, (lines, passed));
    arguments.shared.write(&document)?;
    if passed { Ok(()) } else { Err(Error::Failed) }
}

fn memory(target: &crate::client::Target, when: &str) -> Result<f64> {
    resident_bytes(target).map_err(|why| {
        say(format_args!("FAIL: Could not read process_resident_memory_bytes {when} the put operations."));
        note(why);
        Error::Failed
    })
}
