//! A member put together: storage, log, state machine, services, listeners, in the order in which they can start, and
//! taken apart in the opposite one.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use api::etcdserverpb::ResponseHeader;
use api::graven::MemberRecord;
use api::membershippb::Attributes;
use replication::{Bootstrap, Driver, Identity, Opening, StateMachine as _};
use tracing::{error, info, warn};

use crate::apply::{FailStop, Machine, Parts};
use crate::cluster::{self, Members};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::descriptors;
use crate::kv::RequestIds;
use crate::lease::{Clock, Lessor};
use crate::limits::{GRPC_OVERHEAD_BYTES, batch_bytes};
use crate::loops::{self, Loops, Serves};
use crate::maintenance::{Hashes, StoreSizes, VERSION};
use crate::member::{RequestLimits, Shared};
use crate::metrics::Metrics;
use crate::scrape;
use crate::services::{Errands, HubSink, Member};
use crate::shell::{PEER, Shell};
use crate::upkeep::{
    CheckpointPolicy, Defragments, Gauge, LONG_VIEW, OnStall, ScrubParts, Upkeep, UpkeepParts, Watchdog,
};
use crate::wal_method;
use crate::watch::{Hub, WatchOptions};

/// How long a member may take, once its log is read, to apply the rest and become the leader of itself.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Longer than any member runs, and short enough to be added to a time.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A running member.
pub struct Server {
    // In the order in which they must end.
    loops: Loops,
    errands: Errands,
    driver: Driver<Machine>,
    watchdog: Option<Watchdog>,
    defragments: Arc<Defragments>,
    grace: Duration,
    client_addresses: Vec<SocketAddr>,
    _data_dir: DataDir,
}

