//! The member under test, put together as `run.rs` does it, with its files in a folder of the test's.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use api::etcdserverpb::*;
use api::graven::MemberRecord;
use api::membershippb::Attributes;
use replication::{Bootstrap, Driver, Identity, InitialMember, NoPeers};
use server::apply::{FailStop, Machine, Parts};
use server::cluster::{Members, cluster_id, context_of, member_id};
use server::kv::RequestIds;
use server::lease::{Clock, Lessor};
use server::loops::{Listener, Loops, Options, Serves};
use server::maintenance::{Hashes, StoreSizes};
use server::member::{RequestLimits, Shared};
use server::metrics::Metrics;
use server::services::{Errands, HubSink, Member};
use server::upkeep::{
    CheckpointPolicy, Defragments, Events, Gauge, LONG_VIEW, ScrubParts, Upkeep, UpkeepParts,
};
use server::watch::{Hub, WatchOptions};
use tonic::transport::Channel;
use tonic::{Code, Status};

const ELECTION: Duration = Duration::from_secs(1);

/// Not the default.
pub(crate) const QUOTA_BYTES: i64 = 3 << 30;

/// What a test may want otherwise.
pub(crate) struct Setup {
    pub(crate) checkpoints: CheckpointPolicy,
    pub(crate) auto_defragment: bool,
    pub(crate) scrub_interval: Option<Duration>,
    /// Instead of a file in the folder.
    pub(crate) file: Option<Arc<dyn engine::File>>,
    pub(crate) fail_stop: FailStop,
    pub(crate) long_view: Duration,
    pub(crate) events: Events,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            checkpoints: CheckpointPolicy {
                entries: 50,
                spacing: Duration::ZERO,
                ..CheckpointPolicy::default()
            },
            auto_defragment: false,
            scrub_interval: None,
            file: None,
            fail_stop: Arc::new(|error| panic!("storage failed: {error}")),
            long_view: LONG_VIEW,
            events: Arc::new(|_| {}),
        }
    }
}

pub(crate) struct Running {
    loops: Loops,
    errands: Errands,
    driver: Driver<Machine>,
    defragments: Arc<Defragments>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reader: engine::Reader,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(folder: &Path) -> Running {
        Running::start_with(folder, Setup::default())
    }

