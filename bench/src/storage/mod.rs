//! `graven-bench storage`: what the log and the engine reach, against their goals.
//!
//! Every row of the goals is one file in `rows/`. A row is measured in rounds; what is compared is interleaved within a round; the device
//! is probed between the rounds (`measure::Floor`), and a round that saw it change by more than 30 % is measured again or,
//! where that takes too long, marked. Printed are medians with their extremes.
//!
//! It writes only to a directory that it made itself (`measure::WorkDir`), says beforehand how much, and leaves nothing behind, also
//! after Ctrl-C (`measure::Stop`).

mod arguments;
mod child;
mod drive;
mod entry;
mod fill;
mod load;
mod member;
mod overlap;
mod peers;
mod replay;
mod report;
mod rounds;
mod rows;
mod server;
mod upkeep;
mod warmer;
mod writer;
mod writers;

use std::path::Path;

pub(crate) use arguments::Arguments;
use arguments::Sizes;
pub(crate) use child::{ChildArguments, run_child};
use measure::machine::{Device, Machine};
use measure::{Floor, Maker, Probe, Stop, WorkDir, check_outputs, free_bytes};
use report::FORMAT;
pub(crate) use report::Report;
use rows::Kind;

use crate::error::{Error, Result};
use crate::terminal::{note, say};

/// What the rows are measured with.
pub(crate) struct Bench {
    arguments: Arguments,
    sizes: Sizes,
    method: wal::Method,
    floor: Floor,
    device: Option<Device>,
    stop: Stop,
    /// Last, so that it is removed when all else is closed.
    dir: WorkDir,
}

impl Bench {
    /// One probe of the device.
    fn probe(&mut self) -> Result<Probe> {
        Ok(self.floor.probe(self.sizes.probe, &self.stop)?)
    }
}

/// For the name of the directory.
const MAKER: Maker = Maker { program: "graven-bench", option: "another --dir" };
/// Left free on the disk beside what is needed.
const RESERVE_BYTES: u64 = 64 << 20;

/// Measures what was asked for and prints it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kinds = selected(&arguments.only)?;
    let sizes = Sizes::of(arguments);
    let mut earlier = match (&arguments.json, arguments.resume) {
        (Some(path), true) if path.exists() => Some(Report::read(path)?),
        _ => None,
    };
    if earlier.as_ref().is_some_and(|report| report.quick != arguments.quick) {
        return Err(Error::Usage("--resume: the file was made with other sizes (--quick)".to_owned()));
    }
    let known = |kind: &&Kind| {
        earlier.as_ref().is_some_and(|report| report.rows.iter().any(|row| row.name == kind.name))
    };
    let (kept, wanted): (Vec<&Kind>, Vec<&Kind>) = kinds.iter().copied().partition(known);
    for kind in kept {
        note(format_args!("{}: kept from before", kind.name));
    }
    let stop = Stop::listen()?;
    let dir = WorkDir::create(&arguments.dir, MAKER)?;
    announce(&wanted, &sizes, arguments.quick, dir.path())?;
    check_outputs([("--json", arguments.json.as_deref())])?;

    let method = arguments.wal_method.method();
    let floor = Floor::create(dir.path(), sizes.floor_bytes, method)?;
    let machine = Machine::of(dir.path(), floor.method());
    note(machine.line());
    let mut report = earlier.take().unwrap_or_else(|| Report {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        quick: arguments.quick,
        machine,
        rows: Vec::new(),
    });
    let device = Device::of(dir.path());
    let mut bench = Bench { arguments: arguments.clone(), sizes, method, floor, device, stop, dir };
    for kind in wanted {
        note(format_args!("{}: {}", kind.name, kind.title));
        // Ctrl-C reaches the processes that a row started, too: their end is not the reason.
        let row = (kind.run)(kind, &mut bench)
            .or_else(|error| bench.stop.check().map_err(Error::from).and(Err(error)))?;
        if let Some(why) = &row.skipped {
            note(format_args!("{}: SKIPPED: {why}", kind.name));
        }
        report.rows.retain(|other| other.name != row.name);
        report.rows.push(row);
        let place = |name: &str| rows::ALL.iter().position(|kind| kind.name == name);
        report.rows.sort_by_key(|row| place(&row.name));
        if let Some(path) = &arguments.json {
            report.write(path)?;
        }
    }
    say(report.machine.line());
    if report.quick {
        say("quick sizes: the figures only show that everything works");
    }
    say(report.table());
    Ok(())
}

/// The rows asked for, in the order of the goals.
fn selected(only: &[String]) -> Result<Vec<&'static Kind>> {
    for name in only {
        if !rows::ALL.iter().any(|kind| kind.name == name) {
            let names: Vec<_> = rows::ALL.iter().map(|kind| kind.name).collect();
            return Err(Error::Usage(format!("there is no row '{name}'; the rows are {}", names.join(", "))));
        }
    }
    let wanted = |kind: &&Kind| only.is_empty() || only.iter().any(|name| name == kind.name);
    Ok(rows::ALL.iter().filter(wanted).collect())
}

/// Says what will be written, and refuses what does not fit.
fn announce(kinds: &[&Kind], sizes: &Sizes, quick: bool, dir: &Path) -> Result<()> {
    let space = kinds.iter().map(|kind| (kind.space)(sizes));
    let written: u64 = space.clone().map(|space| space.written).sum::<u64>() + sizes.floor_bytes;
    let at_once = space.map(|space| space.at_once).max().unwrap_or(0) + sizes.floor_bytes;
    let free = free_bytes(dir)?;
    let minutes: f64 = kinds.iter().map(|kind| kind.minutes).sum();
    let time = if quick { "a minute".to_owned() } else { format!("{minutes:.0} minutes") };
    note(format_args!(
        "measuring {} rows in {}: writes up to {}, at most {} at one time ({} free), in about {time}",
        kinds.len(),
        dir.display(),
        size_text(written),
        size_text(at_once),
        size_text(free),
    ));
    if at_once + RESERVE_BYTES > free {
        return Err(Error::Usage(format!(
            "too little space: {} are needed at one time and {} are free below {}; choose another --dir, fewer rows \
             with --only, or a smaller --large-gb",
            size_text(at_once + RESERVE_BYTES),
            size_text(free),
            dir.parent().unwrap_or(dir).display(),
        )));
    }
    Ok(())
}

fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{} GB", bytes.div_ceil(1_000_000_000)),
    }
}

/// The end of the help text.
pub(crate) fn rows_help() -> String {
    let mut text = "Rows, and the minutes each takes at full size:\n".to_owned();
    for kind in rows::ALL {
        text.push_str(&format!("  {:<12} {:>4}  {}\n", kind.name, kind.minutes, kind.title));
    }
    text.push_str(
        "\nExit codes: 0 measured, 2 the request cannot be carried out, 130 interrupted, 1 otherwise.",
    );
    text
}
