//! Counters of gRPC calls: plain cells per loop, summed up when they are looked at.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

use super::Metrics;
use crate::grpc::{Code, Metadata, Method, Status};

const METHODS: usize = Method::ALL.len();
const CODES: usize = Code::ALL.len();
/// Different versions that clients may name; the label is theirs to choose.
const VERSIONS: usize = 64;
/// Length of a version that is shown.
const VERSION_BYTES: usize = 64;

/// The calls of one loop. Written by that loop's thread only, so that counting is a plain addition.
pub(crate) struct GrpcShard {
    methods: Box<[MethodCells; METHODS]>,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

struct MethodCells {
    started: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    handled: [AtomicU64; CODES],
}

impl Default for MethodCells {
    fn default() -> MethodCells {
        MethodCells {
            started: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            handled: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Default for GrpcShard {
    fn default() -> GrpcShard {
        let methods: Vec<MethodCells> = (0..METHODS).map(|_| MethodCells::default()).collect();
        let methods = methods.try_into().unwrap_or_else(|_| unreachable!("made with that length"));
        GrpcShard { methods, received_bytes: AtomicU64::new(0), sent_bytes: AtomicU64::new(0) }
    }
}

/// One writer: no locked instruction needed.
fn add(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl GrpcShard {
    pub(crate) fn started(&self, method: Method) {
        add(&self.methods[method as usize].started, 1);
    }

    pub(crate) fn received(&self, method: Method, bytes: usize) {
        add(&self.methods[method as usize].received, 1);
        add(&self.received_bytes, bytes as u64);
    }

    pub(crate) fn sent(&self, method: Method, bytes: usize) {
        add(&self.methods[method as usize].sent, 1);
        add(&self.sent_bytes, bytes as u64);
    }

    pub(crate) fn handled(&self, method: Method, code: Code) {
        add(&self.methods[method as usize].handled[code as usize], 1);
    }
}

/// Writes the families of the shards in the text format.
pub(super) fn render(shards: &[GrpcShard], requests: &ClientRequests, out: &mut String) {
    let sum = |cell: &dyn Fn(&GrpcShard) -> &AtomicU64| -> u64 {
        shards.iter().map(|shard| cell(shard).load(Ordering::Relaxed)).sum()
    };
    head(
        out,
        "etcd_network_client_grpc_received_bytes_total",
        "The total number of bytes received from grpc clients.",
    );
    let _ = writeln!(
        out,
        "etcd_network_client_grpc_received_bytes_total {}",
        sum(&|shard| &shard.received_bytes)
    );
    head(out, "etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.");
    let _ = writeln!(out, "etcd_network_client_grpc_sent_bytes_total {}", sum(&|shard| &shard.sent_bytes));
    requests.render(out);

    type Cell = fn(&MethodCells) -> &AtomicU64;
    let families: [(&str, &str, Cell); 3] = [
        (
            "grpc_server_msg_received_total",
            "Total number of RPC stream messages received on the server.",
            |m| &m.received,
        ),
        ("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.", |m| {
            &m.sent
        }),
        ("grpc_server_started_total", "Total number of RPCs started on the server.", |m| &m.started),
    ];
    head(
        out,
        "grpc_server_handled_total",
        "Total number of RPCs completed on the server, regardless of success or failure.",
    );
    for &method in Method::ALL.iter().filter(|method| is_shown(**method)) {
        for code in Code::ALL {
            let count = sum(&|shard| &shard.methods[method as usize].handled[code as usize]);
            let _ = write!(out, "grpc_server_handled_total{{grpc_code=\"{}\",", code.name());
            labels(out, method, count);
        }
    }
    for (name, help, cell) in families {
        head(out, name, help);
        for &method in Method::ALL.iter().filter(|method| is_shown(**method)) {
            let count = sum(&|shard| cell(&shard.methods[method as usize]));
            let _ = write!(out, "{name}{{");
            labels(out, method, count);
        }
    }
}

/// etcd pre-initialises the services it registers at its main server; lock and election are not among them.
fn is_shown(method: Method) -> bool {
    !matches!(method.service(), "v3lockpb.Lock" | "v3electionpb.Election")
}

fn labels(out: &mut String, method: Method, count: u64) {
    let (name, service, kind) = (method.name(), method.service(), method.kind().label());
    let _ = writeln!(out, "grpc_method=\"{name}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"}} {count}");
}

fn head(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
}

/// `etcd_server_client_requests_total` by version.
#[derive(Default)]
pub(super) struct ClientRequests {
    versions: Mutex<BTreeMap<String, Arc<Counts>>>,
}

#[derive(Default)]
struct Counts {
    unary: AtomicU64,
    stream: AtomicU64,
}

impl ClientRequests {
    fn of(&self, version: &str) -> Arc<Counts> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = versions.contains_key(version);
        let fits = version.len() <= VERSION_BYTES && versions.len() < VERSIONS;
        let shown = if known || fits { version } else { "other" };
        versions.entry(shown.to_string()).or_default().clone()
    }

    fn render(&self, out: &mut String) {
        let name = "etcd_server_client_requests_total";
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.is_empty() {
            return;
        }
        head(out, name, "The total number of client requests per client version.");
        for (version, counts) in &*versions {
            let version = version.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            for (kind, count) in [("unary", &counts.unary), ("stream", &counts.stream)] {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let _ =
                        writeln!(out, "{name}{{client_api_version=\"{version}\",type=\"{kind}\"}} {count}");
                }
            }
        }
    }
}

/// A connection's counter for the version its client names, which hardly ever changes.
pub(crate) struct ClientCounter {
    named: Option<HeaderValue>,
    counts: Arc<Counts>,
}

impl ClientCounter {
    /// The counter for this call's version: the one at hand, or else another. An error when the version is no text.
    pub(crate) fn of<'a>(
        known: &'a mut Option<ClientCounter>,
        metadata: &Metadata,
        metrics: &Metrics,
    ) -> Result<&'a ClientCounter, Status> {
        let same = known.as_ref().is_some_and(|known| known.named == metadata.client_api_version);
        if !same {
            let counts = metrics.requests.of(metadata.client_api_version()?);
            *known = Some(ClientCounter { named: metadata.client_api_version.clone(), counts });
        }
        Ok(known.as_ref().expect("set just now"))
    }

    pub(crate) fn count(&self, stream: bool) {
        let cell = if stream { &self.counts.stream } else { &self.counts.unary };
        cell.fetch_add(1, Ordering::Relaxed);
    }
}
