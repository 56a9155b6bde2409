//! The machine against what etcd promises.

use std::time::{Duration, Instant};

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::*;
use api::graven::MemberRecord;
use api::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use bytes::Bytes;
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use replication::{Leadership, MembershipChange, MembershipKind, Position, Refused, StateMachine};

use super::rig::Rig;
use super::{Errand, Ticket};
use crate::cluster::context_of;
use crate::grpc;
use crate::kv::{Operation, append_range};
use crate::lease::ExpiredLease;
use crate::upkeep::CheckpointPolicy;

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_string().into(), value: value.to_string().into(), ..PutRequest::default() }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put_op(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

fn range_op(key: &str) -> RequestOp {
    op(Request::RequestRange(RangeRequest { key: key.to_string().into(), ..RangeRequest::default() }))
}

fn delete_op(key: &str, end: &str) -> RequestOp {
    let (key, range_end) = (key.to_string().into(), end.to_string().into());
    op(Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false }))
}

fn read(rig: &Rig, request: &RangeRequest) -> RangeResponse {
    let mut out = bytes::BytesMut::new();
    let view = rig.view();
    let header = ResponseHeader { revision: view.revision(), ..ResponseHeader::default() };
    append_range(view.contents(), request, &header, &mut out).expect("a readable range");
    RangeResponse::decode(out.freeze()).unwrap()
}

fn keys(rig: &Rig) -> Vec<String> {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    read(rig, &all).kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

#[test]
fn put_answers_and_events() {
    let mut rig = Rig::new();
    let first: PutResponse = rig.done(Operation::Put, &put("a", "1"));
    let header = first.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.revision, header.raft_term), (0xc1, 0x3e, 2, 1));
    assert_eq!(first.prev_kv, None);
    let second: PutResponse = rig.done(Operation::Put, &PutRequest { prev_kv: true, ..put("a", "2") });
    let prev = second.prev_kv.unwrap();
    assert_eq!((&prev.value[..], prev.version, prev.mod_revision), (&b"1"[..], 1, 2));
    let kept: PutResponse = rig.done(Operation::Put, &PutRequest { ignore_value: true, ..put("a", "") });
    assert_eq!(kept.header.unwrap().revision, 4);
    let kv = read(&rig, &RangeRequest { key: "a".into(), ..RangeRequest::default() }).kvs.remove(0);
    assert_eq!((&kv.value[..], kv.version, kv.create_revision), (&b"2"[..], 3, 2));
    let revisions: Vec<i64> = rig.events().iter().map(|change| change.revision.main).collect();
    assert_eq!(revisions, [2, 3, 4]);
}

#[test]
fn an_answer_too_large_to_send_does_not_stop_the_execution() {
    let mut rig = Rig::new();
    let large = "v".repeat(crate::kv::MAX_MESSAGE_BYTES / 2 + 100);
    let _: PutResponse = rig.done(Operation::Put, &put("large", &large));
    let inner = TxnRequest { success: vec![range_op("large"), put_op("c", "3")], ..TxnRequest::default() };
    let success = vec![
        put_op("a", "1"),
        range_op("large"),
        range_op("large"),
        put_op("b", "2"),
        op(Request::RequestTxn(inner)),
    ];
    let answer = rig.propose(Operation::Txn, &TxnRequest { success, ..TxnRequest::default() });
    let refused = answer.expect("an answer").expect_err("more than a message holds");
    assert_eq!(refused.code, grpc::Code::ResourceExhausted);
    assert_eq!(keys(&rig), ["a", "b", "c", "large"]);
    assert_eq!(rig.view().revision(), 3);
    let all = DeleteRangeRequest { key: "\0".into(), range_end: "\0".into(), prev_kv: false };
    let deleted: DeleteRangeResponse = rig.done(Operation::DeleteRange, &all);
    assert_eq!(deleted.deleted, 4);
}

