//! What is going to be done: the command line, checked.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use measure::check_outputs;

use super::arguments::{HowToRead, LoadArguments, MixedArguments, RangeArguments, Which};
use super::keys::{Shape, Spread};
use super::kubernetes::Cluster;
use super::lease::LeaseLoad;
use super::process::Process;
use super::snapshot::{SnapshotArguments, SnapshotLoad};
use super::stm::{Isolation, StmArguments, StmLoad};
use super::values::Sizes;
use super::watching::Watching;
use super::workload::What;
use crate::client::{Credentials, Target};
use crate::error::{Error, Result};
use crate::prefix;

/// Requests outstanding in an open loop, unless told otherwise: more than a server that keeps up ever has.
const OPEN_CLIENTS: usize = 10_000;
const DURATION: Duration = Duration::from_secs(10);
const KEY_BYTES: usize = 16;
const KEY_SPACE: u64 = 100_000;

/// Which load, and what only it needs to know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Put,
    Range(What),
    TxnPut {
        operations: u64,
    },
    TxnMixed {
        operations: u64,
        /// 0 to 1.
        reads: f64,
        what: What,
    },
    Mixed {
        /// 0 to 1.
        reads: f64,
        what: What,
    },
    Lease(LeaseLoad),
    Stm(StmLoad),
    Snapshot(SnapshotLoad),
    Watch(Watching),
    WatchLatency(Watching),
    WatchGet {
        watching: Watching,
        /// Events of each watched key before watches begin.
        history: u32,
        what: What,
    },
    Kubernetes(Cluster),
}

impl Kind {
    /// The name of one that is made of streams.
    pub(crate) const SNAPSHOT: &'static str = "snapshot";
    /// The name of the one that has keys and values of its own.
    pub(crate) const KUBERNETES: &'static str = "kubernetes";

    /// As the command line knows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Range(_) => "range",
            Kind::TxnPut { .. } => "txn-put",
            Kind::TxnMixed { .. } => "txn-mixed",
            Kind::Mixed { .. } => "mixed",
            Kind::Lease(_) => "lease",
            Kind::Stm(_) => "stm",
            Kind::Snapshot(_) => Kind::SNAPSHOT,
            Kind::Watch(_) => "watch",
            Kind::WatchLatency(_) => "watch-latency",
            Kind::WatchGet { .. } => "watch-get",
            Kind::Kubernetes(_) => Kind::KUBERNETES,
        }
    }

    /// What throughput is told in.
    pub(crate) fn counted(&self) -> &'static str {
        match self {
            Kind::Stm(_) => "transactions",
            Kind::Snapshot(_) => "snapshots",
            Kind::Watch(_) | Kind::WatchLatency(_) => "events",
            _ => "requests",
        }
    }

    /// What only this load has, in words.
    pub(crate) fn details(&self) -> String {
        let reads = |reads: f64| format!("{} reads", measure::units::percent(reads));
        let operations = |count: u64| format!("{count} operation{} each", if count == 1 { "" } else { "s" });
        let (mut words, what) = match self {
            Kind::Put => (Vec::new(), None),
            Kind::Range(what) => (Vec::new(), Some(what)),
            Kind::TxnPut { operations: count } => (vec![operations(*count)], None),
            Kind::TxnMixed { operations: count, reads: share, what } => {
                (vec![operations(*count), reads(*share)], Some(what))
            }
            Kind::Mixed { reads: share, what } => (vec![reads(*share)], Some(what)),
            Kind::Lease(load) => (load.details(), None),
            Kind::Stm(load) => (load.details(), None),
            Kind::Snapshot(load) => (load.details(), None),
            Kind::Watch(watching) | Kind::WatchLatency(watching) => (vec![watching.details()], None),
            Kind::WatchGet { watching, history, what } => {
                let behind = (*history > 0).then(|| format!("{history} events behind"));
                ([watching.details()].into_iter().chain(behind).collect(), Some(what))
            }
            Kind::Kubernetes(cluster) => (vec![cluster.details()], None),
        };
        if let Some(what) = what {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
            match &what.fixed {
                Some((key, end)) if end.is_empty() => words.push(format!("key {}", text(key))),
                Some((key, end)) => words.push(format!("keys from {} to {}", text(key), text(end))),
                None => {}
            }
            if what.limit > 0 {
                words.push(format!("limit {}", what.limit));
            }
            let flags = [
                (what.serializable, "serializable"),
                (what.count_only, "count only"),
                (what.keys_only, "keys only"),
            ];
            words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()));
        }
        words.join(", ")
    }

    /// How many keys it puts to, where it says that itself.
    fn key_space(&self) -> Option<u64> {
        match self {
            Kind::Watch(watching) | Kind::WatchLatency(watching) => Some(watching.watched_keys.into()),
            _ => None,
        }
    }

    /// Puts in one transaction, which need as many different keys.
    fn operations(&self) -> u64 {
        match self {
            Kind::TxnPut { operations } | Kind::TxnMixed { operations, .. } => *operations,
            Kind::Stm(StmLoad { keys, .. }) => *keys,
            _ => 1,
        }
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As soon as the one before is answered.
    Closed,
    /// So many a second, at random moments or evenly.
    Open { per_second: f64, is_fixed: bool },
}

