//! What only `snapshot` is asked.

use std::time::Duration;

use clap::Args;

use super::super::arguments::{rate, time_or_none};

/// Snapshots streamed, beside puts if asked for.
#[derive(Args, Clone, Debug)]
pub(crate) struct SnapshotArguments {
    /// Snapshots at the same time, each on a connection of its own; where one ends, the next begins.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) streams: u32,
    /// Puts beside them, so many a second, on --connections of their own: shows what they suffer.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub(crate) puts: Option<f64>,
    /// With --puts: for so long the puts are alone, before the first snapshot begins.
    #[arg(long, value_name = "TIME", value_parser = time_or_none, default_value = "3s")]
    pub(crate) alone: Duration,
}
