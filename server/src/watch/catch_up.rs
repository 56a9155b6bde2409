//! Watchers that lag read history: from their cursor to the present, a bounded slice at a time.

use std::sync::atomic::Ordering;

use api::etcdserverpb::WatchResponse;
use bytes::Bytes;
use engine::ChangeKind;

use super::events::WatchEvent;
use super::hub::{Hub, StreamSide};
use super::index::Index;
use super::response;
use super::stream::send_events;
use crate::grpc::StreamOut;

/// Records looked at in one slice: about a millisecond.
const SLICE_RECORDS: usize = 4096;
/// Bytes gathered for one watcher in one slice.
const SLICE_BYTES: usize = 512 * 1024;
/// Revisions in one response, as in etcd.
const SLICE_REVISIONS: usize = 1000;

/// What one slice came to.
pub(super) struct CaughtUp {
    /// Nobody on this stream lags any more.
    pub(super) done: bool,
    /// Watchers that were canceled because history they need is gone.
    pub(super) canceled: usize,
}

/// Brings the lagging watchers of a stream one slice further. All of them share one pass over history.
pub(super) fn slice(
    hub: &Hub,
    number: u64,
    stream: &mut StreamSide,
    index: &mut Index<(u64, i64)>,
    out: &mut StreamOut<'_>,
) -> Result<CaughtUp, engine::Error> {
    let view = hub.reader.view();
    let canceled = cancel_compacted(hub, view.compact_revision(), number, stream, index, out);
    if !out.ready() {
        return Ok(CaughtUp { done: false, canceled });
    }
    let current = view.revision();
    let mut gathered: Vec<(i64, Vec<Bytes>, usize)> = Vec::new();
    for (watch_id, watcher) in stream.watchers.iter().filter(|(_, w)| !w.synced) {
        if watcher.next <= current {
            gathered.push((*watch_id, Vec::new(), 0));
        }
    }
    let from = gathered.iter().map(|(id, ..)| stream.watchers[id].next).min();
    let mut reached = current;
    if let Some(from) = from {
        let (mut records, mut revisions, mut last, mut largest) = (0, 0, 0, 0);
        for change in view.changes(from) {
            let change = change?;
            if change.revision.main != last {
                let full = records >= SLICE_RECORDS || largest >= SLICE_BYTES || revisions >= SLICE_REVISIONS;
                if full {
                    reached = last;
                    break;
                }
                last = change.revision.main;
                revisions += 1;
            }
            records += 1;
            let delete = change.kind == ChangeKind::Delete;
            let mut shared = None;
            for (watch_id, events, bytes) in &mut gathered {
                let watcher = &stream.watchers[watch_id];
                if !watcher.shows(change.revision.main, delete) || !watcher.range.contains(change.key) {
                    continue;
                }
                let event = shared.get_or_insert_with(|| WatchEvent::stored(&change));
                let encoded = match watcher.previous {
                    false => event.encoded(),
                    true => event.encoded_with_previous(&view)?,
                };
                *bytes += encoded.len();
                largest = largest.max(*bytes);
                events.push(encoded);
            }
        }
    }
    let header = (hub.header)(current);
    for (watch_id, events, _) in gathered {
        let watcher = stream.watchers.get_mut(&watch_id).expect("nobody left since it was gathered");
        if watcher.next > reached {
            continue;
        }
        if !events.is_empty() {
            let limit = watcher.fragment.then_some(hub.options.fragment_bytes);
            send_events(&header, watch_id, &events, limit, out);
            hub.counters.events.fetch_add(events.len() as u64, Ordering::Relaxed);
            watcher.active = true;
        }
        watcher.next = reached + 1;
    }
    let mut done = true;
    for watcher in stream.watchers.values_mut().filter(|w| !w.synced) {
        if watcher.next > current {
            watcher.synced = true;
            hub.counters.lagging.fetch_sub(1, Ordering::Relaxed);
        } else {
            done = false;
        }
    }
    Ok(CaughtUp { done, canceled })
}

/// A watcher whose next revision is compacted can't be served without a gap: it is told so, and gone.
fn cancel_compacted(
    hub: &Hub,
    compacted: i64,
    number: u64,
    stream: &mut StreamSide,
    index: &mut Index<(u64, i64)>,
    out: &mut StreamOut<'_>,
) -> usize {
    let lost = stream.watchers.iter().filter(|(_, w)| !w.synced && w.next < compacted);
    let lost: Vec<i64> = lost.map(|(id, _)| *id).collect();
    for watch_id in &lost {
        let watcher = stream.watchers.remove(watch_id).expect("it was just listed");
        index.remove(&watcher.range, (number, *watch_id));
        stream.compacted.insert(*watch_id);
        hub.counters.lagging.fetch_sub(1, Ordering::Relaxed);
        let answer = WatchResponse {
            header: Some((hub.header)(0)),
            watch_id: *watch_id,
            canceled: true,
            compact_revision: compacted,
            ..WatchResponse::default()
        };
        let frame = response::plain(&answer, out.buffer());
        out.send(frame);
    }
    lost.len()
}
