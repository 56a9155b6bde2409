//! Masks what may differ between two clusters, and says where two answers differ.

use std::fmt::{Debug, Write};

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request as Asked;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, ResponseOp, TxnRequest, TxnResponse};
use api::mvccpb::KeyValue;

use super::request::{Answer, Request};

/// Above this length etcd sorts with an algorithm that may exchange equal elements.
const STABLE: usize = 12;
/// Seconds a lease may have lost since it was granted or renewed.
const AGE: i64 = 3600;

/// Makes answers to `request` from different clusters comparable.
pub(super) fn mask(request: &Request, answer: &mut Answer) {
    match answer {
        Answer::Range(range) => {
            mask_header(&mut range.header);
            if let Request::Range(request) = request {
                settle_ties(request, range);
            }
        }
        Answer::RangeStream(range, _) => mask_header(&mut range.header),
        Answer::Put(put) => mask_header(&mut put.header),
        Answer::DeleteRange(delete) => mask_header(&mut delete.header),
        Answer::Txn(txn) => {
            if let Request::Txn(request) = request {
                mask_txn(request, txn);
            }
        }
        Answer::Compact(compact) => mask_header(&mut compact.header),
        Answer::LeaseGrant(granted) => mask_header(&mut granted.header),
        Answer::LeaseRoundTrip(granted, kept, revoked) => {
            mask_header(&mut granted.header);
            mask_header(&mut revoked.header);
            let id = granted.id;
            if let Some(kept) = kept {
                mask_header(&mut kept.header);
                kept.id = i64::from(kept.id == id);
            }
            if matches!(request, Request::LeaseRoundTrip(request) if request.id == 0) {
                granted.id = i64::from(id > 0);
            }
        }
        Answer::LeaseRevoke(revoked) => mask_header(&mut revoked.header),
        Answer::LeaseTimeToLive(left) => {
            mask_header(&mut left.header);
            left.keys.sort();
            // Unordered, but a key must not be there twice: so no deduplication.
            if left.ttl <= left.granted_ttl && left.ttl > left.granted_ttl - AGE {
                left.ttl = left.granted_ttl;
            }
        }
        Answer::LeaseLeases(list) => {
            mask_header(&mut list.header);
            list.leases.sort_by_key(|lease| lease.id);
        }
        Answer::LeaseKeepAlive(kept) => {
            if let Some(kept) = kept {
                mask_header(&mut kept.header);
            }
        }
        Answer::HashKv(hash) => mask_header(&mut hash.header),
        Answer::Watch(responses) => {
            responses.iter_mut().for_each(|response| mask_header(&mut response.header))
        }
        Answer::Refused(..) => {}
    }
}

/// Ids and terms must be there or not be there, on both sides alike.
fn mask_header(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = u64::from(header.cluster_id != 0);
        header.member_id = u64::from(header.member_id != 0);
        header.raft_term = u64::from(header.raft_term != 0);
    }
}

fn mask_txn(request: &TxnRequest, txn: &mut TxnResponse) {
    mask_header(&mut txn.header);
    let asked = if txn.succeeded { &request.success } else { &request.failure };
    for (at, ResponseOp { response }) in txn.responses.iter_mut().enumerate() {
        let asked = asked.get(at).and_then(|op| op.request.as_ref());
        match response {
            Some(Response::ResponseRange(range)) => {
                mask_header(&mut range.header);
                if let Some(Asked::RequestRange(asked)) = asked {
                    settle_ties(asked, range);
                }
            }
            Some(Response::ResponsePut(put)) => mask_header(&mut put.header),
            Some(Response::ResponseDeleteRange(delete)) => mask_header(&mut delete.header),
            Some(Response::ResponseTxn(nested)) => {
                let none = TxnRequest::default();
                let asked = if let Some(Asked::RequestTxn(asked)) = asked { asked } else { &none };
                mask_txn(asked, nested);
            }
            None => {}
        }
    }
}

/// What a sorted range is sorted by, as bytes that compare the same way.
fn sort_key(target: SortTarget, kv: &KeyValue) -> Vec<u8> {
    match target {
        SortTarget::Key => kv.key.to_vec(),
        SortTarget::Version => kv.version.to_be_bytes().to_vec(),
        SortTarget::Create => kv.create_revision.to_be_bytes().to_vec(),
        SortTarget::Mod => kv.mod_revision.to_be_bytes().to_vec(),
        SortTarget::Value => kv.value.to_vec(),
    }
}

