//! WatchResponse messages put together from parts, so that events that were encoded once are only copied or shared.

use api::etcdserverpb::{ResponseHeader, WatchResponse};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::grpc::Frame;

const FRAGMENT_FIELD: [u8; 2] = [7 << 3, 1];

/// A response without events.
pub(super) fn plain(response: &WatchResponse, buffer: &mut BytesMut) -> Frame {
    Frame::encode(response, buffer)
}

/// A response with events (each already a tagged field), split into fragments when `limit` says so.
///
/// A piece is closed before the event that would bring it to `limit` bytes or more; a single event is never split. All
/// pieces but the last carry `fragment`.
pub(super) fn with_events(
    header: &ResponseHeader,
    watch_id: i64,
    events: &[Bytes],
    limit: Option<usize>,
    buffer: &mut BytesMut,
    mut send: impl FnMut(Frame),
) {
    let head = WatchResponse { header: Some(*header), watch_id, ..WatchResponse::default() };
    let head_length = head.encoded_len();
    let total = head_length + events.iter().map(Bytes::len).sum::<usize>();
    let Some(limit) = limit.filter(|limit| total >= *limit && events.len() > 1) else {
        send(piece(&head, false, events, buffer));
        return;
    };
    let mut rest = events;
    loop {
        let mut length = head_length + FRAGMENT_FIELD.len();
        let mut taken = 0;
        for event in rest {
            length += event.len();
            if taken > 0 && length >= limit {
                break;
            }
            taken += 1;
        }
        let (these, others) = rest.split_at(taken);
        send(piece(&head, !others.is_empty(), these, buffer));
        if others.is_empty() {
            return;
        }
        rest = others;
    }
}

fn piece(head: &WatchResponse, fragment: bool, events: &[Bytes], buffer: &mut BytesMut) -> Frame {
    let mut frame = Frame::build(buffer);
    head.encode_raw(frame.buffer());
    if fragment {
        frame.buffer().put_slice(&FRAGMENT_FIELD);
    }
    // The common case is one event: shared, not copied.
    match events {
        [one] => frame.finish_with(one.clone()),
        many => {
            many.iter().for_each(|event| frame.buffer().put_slice(event));
            frame.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::mvccpb::{Event, KeyValue};

    fn event(size: usize) -> (Event, Bytes) {
        let kv = KeyValue { key: Bytes::from(vec![b'k'; size]), ..KeyValue::default() };
        let event = Event { kv: Some(kv), ..Event::default() };
        let encoded =
            WatchResponse { events: vec![event.clone()], ..WatchResponse::default() }.encode_to_vec();
        (event, encoded.into())
    }

    fn collect(events: &[Bytes], limit: Option<usize>) -> Vec<WatchResponse> {
        let header = ResponseHeader { revision: 9, ..ResponseHeader::default() };
        let (mut frames, mut arena) = (Vec::new(), BytesMut::new());
        with_events(&header, 4, events, limit, &mut arena, |frame| frames.push(frame));
        frames.iter().map(|f| WatchResponse::decode(f.message()).expect("a watch response")).collect()
    }

    #[test]
    fn whole_without_a_limit() {
        let (parsed, encoded): (Vec<_>, Vec<_>) = [10, 20, 30].map(event).into_iter().unzip();
        let responses = collect(&encoded, None);
        assert_eq!(responses.len(), 1);
        assert_eq!((responses[0].watch_id, responses[0].fragment), (4, false));
        assert_eq!(responses[0].events, parsed);
    }

    #[test]
    fn fragments_hold_every_event_once_and_stay_below_the_limit() {
        let (parsed, encoded): (Vec<_>, Vec<_>) = [100, 100, 500, 40, 40, 100].map(event).into_iter().unzip();
        for limit in [1, 120, 250, 300, 600, 900, 5000] {
            let responses = collect(&encoded, Some(limit));
            let joined: Vec<_> = responses.iter().flat_map(|r| r.events.clone()).collect();
            assert_eq!(joined, parsed, "limit {limit}");
            for (at, response) in responses.iter().enumerate() {
                assert_eq!(response.fragment, at + 1 < responses.len(), "limit {limit}");
                assert!(response.events.len() == 1 || response.encoded_len() < limit, "limit {limit}");
            }
        }
        assert_eq!(collect(&encoded, Some(1)).len(), encoded.len());
    }
}
