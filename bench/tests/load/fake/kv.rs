//! The fake's keys.

use std::sync::atomic::Ordering;

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    RequestOp, ResponseHeader, ResponseOp, TxnResponse,
};
use api::mvccpb::{Event, KeyValue};
use bytes::Bytes;

use super::State;

/// Whether one of the operations puts or deletes.
pub(super) fn writes(operations: &[RequestOp]) -> bool {
    let is_write =
        |request: &Request| matches!(request, Request::RequestPut(_) | Request::RequestDeleteRange(_));
    operations.iter().any(|operation| operation.request.as_ref().is_some_and(is_write))
}

/// Whether a key is the one, or lies in the range.
pub(super) fn within(key: &Bytes, first: &Bytes, end: &Bytes) -> bool {
    match &end[..] {
        [] => key == first,
        [0] => key >= first,
        _ => key >= first && key < end,
    }
}

impl State {
    pub(super) fn put(&self, put: PutRequest, revision: i64) {
        assert!(!put.key.is_empty());
        let PutRequest { key, value, lease, .. } = put;
        let mut keys = self.keys.lock().unwrap();
        let before = keys.get(&key).cloned();
        let (create_revision, version) =
            before.as_ref().map_or((revision, 1), |kv| (kv.create_revision, kv.version + 1));
        let kv =
            KeyValue { key: key.clone(), value, lease, mod_revision: revision, create_revision, version };
        keys.insert(key, kv.clone());
        drop(keys);
        self.tell(Event { r#type: 0, kv: Some(kv), prev_kv: before });
    }

    /// Returns how many keys are gone.
    pub(super) fn delete(&self, delete: &DeleteRangeRequest, revision: i64) -> i64 {
        self.delete_if(revision, |kv| within(&kv.key, &delete.key, &delete.range_end))
    }

    /// What hangs on a lease goes with it, at one revision.
    pub(super) fn delete_of_lease(&self, id: i64) {
        let revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        self.delete_if(revision, |kv| kv.lease == id);
    }

    fn delete_if(&self, revision: i64, goes: impl Fn(&KeyValue) -> bool) -> i64 {
        let mut keys = self.keys.lock().unwrap();
        let gone: Vec<KeyValue> = keys.extract_if(.., |_, kv| goes(kv)).map(|(_, kv)| kv).collect();
        drop(keys);
        for before in &gone {
            let kv = KeyValue { key: before.key.clone(), mod_revision: revision, ..KeyValue::default() };
            self.tell(Event { r#type: 1, kv: Some(kv), prev_kv: Some(before.clone()) });
        }
        gone.len() as i64
    }

    /// Single keys of the past are taken for those of now, which only a transaction's condition finds out.
    pub(super) fn range(&self, range: &RangeRequest) -> RangeResponse {
        let keys = match (range.revision, &range.range_end[..]) {
            (0, _) | (_, []) => self.keys.lock().unwrap().clone(),
            (revision, _) => self.keys_at(revision),
        };
        let at = |kv: &KeyValue| range.revision == 0 || kv.mod_revision <= range.revision;
        let is_asked = |kv: &&KeyValue| within(&kv.key, &range.key, &range.range_end) && at(kv);
        let hidden = self.faults.hides_key && !range.range_end.is_empty();
        let all: Vec<&KeyValue> = keys.values().filter(is_asked).skip(hidden.into()).collect();
        let limit = if range.limit == 0 { all.len() } else { all.len().min(range.limit as usize) };
        let shown = if range.count_only { 0 } else { limit };
        let show = |kv: &KeyValue| {
            let value = if range.keys_only { Bytes::new() } else { kv.value.clone() };
            KeyValue { value, ..kv.clone() }
        };
        RangeResponse {
            header: None,
            kvs: all[..shown].iter().map(|kv| show(kv)).collect(),
            more: !range.count_only && limit < all.len(),
            count: all.len() as i64,
        }
    }

    /// Whether a condition on a mod revision or a version holds.
    pub(super) fn holds(&self, compare: &Compare) -> bool {
        let keys = self.keys.lock().unwrap();
        let kv = keys.get(&compare.key);
        let (found, revision) = match (compare.target(), &compare.target_union) {
            (CompareTarget::Mod, Some(TargetUnion::ModRevision(revision))) => {
                (kv.map_or(0, |kv| kv.mod_revision), *revision)
            }
            (CompareTarget::Version, Some(TargetUnion::Version(version))) => {
                (kv.map_or(0, |kv| kv.version), *version)
            }
            _ => panic!("nobody asks for {compare:?}"),
        };
        match compare.result() {
            CompareResult::Equal => found == revision,
            CompareResult::Less => found < revision,
            other => panic!("nobody asks for {other:?}"),
        }
    }

    /// Carries out one branch of a transaction.
    pub(super) fn txn(
        &self,
        operations: &[RequestOp],
        succeeded: bool,
        revision: i64,
        header: Option<ResponseHeader>,
    ) -> TxnResponse {
        let answer = |operation: &RequestOp| match &operation.request {
            Some(Request::RequestPut(put)) => {
                self.put(put.clone(), revision);
                Response::ResponsePut(PutResponse::default())
            }
            Some(Request::RequestDeleteRange(delete)) => {
                let deleted = self.delete(delete, revision);
                Response::ResponseDeleteRange(DeleteRangeResponse {
                    deleted,
                    ..DeleteRangeResponse::default()
                })
            }
            Some(Request::RequestRange(range)) => Response::ResponseRange(self.range(range)),
            other => panic!("nobody asks for {other:?}"),
        };
        let responses = operations.iter().map(|one| ResponseOp { response: Some(answer(one)) }).collect();
        TxnResponse { header, succeeded, responses }
    }
}
