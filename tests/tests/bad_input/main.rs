//! Bad input against a running server: the answer is etcd's, nothing changes, and the server goes on.
//!
//! `wire.txt` holds one line for each case: what a real etcd 3.7.1 answers. To write it anew, run this suite against
//! one: `GRAVEN_BIN=/path/to/etcd GRAVEN_BLESS=1 cargo test -p graven-tests --test bad_input`. The flags are checked
//! against the texts in their own table, which holds for etcd as well.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its seed"
)]

mod cases;
mod data_dir;
mod flags;
mod raw;
mod watches;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest,
};
use tests::{Clients, Server};
use tonic::Status;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where Graven answers otherwise, and may.
const DIFFERENT: &[&str] = &[
    // A known field of another wire type is an unknown field to Go's protobuf library and an error to prost.
    "Range, a key that is a number: HTTP 200 13 grpc: error unmarshalling request: proto: cannot parse invalid wire-format data",
    "Range, a limit that is bytes: HTTP 200 13 grpc: error unmarshalling request: proto: cannot parse invalid wire-format data",
    // The engine has a limit of its own for keys, below that for requests.
    "put with a key of 1.6 MB: 3 etcdserver: key is too long",
    // grpc-go tells an end within the prefix from one after it.
    "call, a prefix cut short: HTTP 200 2 unexpected EOF",
];

/// A call, and whatever of a successful answer is worth a line.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Range(RangeRequest),
    RangeStream(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(i64),
    KeepAlive(i64),
    TimeToLive(i64),
    HashKv(i64),
}

async fn send(clients: &mut Clients, call: Call) -> Result<String, Status> {
    let Clients { kv, lease, maintenance, .. } = clients;
    Ok(match call {
        Call::Range(r) => {
            let answer = kv.range(r).await?.into_inner();
            format!("{} of {}, more {}", answer.kvs.len(), answer.count, answer.more)
        }
        Call::RangeStream(r) => {
            let mut stream = kv.range_stream(r).await?.into_inner();
            let mut chunks = 0;
            while stream.message().await?.is_some() {
                chunks += 1;
            }
            format!("{chunks} chunks")
        }
        Call::Put(r) => format!("{:?}", kv.put(r).await?.into_inner().prev_kv),
        Call::DeleteRange(r) => format!("{} deleted", kv.delete_range(r).await?.into_inner().deleted),
        Call::Txn(r) => {
            let answer = kv.txn(r).await?.into_inner();
            format!("succeeded {}, {} answers", answer.succeeded, answer.responses.len())
        }
        Call::Compact(r) => kv.compact(r).await.map(|_| String::from("compacted"))?,
        Call::Grant(r) => format!("ttl {}", lease.lease_grant(r).await?.into_inner().ttl),
        Call::Revoke(id) => {
            lease.lease_revoke(LeaseRevokeRequest { id }).await.map(|_| String::from("revoked"))?
        }
        Call::KeepAlive(id) => {
            let one = tonic::codegen::tokio_stream::once(LeaseKeepAliveRequest { id });
            let answer = lease.lease_keep_alive(one).await?.into_inner().message().await?;
            format!("ttl {:?}", answer.map(|answer| answer.ttl))
        }
        Call::TimeToLive(id) => {
            let answer =
                lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await?.into_inner();
            format!("ttl {}, granted {}, {} keys", answer.ttl, answer.granted_ttl, answer.keys.len())
        }
        Call::HashKv(revision) => {
            let answer = maintenance.hash_kv(HashKvRequest { revision }).await?.into_inner();
            format!("hash {}", answer.hash)
        }
    })
}

/// One line for the golden file. Go's protobuf library puts a no-break space into its texts on some builds.
fn line(outcome: Result<String, Status>) -> String {
    match outcome {
        Ok(text) => format!("OK {text}"),
        Err(status) => format!("{} {}", i32::from(status.code()), status.message()).replace('\u{a0}', " "),
    }
}

/// What must not change: every key, the revisions, the leases.
async fn everything(clients: &mut Clients) -> String {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let answer = clients.kv.range(all).await.unwrap().into_inner();
    let mut leases = clients.lease.lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
    leases.sort_by_key(|lease| lease.id);
    format!("{:?} {:?} {leases:?}", answer.header.unwrap().revision, answer.kvs)
}

/// A store with some history: revision 6, compacted at 4, key `c` deleted, key `l` on lease 7.
async fn prepare(clients: &mut Clients) {
    let put = |key: &'static str, lease| PutRequest {
        key: key.into(),
        value: "1".into(),
        lease,
        ..Default::default()
    };
    clients.lease.lease_grant(LeaseGrantRequest { ttl: 100_000, id: 7 }).await.unwrap();
    for (key, lease) in [("a", 0), ("b", 0), ("c", 0)] {
        clients.kv.put(put(key, lease)).await.unwrap();
    }
    clients.kv.delete_range(DeleteRangeRequest { key: "c".into(), ..Default::default() }).await.unwrap();
    clients.kv.put(put("l", 7)).await.unwrap();
    clients.kv.compact(CompactionRequest { revision: 4, physical: true }).await.unwrap();
}

#[tokio::test]
async fn what_the_wire_answers_to_bad_requests() {
    let mut server = Server::start().unwrap();
    let mut clients = Clients::connect(&server.endpoint()).await.unwrap();
    prepare(&mut clients).await;
    let before = everything(&mut clients).await;

    let mut told = String::new();
    let mut count = 0;
    let mut tell = |name: String, outcome: String| {
        writeln!(told, "{name}: {outcome}").unwrap();
        count += 1;
    };
    for (name, call) in cases::all() {
        let outcome = tokio::time::timeout(PATIENCE, send(&mut clients, call)).await;
        tell(name, outcome.map_or_else(|_| "no answer".into(), line));
    }
    for (name, request) in raw::all() {
        let outcome = tokio::time::timeout(PATIENCE, raw::outcome(&server.endpoint(), request)).await;
        tell(name, outcome.unwrap_or_else(|_| "no answer".into()));
    }
    for (name, outcome) in watches::all(&mut clients).await {
        tell(name, outcome);
    }
    assert_eq!(everything(&mut clients).await, before, "a bad request changed something");
    assert!(count >= 150, "only {count} cases");
    server.terminate().unwrap();

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_input/wire.txt");
    if std::env::var_os("GRAVEN_BLESS").is_some() {
        std::fs::write(&golden, &told).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    let mut lines = expected.lines();
    let differing: Vec<_> = told
        .lines()
        .map(|got| (lines.next().unwrap_or("nothing"), got))
        .filter(|(expected, got)| expected != got && !DIFFERENT.contains(got))
        .map(|(expected, got)| format!("expected {expected}\n     got {got}"))
        .collect();
    assert!(differing.is_empty(), "{} of {count} cases differ:\n{}", differing.len(), differing.join("\n"));
    assert_eq!(
        expected.lines().count(),
        told.lines().count(),
        "the table and the golden file have different cases"
    );
}
