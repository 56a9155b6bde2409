//! A server that answers as an etcd does, as far as loads look at it, and does something wrong where a test asks for it.
//! It lives in the test's own process, on a thread of its own.

#[path = "fake/kv.rs"]
mod kv;
#[path = "fake/lease.rs"]
pub(crate) mod lease;
#[path = "fake/snapshot.rs"]
pub(crate) mod snapshot;
#[path = "fake/watch.rs"]
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use api::etcdserverpb::{
    AuthenticateRequest, AuthenticateResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, ResponseHeader, StatusResponse, TxnRequest,
};
use api::mvccpb::KeyValue;
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use prost::Message;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// After so many writes and reads it answers nobody for a second.
    pub(crate) stall_after: Option<u64>,
    /// After so many it is gone.
    pub(crate) die_after: Option<u64>,
    /// One of so many is refused.
    pub(crate) refuse_each: Option<u64>,
    /// One of so many writes is answered with the first revision of all.
    pub(crate) old_revision_each: Option<u64>,
    /// One of so many transactions is carried out though its conditions do not hold.
    pub(crate) blind_txn_each: Option<u64>,
    /// One of so many is refused though they hold.
    pub(crate) false_conflict_each: Option<u64>,
    /// What is wrong with one of so many answers about leases.
    pub(crate) lease: Option<(lease::Fault, u64)>,
    /// What is wrong with every second snapshot.
    pub(crate) snapshot: Option<snapshot::Fault>,
    /// What is wrong with one of so many events of watches.
    pub(crate) watch: Option<(watch::Fault, u64)>,
    /// The first key of a range is not told of, nor counted.
    pub(crate) hides_key: bool,
    /// Nobody may come without a token.
    pub(crate) wants_token: bool,
    /// It has no authentication at all.
    pub(crate) no_passwords: bool,
    /// Its cluster has the identity of another, but other members.
    pub(crate) other_members: bool,
    /// With TLS.
    pub(crate) tls: bool,
}

const STALL: Duration = Duration::from_secs(1);
const TOKEN: &str = "abcdefgh.12";

/// A fake etcd.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    /// Where its authority's certificate lies, with TLS.
    pub(crate) cacert: Option<PathBuf>,
    _dir: TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    asked: AtomicU64,
    /// Shared by the members of a cluster.
    revision: Arc<AtomicI64>,
    cluster: u64,
    keys: Mutex<BTreeMap<Bytes, KeyValue>>,
    leases: lease::Leases,
    snapshots: AtomicU64,
    watches: watch::Watches,
    die: tokio::sync::Notify,
}

impl Fake {
    pub(crate) fn start(faults: Faults) -> Fake {
        static CLUSTERS: AtomicU64 = AtomicU64::new(1);
        let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let revision = Arc::new(AtomicI64::new(1));
        Fake::start_member(State { faults, revision, cluster, ..State::default() })
    }

    /// Another member of its cluster, as far as revisions go.
    pub(crate) fn beside(&self, faults: Faults) -> Fake {
        let State { revision, cluster, .. } = &*self.state;
        Fake::start_member(State {
            faults,
            revision: revision.clone(),
            cluster: *cluster,
            ..State::default()
        })
    }

