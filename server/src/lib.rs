//! A member: gRPC front end, etcd's semantics, watch, leases.

pub mod grpc;
pub mod http;
pub mod loops;
pub mod metrics;

mod config;
mod data_dir;
mod flags;
mod limits;
mod logging;

pub use config::{Config, ConfigError, InitialMember, Listener, LogFormat};
pub use data_dir::{DataDir, DataDirError};
pub use flags::{FlagError, Flags, Parsed};
pub use logging::start as start_log;