impl Server {
    /// Opens the data directory, replays the log and serves.
    pub fn start(config: &Config) -> Result<Server> {
        // Sockets first: an address in use is found before anything is touched.
        let client_sockets = bind(config, &config.client_listeners)?;
        let peer_sockets = bind(config, &config.peer_listeners)?;
        let data_dir = DataDir::open(&config.data_dir, config.wal_dir.as_deref())?;
        let fail_stop: FailStop = Arc::new(|error| fail(error));
        let metrics = Arc::new(Metrics::new(config.loops, VERSION));
        let io: Arc<dyn wal::Io> = Arc::new(wal::OsIo::new());
        let mut log_config = replication_config(config, &data_dir);
        log_config.wal.method = wal_method::choose(
            &config.wal_method,
            data_dir.wal_dir(),
            &data_dir.wal_method_file(),
            &*io,
            &metrics.wal_probe_median_seconds,
        );
        let log_watch = log_config.wal.watch.clone();
        let (store, opening) = open_storage(&log_config, Arc::clone(&io), &data_dir)?;
        let reader = store.reader();
        let applied = store.applied();
        let Identity { cluster_id, member_id } = opening.identity();
        let opening = refuse_foreign_engine(&store, opening, &data_dir)?;
        if let Some(reason) = store.opened().fell_back {
            warn!(
                path = %data_dir.engine_file().display(),
                generation = store.opened().generation,
                reason,
                "one of the two states in the database can't be read; opened the other"
            );
        }
        info!(
            member_id = %format_args!("{member_id:x}"),
            cluster_id = %format_args!("{cluster_id:x}"),
            applied_index = applied.index,
            revision = store.revision(),
            "opened data directory"
        );

        let prepared = Loops::prepare(config.loops);
        let clock: Clock = Arc::new(Instant::now);
        let lessor = Arc::new(Lessor::new(Arc::clone(&clock), config.election));
        let (members, hashes, sizes) =
            (Members::default(), Arc::new(Hashes::default()), Arc::new(StoreSizes::default()));
        let terms = Arc::new(std::sync::OnceLock::<replication::Status>::new());
        let term_of = Arc::clone(&terms);
        let header = move |revision| ResponseHeader {
            cluster_id,
            member_id,
            revision,
            raft_term: term_of.get().map_or(0, replication::Status::term),
        };
        let options = WatchOptions {
            progress_interval: config.progress_interval,
            fragment_bytes: config.max_request_bytes + GRPC_OVERHEAD_BYTES,
        };
        let hub = Arc::new(Hub::new(reader.clone(), prepared.inbox(), Box::new(header), options));
        let gauge = Arc::new(Gauge::default());
        let defragments = Arc::new(Defragments::new(prepared.completions()));
        let upkeep = Upkeep::start(UpkeepParts {
            checkpoints: CheckpointPolicy {
                dirty_bytes: config.checkpoint_bytes,
                entries: config.snapshot_count,
                ..CheckpointPolicy::default()
            },
            auto_defragment: config.auto_defragment,
            scrub: config.scrub_interval.map(|interval| ScrubParts {
                interval,
                reader: reader.clone(),
                log: wal::Scrub::new(data_dir.wal_dir(), io, log_watch.clone()),
                sizes: Arc::clone(&sizes),
            }),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            gauge: Arc::clone(&gauge),
            defragments: Arc::clone(&defragments),
            long_view: LONG_VIEW,
            events: Arc::new(|_| {}),
        })
        .context("no thread for upkeep")?;
        let mut machine = Machine::new(
            store,
            Parts {
                cluster_id,
                member_id,
                completions: prepared.completions(),
                events: Box::new(HubSink(Arc::clone(&hub))),
                lessor: Arc::clone(&lessor),
                members: members.clone(),
                hashes: Arc::clone(&hashes),
                sizes: Arc::clone(&sizes),
                metrics: Arc::clone(&metrics),
                upkeep,
                fail_stop: Arc::clone(&fail_stop),
            },
        )?;
        let begun = Instant::now();
        let log = opening.replay(&mut machine).map_err(|error| name_both(error, &data_dir))?;
        info!(
            entries = machine.applied().index - applied.index,
            proposals = log.replayed(),
            applied_index = machine.applied().index,
            took = ?begun.elapsed(),
            "read the log and applied what it calls committed"
        );
        let watchdog = start_watchdog(config, log_watch, clock, &metrics)?;
        let driver = replication::start_with(log_config, log, machine, Box::new(replication::NoPeers))
            .map_err(|error| name_both(error, &data_dir))?;
        terms.set(driver.status().clone()).expect("set once, here");

        let shared = Shared {
            cluster_id,
            member_id,
            limits: RequestLimits::new(config.max_request_bytes, config.max_txn_ops, config.election),
            ids: RequestIds::new(member_id, since_epoch()),
            reader: reader.clone(),
            proposer: driver.proposer().clone(),
            reads: driver.reads().clone(),
            status: driver.status().clone(),
            lessor,
            members: members.clone(),
            hashes,
            sizes: Arc::clone(&sizes),
            quota_bytes: config.quota_bytes,
            memory: gauge,
            defragments: Arc::clone(&defragments),
            metrics: Arc::clone(&metrics),
            hub: Arc::clone(&hub),
            completions: prepared.completions(),
            inbox: prepared.inbox(),
            fail_stop,
        };
        let member = Member::new(shared);
        let attributes =
            Attributes { name: config.name.clone(), client_urls: config.advertise_client_urls.clone() };
        let errands = member.start_errands(attributes)?;
        wait_until_ready(driver.status(), &members, member_id, &config.name)?;
        let facts = scrape::Facts { member_id, quota_bytes: config.quota_bytes };
        scrape::connect(&metrics, facts, driver.status().clone(), reader, sizes, hub, members.clone());
        info!("published local member to cluster through raft");

        let client_addresses = client_sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let listeners = client_sockets
            .into_iter()
            .map(|socket| loops::Listener { socket, serves: Serves::EVERYTHING })
            .chain(peer_sockets.into_iter().map(|socket| loops::Listener { socket, serves: PEER }))
            .collect();
        let shell = Shell { member, metrics: Arc::clone(&metrics), members };
        let loops = prepared.start(loop_options(config), listeners, Arc::new(shell), metrics)?;
        let server = Server {
            loops,
            errands,
            driver,
            watchdog,
            defragments,
            grace: Duration::from_secs(5) + 2 * config.election,
            client_addresses,
            _data_dir: data_dir,
        };
        info!("ready to serve client requests");
        for address in &server.client_addresses {
            warn!(
                traffic = "grpc+http",
                address = %address,
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        }
        Ok(server)
    }

    /// Where clients connect, with the ports that were chosen.
    pub fn client_addresses(&self) -> &[SocketAddr] {
        &self.client_addresses
    }

    /// Lets requests in progress end, then closes the log and the engine.
    pub fn stop(self) -> Result<()> {
        info!("closing etcd server");
        // May take minutes, and nobody is to wait for it now.
        self.defragments.close();
        self.loops.stop(self.grace);
        drop(self.errands);
        self.driver.stop()?;
        drop(self.watchdog);
        info!("closed etcd server");
        Ok(())
    }
}

/// Watches the log's disk, unless the flag says not to.
fn start_watchdog(
    config: &Config,
    log: wal::Watch,
    clock: Clock,
    metrics: &Metrics,
) -> Result<Option<Watchdog>> {
    let Some(limit) = config.disk_stall_warning else { return Ok(None) };
    // A cluster would hand over leadership here; alone there is nobody to hand over to.
    let on_stall: OnStall = Arc::new(|_| {});
    let watchdog = Watchdog::start(log, limit, clock, metrics.disk_stalls_total.clone(), on_stall);
    Ok(Some(watchdog.context("no thread for the watchdog")?))
}

/// Opens the engine, and finds the log, or makes both. The log is made first: an engine file without a log is never a
/// beginning, but what is left of a member whose log is gone, and with it what was acknowledged since the last
/// checkpoint.
///
/// Of what is refused, state and entries are left as they are. Opening an engine file that holds a state writes
/// nothing, and neither does the replay of the log, so that such a file is opened before the log is verified; any other
/// file is touched afterwards. A sound log may have its spare segments put in order although its state is refused.
fn open_storage(
    log_config: &replication::Config,
    io: Arc<dyn wal::Io>,
    data_dir: &DataDir,
) -> Result<(engine::Store, Opening)> {
    let path = data_dir.engine_file();
    let cannot_open = || format!("cannot open {}", path.display());
    let has_log = wal::exists(data_dir.wal_dir(), &*io)
        .with_context(|| format!("cannot list {}", data_dir.wal_dir().display()))?;
    let applied = match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => engine::Applied::default(),
        Err(error) => return Err(error).with_context(cannot_open),
        Ok(_) if !has_log => bail!(
            "{} is there, but {} holds no log: the member's state is incomplete; restore the log or start from an empty directory",
            path.display(),
            data_dir.wal_dir().display()
        ),
        Ok(_) => {
            let file = engine::OsFile::open_read_only(&path).with_context(cannot_open)?;
            engine::applied(&file).with_context(cannot_open)?
        }
    };
    let applied = replication::Position { index: applied.index, term: applied.term };
    let mut opening = Opening::begin(log_config, io, applied)?;
    if applied.index == 0 {
        opening = opening.verify().map_err(|error| name_both(error, data_dir))?;
    }
    let file = engine::OsFile::open(&path).with_context(cannot_open)?;
    data_dir.sync_entries()?;
    info!(path = %path.display(), direct_io = file.is_direct(), "opened the database's file");
    let store = engine::Store::open(Arc::new(file), engine::Options::default()).with_context(cannot_open)?;
    Ok((store, opening))
}