#[test]
fn refusals_change_nothing_but_the_applied_index() {
    let mut rig = Rig::new();
    let cases: Vec<(Operation, Vec<u8>, grpc::Status)> = vec![
        (Operation::Put, PutRequest { lease: 9, ..put("a", "") }.encode_to_vec(), grpc::LEASE_NOT_FOUND),
        (
            Operation::Put,
            PutRequest { ignore_value: true, ..put("a", "") }.encode_to_vec(),
            grpc::KEY_NOT_FOUND,
        ),
        (
            Operation::Put,
            PutRequest { ignore_lease: true, ..put("a", "") }.encode_to_vec(),
            grpc::KEY_NOT_FOUND,
        ),
        (Operation::LeaseRevoke, LeaseRevokeRequest { id: 1 }.encode_to_vec(), grpc::LEASE_NOT_FOUND),
        (Operation::LeaseGrant, LeaseGrantRequest { ttl: 5, id: 0 }.encode_to_vec(), grpc::LEASE_NOT_FOUND),
        (
            Operation::LeaseGrant,
            LeaseGrantRequest { ttl: 9_000_000_001, id: 1 }.encode_to_vec(),
            grpc::LEASE_TTL_TOO_LARGE,
        ),
        (
            Operation::Compaction,
            CompactionRequest { revision: 2, physical: false }.encode_to_vec(),
            grpc::FUTURE_REV,
        ),
        (
            Operation::Compaction,
            CompactionRequest { revision: -1, physical: true }.encode_to_vec(),
            grpc::COMPACTED,
        ),
        (
            Operation::Txn,
            TxnRequest {
                success: vec![
                    put_op("b", "never"),
                    op(Request::RequestPut(PutRequest { lease: 9, ..put("c", "") })),
                ],
                ..TxnRequest::default()
            }
            .encode_to_vec(),
            grpc::LEASE_NOT_FOUND,
        ),
        (
            Operation::Txn,
            TxnRequest {
                success: vec![
                    put_op("b", "never"),
                    op(Request::RequestRange(RangeRequest {
                        key: "x".into(),
                        revision: 2,
                        ..Default::default()
                    })),
                ],
                ..TxnRequest::default()
            }
            .encode_to_vec(),
            grpc::FUTURE_REV,
        ),
    ];
    for (operation, request, expected) in cases {
        let call = rig.call();
        rig.apply(operation, &request, Some(Ticket::Call(call)));
        let answers = rig.end_batch();
        assert_eq!(answers, [(call, Err(expected))], "{operation:?}");
        assert_eq!(rig.machine.applied(), rig.at, "R-02: the applied index moves also when an entry fails");
        assert_eq!((rig.view().revision(), rig.view().applied().index), (1, rig.at.index));
    }
    // Neither do entries that nobody understands, or that are empty, hold it up.
    rig.at.index += 1;
    rig.machine.apply(rig.at, Bytes::from_static(b"\xff\xff"), None);
    rig.at.index += 1;
    rig.machine.applied_empty(rig.at);
    rig.end_batch();
    assert_eq!(rig.view().applied().index, rig.at.index);
    assert!(rig.events().is_empty() && keys(&rig).is_empty());
}

#[test]
fn a_txn_sees_the_state_before_it_and_its_own_writes() {
    let mut rig = Rig::new();
    rig.done::<PutResponse>(Operation::Put, &put("a", "1"));
    let nested = TxnRequest {
        // True of the state before, although the parent puts b first.
        compare: vec![Compare {
            key: "b".into(),
            target: CompareTarget::Create as i32,
            result: CompareResult::Equal as i32,
            target_union: Some(TargetUnion::CreateRevision(0)),
            ..Compare::default()
        }],
        success: vec![range_op("b"), delete_op("a", "")],
        failure: vec![put_op("wrong", "")],
    };
    let txn = TxnRequest {
        compare: vec![],
        success: vec![put_op("b", "x"), op(Request::RequestTxn(nested)), range_op("a"), put_op("c", "y")],
        failure: vec![],
    };
    let response: TxnResponse = rig.done(Operation::Txn, &txn);
    let header = response.header.unwrap();
    assert_eq!((header.revision, header.member_id, response.succeeded), (3, 0x3e, true));
    let inner = |r: &ResponseHeader| (r.cluster_id, r.member_id, r.raft_term);
    match &response.responses[..] {
        [
            ResponseOp { response: Some(Response::ResponsePut(put)) },
            ResponseOp { response: Some(Response::ResponseTxn(nested)) },
            ResponseOp { response: Some(Response::ResponseRange(range)) },
            ResponseOp { response: Some(Response::ResponsePut(_)) },
        ] => {
            let put = put.header.as_ref().unwrap();
            assert_eq!((put.revision, inner(put)), (3, (0, 0, 0)));
            assert_eq!(nested.header, Some(ResponseHeader::default()));
            assert!(nested.succeeded);
            let Some(Response::ResponseRange(own)) = &nested.responses[0].response else { panic!() };
            assert_eq!(
                (own.count, own.kvs[0].mod_revision, own.header.as_ref().unwrap().revision),
                (1, 3, 3)
            );
            assert_eq!((range.count, range.kvs.len()), (0, 0));
        }
        other => panic!("{other:?}"),
    }
    let subs: Vec<(i64, i64)> = rig.events().iter().map(|c| (c.revision.main, c.revision.sub)).collect();
    assert_eq!(subs, [(2, 0), (3, 0), (3, 1), (3, 2)]);
    assert_eq!(keys(&rig), ["b", "c"]);
}

