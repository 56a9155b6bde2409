//! Leases: keys that live only as long as somebody says so.
//!
//! What must be the same on every member (which leases exist, which keys belong to them) is in the store and
//! changes through the log alone. When a lease expires is a matter of the leader's clock: the [`Lessor`] counts
//! down and proposes revocations.

mod deadlines;
mod keep_alive;
mod lessor;
mod service;

pub(crate) use deadlines::Renewal;
pub(crate) use keep_alive::KeepAlive;
pub use lessor::{Clock, ExpiredLease, Lessor};

/// Longest time to live that is granted, in seconds: 285 years.
pub(crate) const MAX_TTL_SECONDS: i64 = 9_000_000_000;
