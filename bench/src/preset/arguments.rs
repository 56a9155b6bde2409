//! What can be asked for on the command line, and etcd's numbers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use measure::check_outputs;

use super::document::Document;
use crate::client::{Servers, Target, log_in};
use crate::error::{Error, Result};
use crate::load::Server;
use crate::report::{write_json, write_page};

/// A size of cluster, as etcd names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// small
    #[value(alias = "small")]
    S,
    /// medium
    #[value(alias = "medium")]
    M,
    /// large
    #[value(alias = "large")]
    L,
    /// extra large
    #[value(alias = "xLarge")]
    Xl,
}

/// Puts at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Perf {
    pub(super) per_second: u32,
    pub(super) clients: usize,
}

/// Puts as fast as they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datascale {
    pub(super) keys: u64,
    pub(super) clients: usize,
}

impl Size {
    /// As the command line knows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Size::S => "s",
            Size::M => "m",
            Size::L => "l",
            Size::Xl => "xl",
        }
    }

    pub(super) fn perf(self) -> Perf {
        let (per_second, clients) = match self {
            Size::S => (150, 50),
            Size::M => (1_000, 200),
            Size::L => (8_000, 500),
            Size::Xl => (15_000, 1_000),
        };
        Perf { per_second, clients }
    }

    pub(super) fn datascale(self) -> Datascale {
        let (keys, clients) = match self {
            Size::S => (10_000, 50),
            Size::M => (100_000, 200),
            Size::L => (1_000_000, 500),
            Size::Xl => (3_000_000, 1_000),
        };
        Datascale { keys, clients }
    }
}

/// The server, and what is done behind a check.
#[derive(Args, Clone, Debug)]
pub(crate) struct Shared {
    /// The size whose load it is to carry.
    #[arg(long, value_enum, default_value_t = Size::S)]
    pub(super) load: Size,
    /// Compact the history behind it.
    #[arg(long)]
    pub(super) auto_compact: bool,
    /// Defragment every endpoint behind it.
    #[arg(long)]
    pub(super) auto_defrag: bool,
    #[command(flatten)]
    servers: Servers,
    /// Write everything that was measured to FILE.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with pictures to FILE.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `graven-bench perf`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PerfArguments {
    #[command(flatten)]
    pub(super) shared: Shared,
    /// Where its keys go.
    #[arg(long, default_value = "/etcdctl-check-perf/")]
    pub(super) prefix: String,
    /// Seconds; with other than etcd's 60 it is another check.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) duration: u64,
}

/// `graven-bench datascale`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DatascaleArguments {
    #[command(flatten)]
    pub(super) shared: Shared,
    /// Where its keys go.
    #[arg(long, default_value = "/etcdctl-check-datascale/")]
    pub(super) prefix: String,
    /// Another number of keys than the load has; then it is another check.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) keys: Option<u64>,
}

impl PerfArguments {
    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }
}

impl Shared {
    /// Writes the files asked for.
    pub(super) fn write(&self, document: &Document) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(document, path))?;
        self.html.as_deref().map_or(Ok(()), |path| write_page(document, path))
    }

    /// Finds the servers and makes sure that they are etcds, and that files can be written.
    pub(super) fn target(&self) -> Result<(Target, Server)> {
        check_outputs([("--json", self.json.as_deref()), ("--html", self.html.as_deref())])?;
        let mut target = self.servers.target()?;
        let version = log_in(&mut target, self.servers.credentials()?.as_ref())?;
        let endpoints = (0..target.endpoints.len()).map(|at| target.name(at)).collect();
        let tls = target.tls.is_some();
        Ok((target, Server { endpoints, version, tls }))
    }
}

/// An empty prefix would delete everything there is.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() {
        return Err(Error::Usage("--prefix is empty; give one that nothing else uses".to_owned()));
    }
    Ok(())
}
