//! What can be asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::keys::{Shape, Spread};
use super::values::Sizes;
use crate::client::Servers;

/// One load and its own options.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load<T: Args> {
    #[command(flatten)]
    pub(crate) own: T,
    #[command(flatten)]
    pub(crate) shared: LoadArguments,
}

/// No options of its own.
#[derive(Args, Clone, Debug)]
pub(crate) struct Nothing {}

/// Reads: which keys, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct RangeArguments {
    /// The key, or the first one of a range; without it, single keys out of the key space.
    pub(crate) key: Option<String>,
    /// Where the range ends; that key is not part of it.
    #[arg(requires = "key", conflicts_with = "prefix")]
    pub(crate) range_end: Option<String>,
    /// All keys that begin with KEY.
    #[arg(long, requires = "key")]
    pub(crate) prefix: bool,
    #[command(flatten)]
    pub(crate) how: HowToRead,
}

/// How reads are made.
#[derive(Args, Clone, Debug)]
pub(crate) struct HowToRead {
    /// At most so many keys an answer; 0 is no limit.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) limit: u64,
    /// Read what the member has, without asking the others.
    #[arg(long)]
    pub(crate) serializable: bool,
    /// Only how many keys there are.
    #[arg(long, conflicts_with = "keys_only")]
    pub(crate) count_only: bool,
    /// Keys without values.
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// First put every key of the key space once; this is not measured.
    #[arg(long)]
    pub(crate) fill: bool,
}

/// Transactions of puts.
#[derive(Args, Clone, Debug)]
pub(crate) struct TxnArguments {
    /// Puts in each transaction.
    #[arg(long, visible_alias = "txn-ops", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=128))]
    pub(crate) operations: u64,
}

/// Transactions of puts and of reads.
#[derive(Args, Clone, Debug)]
pub(crate) struct TxnMixedArguments {
    #[command(flatten)]
    pub(crate) txn: TxnArguments,
    #[command(flatten)]
    pub(crate) mixed: MixedArguments,
}

/// Puts and reads.
#[derive(Args, Clone, Debug)]
pub(crate) struct MixedArguments {
    /// Of a hundred requests, so many read.
    #[arg(long, value_name = "PERCENT", default_value_t = 50.0, value_parser = percent)]
    pub(crate) reads: f64,
    #[command(flatten)]
    pub(crate) range: RangeArguments,
}

/// What all loads share.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// The server's process on this machine: its CPU time, memory and writes are shown beside the rest.
    #[arg(long, help_heading = SERVER)]
    pub(crate) pid: Option<u32>,

    /// How many connections.
    #[arg(long, visible_alias = "conns", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = LOAD)]
    pub(crate) connections: u32,
    /// Requests outstanding, spread over the connections. With --rate: at most so many; others wait, and that counts.
    /// [default: 1; with --rate 10000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = LOAD)]
    pub(crate) clients: Option<u32>,
    /// Measure so many requests.
    #[arg(long, value_name = "COUNT", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..), help_heading = LOAD)]
    pub(crate) total: Option<u64>,
    /// Measure for so long (300ms, 10s, 5m). [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = LOAD)]
    pub(crate) duration: Option<Duration>,
    /// Open loop: so many requests a second, each when it is due, whether others were answered or not.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, help_heading = LOAD)]
    pub(crate) rate: Option<f64>,
    /// With --rate: one request each so many microseconds, and not at random moments (Poisson).
    #[arg(long, requires = "rate", help_heading = LOAD)]
    pub(crate) fixed: bool,
    /// Load for so long before anything counts.
    #[arg(long, value_name = "TIME", value_parser = time_or_none, default_value = "1s", help_heading = LOAD)]
    pub(crate) warm_up: Duration,
    /// Threads of this program, each with its share of connections and clients.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), help_heading = LOAD)]
    pub(crate) threads: u32,
    /// Which client sends them.
    #[arg(long, value_enum, default_value_t = Which::Lean, help_heading = LOAD)]
    pub(crate) client: Which,

    /// How many keys there are. [default: 100000]
    #[arg(long, visible_alias = "key-space-size", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1 << 40), help_heading = DATA)]
    pub(crate) key_space: Option<u64>,
    /// In which order they are chosen.
    #[arg(long, value_enum, default_value_t = Spread::Uniform, help_heading = DATA)]
    pub(crate) distribution: Spread,
    /// What they look like.
    #[arg(long, value_enum, default_value_t = Shape::Plain, help_heading = DATA)]
    pub(crate) keys: Shape,
    /// Length of a plain key. [default: 16]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 20), help_heading = DATA)]
    pub(crate) key_size: Option<u32>,
    /// Length of a value, or two lengths between which it lies (64-1024).
    #[arg(long, visible_alias = "val-size", value_name = "BYTES", default_value = "256", help_heading = DATA)]
    pub(crate) value_size: Sizes,
    /// Decides what is random. The same seed asks for the same.
    #[arg(long, default_value_t = 1, help_heading = DATA)]
    pub(crate) seed: u64,

    /// Write everything that was measured to FILE.
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with pictures to FILE.
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    pub(crate) html: Option<PathBuf>,
    /// Write a log of histograms, one a second, to FILE (HdrHistogram's log format V2).
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    pub(crate) hdr: Option<PathBuf>,
}

const SERVER: &str = "Server";
const LOAD: &str = "Load";
const DATA: &str = "Keys and values";
const RESULTS: &str = "Results";

/// The clients there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Our own, which costs least.
    Lean,
    /// A conventional one (tonic).
    Tonic,
}

impl Which {
    /// As the command line knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Lean => "lean",
            Which::Tonic => "tonic",
        }
    }
}

/// A time longer than nothing: `300us`, `10ms`, `5m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    time_or_none(text).ok().filter(|time| !time.is_zero()).ok_or_else(no_time)
}

/// The same, or nothing: `0`.
pub(crate) fn time_or_none(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if number == "0" => 1.0,
        _ => return Err(no_time()),
    };
    let seconds = number.parse::<f64>().map_err(|_| no_time())? * unit;
    // A week, beyond which nobody waits.
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| time.as_secs() <= 7 * 24 * 3600)
        .ok_or_else(no_time)
}

fn no_time() -> String {
    "give a number and a unit, as 300us, 10ms, 5s or 5m".to_owned()
}

/// How many a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1e-3..=1e8).contains(rate));
    rate.ok_or_else(|| "give how many a second, as 5000".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "give a number from 0 to 100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        let ms = |text| time(text).map(|time| time.as_secs_f64() * 1e3).ok();
        assert_eq!(
            [ms("300ms"), ms("1.5s"), ms("2m"), ms("50us")],
            [Some(300.0), Some(1500.0), Some(120_000.0), Some(0.05)]
        );
        for wrong in ["", "5", "s", "-1s", "1 s", "0s", "1e9h", "x"] {
            assert_eq!(ms(wrong), None, "{wrong:?}");
        }
        assert_eq!(time_or_none("0"), Ok(Duration::ZERO));
    }
}