/// Long sorted answers: equal elements may stand in any order, and of those at the cut any may be left out.
fn settle_ties(request: &RangeRequest, range: &mut RangeResponse) {
    let target = request.sort_target();
    let sorted = request.sort_order() != SortOrder::None || target != SortTarget::Key;
    // The sort sees all keys in the range, at most `count`.
    if !sorted || target == SortTarget::Key || range.count <= STABLE as i64 {
        return;
    }
    if request.keys_only && target == SortTarget::Value {
        // Sorted by what is not shown: any two may be equal.
        if range.more {
            range.kvs.fill(KeyValue::default());
        }
        range.kvs.sort_by(|a, b| a.key.cmp(&b.key));
        return;
    }
    if range.more
        && let Some(last) = range.kvs.last()
    {
        let cut = sort_key(target, last);
        for kv in range.kvs.iter_mut().filter(|kv| sort_key(target, kv) == cut) {
            // How many are left is still compared, and by what they were sorted.
            *kv = KeyValue {
                value: if target == SortTarget::Value { kv.value.clone() } else { "?".into() },
                ..KeyValue::default()
            };
        }
    }
    let mut at = 0;
    while at < range.kvs.len() {
        let group = sort_key(target, &range.kvs[at]);
        let end = range.kvs[at..]
            .iter()
            .position(|kv| sort_key(target, kv) != group)
            .map_or(range.kvs.len(), |n| at + n);
        range.kvs[at..end].sort_by(|a, b| a.key.cmp(&b.key));
        at = end;
    }
}

/// Where two things differ, with what stands around it; nothing when they are equal.
pub fn difference<T: PartialEq + Debug>(reference: &T, subject: &T) -> Option<String> {
    if reference == subject {
        return None;
    }
    let (a, b) = (format!("{reference:?}"), format!("{subject:?}"));
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    // Debug text of bytes is ASCII, so that cutting anywhere is safe; `get` covers the rest.
    let around = |text: &str| {
        let from = common.saturating_sub(600);
        let to = text.len().min(common + 900);
        let part = text.get(from..to).unwrap_or(text);
        format!("{}{part}{}", if from > 0 { "..." } else { "" }, if to < text.len() { "..." } else { "" })
    };
    _ = write!(
        out,
        "  reference: {}\n  subject:   {}\n  they part at byte {common} of the text",
        around(&a),
        around(&b)
    );
    Some(out)
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{PutResponse, RangeRequest, RangeResponse, ResponseHeader};
    use api::mvccpb::KeyValue;

    use super::{difference, mask};
    use crate::twin::{Answer, Request};

    fn header(cluster: u64, revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { cluster_id: cluster, member_id: cluster + 1, revision, raft_term: cluster })
    }

    fn kv(key: &'static str, version: i64) -> KeyValue {
        KeyValue { key: key.into(), version, ..KeyValue::default() }
    }

    fn masked(request: &Request, mut answer: Answer) -> Answer {
        mask(request, &mut answer);
        answer
    }

    #[test]
    fn ids_and_terms_are_masked_and_revisions_are_not() {
        let request = Request::Put(api::etcdserverpb::PutRequest::default());
        let answer = |cluster, revision| {
            masked(&request, Answer::Put(PutResponse { header: header(cluster, revision), prev_kv: None }))
        };
        assert_eq!(difference(&answer(7, 5), &answer(9, 5)), None);
        assert!(difference(&answer(7, 5), &answer(7, 6)).is_some());
        assert!(difference(&answer(7, 5), &answer(0, 5)).is_some(), "a missing id is a difference");
        let bare = masked(&request, Answer::Put(PutResponse::default()));
        assert!(difference(&answer(7, 5), &bare).is_some(), "a missing header is a difference");
    }

    #[test]
    fn only_ties_of_long_sorted_answers_may_change_places() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
        let answer = |target: i32, order: i32, swap: (usize, usize), count: usize, more: bool| {
            let request =
                Request::Range(RangeRequest { sort_order: order, sort_target: target, ..Default::default() });
            let mut kvs: Vec<_> =
                names[..count].iter().enumerate().map(|(i, k)| kv(k, i64::from(i > 2))).collect();
            kvs.swap(swap.0, swap.1);
            let count =
                i64::try_from(names.len()).expect("few").min(if more { 99 } else { kvs.len() as i64 });
            masked(&request, Answer::Range(RangeResponse { header: None, kvs, more, count }))
        };
        let differs = |a: &Answer, b: &Answer| difference(a, b).is_some();
        assert!(!differs(&answer(1, 1, (0, 0), 13, false), &answer(1, 1, (0, 1), 13, false)), "a tie");
        assert!(differs(&answer(1, 1, (0, 0), 13, false), &answer(1, 1, (2, 3), 13, false)), "not a tie");
        assert!(differs(&answer(1, 1, (0, 0), 12, false), &answer(1, 1, (0, 1), 12, false)), "short: stable");
        assert!(differs(&answer(0, 1, (0, 0), 13, false), &answer(0, 1, (0, 1), 13, false)), "by key");
    }

    #[test]
    fn the_difference_is_shown_in_its_place() {
        let text = "x".repeat(5000);
        let shown = difference(&format!("{text}a{text}"), &format!("{text}b{text}")).expect("they differ");
        assert!(shown.len() < 5000 && shown.contains("xa") && shown.contains("xb"));
        assert!(shown.contains("at byte 5001"), "{shown}");
    }
}