#[test]
fn a_put_that_keeps_what_the_same_txn_deleted_is_refused() {
    let mut rig = Rig::new();
    rig.done::<PutResponse>(Operation::Put, &put("k", "1"));
    let keep = op(Request::RequestPut(PutRequest { ignore_value: true, ..put("k", "") }));
    let txn = TxnRequest { success: vec![delete_op("a", "\0"), keep.clone()], ..TxnRequest::default() };
    assert_eq!(rig.propose(Operation::Txn, &txn), Some(Err(grpc::KEY_NOT_FOUND)));
    assert_eq!(keys(&rig), ["k"]);
    // The other way round there is something to keep, and then it goes.
    let txn = TxnRequest { success: vec![keep, delete_op("a", "\0")], ..TxnRequest::default() };
    let response: TxnResponse = rig.done(Operation::Txn, &txn);
    assert_eq!(response.header.unwrap().revision, 3);
    assert!(keys(&rig).is_empty());
}

#[test]
fn delete_range_counts_and_shows_what_it_took() {
    let mut rig = Rig::new();
    for key in ["a", "b", "c"] {
        rig.done::<PutResponse>(Operation::Put, &put(key, key));
    }
    let request = |key: &'static str, range_end: &'static str| DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: true,
    };
    let response: DeleteRangeResponse = rig.done(Operation::DeleteRange, &request("c", "a"));
    assert_eq!((response.deleted, response.header.unwrap().revision), (0, 4));
    let response: DeleteRangeResponse = rig.done(Operation::DeleteRange, &request("a", "c"));
    assert_eq!((response.deleted, response.header.unwrap().revision), (2, 5));
    assert_eq!(response.prev_kvs.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"a", b"b"]);
    let response: DeleteRangeResponse = rig.done(Operation::DeleteRange, &request("a", "\0"));
    assert_eq!((response.deleted, response.header.unwrap().revision), (1, 6));
    assert_eq!(rig.events().len(), 6);
}

#[test]
fn a_lease_takes_its_keys_with_it() {
    let mut rig = Rig::new();
    let granted: LeaseGrantResponse = rig.done(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 10, id: 7 });
    assert_eq!((granted.id, granted.ttl, granted.header.unwrap().revision), (7, 10, 1));
    assert_eq!(
        rig.propose(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 10, id: 7 }),
        Some(Err(grpc::LEASE_EXIST))
    );
    for key in ["z", "a", "m"] {
        rig.done::<PutResponse>(Operation::Put, &PutRequest { lease: 7, ..put(key, "") });
    }
    // Put without lease detaches, deletion too.
    rig.done::<PutResponse>(Operation::Put, &put("m", ""));
    rig.events();
    rig.done::<LeaseRevokeResponse>(Operation::LeaseRevoke, &LeaseRevokeRequest { id: 7 });
    let gone: Vec<_> =
        rig.events().iter().map(|c| (c.revision.main, c.revision.sub, c.key.clone())).collect();
    assert_eq!(gone, [(6, 0, "a".into()), (6, 1, "z".into())]);
    assert_eq!(keys(&rig), ["m"]);
    assert_eq!(
        rig.propose(Operation::LeaseRevoke, &LeaseRevokeRequest { id: 7 }),
        Some(Err(grpc::LEASE_NOT_FOUND))
    );
    assert_eq!(rig.lessor.remaining(7), None);
}

