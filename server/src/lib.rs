//! A member: gRPC front end, etcd's semantics, watch, leases.

pub mod apply;
pub mod authorise;
pub mod cluster;
pub mod grpc;
pub mod http;
pub mod kv;
pub mod lease;
pub mod loops;
pub mod maintenance;
pub mod member;
mod memory;
pub mod metrics;
pub mod services;
pub mod upkeep;
pub mod watch;

mod config;
mod data_dir;
mod descriptors;
mod flags;
mod limits;
mod logging;
mod run;
mod scrape;
mod shell;
mod version;
mod wal_method;
mod wire;

pub use config::{Config, ConfigError, InitialMember, Listener, LogFormat};
pub use data_dir::{DataDir, DataDirError};
pub use descriptors::raise_limit as raise_descriptor_limit;
pub use flags::{FlagError, Flags, Parsed, help};
pub use logging::start as start_log;
pub use maintenance::VERSION as ETCD_VERSION;
pub use run::Server;
pub use version::version_text;
