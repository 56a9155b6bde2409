//! The wire is etcd's: names and kinds of all methods, and field numbers by the bytes they make.

use api::authpb::{Permission, permission};
use api::etcdserverpb as pb;
use api::mvccpb::{Event, KeyValue, event::EventType};
use api::{METHODS, Rpc};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;

/// Service and its methods; `>` after a name: the server streams, `<>`: both do.
const SERVICES: &[(&str, &str)] = &[
    ("etcdserverpb.KV", "Range RangeStream> Put DeleteRange Txn Compact"),
    ("etcdserverpb.Watch", "Watch<>"),
    ("etcdserverpb.Lease", "LeaseGrant LeaseRevoke LeaseKeepAlive<> LeaseTimeToLive LeaseLeases"),
    ("etcdserverpb.Cluster", "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote"),
    ("etcdserverpb.Maintenance", "Alarm Status Defragment Hash HashKV Snapshot> MoveLeader Downgrade"),
    (
        "etcdserverpb.Auth",
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete UserChangePassword \
         UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete RoleGrantPermission \
         RoleRevokePermission",
    ),
    ("v3lockpb.Lock", "Lock Unlock"),
    ("v3electionpb.Election", "Campaign Proclaim Leader Observe> Resign"),
    ("grpc.health.v1.Health", "Check Watch>"),
];

#[test]
fn every_service_and_method_is_there_and_no_other() {
    let expected: BTreeSet<(String, bool, bool)> = SERVICES
        .iter()
        .flat_map(|(service, methods)| methods.split_whitespace().map(move |method| (service, method)))
        .map(|(service, method)| {
            let name = method.trim_end_matches(['<', '>']);
            (format!("/{service}/{name}"), method.contains('<'), method.contains('>'))
        })
        .collect();
    let found: BTreeSet<(String, bool, bool)> = METHODS
        .iter()
        .map(|&Rpc { path, client_streaming, server_streaming }| {
            (path.to_owned(), client_streaming, server_streaming)
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(METHODS.len(), 49 + 2, "49 of etcd's own, two of gRPC health");
}

/// Encodes to exactly these bytes, and back.
fn is<M: Message + Default + PartialEq + std::fmt::Debug>(message: M, expected: &[u8]) {
    assert_eq!(message.encode_to_vec(), expected, "{message:?}");
    assert_eq!(M::decode(expected).expect("what was just encoded"), message);
}

#[test]
fn key_value_and_event() {
    let kv = KeyValue {
        key: Bytes::from_static(b"k"),
        create_revision: 2,
        mod_revision: 3,
        version: 4,
        value: Bytes::from_static(b"v"),
        lease: 5,
    };
    let bytes = b"\x0a\x01k\x10\x02\x18\x03\x20\x04\x2a\x01v\x30\x05";
    is(kv.clone(), bytes);
    let mut event = b"\x08\x01\x12\x0e".to_vec();
    event.extend_from_slice(bytes);
    is(Event { r#type: EventType::Delete as i32, kv: Some(kv), prev_kv: None }, &event);
}

#[test]
fn header_and_range() {
    is(
        pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 },
        b"\x08\x01\x10\x02\x18\x03\x20\x04",
    );
    is(
        pb::RangeRequest {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"b"),
            limit: 1,
            revision: 2,
            sort_order: pb::range_request::SortOrder::Descend as i32,
            sort_target: pb::range_request::SortTarget::Value as i32,
            serializable: true,
            keys_only: true,
            count_only: true,
            min_mod_revision: 3,
            max_mod_revision: 4,
            min_create_revision: 5,
            max_create_revision: 6,
        },
        b"\x0a\x01a\x12\x01b\x18\x01\x20\x02\x28\x02\x30\x04\x38\x01\x40\x01\x48\x01\x50\x03\x58\x04\x60\x05\x68\x06",
    );
}

#[test]
fn compare_has_its_range_end_at_64() {
    is(
        pb::Compare {
            result: pb::compare::CompareResult::NotEqual as i32,
            target: pb::compare::CompareTarget::Lease as i32,
            key: Bytes::from_static(b"k"),
            range_end: Bytes::from_static(b"z"),
            target_union: Some(pb::compare::TargetUnion::Lease(7)),
        },
        b"\x08\x03\x10\x04\x1a\x01k\x40\x07\x82\x04\x01z",
    );
}

#[test]
fn watch_response_has_its_events_at_11() {
    is(
        pb::WatchResponse {
            header: None,
            watch_id: -1,
            created: true,
            canceled: true,
            compact_revision: 9,
            cancel_reason: "r".into(),
            fragment: true,
            events: vec![Event::default()],
        },
        b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\x01\x20\x01\x28\x09\x32\x01r\x38\x01\x5a\x00",
    );
}

#[test]
fn member_status_and_permission() {
    is(
        pb::Member {
            id: 1,
            name: "n".into(),
            peer_urls: vec!["p".into()],
            client_urls: vec!["c".into()],
            is_learner: true,
        },
        b"\x08\x01\x12\x01n\x1a\x01p\x22\x01c\x28\x01",
    );
    is(
        pb::StatusResponse {
            header: None,
            version: "v".into(),
            db_size: 3,
            leader: 4,
            raft_index: 5,
            raft_term: 6,
            raft_applied_index: 7,
            errors: vec!["e".into()],
            db_size_in_use: 9,
            is_learner: true,
            storage_version: "s".into(),
            db_size_quota: 12,
            downgrade_info: Some(pb::DowngradeInfo { enabled: true, target_version: "t".into() }),
        },
        b"\x12\x01v\x18\x03\x20\x04\x28\x05\x30\x06\x38\x07\x42\x01e\x48\x09\x50\x01\x5a\x01s\x60\x0c\x6a\x05\x08\x01\x12\x01t",
    );
    is(
        Permission {
            perm_type: permission::Type::Readwrite as i32,
            key: Bytes::from_static(b"k"),
            range_end: Bytes::from_static(b"\0"),
        },
        b"\x08\x02\x12\x01k\x1a\x01\0",
    );
}

#[test]
fn raft_request_uses_the_high_numbers() {
    is(
        pb::InternalRaftRequest {
            header: Some(pb::RequestHeader { id: 1, username: "u".into(), auth_revision: 2 }),
            put: Some(pb::PutRequest { lease: 3, ..Default::default() }),
            downgrade_version_test: Some(Default::default()),
            ..Default::default()
        },
        b"\x22\x02\x18\x03\xa2\x06\x07\x08\x01\x12\x01u\x18\x02\xe2\xea\x04\x00",
    );
}

#[test]
fn bytes_are_slices_of_the_buffer_they_were_decoded_from() {
    let buffer = Bytes::from_static(b"\x0a\x01k\x12\x05value");
    let put = pb::PutRequest::decode(buffer.clone()).expect("valid bytes");
    assert_eq!(put.value, "value");
    assert!(buffer.as_ptr_range().contains(&put.value.as_ptr()));
}