#[test]
fn only_the_leader_of_the_term_expires_leases() {
    let mut rig = Rig::new();
    rig.done::<LeaseGrantResponse>(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 10, id: 7 });
    rig.pass(Duration::from_secs(11));
    let expired = rig.lessor.scan();
    assert_eq!(expired, [ExpiredLease { id: 7, term: 1 }]);
    // meanwhile somebody else led, and the proposal arrives in a later term.
    rig.at.term = 3;
    rig.apply(Operation::LeaseExpire, &expired[0].encode_to_vec(), Some(Ticket::Errand(Errand::ExpireLease)));
    rig.end_batch();
    assert!(rig.lessor.remaining(7).is_some());
    // The leader of term 3 counts from the full time on.
    rig.machine.leadership(Leadership { leader: 1, term: 2, is_leader: false });
    rig.machine.leadership(Leadership { leader: 0x3e, term: 3, is_leader: true });
    assert!(!rig.lessor.is_primary(), "not before it has applied an entry of its term");
    rig.at.index += 1;
    rig.machine.applied_empty(rig.at);
    assert!(rig.lessor.is_primary());
    assert!(rig.lessor.scan().is_empty());
    rig.pass(Duration::from_secs(11));
    let expired = rig.lessor.scan();
    assert_eq!(expired, [ExpiredLease { id: 7, term: 3 }]);
    rig.apply(Operation::LeaseExpire, &expired[0].encode_to_vec(), Some(Ticket::Errand(Errand::ExpireLease)));
    rig.end_batch();
    assert_eq!(rig.lessor.remaining(7), None);
}

#[test]
fn revocations_in_flight_are_bounded_and_go_on() {
    let mut rig = Rig::new();
    for id in 1..=40 {
        rig.done::<LeaseGrantResponse>(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 2, id });
    }
    rig.pass(Duration::from_secs(2));
    let mut under_way = rig.lessor.scan();
    assert_eq!(under_way.len(), 16);
    let mut revoked = 0;
    while let Some(lease) = under_way.pop() {
        rig.apply(Operation::LeaseExpire, &lease.encode_to_vec(), Some(Ticket::Errand(Errand::ExpireLease)));
        rig.end_batch();
        revoked += 1;
        under_way.extend(rig.lessor.wait(Duration::ZERO).unwrap());
        assert!(under_way.len() <= 16);
    }
    assert_eq!(revoked, 40);
}

/// A replay ends there, so that the rest is applied with checkpoints in between.
#[test]
fn memory_is_full_until_a_checkpoint() {
    let mut rig = Rig::with_policy(CheckpointPolicy {
        dirty_bytes: 1 << 20,
        spacing: Duration::ZERO,
        ..CheckpointPolicy::default()
    });
    let value = "v".repeat(1 << 20);
    let mut puts = 0;
    while !rig.machine.is_full() {
        rig.done::<PutResponse>(Operation::Put, &put(&format!("key {puts}"), &value));
        puts += 1;
        assert!(puts < 64, "never full");
    }
    assert!(puts >= 16, "full after {puts}");
    let begun = Instant::now();
    while rig.machine.is_full() {
        rig.machine.maintain();
        std::thread::yield_now();
        assert!(begun.elapsed() < Duration::from_secs(60), "full for ever");
    }
}

#[test]
fn leases_and_members_outlive_a_restart() {
    let mut rig = Rig::with_policy(CheckpointPolicy {
        entries: 1,
        spacing: Duration::ZERO,
        ..CheckpointPolicy::default()
    });
    let member = MemberRecord { id: 0x3e, peer_urls: vec!["http://p".into()], ..MemberRecord::default() };
    rig.at.index += 1;
    let change =
        MembershipChange { kind: MembershipKind::AddVoter, member_id: 0x3e, context: context_of(&member) };
    assert!(rig.machine.admits(&change));
    rig.machine.apply_membership(rig.at, change.clone(), b"voters".to_vec(), None);
    assert!(!rig.machine.admits(&change), "nobody joins twice");
    let attributes = Some(Attributes { name: "n".into(), client_urls: vec!["http://c".into()] });
    let announce = ClusterMemberAttrSetRequest { member_id: 0x3e, member_attributes: attributes };
    rig.apply(
        Operation::ClusterMemberAttrSet,
        &announce.encode_to_vec(),
        Some(Ticket::Errand(Errand::Announce)),
    );
    let version = ClusterVersionSetRequest { ver: "3.7.0".into() };
    rig.apply(Operation::ClusterVersionSet, &version.encode_to_vec(), None);
    rig.done::<LeaseGrantResponse>(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 60, id: 7 });
    rig.done::<PutResponse>(Operation::Put, &PutRequest { lease: 7, ..put("a", "1") });
    let membership = rig.members.get();
    assert_eq!(membership.cluster_version.as_deref(), Some("3.7.0"));
    assert_eq!(membership.listed()[0].name, "n");
    let last = rig.at;
    let released = rig.maintain_until(|rig| rig.machine.store().durable_applied().index == last.index);
    assert_eq!(released.last(), Some(&(last.index + 1)));

    let hash = rig.view().hash_all().unwrap();
    let mut rig = rig.reopen();
    assert_eq!(rig.at, Position { index: last.index + 1, term: last.term + 1 });
    assert_eq!((rig.view().hash_all().unwrap(), rig.machine.conf_state()), (hash, b"voters".to_vec()));
    assert_eq!(*rig.members.get(), *membership);
    assert_eq!(rig.lessor.remaining(7).unwrap().ttl, 60);
    rig.done::<LeaseRevokeResponse>(Operation::LeaseRevoke, &LeaseRevokeRequest { id: 7 });
    assert!(keys(&rig).is_empty());
}