/// When it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Total(u64),
    After(Duration),
}

/// Everything about a load.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) process: Option<Process>,
    pub(crate) client: Which,
    pub(crate) threads: usize,
    pub(crate) connections: usize,
    pub(crate) clients: usize,
    pub(crate) pace: Pace,
    pub(crate) end: End,
    pub(crate) warm_up: Duration,
    pub(crate) shape: Shape,
    pub(crate) key_size: usize,
    pub(crate) key_space: u64,
    pub(crate) spread: Spread,
    pub(crate) value_sizes: Sizes,
    pub(crate) seed: u64,
    pub(crate) fills: bool,
    pub(crate) files: Files,
}

/// Where results go besides the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) hdr: Option<PathBuf>,
}

fn usage<T>(what: impl Display) -> Result<T> {
    Err(Error::Usage(what.to_string()))
}

impl Plan {
    /// # Errors
    /// [`Error::Usage`] when the arguments contradict each other.
    pub(crate) fn new(kind: Kind, arguments: &LoadArguments, fills: bool) -> Result<Plan> {
        let connections = arguments.connections as usize;
        let pace = match (&kind, arguments.rate) {
            (Kind::Kubernetes(cluster), _) => cluster.pace(),
            (_, Some(per_second)) => Pace::Open { per_second, is_fixed: arguments.fixed },
            (_, None) => Pace::Closed,
        };
        let clients = match (arguments.clients, pace) {
            (Some(clients), _) => clients as usize,
            (None, Pace::Closed) => connections,
            (None, Pace::Open { .. }) => OPEN_CLIENTS.max(connections),
        };
        if clients < connections {
            return usage(format_args!(
                "--connections {connections} is more than --clients {clients}: some would never be used; give at least \
                 as many clients"
            ));
        }
        let threads = arguments.threads as usize;
        if threads > connections {
            return usage(format_args!(
                "--threads {threads} is more than --connections {connections}: a connection belongs to one thread"
            ));
        }
        if kind.key_space().is_some() && arguments.key_space.is_some() {
            return usage("--key-space is not for watches: give --watched-keys");
        }
        let key_space = kind.key_space().or(arguments.key_space).unwrap_or(KEY_SPACE);
        let operations = kind.operations();
        if operations > key_space {
            return usage(format_args!(
                "--operations {operations} needs as many different keys: raise --key-space {key_space}"
            ));
        }
        if arguments.keys == Shape::Kubernetes && arguments.key_size.is_some() {
            return usage(
                "--key-size does not go with --keys kubernetes, whose names have a length of their own",
            );
        }
        let key_size = arguments.key_size.map_or(KEY_BYTES, |size| size as usize);
        let least = Shape::least_bytes(key_space);
        if key_size < least {
            return usage(format_args!(
                "--key-size {key_size} can't tell {key_space} keys apart: give at least {least}, or a smaller --key-space"
            ));
        }
        let end = match (arguments.total, arguments.duration) {
            (Some(total), _) => End::Total(total),
            (None, duration) => End::After(duration.unwrap_or(DURATION)),
        };
        let files =
            Files { json: arguments.json.clone(), html: arguments.html.clone(), hdr: arguments.hdr.clone() };
        files.check()?;
        let plan = Plan {
            kind,
            target: arguments.servers.target()?,
            credentials: arguments.servers.credentials()?,
            process: arguments.pid.map(Process::find).transpose()?,
            client: arguments.client,
            threads,
            connections,
            clients,
            pace,
            end,
            warm_up: arguments.warm_up,
            shape: arguments.keys,
            key_size,
            key_space,
            spread: arguments.distribution,
            value_sizes: arguments.value_size,
            seed: arguments.seed,
            fills,
            files,
        };
        if let Some(process) = plan.process {
            let ports: Vec<u16> = plan.target.endpoints.iter().map(|endpoint| endpoint.port).collect();
            process.check_listens(&ports)?;
        }
        match &plan.kind {
            Kind::Watch(watching) | Kind::WatchLatency(watching) | Kind::WatchGet { watching, .. } => {
                watching.check(&plan)?;
            }
            Kind::Kubernetes(cluster) => cluster.check(&plan, arguments)?,
            _ => {}
        }
        Ok(plan)
    }
}

