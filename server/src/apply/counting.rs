//! What the machine counts, against etcd's rules, and what upkeep gives back.

use std::time::{Duration, Instant};

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use replication::StateMachine;

use super::rig::Rig;
use super::{Errand, Ticket};
use crate::kv::Operation;
use crate::lease::ExpiredLease;
use crate::upkeep::CheckpointPolicy;
use prost::Message;

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_string().into(), value: value.to_string().into(), ..PutRequest::default() }
}

fn range(key: &str) -> RequestOp {
    let range = RangeRequest { key: key.to_string().into(), ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

fn put_op(request: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(request)) }
}

/// Ranges, puts, deletes, transactions and bytes put.
fn counts(rig: &Rig) -> [u64; 5] {
    let metrics = &rig.metrics;
    [
        metrics.mvcc_range_total.get(),
        metrics.mvcc_put_total.get(),
        metrics.mvcc_delete_total.get(),
        metrics.mvcc_txn_total.get(),
        metrics.debugging_mvcc_total_put_size_in_bytes.get().cast_unsigned(),
    ]
}

/// What `request` adds to the counts.
fn added(rig: &mut Rig, operation: Operation, request: &impl Message) -> [u64; 5] {
    let before = counts(rig);
    let _ = rig.propose(operation, request).expect("an answer");
    let after = counts(rig);
    std::array::from_fn(|at| after[at] - before[at])
}

#[test]
fn operations_are_counted_as_etcds_transactions_do() {
    let mut rig = Rig::new();
    let previous = |request: PutRequest| PutRequest { prev_kv: true, ..request };
    assert_eq!(added(&mut rig, Operation::Put, &put("a", "123")), [0, 1, 0, 0, 4]);
    // Looking for the previous value makes two operations of it.
    assert_eq!(added(&mut rig, Operation::Put, &previous(put("a", "1"))), [1, 1, 0, 1, 2]);
    let keeps = PutRequest { ignore_value: true, ..put("none", "") };
    assert_eq!(added(&mut rig, Operation::Put, &keeps), [1, 0, 0, 0, 0], "refused after a look");
    let unknown_lease = previous(PutRequest { lease: 5, ..put("a", "") });
    assert_eq!(added(&mut rig, Operation::Put, &unknown_lease), [0; 5], "refused before it");
    let delete = DeleteRangeRequest { key: "none".into(), ..DeleteRangeRequest::default() };
    assert_eq!(added(&mut rig, Operation::DeleteRange, &delete), [0, 0, 1, 0, 0]);
    let delete = DeleteRangeRequest { prev_kv: true, ..delete };
    assert_eq!(added(&mut rig, Operation::DeleteRange, &delete), [1, 0, 1, 1, 0]);

    let txn = |compare, success| TxnRequest { compare, success, ..TxnRequest::default() };
    let one = txn(Vec::new(), vec![put_op(put("b", "1"))]);
    assert_eq!(added(&mut rig, Operation::Txn, &one), [0, 1, 0, 0, 2], "one operation is no transaction");
    let two = txn(Vec::new(), vec![put_op(put("b", "1")), range("b")]);
    assert_eq!(added(&mut rig, Operation::Txn, &two), [1, 1, 0, 1, 2]);
    // Two compares are a transaction that reads, two puts one that writes; the third compare isn't reached.
    let fails = |version| Compare {
        key: "b".into(),
        target: compare::CompareTarget::Version as i32,
        target_union: Some(compare::TargetUnion::Version(version)),
        ..Compare::default()
    };
    let nested = RequestOp { request: Some(Request::RequestTxn(two.clone())) };
    let both = TxnRequest {
        compare: vec![fails(2), fails(9), fails(2)],
        failure: vec![put_op(previous(put("c", "1"))), nested],
        ..TxnRequest::default()
    };
    // 2 compares and a look ahead of the put; then a look, a put, and what is nested.
    assert_eq!(added(&mut rig, Operation::Txn, &both), [5, 2, 0, 2, 4]);
    let compaction = CompactionRequest { revision: 2, physical: false };
    assert_eq!(added(&mut rig, Operation::Compaction, &compaction), [1, 0, 0, 0, 0]);

    // Ranges are left out where nobody waits for the answer.
    let before = counts(&rig);
    rig.apply(Operation::Txn, &two.encode_to_vec(), None);
    rig.end_batch();
    assert_eq!(counts(&rig), [before[0], before[1] + 1, before[2], before[3], before[4] + 2]);
}