#[test]
fn physical_compaction_answers_when_the_records_are_gone() {
    let mut rig = Rig::new();
    for round in 0..200 {
        rig.done::<PutResponse>(Operation::Put, &put("a", &round.to_string()));
    }
    let before = rig.view().hash_at_compaction(150).unwrap();
    let compaction = CompactionRequest { revision: 150, physical: true };
    assert_eq!(rig.propose(Operation::Compaction, &compaction), None);
    let mut answer = None;
    rig.maintain_until(|rig| {
        answer = rig.answers().pop().map(|(_, answer)| (answer, rig.machine.store().compaction_pending()));
        answer.is_some()
    });
    let (answer, pending) = answer.unwrap();
    assert!(!pending);
    assert_eq!(CompactionResponse::decode(answer.unwrap()).unwrap().header.unwrap().revision, 201);
    // What HashKV will answer for this revision.
    assert_eq!(rig.hashes.at(150), Some(before));
    assert_eq!(
        rig.propose(Operation::Compaction, &CompactionRequest { revision: 150, physical: false }),
        Some(Err(grpc::COMPACTED))
    );
    let old = RangeRequest { key: "a".into(), revision: 149, ..RangeRequest::default() };
    let txn = TxnRequest {
        success: vec![op(Request::RequestRange(old)), put_op("b", "")],
        ..TxnRequest::default()
    };
    assert_eq!(rig.propose(Operation::Txn, &txn), Some(Err(grpc::COMPACTED)), "R-19: before the first write");
    assert_eq!(keys(&rig), ["a"]);
}

#[test]
fn answers_leave_after_the_state_is_published() {
    let mut rig = Rig::new();
    let calls = [rig.call(), rig.call()];
    for (call, key) in calls.into_iter().zip(["a", "b"]) {
        rig.apply(Operation::Put, &put(key, "1").encode_to_vec(), Some(Ticket::Call(call)));
        assert!(rig.answers().is_empty() && rig.events().is_empty(), "nothing leaves before the batch ends");
        assert_eq!(rig.view().revision(), 1);
    }
    // A refusal has nothing to wait for, and takes no answer along.
    let refused = rig.call();
    rig.machine.refused(Ticket::Call(refused), Refused::NoLeader);
    assert_eq!(rig.answers(), [(refused, Err(grpc::NO_LEADER))]);
    assert_eq!(rig.end_batch().len(), 2);
    assert_eq!((rig.view().revision(), rig.events().len()), (3, 2));
}