    pub(crate) fn start_with(folder: &Path, setup: Setup) -> Running {
        let file = setup.file.unwrap_or_else(|| Arc::new(engine::OsFile::open(&folder.join("db")).unwrap()));
        let store = engine::Store::open(file, engine::Options::default()).unwrap();
        let reader = store.reader();
        let peer_urls = vec!["http://localhost:2380".to_string()];
        let id = member_id(&peer_urls, "etcd-cluster", None);
        let cluster = cluster_id(&[id]);
        let record = MemberRecord { id, peer_urls, ..MemberRecord::default() };
        let bootstrap = Bootstrap::New(vec![InitialMember { id, context: context_of(&record) }]);
        let identity = Identity { cluster_id: cluster, member_id: id };
        let fail: replication::FailStop = Arc::new(|error| panic!("the log failed: {error}"));
        let mut config = replication::Config::new(identity, bootstrap, folder.join("wal"), 7, fail);
        config.wal.segment_bytes = 8 << 20;
        std::fs::create_dir_all(folder.join("wal")).unwrap();
        let io: Arc<dyn wal::Io> = Arc::new(wal::OsIo::new());

        let prepared = Loops::prepare(2);
        let clock: Clock = Arc::new(Instant::now);
        let fail_stop = setup.fail_stop;
        let lessor = Arc::new(Lessor::new(clock.clone(), ELECTION));
        let (members, hashes, sizes) =
            (Members::default(), Arc::<Hashes>::default(), Arc::<StoreSizes>::default());
        let status = Arc::new(OnceLock::<replication::Status>::new());
        let term = status.clone();
        let header = move |revision| ResponseHeader {
            cluster_id: cluster,
            member_id: id,
            revision,
            raft_term: term.get().map_or(0, replication::Status::term),
        };
        let options = WatchOptions { progress_interval: Duration::from_secs(600), fragment_bytes: 1 << 20 };
        let hub = Arc::new(Hub::new(reader.clone(), prepared.inbox(), Box::new(header), options));
        let metrics = Arc::new(Metrics::new(2, "3.7.1"));
        let gauge = Arc::<Gauge>::default();
        let defragments = Arc::new(Defragments::new(prepared.completions()));
        let upkeep = UpkeepParts {
            checkpoints: setup.checkpoints,
            auto_defragment: setup.auto_defragment,
            scrub: setup.scrub_interval.map(|interval| ScrubParts {
                interval,
                reader: reader.clone(),
                log: wal::Scrub::new(&folder.join("wal"), io.clone(), config.wal.watch.clone()),
                sizes: sizes.clone(),
            }),
            clock,
            metrics: metrics.clone(),
            gauge: gauge.clone(),
            defragments: defragments.clone(),
            long_view: setup.long_view,
            events: setup.events,
        };
        let parts = Parts {
            cluster_id: cluster,
            member_id: id,
            completions: prepared.completions(),
            events: Box::new(HubSink(hub.clone())),
            lessor: lessor.clone(),
            members: members.clone(),
            hashes: hashes.clone(),
            sizes: sizes.clone(),
            metrics: metrics.clone(),
            upkeep: Upkeep::start(upkeep).unwrap(),
            fail_stop: fail_stop.clone(),
        };
        let machine = Machine::new(store, parts).unwrap();
        let driver = replication::start(config, io, machine, Box::new(NoPeers)).unwrap();
        status.set(driver.status().clone()).unwrap();
        let member = Member::new(Shared {
            cluster_id: cluster,
            member_id: id,
            limits: RequestLimits::new(1_572_864, 128, ELECTION),
            ids: RequestIds::new(id, Duration::from_secs(1)),
            reader: reader.clone(),
            proposer: driver.proposer().clone(),
            reads: driver.reads().clone(),
            status: driver.status().clone(),
            lessor,
            members: members.clone(),
            hashes,
            sizes,
            quota_bytes: QUOTA_BYTES,
            memory: gauge,
            defragments: defragments.clone(),
            metrics: metrics.clone(),
            hub,
            completions: prepared.completions(),
            inbox: prepared.inbox(),
            fail_stop,
        });
        let attributes = Attributes { name: "default".into(), client_urls: vec!["http://c".into()] };
        let errands = member.start_errands(attributes).unwrap();
        let begun = Instant::now();
        while members.get().cluster_version.is_none() || driver.status().leader() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "no leader");
            std::thread::yield_now();
        }
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listeners = vec![Listener { socket, serves: Serves::EVERYTHING }];
        let loops = prepared.start(Options::default(), listeners, Arc::new(member), metrics.clone()).unwrap();
        Running { loops, errands, driver, defragments, metrics, reader, address }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Writes that a loop carried out in the driver's stead.
    pub(crate) fn loop_turns(&self) -> u64 {
        self.driver.status().turns_by_callers()
    }

    pub(crate) fn stop(self) {
        self.defragments.close();
        self.loops.stop(Duration::from_secs(1));
        drop(self.errands);
        self.driver.stop().unwrap();
    }
}

pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(tempfile::TempDir) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limit = Duration::from_secs(60);
    runtime
        .block_on(async { tokio::time::timeout(limit, test(tempfile::tempdir().unwrap())).await.unwrap() });
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_string().into(), value: value.to_string().into(), ..PutRequest::default() }
}

pub(crate) fn get(key: &'static str, end: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), range_end: end.into(), ..RangeRequest::default() }
}

pub(crate) fn told<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_string())
}

/// The value of a metric, with its labels in the name.
pub(crate) fn metric(member: &Running, name: &str) -> f64 {
    let text = member.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}
