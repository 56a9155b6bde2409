//! A whole member in this process, on a port of its own, with a tonic client in front of it.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod alone;
mod member;
mod upkeep;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use api::etcdserverpb::auth_client::AuthClient;
use api::etcdserverpb::cluster_client::ClusterClient;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use api::health::HealthCheckRequest;
use api::health::health_client::HealthClient;
use bytes::Bytes;
use tonic::Code;
use tonic::transport::Channel;

use member::{QUOTA_BYTES, Running, get, metric, put, run, told};

#[test]
fn keys_and_transactions() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        let first = kv.put(put("a", "1")).await.unwrap().into_inner().header.unwrap();
        assert_eq!((first.revision, first.cluster_id), (2, 0xcdf8_1819_4e3a_8c32));
        assert_eq!((first.member_id, first.raft_term), (0x8e9e_05c5_2164_694d, 2));
        for key in ["b", "c", "d"] {
            kv.put(put(key, "x")).await.unwrap();
        }
        let all = kv.range(get("\0", "\0")).await.unwrap().into_inner();
        assert_eq!((all.count, all.kvs.len(), all.header.unwrap().revision), (4, 4, 5));
        let serializable = RangeRequest { serializable: true, limit: 2, ..get("a", "z") };
        let page = kv.range(serializable).await.unwrap().into_inner();
        assert_eq!((page.more, page.count, &page.kvs[1].key[..]), (true, 4, &b"b"[..]));
        let ops = vec![
            RequestOp { request: Some(Request::RequestPut(put("e", "1"))) },
            RequestOp { request: Some(Request::RequestRange(get("e", ""))) },
        ];
        let txn =
            kv.txn(TxnRequest { success: ops.clone(), ..TxnRequest::default() }).await.unwrap().into_inner();
        assert!(txn.succeeded && txn.responses.len() == 2);
        let reading = TxnRequest { success: ops[1..].to_vec(), ..TxnRequest::default() };
        assert_eq!(kv.txn(reading).await.unwrap().into_inner().header.unwrap().revision, 6);
        let deleted =
            kv.delete_range(DeleteRangeRequest { key: "b".into(), range_end: "d".into(), prev_kv: true });
        assert_eq!(deleted.await.unwrap().into_inner().prev_kvs.len(), 2);
        kv.compact(CompactionRequest { revision: 6, physical: true }).await.unwrap();
        let old = told(kv.range(RangeRequest { revision: 5, ..get("a", "") }).await);
        assert_eq!(old, (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted".into()));
        assert_eq!(
            told(kv.put(put("", "")).await),
            (Code::InvalidArgument, "etcdserver: key is not provided".into())
        );
        let large = PutRequest { value: vec![0; 1_572_864].into(), ..put("large", "") };
        assert_eq!(
            told(kv.put(large).await),
            (Code::InvalidArgument, "etcdserver: request is too large".into())
        );
        let fits = PutRequest { value: vec![0; 1_572_000].into(), ..put("large", "") };
        kv.put(fits).await.unwrap();
        member.stop();
    });
}

/// What the server makes of a stream, put together again.
async fn concatenated(kv: &mut KvClient<Channel>, request: RangeRequest) -> (usize, RangeResponse) {
    let mut stream = kv.range_stream(request).await.unwrap().into_inner();
    let (mut chunks, mut whole) = (0, RangeResponse::default());
    while let Some(chunk) = stream.message().await.unwrap() {
        let chunk = chunk.range_response.unwrap();
        assert!(whole.header.is_none(), "the header is in the last chunk alone");
        whole.kvs.extend(chunk.kvs);
        (whole.header, whole.more, whole.count) = (chunk.header, chunk.more, chunk.count);
        chunks += 1;
    }
    (chunks, whole)
}