/// A random request of any kind, valid or not.
fn random_request(random: &mut ChaCha8Rng, revision: i64) -> (Operation, Vec<u8>) {
    let key = |random: &mut ChaCha8Rng| Bytes::from(vec![b'a' + random.random_range(0..8)]);
    let end = |random: &mut ChaCha8Rng| match random.random_range(0..4) {
        0 => key(random),
        1 => Bytes::from_static(b"\0"),
        _ => Bytes::new(),
    };
    let put = |random: &mut ChaCha8Rng| PutRequest {
        key: key(random),
        value: vec![random.random(); random.random_range(0..20)].into(),
        lease: if random.random_bool(0.3) { random.random_range(1..5) } else { 0 },
        prev_kv: random.random_bool(0.3),
        ignore_value: random.random_bool(0.05),
        ignore_lease: random.random_bool(0.05),
    };
    fn txn(
        random: &mut ChaCha8Rng,
        depth: u32,
        put: &dyn Fn(&mut ChaCha8Rng) -> PutRequest,
        end: &dyn Fn(&mut ChaCha8Rng) -> Bytes,
    ) -> TxnRequest {
        let branch = |random: &mut ChaCha8Rng| {
            (0..random.random_range(0..3))
                .map(|_| {
                    op(match random.random_range(0..4) {
                        0 => Request::RequestPut(put(random)),
                        1 => Request::RequestRange(RangeRequest {
                            key: put(random).key,
                            range_end: end(random),
                            revision: random.random_range(-1..4),
                            ..RangeRequest::default()
                        }),
                        2 if depth > 0 => Request::RequestTxn(txn(random, depth - 1, put, end)),
                        _ => Request::RequestDeleteRange(DeleteRangeRequest {
                            key: put(random).key,
                            range_end: end(random),
                            prev_kv: random.random(),
                        }),
                    })
                })
                .collect()
        };
        let (success, failure) = (branch(random), branch(random));
        let compare = (0..random.random_range(0..2))
            .map(|_| Compare {
                key: put(random).key,
                range_end: end(random),
                target: random.random_range(0..6),
                result: random.random_range(0..5),
                target_union: Some(TargetUnion::Version(random.random_range(0..3))),
            })
            .collect();
        TxnRequest { compare, success, failure }
    }
    match random.random_range(0..12) {
        0..4 => (Operation::Put, put(random).encode_to_vec()),
        4 => {
            let (key, range_end, prev_kv) = (key(random), end(random), random.random());
            (Operation::DeleteRange, DeleteRangeRequest { key, range_end, prev_kv }.encode_to_vec())
        }
        5..8 => {
            let request = txn(random, 2, &put, &end);
            // What the front would have refused never reaches the log.
            match crate::kv::check_txn(&request, 128) {
                Ok(()) => (Operation::Txn, request.encode_to_vec()),
                Err(_) => (Operation::Txn, TxnRequest::default().encode_to_vec()),
            }
        }
        8 => {
            let revision = random.random_range(-1..=revision + 1);
            (Operation::Compaction, CompactionRequest { revision, physical: false }.encode_to_vec())
        }
        9 => {
            let (ttl, id) = (random.random_range(-1..100), random.random_range(0..5));
            (Operation::LeaseGrant, LeaseGrantRequest { ttl, id }.encode_to_vec())
        }
        10 => (Operation::LeaseRevoke, LeaseRevokeRequest { id: random.random_range(0..5) }.encode_to_vec()),
        _ => {
            let expired = ExpiredLease { id: random.random_range(1..5), term: random.random_range(1..3) };
            (Operation::LeaseExpire, expired.encode_to_vec())
        }
    }
}

/// Two members that get the same entries in different batches, one of them answering clients and compacting at once,
/// the other neither, end the same.
#[test]
fn same_entries_same_state_and_answers() {
    let rounds: u64 = std::env::var("GRAVEN_APPLY_SEEDS").map_or(8, |text| text.parse().unwrap());
    for seed in 0..rounds {
        println!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut a, mut b, mut silent) = (Rig::new(), Rig::new(), Rig::new());
        let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
        for _ in 0..600 {
            let (operation, request) = random_request(&mut random, a.machine.store().revision());
            let (call_a, call_b) = (a.call(), b.call());
            a.apply(operation, &request, Some(Ticket::Call(call_a)));
            b.apply(operation, &request, Some(Ticket::Call(call_b)));
            silent.apply(operation, &request, None);
            from_a.extend(a.end_batch());
            if random.random_bool(0.2) {
                from_b.extend(b.end_batch());
                silent.end_batch();
            }
            if random.random_bool(0.3) {
                a.machine.maintain();
            }
        }
        from_b.extend(b.end_batch());
        silent.end_batch();
        assert_eq!(from_a, from_b);
        a.maintain_until(|rig| !rig.machine.store().compaction_pending());
        let state = |rig: &Rig| {
            let view = rig.view();
            (view.revision(), view.compact_revision(), view.applied(), view.hash_all().unwrap())
        };
        // A hash over what is left needs the same left.
        b.maintain_until(|rig| !rig.machine.store().compaction_pending());
        silent.maintain_until(|rig| !rig.machine.store().compaction_pending());
        for rig in [&mut a, &mut b, &mut silent] {
            rig.end_batch();
        }
        assert_eq!(state(&a), state(&b));
        assert_eq!(state(&a), state(&silent));
        assert_eq!(a.lessor.list().len(), silent.lessor.list().len());
        assert_eq!(a.events(), b.events());
        assert_eq!(b.view().hash_all().unwrap(), silent.view().hash_all().unwrap());
    }
}
