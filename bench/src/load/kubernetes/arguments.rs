//! How large the cluster is.

use std::time::Duration;

use clap::Args;
use measure::units;

use super::super::arguments::{LoadArguments, time};
use super::super::plan::{Pace, Plan};
use super::kind;
use crate::error::{Error, Result};

/// A cluster and its pace.
#[derive(Args, Clone, Debug, PartialEq)]
pub(crate) struct Cluster {
    /// Nodes, each with a Lease that is renewed every 10 s.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) nodes: u32,
    /// Pods there are, for each node. They are put there before anything is measured.
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) pods_per_node: u32,
    /// Everything so many times as often as in such a cluster.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    pub(crate) speed: f64,
    /// How long Events are kept.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub(crate) event_ttl: Duration,
    /// How often what is older than the last time is compacted.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub(crate) compact_every: Duration,
    /// Objects on a page of a list.
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) page: u32,
    /// What all keys begin with. Nothing may be there yet; what is put there is deleted at the end.
    #[arg(long, value_name = "KEY", default_value = "/registry")]
    pub(crate) prefix: String,
}

/// The cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct KubernetesArguments {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

fn factor(text: &str) -> std::result::Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (1e-3..=1e6).contains(factor));
    factor.ok_or_else(|| "give how many times as fast, as 10".to_owned())
}

/// A kubelet's `nodeLeaseDurationSeconds` of 40 s, a quarter of which is how often it renews.
const RENEWAL_SECONDS: f64 = 10.0;
/// A kubelet's `nodeStatusReportFrequency`.
const STATUS_SECONDS: f64 = 300.0;
/// Pods created in a second, for each node.
const CHURN: f64 = 0.004;
const UPDATES: f64 = 5.0;
const EVENTS: f64 = 6.0;
/// Of the whole cluster, in a second.
const LISTS: f64 = 0.5;
/// Each kind of object once a minute.
const COUNTS: f64 = 4.0 / 60.0;

impl Cluster {
    /// How often each kind of request comes, in a second; by their order in [`kind::NAMES`].
    pub(super) fn rates(&self) -> [f64; 8] {
        let nodes = f64::from(self.nodes);
        let churn = nodes * CHURN;
        let mut rates = [0.0; 8];
        rates[kind::RENEWAL] = nodes / RENEWAL_SECONDS;
        rates[kind::STATUS] = nodes / STATUS_SECONDS;
        rates[kind::CREATE] = churn;
        rates[kind::UPDATE] = churn * UPDATES;
        rates[kind::DELETE] = churn;
        rates[kind::EVENT] = churn * EVENTS;
        rates[kind::LIST] = LISTS;
        rates[kind::COUNT] = COUNTS;
        rates.map(|rate| rate * self.speed)
    }

    /// All of them.
    pub(crate) fn pace(&self) -> Pace {
        Pace::Open { per_second: self.rates().iter().sum(), is_fixed: false }
    }

    /// In words.
    pub(crate) fn details(&self) -> String {
        let Cluster { nodes, pods_per_node, speed, .. } = self;
        let pods = units::number(f64::from(*nodes) * f64::from(*pods_per_node));
        format!("{} nodes, {pods} pods, speed {}", units::number(f64::from(*nodes)), units::number(*speed))
    }

    /// # Errors
    /// [`Error::Usage`] when the rest of the plan contradicts it.
    pub(crate) fn check(&self, plan: &Plan, arguments: &LoadArguments) -> Result<()> {
        let complaint = if arguments.rate.is_some() {
            "--rate does not go with kubernetes, whose rates follow from --nodes: give --speed"
        } else if arguments.key_space.is_some() || arguments.key_size.is_some() {
            "--key-space and --key-size do not go with kubernetes, whose keys are those of its objects: give --nodes"
        } else if plan.threads > 1 {
            "--threads does not go with kubernetes: its watches see what all of it writes; leave it out"
        } else if !self.prefix.starts_with('/') || self.prefix.len() < 2 || self.prefix.ends_with('/') {
            "--prefix wants something like /registry"
        } else {
            return Ok(());
        };
        Err(Error::Usage(complaint.to_owned()))
    }
}
