//! `graven-disk honesty`: does a sync reach the medium?
//!
//! `check` looks at once at what the kernel counts and how long things take; it can find what is implausible, and prove
//! nothing. `witness`, `write` and `verify` prove it by a power cut (`cut`).

mod after_cut;
mod check;
mod cut;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use measure::{Error, Result};

use super::arguments::time;
use super::guard;
use super::outcome::Outcome;
use after_cut::{Asked, judge};
use cut::connection::fetch;
use cut::{book, witness, write};

/// Options of `graven-disk honesty`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const CUT_HELP: &str = "\
The power-cut protocol, on two machines:
  witness$  graven-disk honesty witness --listen 0.0.0.0:7357 --record record
  tested$   graven-disk honesty write /mnt/disk --witness witness:7357
            cut the power of the tested machine (or of the disk alone), and start it again
  tested$   graven-disk honesty verify /mnt/disk --witness witness:7357
A reset or kill -9 is no power cut: the disk keeps its cache.";

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Whether what the kernel counts and how long it takes are plausible.
    Check {
        /// Directory on the disk to look at.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Records, on another machine, what was acknowledged.
    #[command(after_help = CUT_HELP)]
    Witness {
        /// Address to listen on.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7357")]
        listen: String,
        /// File to record to; an earlier record is continued.
        #[arg(long, value_name = "FILE")]
        record: PathBuf,
        /// Where the record stops to grow.
        #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
        max_record: u64,
    },
    /// Writes until the power is cut, and tells the witness what was acknowledged.
    #[command(after_help = CUT_HELP)]
    Write {
        /// Directory on the disk to test. A folder is made in it and stays, for verify.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Address of the witness.
        #[arg(long, value_name = "HOST:PORT")]
        witness: String,
        /// Bytes that the files take, at most; 32MiB or more.
        #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
        size: u64,
        /// End after this time, if the power was not cut.
        #[arg(long, value_name = "TIME", value_parser = time)]
        duration: Option<Duration>,
        /// How long the witness may be away.
        #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
        patience: Duration,
        /// Decides what is written; chosen at random by default.
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u64>,
        /// Remove an earlier run's folder first.
        #[arg(long)]
        clean: bool,
        /// Write to memory, where DIR lies on a tmpfs.
        #[arg(long)]
        allow_tmpfs: bool,
    },
    /// Finds, after the cut, what was acknowledged and is not there.
    #[command(after_help = CUT_HELP, group = ArgGroup::new("source").required(true))]
    Verify {
        /// The directory that was written to.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The witness's record, or a copy of it.
        #[arg(long, value_name = "FILE", group = "source")]
        record: Option<PathBuf>,
        /// Address of the witness, which hands its record out.
        #[arg(long, value_name = "HOST:PORT", group = "source")]
        witness: Option<String>,
        /// Which run of the record: needed where its folder does not say, or was taken back on purpose to before a later run.
        #[arg(long, value_name = "ID", value_parser = run_id)]
        run: Option<u64>,
        /// This machine was not down, and need not have been: the disk alone lost its power, or was taken back.
        #[arg(long)]
        no_reboot: bool,
        /// Write what was found to FILE, as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Remove the folder afterwards, if the disk was honest.
        #[arg(long)]
        clean: bool,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    match arguments.command.clone() {
        Command::Check { dir } => check::run(&dir),
        Command::Witness { listen, record, max_record } => {
            witness::run(&listen, &record, max_record).map(|()| Outcome::Fit)
        }
        Command::Write { dir, witness, size, duration, patience, seed, clean, allow_tmpfs } => {
            let request = write::Request { dir, witness, size, duration, seed, patience, clean, allow_tmpfs };
            write::run(&request).map(|()| Outcome::Fit)
        }
        Command::Verify { dir, record, witness, run, no_reboot, json, clean } => {
            if let Some(json) = &json {
                guard::check_output("--json", json)?;
            }
            let found = std::fs::metadata(&dir).map_err(|error| {
                Error::Usage(format!(
                    "{} cannot be used: {error}: give the directory of write",
                    dir.display()
                ))
            })?;
            if !found.is_dir() {
                return Err(Error::Usage(format!(
                    "{} is not a directory: give the one of write",
                    dir.display()
                )));
            }
            let runs = match (record, witness) {
                (Some(record), _) => book::read(&record)?.0,
                (None, Some(witness)) => fetch(&witness)?,
                (None, None) => {
                    return Err(Error::Usage("give --record FILE or --witness HOST:PORT".to_owned()));
                }
            };
            judge(&dir, &runs, &Asked { run, no_reboot, json: json.as_deref(), clean })
        }
    }
}

/// `64MiB`, `1GiB`.
fn size(text: &str) -> std::result::Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let found =
        units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?.parse::<u64>().ok()?, *bits)));
    found
        .and_then(|(number, bits)| number.checked_mul(1 << bits))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "give a number and a unit, as 64MiB or 1GiB".to_owned())
}

fn run_id(text: &str) -> std::result::Result<u64, String> {
    u64::from_str_radix(text, 16)
        .map_err(|_| "give the sixteen hexadecimal digits that write said".to_owned())
}
