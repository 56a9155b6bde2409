//! What operators and probes ask: status, hashes, health.

mod hash;
mod health;
mod http;
mod service;

pub use hash::{Hashes, StoreSizes};
pub(crate) use health::{HealthWatch, check as health_check};

/// The version of etcd whose API this is.
pub const VERSION: &str = "3.7.1";
