//! A hidden command that checks the recipes against fio: both do the same job in turns, and the ratios of their
//! percentiles are printed. The machine's mood meets both alike; the median of the rounds' ratios is what counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use measure::units::{micros, number};
use measure::{Align, Error, Maker, Result, Stop, Table, WorkDir};

use super::RECIPES;
use super::follow::{Job, follow};
use crate::disk::guard;
use crate::disk::outcome::Outcome;
use crate::disk::terminal::{note, say};

/// Options of `graven-disk beside-fio`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Directory on the disk to measure.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Rounds, of one run of each.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: u16,
    /// Writes of a run.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    writes: u64,
}

const MAKER: Maker = Maker { program: "graven-disk-fio", option: "another DIR" };

/// p50 and p99 of the syncs, in microseconds.
type Figures = [f64; 2];

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    guard::check_dir(&arguments.dir, true)?;
    if !measure::fio::is_installed() {
        return Err(Error::Usage("there is no fio here: install it".to_owned()));
    }
    let largest = RECIPES.iter().map(|recipe| recipe.job.bytes as u64 * arguments.writes).max().unwrap_or(0);
    guard::check_space(&arguments.dir, largest, "ask for fewer --writes")?;
    let stop = Stop::listen()?;
    let dir = WorkDir::create(&arguments.dir, MAKER)?;
    let heads = ["recipe", "", "ours", "fio", "ours / fio", "least", "most"];
    let mut table = Table::new(heads.map(|head| (head, Align::Right)));
    for recipe in RECIPES {
        let job = Job { total: recipe.job.bytes as u64 * arguments.writes, bytes: recipe.job.bytes };
        let mut pairs: Vec<(Figures, Figures)> = Vec::new();
        for round in 0..arguments.rounds {
            stop.check()?;
            // Who goes first changes.
            let pair = if round % 2 == 0 {
                let ours = ours(job, dir.path(), &stop)?;
                (ours, fio(job, dir.path())?)
            } else {
                let fio = fio(job, dir.path())?;
                (ours(job, dir.path(), &stop)?, fio)
            };
            note(format_args!("{}: round {round}: ours {:.0?}, fio {:.0?}", recipe.name, pair.0, pair.1));
            pairs.push(pair);
        }
        for (index, share) in ["p50", "p99"].into_iter().enumerate() {
            let ratios = sorted(pairs.iter().map(|(ours, fio)| ours[index] / fio[index]));
            let middle = |values: Vec<f64>| values[values.len() / 2];
            table.row([
                recipe.name.to_owned(),
                share.to_owned(),
                micros(middle(sorted(pairs.iter().map(|pair| pair.0[index])))),
                micros(middle(sorted(pairs.iter().map(|pair| pair.1[index])))),
                number(ratios[ratios.len() / 2]),
                number(ratios[0]),
                number(ratios[ratios.len() - 1]),
            ]);
        }
    }
    say(table);
    Ok(Outcome::Fit)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn ours(job: Job, dir: &Path, stop: &Stop) -> Result<Figures> {
    let followed = follow(job, dir, Duration::from_secs(600), stop)?;
    Ok([0.5, 0.99].map(|share| followed.sync.micros(share)))
}

/// The published command line, with another length.
fn fio(job: Job, dir: &Path) -> Result<Figures> {
    let mut command = measure::fio::command(dir);
    command
        .args(["--name=recipe", "--rw=write", "--ioengine=sync", "--fdatasync=1"])
        .arg(format!("--size={}", job.total))
        .arg(format!("--bs={}", job.bytes));
    let report = measure::fio::report(&mut command)?;
    let file = dir.join(measure::fio::FILE);
    std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
    let shares = &report["jobs"][0]["sync"]["lat_ns"]["percentile"];
    let figure = |share: &str| {
        let nanos = shares[share].as_f64();
        nanos
            .map(|nanos| nanos / 1e3)
            .ok_or_else(|| Error::Wrong("fio's report has no sync percentiles".to_owned()))
    };
    Ok([figure("50.000000")?, figure("99.000000")?])
}
