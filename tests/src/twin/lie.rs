//! Planted faults: answers of the subject that are changed on their way, to prove that the comparison sees it.

use api::etcdserverpb::response_op::Response;
use clap::ValueEnum;

use super::request::Answer;
use super::watching::WatchStream;

/// What to change, in the first answer it can be changed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Lie {
    HeaderRevision,
    Value,
    Lease,
    Order,
    Count,
    More,
    PrevKv,
    TxnBranch,
    NestedAnswer,
    ErrorCode,
    ErrorText,
    Ttl,
    Hash,
    DropEvent,
    RepeatEvent,
    SwapEvents,
    EventPrevKv,
    CancelReason,
}

impl Lie {
    /// Changes `answer` if this lie can be told in it.
    pub(super) fn tell(self, answer: &mut Answer) -> bool {
        match (self, answer) {
            (Self::HeaderRevision, Answer::Put(put)) => {
                put.header.as_mut().map(|header| header.revision += 1).is_some()
            }
            (Self::Value, Answer::Range(range)) => {
                range.kvs.last_mut().map(|kv| kv.value = [&kv.value[..], b"!"].concat().into()).is_some()
            }
            (Self::Lease, Answer::Range(range)) => {
                range.kvs.iter_mut().find(|kv| kv.lease != 0).map(|kv| kv.lease = 0).is_some()
            }
            (Self::Order, Answer::Range(range)) if range.kvs.len() > 1 => {
                range.kvs.swap(0, 1);
                true
            }
            (Self::Count, Answer::Range(range)) => {
                range.count += 1;
                true
            }
            (Self::More, Answer::Range(range)) => {
                range.more = !range.more;
                true
            }
            (Self::PrevKv, Answer::Put(put)) => put.prev_kv.take().is_some(),
            (Self::TxnBranch, Answer::Txn(txn)) => {
                txn.succeeded = !txn.succeeded;
                true
            }
            (Self::NestedAnswer, Answer::Txn(txn)) => {
                let nested = txn.responses.iter_mut().find_map(|op| match &mut op.response {
                    Some(Response::ResponseTxn(nested)) => nested.responses.pop(),
                    _ => None,
                });
                nested.is_some()
            }
            (Self::ErrorCode, Answer::Refused(code, _)) => {
                *code = if *code == 3 { 9 } else { 3 };
                true
            }
            (Self::ErrorText, Answer::Refused(_, text)) => {
                text.push('.');
                true
            }
            (Self::Ttl, Answer::LeaseTimeToLive(left)) if left.granted_ttl > 0 => {
                left.granted_ttl += 1;
                true
            }
            (Self::Hash, Answer::HashKv(hash)) => {
                hash.hash ^= 1;
                true
            }
            (Self::CancelReason, Answer::Watch(responses)) => {
                let mut reasons = responses.iter_mut().filter(|response| !response.cancel_reason.is_empty());
                reasons.next().map(|response| response.cancel_reason.make_ascii_uppercase()).is_some()
            }
            _ => false,
        }
    }

    /// Changes what was delivered on `stream` if this lie can be told there.
    pub(super) fn tell_events(self, stream: &mut WatchStream) -> bool {
        for watcher in stream.delivered.values_mut() {
            let events = &mut watcher.events;
            let told = match self {
                Self::DropEvent => events.pop().is_some(),
                Self::RepeatEvent => events.last().cloned().map(|event| events.push(event)).is_some(),
                Self::SwapEvents if events.len() > 1 && events[0] != events[1] => {
                    events.swap(0, 1);
                    true
                }
                Self::EventPrevKv => events.iter_mut().any(|event| event.prev_kv.take().is_some()),
                _ => false,
            };
            if told {
                return true;
            }
        }
        false
    }
}
