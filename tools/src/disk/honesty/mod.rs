//! `graven-disk honesty`: does a sync reach the medium?
//!
//! `check` looks at once at what the kernel counts and how long things take; it can find what is implausible, and prove
//! nothing. `witness`, `write` and `verify` prove it by a power cut (`cut`).

mod check;
mod cut;

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use measure::{Error, Result};

use super::arguments::time;
use super::guard;
use super::outcome::Outcome;
use super::terminal::{note, say};
use cut::book::{self, Runs, Witnessed};
use cut::connection::fetch;
use cut::record::{Line, read_line};
use cut::verify::{Finding, Kind, Verdict, seconds, verify};
use cut::write::{FOLDER, RUN, place, remove};
use cut::{witness, write};

/// Findings that are shown one by one.
const SHOWN: usize = 20;

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
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7357")]
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
        #[arg(long, value_name = "ADDR")]
        witness: String,
        /// Bytes that the files take, at most.
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
    #[command(after_help = CUT_HELP)]
    Verify {
        /// The directory that was written to.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The witness's record, or a copy of it.
        #[arg(long, value_name = "FILE", required_unless_present = "witness")]
        record: Option<PathBuf>,
        /// Address of the witness, which hands its record out.
        #[arg(long, value_name = "ADDR", conflicts_with = "record")]
        witness: Option<String>,
        /// Which run of the record, if its folder does not say.
        #[arg(long, value_name = "ID", value_parser = run_id)]
        run: Option<u64>,
        /// Write what was found to FILE, as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Remove the folder afterwards, if everything was there.
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
        Command::Verify { dir, record, witness, run, json, clean } => {
            if let Some(json) = &json {
                guard::check_output("--json", json)?;
            }
            let found = std::fs::metadata(&dir)
                .map_err(|error| Error::Usage(format!("{} cannot be used: {error}", dir.display())))?;
            if !found.is_dir() {
                return Err(Error::Usage(format!(
                    "{} is not a directory: give the one of write",
                    dir.display()
                )));
            }
            let runs = match (record, witness) {
                (Some(record), _) => book::read(&record)?.0,
                (None, Some(witness)) => fetch(&witness)?,
                (None, None) => return Err(Error::Usage("give --record FILE or --witness ADDR".to_owned())),
            };
            judge(&dir, &runs, run, json.as_deref(), clean)
        }
    }
}

/// Compares, and tells.
fn judge(dir: &Path, runs: &Runs, run: Option<u64>, json: Option<&Path>, clean: bool) -> Result<Outcome> {
    let folder = dir.join(FOLDER);
    let there = folder.is_dir();
    let witnessed = select(dir, &folder, runs, run)?;
    let id = witnessed.run.id;
    let acknowledged: u64 = witnessed.lanes.iter().map(|lane| lane.last).sum();
    if acknowledged == 0 {
        return Err(Error::Usage(format!(
            "run {id:016x} acknowledged nothing: write for longer before the cut"
        )));
    }
    if !there && witnessed.run.dir != place(dir) {
        return Err(Error::Usage(format!(
            "{} has no {FOLDER}; the run was in {}: mount it there and verify that",
            dir.display(),
            witnessed.run.dir
        )));
    }
    let verdict = verify(&folder, witnessed)?;
    tell(&verdict, witnessed, there);
    if let Some(json) = json {
        let mut text = serde_json::to_vec_pretty(&document(&verdict, witnessed)).expect("plain data");
        text.push(b'\n');
        std::fs::write(json, text).map_err(Error::io("write", json))?;
    }
    if !verdict.findings.is_empty() {
        return Ok(Outcome::Unfit);
    }
    if clean {
        remove(&folder)?;
    }
    Ok(Outcome::Fit)
}