#[test]
fn a_range_stream_adds_up_to_the_range() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        for at in 0..100 {
            kv.put(put(&format!("k{at:03}"), &at.to_string())).await.unwrap();
        }
        let requests = [
            get("k", "l"),
            get("k050", ""),
            get("zz", "\0"),
            RangeRequest { limit: 35, ..get("k", "l") },
            RangeRequest { limit: 100, ..get("k", "l") },
            RangeRequest { limit: -1, ..get("k", "l") },
            RangeRequest { keys_only: true, ..get("k01", "k05") },
            RangeRequest { count_only: true, ..get("k", "l") },
            RangeRequest { revision: 50, serializable: true, ..get("k", "\0") },
        ];
        for request in requests {
            let range = kv.range(request.clone()).await.unwrap().into_inner();
            let (chunks, whole) = concatenated(&mut kv, request.clone()).await;
            assert_eq!(whole, range, "{request:?}");
            assert_eq!(chunks > 1, range.kvs.len() > 10, "{request:?}");
        }
        let descending = RangeRequest { sort_order: 2, ..get("k", "l") };
        // The refusal may come as the answer to the call, or as the first thing on the stream.
        let refused = match kv.range_stream(descending).await {
            Ok(stream) => stream.into_inner().message().await.map(drop),
            Err(status) => Err(status),
        };
        assert_eq!(
            told(refused),
            (Code::Unimplemented, "RangeStream does not support custom sort orders".into())
        );
        member.stop();
    });
}

#[test]
fn leases_live_and_expire() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let channel = member.channel().await;
        let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel));
        let granted = lease.lease_grant(LeaseGrantRequest { ttl: 1, id: 0 }).await.unwrap().into_inner();
        assert!(granted.id > 0 && granted.ttl == 2, "raised to the shortest there is: {granted:?}");
        kv.put(PutRequest { lease: granted.id, ..put("short", "") }).await.unwrap();
        lease.lease_grant(LeaseGrantRequest { ttl: 100, id: 77 }).await.unwrap();
        kv.put(PutRequest { lease: 77, ..put("long", "") }).await.unwrap();
        let left = lease
            .lease_time_to_live(LeaseTimeToLiveRequest { id: 77, keys: true })
            .await
            .unwrap()
            .into_inner();
        assert_eq!((left.granted_ttl, left.keys.as_slice()), (100, &[Bytes::from_static(b"long")][..]));
        assert!((98..=100).contains(&left.ttl));
        let none = lease
            .lease_time_to_live(LeaseTimeToLiveRequest { id: 5, keys: false })
            .await
            .unwrap()
            .into_inner();
        assert_eq!((none.id, none.ttl, none.granted_ttl), (5, -1, 0));
        let all = lease.lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
        assert_eq!(all.iter().map(|lease| lease.id).collect::<Vec<_>>(), [granted.id, 77]);

        let ids = [77, 5, 77].map(|id| LeaseKeepAliveRequest { id });
        let asked = tokio_stream(ids.to_vec());
        let mut answers = lease.lease_keep_alive(asked).await.unwrap().into_inner();
        let mut ttls = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            ttls.push((answer.id, answer.ttl));
        }
        assert_eq!(ttls, [(77, 100), (5, 0), (77, 100)]);

        let begun = Instant::now();
        while kv.range(get("short", "")).await.unwrap().into_inner().count == 1 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the lease never expires");
        }
        let gone = lease.lease_revoke(LeaseRevokeRequest { id: granted.id }).await;
        assert_eq!(told(gone), (Code::NotFound, "etcdserver: requested lease not found".into()));
        lease.lease_revoke(LeaseRevokeRequest { id: 77 }).await.unwrap();
        assert_eq!(kv.range(get("long", "")).await.unwrap().into_inner().count, 0);
        member.stop();
    });
}

/// A request stream of what is at hand.
fn tokio_stream<T: Send + 'static>(items: Vec<T>) -> impl tonic::IntoStreamingRequest<Message = T> {
    struct Items<T>(std::vec::IntoIter<T>);
    impl<T> Unpin for Items<T> {}
    impl<T> tonic::codegen::tokio_stream::Stream for Items<T> {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Items(items.into_iter())
}