/// Where log and state do not belong together, or one of them holds what is not understood, it is said which.
fn name_both(error: replication::Error, data_dir: &DataDir) -> anyhow::Error {
    use replication::Error::{LogBehindCommit, LogBehindState, Malformed, StateBehindLog, TermMismatch};
    let disagree = matches!(
        error,
        LogBehindCommit { .. }
            | LogBehindState { .. }
            | Malformed { .. }
            | StateBehindLog { .. }
            | TermMismatch { .. }
    );
    let error = anyhow::Error::from(error);
    match disagree {
        true => error.context(format!(
            "{} and {}",
            data_dir.engine_file().display(),
            data_dir.wal_dir().display()
        )),
        false => error,
    }
}

/// Log and engine must be of one member: after the first applied entry the engine knows who that is.
fn refuse_foreign_engine(store: &engine::Store, opening: Opening, data_dir: &DataDir) -> Result<Opening> {
    let member_id = opening.identity().member_id;
    let known = store.system_get(engine::SystemBucket::Members, &member_id.to_be_bytes())?;
    if store.applied().index > 0 && known.is_none() {
        // A log with a strange segment among its own is damaged, and is told so.
        opening.verify().map_err(|error| name_both(error, data_dir))?;
        bail!(
            "{} does not know member {member_id:x}, whose log is in {}: they do not belong together",
            data_dir.engine_file().display(),
            data_dir.wal_dir().display()
        );
    }
    Ok(opening)
}