/// The run in question: the one asked for, the folder's own, or the only one that was in this directory.
fn select<'r>(dir: &Path, folder: &Path, runs: &'r Runs, run: Option<u64>) -> Result<&'r Witnessed> {
    let missing =
        |id: u64| Error::Usage(format!("the record has no run {id:016x}: give the record of that run"));
    let own = run_of(folder);
    if let Some(id) = run.or(own) {
        let own = own.unwrap_or(id);
        if own != id {
            return Err(Error::Usage(format!("{} holds run {own:016x}, not {id:016x}", folder.display())));
        }
        return runs.get(id).ok_or_else(|| missing(id));
    }
    let here = place(dir);
    let mut candidates: Vec<_> = runs.iter().filter(|found| found.run.dir == here).collect();
    candidates.sort_by_key(|found| found.run.begun);
    let only = runs.iter().next().filter(|_| runs.iter().count() == 1);
    // An earlier run in the same place was verified or removed before the next could begin.
    candidates.last().copied().or(only).ok_or_else(|| {
        Error::Usage(format!("{} has no {FOLDER}, and the record no run there: give --run ID", dir.display()))
    })
}

/// What the folder says of itself, if it still can.
fn run_of(folder: &Path) -> Option<u64> {
    let mut file = BufReader::new(std::fs::File::open(folder.join(RUN)).ok()?);
    let mut next = || Line::decode(&read_line(&mut file).ok()?).ok();
    match (next()?, next()?) {
        (Line::Head, Line::Run(run)) => Some(run.id),
        _ => None,
    }
}

fn tell(verdict: &Verdict, witnessed: &Witnessed, there: bool) {
    let run = &witnessed.run;
    say(format_args!(
        "run {:016x} on {}, {}: {} acknowledged writes, {} of them still to be seen; {} more were in flight",
        run.id, run.host, run.dir, verdict.acknowledged, verdict.looked_at, verdict.beyond
    ));
    if witnessed.ended {
        note("this run came to its end: if the power was cut after it, the record says what must be there");
    }
    if !there {
        say("the folder itself is gone, although its directory was synced before the first write");
    }
    for finding in verdict.findings.iter().take(SHOWN) {
        say(line(finding));
    }
    if verdict.findings.len() > SHOWN {
        say(format_args!("and {} more; --json FILE has them all", verdict.findings.len() - SHOWN));
    }
    if verdict.findings.is_empty() {
        say("honest: everything that was acknowledged is there");
        return;
    }
    let count = |kind| verdict.findings.iter().filter(|finding| finding.kind == kind).count();
    let kinds = [Kind::Lost, Kind::Torn, Kind::Reordered, Kind::Returned];
    let counted: Vec<_> = kinds
        .into_iter()
        .filter(|kind| count(*kind) > 0)
        .map(|kind| format!("{} {}", count(kind), word(kind)))
        .collect();
    say(format_args!("lies: of {} acknowledged writes, {}", verdict.looked_at, counted.join(", ")));
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Lost => "lost",
        Kind::Torn => "torn",
        Kind::Reordered => "reordered",
        Kind::Returned => "returned",
    }
}

fn line(finding: &Finding) -> String {
    let acknowledged = match finding.acknowledged_us {
        _ if finding.sequence == 0 => "synced before the run began".to_owned(),
        Some(time) => format!("acknowledged at {}", seconds(time)),
        None => "acknowledged".to_owned(),
    };
    format!(
        "{}: {} at {}, {} bytes: write {}, {acknowledged}; found {}",
        word(finding.kind),
        finding.file,
        finding.offset,
        finding.length,
        finding.sequence,
        finding.found
    )
}

fn document(verdict: &Verdict, witnessed: &Witnessed) -> serde_json::Value {
    let run = &witnessed.run;
    serde_json::json!({
        "format": super::document::FORMAT,
        "version": super::document::VERSION,
        "kind": "honesty",
        "run": format!("{:016x}", run.id),
        "host": run.host,
        "dir": run.dir,
        "seed": run.seed,
        "begun_ms": run.begun,
        "honest": verdict.findings.is_empty(),
        "verdict": verdict,
    })
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