#[test]
fn what_operators_ask() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let channel = member.channel().await;
        let mut kv = KvClient::new(channel.clone());
        let mut maintenance = MaintenanceClient::new(channel.clone());
        let empty = maintenance.hash_kv(HashKvRequest { revision: 0 }).await.unwrap().into_inner();
        assert_eq!((empty.hash, empty.compact_revision, empty.hash_revision), (1_084_519_789, -1, 1));
        // The vector of etcd's own tests.
        LeaseClient::new(channel.clone()).lease_grant(LeaseGrantRequest { ttl: 60, id: 1 }).await.unwrap();
        kv.put(PutRequest { lease: 1, ..put("test-key", "test-value") }).await.unwrap();
        let one = maintenance.hash_kv(HashKvRequest { revision: 2 }).await.unwrap().into_inner();
        assert_eq!((one.hash, one.header.unwrap().revision), (645_561_629, 2));
        assert_eq!(told(maintenance.hash_kv(HashKvRequest { revision: 9 }).await).0, Code::OutOfRange);
        assert_ne!(maintenance.hash(HashRequest {}).await.unwrap().into_inner().hash, 0);

        let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.version.as_str(), status.storage_version.as_str()), ("3.7.1", "3.7.0"));
        assert_eq!((status.leader, status.raft_term), (0x8e9e_05c5_2164_694d, 2));
        assert!(
            status.db_size > 0 && status.db_size_in_use > 0 && status.raft_index >= status.raft_applied_index
        );
        assert_eq!(
            (status.db_size_quota, status.downgrade_info),
            (QUOTA_BYTES, Some(DowngradeInfo::default()))
        );
        let alarms = maintenance.alarm(AlarmRequest::default()).await.unwrap().into_inner();
        assert!(alarms.alarms.is_empty() && alarms.header.unwrap().revision == 2);

        let mut cluster = ClusterClient::new(channel.clone());
        for linearizable in [true, false] {
            let list = cluster.member_list(MemberListRequest { linearizable }).await.unwrap().into_inner();
            assert_eq!(list.header.unwrap().revision, 0);
            let [one] = &list.members[..] else { panic!("{list:?}") };
            assert_eq!((one.name.as_str(), one.id), ("default", 0x8e9e_05c5_2164_694d));
            assert_eq!(
                (one.peer_urls.as_slice(), one.is_learner),
                (&["http://localhost:2380".to_string()][..], false)
            );
        }
        let mut health = HealthClient::new(channel.clone());
        let check = |service: &str| HealthCheckRequest { service: service.into() };
        assert_eq!(health.check(check("")).await.unwrap().into_inner().status, 1);
        assert_eq!(told(health.check(check("x")).await).0, Code::NotFound);
        assert_eq!(
            health.watch(check("")).await.unwrap().into_inner().message().await.unwrap().unwrap().status,
            1
        );
        let absent = AuthClient::new(channel).auth_enable(AuthEnableRequest {}).await;
        assert_eq!(told(absent), (Code::Unimplemented, "etcdserver: AuthEnable is not there yet".into()));

        for (path, expected) in [
            ("/health", (200, "{\"health\":\"true\",\"reason\":\"\"}")),
            ("/health?serializable=true&exclude=NOSPACE", (200, "{\"health\":\"true\",\"reason\":\"\"}")),
            ("/version", (200, "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}")),
            ("/livez", (200, "ok\n")),
            ("/livez?verbose", (200, "[+]serializable_read ok\nok\n")),
            ("/readyz/linearizable_read?verbose", (200, "[+]linearizable_read ok\nok\n")),
            (
                "/readyz?verbose&exclude=data_corruption&exclude=serializable_read&exclude=non_learner",
                (200, "[+]linearizable_read ok\nok\n"),
            ),
            ("/livez/linearizable_read", (404, "404 page not found\n")),
            ("/debug/vars", (404, "404 page not found\n")),
        ] {
            let (status, body) = http_get(member.address, path).await;
            assert_eq!((status, body.as_str()), expected, "{path}");
        }
        member.stop();
    });
}

async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

#[test]
fn everything_is_there_after_a_restart() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let channel = member.channel().await;
        let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel));
        lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 9 }).await.unwrap();
        // More entries than a checkpoint waits for, so that some come from the store and some from the log.
        for at in 0..120 {
            kv.put(PutRequest { lease: 9, ..put(&format!("k{}", at % 7), &at.to_string()) }).await.unwrap();
        }
        kv.compact(CompactionRequest { revision: 60, physical: false }).await.unwrap();
        let before = kv.range(get("k", "l")).await.unwrap().into_inner();
        member.stop();

        let member = Running::start(folder.path());
        let channel = member.channel().await;
        let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel));
        let after = kv.range(get("k", "l")).await.unwrap().into_inner();
        assert_eq!((after.kvs, after.count), (before.kvs, 7));
        let header = after.header.unwrap();
        assert_eq!((header.revision, header.raft_term), (121, 3));
        let old = told(kv.range(RangeRequest { revision: 59, ..get("k0", "") }).await);
        assert_eq!(old.0, Code::OutOfRange);
        lease.lease_revoke(LeaseRevokeRequest { id: 9 }).await.unwrap();
        let gone = kv.range(RangeRequest { count_only: true, ..get("k", "l") }).await.unwrap().into_inner();
        assert_eq!((gone.count, gone.header.unwrap().revision), (0, 122));
        member.stop();
    });
}