/// Storage can't be trusted any more: nothing may be acknowledged from here on, so the process ends.
fn fail(error: &dyn std::error::Error) -> ! {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    error!(error = %reason, "storage failed; the member stops");
    std::process::exit(1);
}

fn bind(config: &Config, listeners: &[crate::config::Listener]) -> Result<Vec<TcpListener>> {
    listeners
        .iter()
        .map(|listener| {
            let domain = socket2::Domain::for_address(listener.address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            // Go's listeners always set it, flag or not, so that a member can start right after it stopped.
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(config.reuse_port)?;
            socket.bind(&listener.address.into())?;
            socket.listen(4096)?;
            Ok(TcpListener::from(socket))
        })
        .zip(listeners)
        .map(|(bound, listener)| {
            bound.map_err(|error: std::io::Error| {
                let address = listener.address;
                anyhow::Error::from(error).context(format!("listen tcp {address}: bind"))
            })
        })
        .collect()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn replication_config(config: &Config, data_dir: &DataDir) -> replication::Config {
    let ids = |member: &crate::config::InitialMember| {
        cluster::member_id(&member.peer_urls, &config.initial_cluster_token, None)
    };
    let member_ids: Vec<u64> = config.initial_cluster.iter().map(ids).collect();
    let own = config.initial_cluster.iter().position(|member| member.name == config.name);
    let own = own.expect("the configuration was checked to name this member");
    let initial = config.initial_cluster.iter().zip(&member_ids).map(|(member, id)| {
        let record = MemberRecord {
            id: *id,
            name: String::new(),
            peer_urls: member.peer_urls.clone(),
            client_urls: Vec::new(),
            is_learner: false,
        };
        replication::InitialMember { id: *id, context: cluster::context_of(&record) }
    });
    let identity = Identity { cluster_id: cluster::cluster_id(&member_ids), member_id: member_ids[own] };
    let log_failed: replication::FailStop = Arc::new(|error| fail(error));
    let mut replicated = replication::Config::new(
        identity,
        Bootstrap::New(initial.collect()),
        data_dir.wal_dir().to_owned(),
        since_epoch().as_nanos() as u64,
        log_failed,
    );
    replicated.tick = config.heartbeat;
    replicated.election_ticks = (config.election.as_millis() / config.heartbeat.as_millis()).max(2) as usize;
    replicated.limits.proposal_bytes = config.max_request_bytes;
    replicated.limits.catch_up_entries = config.catch_up_entries;
    replicated.limits.batch_bytes = batch_bytes(config.segment_bytes);
    replicated.wal.segment_bytes = config.segment_bytes;
    replicated
}

fn loop_options(config: &Config) -> loops::Options {
    loops::Options {
        max_receive_bytes: config.max_request_bytes + GRPC_OVERHEAD_BYTES,
        max_concurrent_streams: config.max_concurrent_streams,
        keepalive_interval: config.keepalive_interval.unwrap_or(NEVER),
        keepalive_timeout: config.keepalive_timeout.unwrap_or(NEVER),
        keepalive_min_time: config.keepalive_min_time,
        max_connections: descriptors::for_connections(),
        ..loops::Options::default()
    }
}

/// Clients are let in when the member leads, has said who it is and knows the cluster's version.
fn wait_until_ready(status: &replication::Status, members: &Members, id: u64, name: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let membership = members.get();
        let published = membership.member(id).is_some_and(|member| member.name == name);
        if status.leader() != 0 && published && membership.cluster_version.is_some() {
            return Ok(());
        }
        if begun.elapsed() > START_LIMIT {
            bail!("no leader after {START_LIMIT:?}");
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Flags, Parsed};

    #[test]
    fn keepalive_that_is_off_is_a_time_that_never_comes() {
        let line = ["--grpc-keepalive-interval=0", "--grpc-keepalive-timeout=0"];
        let Parsed::Run(flags) = Flags::parse(line.map(str::to_owned), []).expect("known flags") else {
            panic!("asked for help");
        };
        let options = loop_options(&Config::from_flags(&flags).expect("a configuration"));
        let year = Duration::from_secs(365 * 24 * 3600);
        for time in [options.keepalive_interval, options.keepalive_timeout] {
            assert!(time > 10 * year);
            assert!(Instant::now().checked_add(time + time).is_some());
        }
    }
}
