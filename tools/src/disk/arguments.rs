//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use measure::WalMethod;

use super::{compare, honesty, predict, recipes, report, watch};
use crate::cli::go::parse_duration;

/// What is this disk worth to a control plane?
#[derive(Parser)]
#[command(
    name = "graven-disk",
    version,
    about = "Measures what a disk is worth to a control plane.",
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fit (or done, where no verdict was asked for), 1 unfit, 2 could not tell or a \
                          bad request, 130 interrupted (watch, whose end that is: 0).";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measures the disk for minutes and says whether it carries a control plane, and of what size.
    #[command(after_help = qualify_help())]
    Qualify(Box<QualifyArguments>),
    /// Asks whether a sync reaches the medium.
    Honesty(honesty::Arguments),
    /// Keeps measuring, lightly, and shows a histogram to Prometheus.
    Watch(watch::Arguments),
    /// Puts several reports side by side.
    Compare(compare::Arguments),
    /// Shows a report again, as a table or a page.
    Report(report::Arguments),
    /// Follows the known recipes in turns with fio, and shows by how much they differ.
    #[command(hide = true)]
    BesideFio(recipes::BesideFioArguments),
    /// What `qualify` puts under load: a member in a process of its own.
    #[command(hide = true)]
    ServeMember(predict::ServeArguments),
}

/// Options of `graven-disk qualify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct QualifyArguments {
    /// Directory on the disk to measure. Only a directory made in it is written to, and removed at the end.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// A minute in all: shows that everything works, and proves little.
    #[arg(long, conflicts_with_all = ["duration", "full"])]
    pub(crate) quick: bool,
    /// Four times as long as by default.
    #[arg(long, conflicts_with = "duration")]
    pub(crate) full: bool,
    /// Time for all phases; each takes its share of it.
    #[arg(long, value_name = "TIME", value_parser = whole_time)]
    pub(crate) duration: Option<Duration>,
    /// Only these phases, separated by commas. See the list below.
    #[arg(long, value_name = "PHASES", value_delimiter = ',')]
    pub(crate) phases: Vec<String>,
    /// Write everything that was measured to FILE.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with pictures to FILE; it needs no network.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the latencies over time to FILE, as HdrHistogram's plotters read them.
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    /// Unfit unless 99 % of durable writes take no longer.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(crate) p99: Option<Duration>,
    /// Unfit unless 99.9 % of durable writes take no longer.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(crate) p999: Option<Duration>,
    /// Unfit unless the disk sustains so many puts a second.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true)]
    pub(crate) puts: Option<u64>,
    /// How appends to the log are made durable.
    #[arg(long, value_enum, default_value_t = WalMethod::Auto)]
    pub(crate) method: WalMethod,
    /// Measure memory, where DIR lies on a tmpfs.
    #[arg(long)]
    pub(crate) allow_tmpfs: bool,
}

/// A time longer than nothing: `300us`, `10ms`, `1m30s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text.as_bytes()).map(u64::try_from) {
        Ok(Ok(nanos @ 1..)) => Ok(Duration::from_nanos(nanos)),
        Ok(_) => Err("give a time longer than none, as 300us, 10ms or 5m".to_owned()),
        _ => Err("give a number and a unit, as 300us, 10ms or 5m".to_owned()),
    }
}

/// Of a whole run: below ten seconds no phase has time for anything, above a day nobody waits.
fn whole_time(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
    let found = time(text)?;
    if range.contains(&found) { Ok(found) } else { Err("give something between 10s and 24h".to_owned()) }
}

fn qualify_help() -> String {
    let mut text = "Phases, and the seconds each takes by default:\n".to_owned();
    let settings = super::qualify::Settings::default();
    for phase in super::qualify::PHASES {
        let seconds = (phase.cost)(&settings).time.as_secs_f64();
        text.push_str(&format!("  {:<12} {seconds:>4.0}  {}\n", phase.name, phase.about));
    }
    text + "\n" + EXIT_CODES
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(time("300us"), Ok(Duration::from_micros(300)));
        assert_eq!(whole_time("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "10", "-3ms", "0", "0s", "soon"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        for bad in ["9s", "25h"] {
            assert!(whole_time(bad).is_err(), "{bad}");
        }
    }
}