impl Plan {
    /// `stm`, whose keys are fewer.
    ///
    /// # Errors
    /// [`Error::Usage`] when the arguments contradict each other.
    pub(crate) fn stm(own: &StmArguments, arguments: &LoadArguments) -> Result<Plan> {
        let StmArguments { isolation, keys_per_txn: keys, txn_keyspace, verify } = *own;
        if arguments.key_space.is_some() {
            return usage("--key-space is not for transactions: give --txn-keyspace");
        }
        if keys > txn_keyspace {
            return usage(format_args!(
                "--keys-per-txn {keys} needs as many different keys: raise --txn-keyspace {txn_keyspace}"
            ));
        }
        if verify && isolation == Isolation::ReadCommitted {
            return usage(
                "--verify does not go with --isolation read-committed, which loses updates by design",
            );
        }
        let arguments = LoadArguments { key_space: Some(txn_keyspace), ..arguments.clone() };
        Plan::new(Kind::Stm(StmLoad { isolation, keys, verify }), &arguments, false)
    }

    /// `snapshot`, whose connections, clients and rate are those of the puts beside it.
    ///
    /// # Errors
    /// [`Error::Usage`] when the arguments contradict each other.
    pub(crate) fn snapshot(own: &SnapshotArguments, arguments: &LoadArguments) -> Result<Plan> {
        if arguments.rate.is_some() {
            return usage(
                "--rate does not go with snapshots, which follow each other: for puts beside them give --puts",
            );
        }
        if arguments.threads > 1 {
            return usage("--threads does not go with snapshots, which are read on one: leave it out");
        }
        let arguments = LoadArguments { rate: own.puts, ..arguments.clone() };
        let plan = Plan::new(Kind::Snapshot(SnapshotLoad::new(own)), &arguments, false)?;
        match plan.end {
            End::Total(_) if own.puts.is_some() => {
                usage("--total does not go with --puts, which need an end: give --duration")
            }
            End::After(duration) if own.puts.is_some() && own.alone >= duration => {
                usage("--alone leaves no time for snapshots: give a longer --duration")
            }
            // A thread for the snapshots, and one for the puts.
            _ => Ok(Plan { threads: 1 + usize::from(own.puts.is_some()), ..plan }),
        }
    }

    /// How much of something falls to one of the threads.
    pub(crate) fn share(&self, thread: usize, all: usize) -> usize {
        all / self.threads + usize::from(thread < all % self.threads)
    }

    /// Those of snapshots as well.
    pub(crate) fn all_connections(&self) -> usize {
        match &self.kind {
            Kind::Snapshot(SnapshotLoad { streams, puts: None, .. }) => *streams,
            Kind::Snapshot(SnapshotLoad { streams, .. }) => streams + self.connections,
            _ => self.connections,
        }
    }

    /// How long keys are.
    pub(crate) fn key_bytes(&self) -> usize {
        let mut key = Vec::new();
        self.shape.write(0, self.key_size, &mut key);
        key.len()
    }
}

impl Files {
    /// Finds out before the measurement, and not after it, that a file can't be written.
    fn check(&self) -> Result<()> {
        let asked = [("--json", &self.json), ("--html", &self.html), ("--hdr", &self.hdr)];
        Ok(check_outputs(asked.map(|(option, path)| (option, path.as_deref())))?)
    }
}

/// What a `range` reads.
pub(crate) fn what(arguments: &RangeArguments) -> Result<What> {
    let fixed = arguments.key.as_ref().map(|key| {
        let key = key.as_bytes().to_vec();
        let end = match &arguments.range_end {
            Some(end) => end.as_bytes().to_vec(),
            None if arguments.prefix => prefix::end_of(&key),
            None => Vec::new(),
        };
        (key, end)
    });
    match &fixed {
        Some((key, _)) if key.is_empty() && !arguments.prefix => {
            return usage("an empty KEY needs --prefix: it is every key then");
        }
        Some((key, end)) if !end.is_empty() && *end != [0] && end <= key => {
            return usage("the range ends before it begins: give KEY and then a larger RANGE_END");
        }
        Some(_) if arguments.how.fill => {
            return usage("--fill puts the key space, but KEY reads something else; leave one out");
        }
        _ => {}
    }
    // Every key there is begins behind the empty one.
    let fixed = fixed.map(|(key, end)| if key.is_empty() { (vec![0], end) } else { (key, end) });
    Ok(What { fixed, ..how(&arguments.how) })
}

/// What is read where nothing says which keys: single ones.
pub(crate) fn how(arguments: &HowToRead) -> What {
    let HowToRead { limit, serializable, count_only, keys_only, fill: _ } = *arguments;
    What { fixed: None, limit, serializable, count_only, keys_only }
}

/// What `mixed` reads, and how often.
pub(crate) fn reads(arguments: &MixedArguments) -> Result<(f64, What)> {
    Ok((arguments.reads / 100.0, what(&arguments.range)?))
}
