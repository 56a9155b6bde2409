//! The fake's keys.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{
    Compare, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp,
    TxnResponse,
};
use api::mvccpb::KeyValue;
use bytes::Bytes;

use super::State;

/// Whether one of the operations puts.
pub(super) fn writes(operations: &[RequestOp]) -> bool {
    operations.iter().any(|operation| matches!(operation.request, Some(Request::RequestPut(_))))
}

impl State {
    pub(super) fn put(&self, put: PutRequest, revision: i64) {
        assert!(!put.key.is_empty());
        let PutRequest { key, value, lease, .. } = put;
        let kv = KeyValue { key: key.clone(), value, lease, mod_revision: revision, ..KeyValue::default() };
        self.keys.lock().unwrap().insert(key, kv);
    }

    /// What there is now: revisions of the past are taken for it, which only a transaction's condition finds out.
    pub(super) fn range(&self, range: &RangeRequest) -> RangeResponse {
        let keys = self.keys.lock().unwrap();
        let within = |key: &Bytes| match &range.range_end[..] {
            [] => *key == range.key,
            [0] => *key >= range.key,
            end => *key >= range.key && **key < *end,
        };
        let at = |kv: &KeyValue| range.revision == 0 || kv.mod_revision <= range.revision;
        let all: Vec<&KeyValue> = keys.values().filter(|kv| within(&kv.key) && at(kv)).collect();
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

    /// Whether a condition on a mod revision holds.
    pub(super) fn holds(&self, compare: &Compare) -> bool {
        assert_eq!(compare.target(), CompareTarget::Mod);
        let Some(TargetUnion::ModRevision(revision)) = compare.target_union else {
            panic!("no mod revision in {compare:?}")
        };
        let keys = self.keys.lock().unwrap();
        let found = keys.get(&compare.key).map_or(0, |kv| kv.mod_revision);
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
            Some(Request::RequestRange(range)) => Response::ResponseRange(self.range(range)),
            other => panic!("nobody asks for {other:?}"),
        };
        let responses = operations.iter().map(|one| ResponseOp { response: Some(answer(one)) }).collect();
        TxnResponse { header, succeeded, responses }
    }
}
