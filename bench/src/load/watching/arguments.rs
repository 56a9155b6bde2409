//! What can be asked of watches on the command line.

use clap::Args;

use super::super::arguments::HowToRead;
use super::super::plan::Plan;
use super::stamp;
use crate::error::{Error, Result};

/// Watches: how many, on what.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watching {
    /// Streams that carry the watches, spread over the connections.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) streams: u32,
    /// Watches in all, spread over the streams.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) watchers: u32,
    /// Keys that are watched, and put to; in place of --key-space. Each watch has one of them.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) watched_keys: u32,
    /// Events bring what the key held before.
    #[arg(long)]
    pub(crate) prev_kv: bool,
}

/// Watches and puts.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    pub(crate) watching: Watching,
}

/// One watch or a few.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchLatencyArguments {
    /// Streams that carry the watches, spread over the connections.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    streams: u32,
    /// Watches in all, spread over the streams.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    watchers: u32,
    /// Keys that are watched, and put to; in place of --key-space. Each watch has one of them.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    watched_keys: u32,
    /// Events bring what the key held before.
    #[arg(long)]
    prev_kv: bool,
}

impl WatchLatencyArguments {
    /// Puts a second, where nothing else is asked for: few enough to see a single event's way.
    pub(crate) const RATE: f64 = 100.0;

    /// The same as for many.
    pub(crate) fn watching(&self) -> Watching {
        let WatchLatencyArguments { streams, watchers, watched_keys, prev_kv } = *self;
        Watching { streams, watchers, watched_keys, prev_kv }
    }
}

/// Reads, with watches beside them.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchGetArguments {
    #[command(flatten)]
    pub(crate) watching: Watching,
    /// First put so many events to each watched key. Watches then begin before them all, and begin again when they have caught
    /// up; without, they see nothing.
    #[arg(long, value_name = "EVENTS", default_value_t = 0)]
    pub(crate) history: u32,
    #[command(flatten)]
    pub(crate) how: HowToRead,
}

impl Watching {
    /// In words.
    pub(crate) fn details(&self) -> String {
        let Watching { streams, watchers, watched_keys, prev_kv } = self;
        let prev_kv = if *prev_kv { ", with prev-kv" } else { "" };
        let some = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (watchers, streams) = (some(*watchers, "watcher"), some(*streams, "stream"));
        format!("{watchers} on {streams}, {}{prev_kv}", some(*watched_keys, "watched key"))
    }

    /// # Errors
    /// [`Error::Usage`] when they contradict each other or the rest of the plan.
    pub(crate) fn check(&self, plan: &Plan) -> Result<()> {
        let Watching { streams, watchers, watched_keys, .. } = *self;
        let threads = plan.threads as u32;
        let complaint = if streams > watchers {
            format!(
                "--streams {streams} is more than --watchers {watchers}: some would carry nothing; give fewer"
            )
        } else if watched_keys > watchers {
            format!(
                "--watched-keys {watched_keys} is more than --watchers {watchers}: nobody would see some of them; give \
                 fewer, or more watchers"
            )
        } else if threads > streams.min(watched_keys) {
            format!(
                "--threads {threads} is more than there are streams or watched keys: each thread has its own; give at \
                 least as many"
            )
        } else if plan.value_sizes.least < stamp::BYTES {
            format!(
                "--value-size {} can't tell puts apart at the watches: give at least {}",
                plan.value_sizes,
                stamp::BYTES
            )
        } else {
            return Ok(());
        };
        Err(Error::Usage(complaint))
    }
}
