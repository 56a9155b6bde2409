//! What only `lease` is asked.

use clap::Args;

/// Leases: granted, kept alive, revoked.
#[derive(Args, Clone, Debug)]
pub(crate) struct LeaseArguments {
    /// Seconds for which each is granted; servers do not grant for less than two or three.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(i64).range(2..=9_000_000_000))]
    pub(crate) ttl: i64,
    /// How often each is kept alive before it is revoked.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) keep_alives: u32,
    /// Keys put with each, which go with it when it is revoked.
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) keys_per_lease: u32,
}