    fn start_member(state: State) -> Fake {
        let faults = state.faults;
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(state);
        let (tls, cacert) = if faults.tls {
            let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            let path = dir.path().join("ca.pem");
            std::fs::write(&path, certified.cert.pem()).unwrap();
            let key =
                rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certified.cert.der().clone()], key)
                .unwrap();
            config.alpn_protocols = vec![b"h2".to_vec()];
            (Some(TlsAcceptor::from(Arc::new(config))), Some(path))
        } else {
            (None, None)
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (bound, address) = mpsc::channel();
        let own = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = accept(listener, tls, own.clone()) => {}
                    _ = stopped => {}
                    () = own.die.notified() => {}
                }
            });
        });
        Fake {
            address: address.recv().unwrap(),
            state,
            cacert,
            _dir: dir,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// How many writes and reads were asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// The keys that were put.
    pub(crate) fn keys(&self) -> Vec<Bytes> {
        self.state.keys.lock().unwrap().keys().cloned().collect()
    }

    /// How many leases there are, and how many there ever were.
    pub(crate) fn leases(&self) -> (usize, u64) {
        self.state.leases.count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the fake found something wrong with a request");
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (tls, state) = (tls.clone(), state.clone());
        tokio::task::spawn_local(async move {
            match tls {
                None => serve(socket, state).await,
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, state).await;
                    }
                }
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(socket: S, state: Arc<State>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::task::spawn_local(call(request, respond, state.clone()));
    }
}

/// gRPC's status and its words.
type Refusal = (&'static str, &'static str);

async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, state: Arc<State>) {
    let token = request.headers().get("token").map(|token| token.to_str().unwrap().to_owned());
    let path = request.uri().path().to_owned();
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let mut body = request.into_body();
    match path.as_str() {
        "/etcdserverpb.Lease/LeaseKeepAlive" => return lease::keep_alive(body, respond, &state).await,
        "/etcdserverpb.Watch/Watch" => return watch::stream(body, respond, state).await,
        "/etcdserverpb.Maintenance/Snapshot" => return snapshot::stream(respond, &state).await,
        _ => {}
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let Ok(chunk) = chunk else { return };
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    assert!(bytes[0] == 0 && bytes.len() == 5 + length, "one uncompressed message");
    let answer = state.answer(&path, token.as_deref(), &bytes[5..]);
    let head = Response::builder().header("content-type", "application/grpc");
    // The client may be gone.
    match answer {
        Ok(answer) => {
            if let Ok(mut send) = respond.send_response(head.body(()).unwrap(), false) {
                let _ = send.send_data(framed(&answer), false);
                let _ = send.send_trailers(success());
            }
        }
        Err((code, words)) => {
            let head = head.header("grpc-status", code).header("grpc-message", words);
            let _ = respond.send_response(head.body(()).unwrap(), true);
        }
    }
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// The trailers of a call that succeeded.
fn success() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

impl State {
    fn header(&self, revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision, cluster_id: self.cluster, member_id: 2, raft_term: 3 })
    }

    /// With the revision of this moment.
    fn now(&self) -> Option<ResponseHeader> {
        self.header(self.revision.load(Ordering::Relaxed))
    }

    fn answer(&self, path: &str, token: Option<&str>, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        let now = || self.now();
        if path == "/etcdserverpb.Auth/Authenticate" {
            if self.faults.no_passwords {
                return Err(("12", "etcdserver: Authenticate is not there yet"));
            }
            let AuthenticateRequest { name, password } = AuthenticateRequest::decode(request).unwrap();
            if !self.faults.wants_token {
                return Err(("9", "etcdserver: authentication is not enabled"));
            }
            if (name.as_str(), password.as_str()) != ("root", "right:one") {
                return Err(("3", "etcdserver: authentication failed, invalid user ID or password"));
            }
            return Ok(AuthenticateResponse { header: now(), token: TOKEN.to_owned() }.encode_to_vec());
        }
        if self.faults.wants_token && token != Some(TOKEN) {
            return Err(("3", "etcdserver: user name is empty"));
        }
        if path == "/etcdserverpb.Maintenance/Status" {
            let status = StatusResponse {
                header: now(),
                version: "3.7.1-fake".to_owned(),
                ..StatusResponse::default()
            };
            return Ok(status.encode_to_vec());
        }
        if path == "/etcdserverpb.Cluster/MemberList" {
            let port = if self.faults.other_members { 2 } else { 1 };
            let client_urls = vec![format!("http://127.0.0.1:{port}")];
            let members = vec![api::etcdserverpb::Member { id: 2, client_urls, ..Default::default() }];
            let list = api::etcdserverpb::MemberListResponse { header: now(), members };
            return Ok(list.encode_to_vec());
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.faults.stall_after == Some(asked) {
            // The only thread there is: nobody is answered.
            std::thread::sleep(STALL);
        }
        if self.faults.die_after == Some(asked) {
            self.die.notify_one();
        }
        let each = |often: Option<u64>| often.is_some_and(|often| asked.is_multiple_of(often));
        if each(self.faults.refuse_each) {
            return Err(("8", "etcdserver: too many requests"));
        }
        // The revision that is written, and what is said of it.
        let write = || {
            let revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
            (revision, self.header(if each(self.faults.old_revision_each) { 2 } else { revision }))
        };
        match path {
            "/etcdserverpb.KV/Put" => {
                let put = PutRequest::decode(request).unwrap();
                if put.lease != 0 && !self.leases.exists(put.lease) {
                    return Err(lease::NOT_FOUND);
                }
                let (revision, header) = write();
                self.put(put, revision);
                Ok(PutResponse { header, prev_kv: None }.encode_to_vec())
            }
            "/etcdserverpb.KV/Range" => {
                let mut answer = self.range(&RangeRequest::decode(request).unwrap());
                answer.header = now();
                Ok(answer.encode_to_vec())
            }
            "/etcdserverpb.KV/Txn" => {
                let txn = TxnRequest::decode(request).unwrap();
                let mut holds = txn.compare.iter().all(|compare| self.holds(compare));
                if !txn.compare.is_empty() {
                    holds |= each(self.faults.blind_txn_each);
                    holds &= !each(self.faults.false_conflict_each);
                }
                let operations = if holds { &txn.success } else { &txn.failure };
                let (revision, header) = if kv::writes(operations) { write() } else { (0, now()) };
                Ok(self.txn(operations, holds, revision, header).encode_to_vec())
            }
            "/etcdserverpb.KV/DeleteRange" => {
                let delete = DeleteRangeRequest::decode(request).unwrap();
                let (revision, header) = write();
                let deleted = self.delete(&delete, revision);
                Ok(DeleteRangeResponse { header, deleted, prev_kvs: Vec::new() }.encode_to_vec())
            }
            "/etcdserverpb.KV/Compact" => self.compact(request),
            "/etcdserverpb.Lease/LeaseGrant" => self.grant(request, asked),
            "/etcdserverpb.Lease/LeaseRevoke" => self.revoke(request),
            _ => Err(("12", "unknown method")),
        }
    }
}