#[test]
fn metrics_after_a_known_sequence() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let channel = member.channel().await;
        let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel));
        kv.put(put("a", "12")).await.unwrap();
        assert_eq!(metric(&member, "etcd_mvcc_put_total"), 1.0);
        assert_eq!(metric(&member, "etcd_debugging_mvcc_total_put_size_in_bytes"), 3.0);
        kv.range(get("a", "")).await.unwrap();
        kv.range(RangeRequest { serializable: true, ..get("a", "") }).await.unwrap();
        assert_eq!(metric(&member, "etcd_mvcc_range_total"), 2.0);
        let ranges = |count: usize| {
            let range = RequestOp { request: Some(Request::RequestRange(get("a", ""))) };
            TxnRequest { success: vec![range; count], ..TxnRequest::default() }
        };
        kv.txn(ranges(1)).await.unwrap();
        assert_eq!(metric(&member, "etcd_mvcc_txn_total"), 0.0);
        kv.txn(ranges(2)).await.unwrap();
        assert_eq!(metric(&member, "etcd_mvcc_txn_total"), 1.0);
        assert_eq!(metric(&member, "etcd_mvcc_range_total"), 5.0);
        // One chunk of a stream is a range.
        concatenated(&mut kv, get("a", "b")).await;
        assert_eq!(metric(&member, "etcd_mvcc_range_total"), 6.0);
        kv.delete_range(DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() })
            .await
            .unwrap();
        assert_eq!(metric(&member, "etcd_mvcc_delete_total"), 1.0);

        lease.lease_grant(LeaseGrantRequest { ttl: 100, id: 7 }).await.unwrap();
        let ids = [7, 5, 7].map(|id| LeaseKeepAliveRequest { id });
        let mut answers = lease.lease_keep_alive(tokio_stream(ids.to_vec())).await.unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
        lease.lease_revoke(LeaseRevokeRequest { id: 7 }).await.unwrap();
        for (name, expected) in [
            ("etcd_debugging_lease_granted_total", 1.0),
            ("etcd_debugging_lease_renewed_total", 2.0),
            ("etcd_debugging_lease_revoked_total", 1.0),
            ("etcd_debugging_lease_ttl_total_sum", 100.0),
            ("etcd_debugging_lease_ttl_total_bucket{le=\"64\"}", 0.0),
            ("etcd_debugging_lease_ttl_total_bucket{le=\"128\"}", 1.0),
            ("etcd_debugging_server_lease_expired_total", 0.0),
        ] {
            assert_eq!(metric(&member, name), expected, "{name}");
        }
        lease.lease_grant(LeaseGrantRequest { ttl: 1, id: 8 }).await.unwrap();
        let begun = Instant::now();
        while metric(&member, "etcd_debugging_server_lease_expired_total") == 0.0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the lease never expires");
            tokio::task::yield_now().await;
        }
        assert_eq!(metric(&member, "etcd_debugging_lease_revoked_total"), 2.0);

        for path in ["/health", "/health?serializable=true", "/readyz", "/livez", "/livez/serializable_read"]
        {
            assert_eq!(http_get(member.address, path).await.0, 200, "{path}");
        }
        let checks = "etcd_server_healthchecks_total";
        for (name, expected) in [
            ("etcd_server_health_success".to_string(), 2.0),
            ("etcd_server_health_failures".to_string(), 0.0),
            (format!("{checks}{{name=\"serializable_read\",status=\"success\",type=\"livez\"}}"), 2.0),
            (format!("{checks}{{name=\"serializable_read\",status=\"success\",type=\"readyz\"}}"), 1.0),
            (format!("{checks}{{name=\"data_corruption\",status=\"success\",type=\"readyz\"}}"), 1.0),
            ("etcd_server_healthcheck{name=\"linearizable_read\",type=\"readyz\"}".to_string(), 1.0),
        ] {
            assert_eq!(metric(&member, &name), expected, "{name}");
        }
        kv.compact(CompactionRequest { revision: 3, physical: true }).await.unwrap();
        assert_eq!(metric(&member, "etcd_debugging_mvcc_db_compaction_keys_total"), 1.0);
        assert!(metric(&member, "etcd_debugging_mvcc_db_compaction_last") > 1e9);
        member.stop();
    });
}