#[test]
fn leases_are_counted() {
    let mut rig = Rig::new();
    for id in [7, 8, 9] {
        rig.done::<LeaseGrantResponse>(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 60, id });
    }
    assert!(rig.propose(Operation::LeaseGrant, &LeaseGrantRequest { ttl: 60, id: 7 }).unwrap().is_err());
    assert_eq!(rig.metrics.debugging_lease_granted_total.get(), 3);
    let ttls = &rig.metrics.debugging_lease_ttl_total;
    assert_eq!((ttls.get_sample_count(), ttls.get_sample_sum()), (3, 180.0));
    for key in ["a", "b"] {
        rig.done::<PutResponse>(Operation::Put, &PutRequest { lease: 7, ..put(key, "") });
    }
    let revoke = LeaseRevokeRequest { id: 7 };
    assert_eq!(added(&mut rig, Operation::LeaseRevoke, &revoke), [0, 0, 2, 1, 0], "one delete a key");
    assert!(rig.propose(Operation::LeaseRevoke, &revoke).unwrap().is_err());
    let (revoked, expired) =
        (&rig.metrics.debugging_lease_revoked_total, &rig.metrics.debugging_server_lease_expired_total);
    assert_eq!((revoked.get(), expired.get()), (1, 0));
    let (revoked, expired) = (revoked.clone(), expired.clone());
    // Only the member that found a lease expired counts it as such.
    let term = rig.at.term;
    let ticket = Ticket::Errand(Errand::ExpireLease);
    rig.apply(Operation::LeaseExpire, &ExpiredLease { id: 8, term }.encode_to_vec(), Some(ticket));
    rig.apply(Operation::LeaseExpire, &ExpiredLease { id: 8, term }.encode_to_vec(), Some(ticket));
    rig.apply(Operation::LeaseExpire, &ExpiredLease { id: 9, term }.encode_to_vec(), None);
    rig.end_batch();
    assert_eq!((revoked.get(), expired.get()), (3, 1));

    // What is there at the start was granted before.
    let rig = rig.reopen();
    assert_eq!(rig.metrics.debugging_lease_granted_total.get(), 0);
}

/// Records that readers' newest view has a page for, useless ones included.
fn records(rig: &Rig) -> usize {
    rig.view().changes(0).map(Result::unwrap).count()
}

#[test]
fn every_slice_of_a_compaction_is_published_and_counted() {
    let mut rig = Rig::new();
    for round in 0..2000 {
        rig.apply(Operation::Put, &put("a", &round.to_string()).encode_to_vec(), None);
    }
    rig.end_batch();
    let compaction = CompactionRequest { revision: 2001, physical: false };
    rig.done::<CompactionResponse>(Operation::Compaction, &compaction);
    // Nothing goes before the hash is made.
    rig.maintain_until(|rig| records(rig) < 2000);
    assert!(rig.machine.store().compaction_pending(), "there is more than one slice");
    assert_eq!(rig.metrics.debugging_mvcc_db_compaction_last.get(), 0);
    rig.maintain_until(|rig| !rig.machine.store().compaction_pending());
    assert_eq!(rig.metrics.debugging_mvcc_db_compaction_keys_total.get(), 1999);
    assert!(rig.metrics.debugging_mvcc_db_compaction_last.get() > 0);
    assert_eq!(rig.metrics.debugging_mvcc_db_compaction_total_duration_milliseconds.get_sample_count(), 1);
    assert!(rig.metrics.debugging_mvcc_db_compaction_pause_duration_milliseconds.get_sample_count() > 1);
}

#[test]
fn a_checkpoint_is_timed_and_its_memory_given_back() {
    let mut rig = Rig::with_policy(CheckpointPolicy {
        spacing: Duration::ZERO,
        entries: u64::MAX,
        dirty_bytes: usize::MAX,
        interval: Duration::from_secs(60),
    });
    // More pages than are kept ready for later.
    let value = "x".repeat(60_000);
    for key in 0..500 {
        rig.apply(Operation::Put, &put(&format!("k{key}"), &value).encode_to_vec(), None);
    }
    rig.end_batch();
    assert!(!rig.machine.maintain().again_soon && !rig.machine.maintain().again_soon, "nothing to give yet");
    rig.pass(Duration::from_secs(61));
    let last = rig.at.index;
    let begun = Instant::now();
    let mut slices = 0;
    loop {
        let more = rig.machine.maintain().again_soon;
        slices += usize::from(more);
        if !more && rig.machine.store().durable_applied().index == last {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never ends");
        std::thread::yield_now();
    }
    assert_eq!(rig.metrics.disk_backend_commit_duration_seconds.get_sample_count(), 1);
    assert!(slices > 0, "nothing was given back");
}
