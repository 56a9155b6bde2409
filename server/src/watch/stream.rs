//! One watch stream: its requests, and what is sent to its watchers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use bytes::Bytes;
use engine::{KeyRange, View};
use prost::Message;

use super::catch_up;
use super::hub::{Hub, LoopState, StreamSide};
use super::response;
use super::watcher::Watcher;
use crate::grpc::{Code, Status, Stream, StreamOut};
use crate::loops::LoopId;

/// Watch id of a response that belongs to no watcher.
const NO_WATCHER: i64 = -1;

/// Answers a client may leave unread before its stream is ended. Events never count: they wait in the store.
const MOST_UNREAD_ANSWERS: usize = 64 * 1024;

const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// The stream's handler on its loop.
pub(super) struct WatchStream {
    hub: Arc<Hub>,
    id: LoopId,
    number: u64,
    next_auto_id: i64,
    unread_answers: usize,
    next_tick: Option<Instant>,
}

impl WatchStream {
    pub(super) fn new(hub: Arc<Hub>, id: LoopId, number: u64, _now: Instant) -> WatchStream {
        WatchStream { hub, id, number, next_auto_id: 0, unread_answers: 0, next_tick: None }
    }

    fn create(&mut self, request: &WatchCreateRequest, out: &mut StreamOut<'_>) {
        let hub = self.hub.clone();
        hub.expect_events(self.id);
        let view = hub.reader.view();
        let current = view.revision();
        let mut state = hub.state(self.id);
        if state.index.is_empty() {
            // Nobody watched on this loop: whatever was published before now was not posted, and is not needed.
            state.seen = state.seen.max(current);
        }
        let accepted = self.accept(request, current, &mut state);
        drop(state);
        let mut answer = WatchResponse {
            header: Some((hub.header)(current)),
            watch_id: NO_WATCHER,
            created: true,
            ..WatchResponse::default()
        };
        match accepted {
            Ok(watch_id) => answer.watch_id = watch_id,
            Err(reason) => {
                hub.forget(self.id, 1);
                answer.canceled = true;
                answer.cancel_reason = reason.to_owned();
            }
        }
        self.answer(&answer, out);
        if request.progress_notify && self.next_tick.is_none() {
            self.next_tick = Some(out.now() + self.tick_interval());
        }
    }

    fn accept(
        &mut self,
        request: &WatchCreateRequest,
        current: i64,
        state: &mut LoopState,
    ) -> Result<i64, &'static str> {
        if request.start_revision < 0 {
            return Err(COMPACTED);
        }
        let range = watched_range(request);
        if range.is_empty() {
            return Err(EMPTY_RANGE);
        }
        let stream = state.streams.get_mut(&self.number).expect("the stream is registered while it lives");
        let watch_id = match request.watch_id {
            0 => {
                while stream.knows(self.next_auto_id) {
                    self.next_auto_id += 1;
                }
                self.next_auto_id += 1;
                self.next_auto_id - 1
            }
            id if stream.knows(id) => return Err(DUPLICATE_ID),
            id => id,
        };
        let watcher = Watcher::new(range.clone(), request, current);
        if !watcher.synced {
            self.hub.counters.lagging.fetch_add(1, Ordering::Relaxed);
        }
        stream.watchers.insert(watch_id, watcher);
        state.index.insert(&range, (self.number, watch_id));
        Ok(watch_id)
    }

    fn cancel(&mut self, watch_id: i64, out: &mut StreamOut<'_>) {
        let hub = self.hub.clone();
        if !remove(&hub, self.id, self.number, watch_id) {
            return;
        }
        let answer = WatchResponse {
            header: Some((hub.header)(hub.reader.view().revision())),
            watch_id,
            canceled: true,
            ..WatchResponse::default()
        };
        self.answer(&answer, out);
    }

    fn request_progress(&mut self) {
        let current = self.hub.reader.view().revision();
        let mut state = self.hub.state(self.id);
        let LoopState { streams, await_progress, .. } = &mut *state;
        let stream = streams.get_mut(&self.number).expect("the stream is registered while it lives");
        if stream.is_exact(current) {
            stream.progress_at = Some(current);
            await_progress.insert(self.number);
        }
    }

    /// Sends what is due: events that were posted, history for those who lag, progress.
    fn advance(&mut self, out: &mut StreamOut<'_>) {
        let hub = self.hub.clone();
        let mut state = hub.state(self.id);
        let LoopState { seen, streams, index, .. } = &mut *state;
        let stream = streams.get_mut(&self.number).expect("the stream is registered while it lives");
        if let Err(error) = deliver(&hub, stream, out) {
            return give_up(&error, out);
        }
        let mut behind = false;
        if stream.watchers.values().any(|w| !w.synced) {
            match catch_up::slice(&hub, self.number, stream, index, out) {
                Ok(caught_up) => {
                    behind = !caught_up.done;
                    hub.forget(self.id, caught_up.canceled);
                }
                Err(error) => return give_up(&error, out),
            }
        }
        if let Some(at) = stream.progress_at {
            if !stream.is_exact(at) {
                stream.progress_at = None;
            } else if at <= *seen {
                stream.progress_at = None;
                let header = Some((hub.header)(at));
                let answer = WatchResponse { header, watch_id: NO_WATCHER, ..WatchResponse::default() };
                let frame = response::plain(&answer, out.buffer());
                out.send(frame);
            }
        }
        let seen = *seen;
        self.tick(&hub, stream, seen, out);
        drop(state);
        if behind && out.ready() {
            out.wake_at(out.now());
        } else if let Some(at) = self.next_tick {
            out.wake_at(at);
        }
    }

    /// Progress notifications for watchers that asked for them and heard nothing since the last tick.
    fn tick(&mut self, hub: &Hub, stream: &mut StreamSide, seen: i64, out: &mut StreamOut<'_>) {
        let Some(at) = self.next_tick else { return };
        if out.now() < at {
            return;
        }
        for (watch_id, watcher) in &mut stream.watchers {
            let active = std::mem::take(&mut watcher.active);
            if watcher.progress && watcher.synced && !active && seen >= watcher.start && out.ready() {
                let header = Some((hub.header)(seen));
                let answer = WatchResponse { header, watch_id: *watch_id, ..WatchResponse::default() };
                let frame = response::plain(&answer, out.buffer());
                out.send(frame);
            }
        }
        let wanted = stream.watchers.values().any(|w| w.progress);
        self.next_tick = wanted.then(|| out.now() + self.tick_interval());
    }

    /// The interval with up to a tenth added, different from stream to stream, so that they do not tick together.
    fn tick_interval(&self) -> std::time::Duration {
        let interval = self.hub.options.progress_interval;
        interval + interval / 1000 * (self.number.wrapping_mul(37) % 100) as u32
    }

    fn answer(&mut self, answer: &WatchResponse, out: &mut StreamOut<'_>) {
        self.unread_answers = if out.ready() { 0 } else { self.unread_answers + 1 };
        let frame = response::plain(answer, out.buffer());
        out.send(frame);
        if self.unread_answers > MOST_UNREAD_ANSWERS {
            out.finish(Status::new(Code::ResourceExhausted, "etcdserver: too many unread watch responses"));
        }
    }
}

/// A request's range: no key means the lowest one, as in etcd.
fn watched_range(request: &WatchCreateRequest) -> KeyRange {
    let key = if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key.clone() };
    KeyRange::from_etcd(key, request.range_end.clone())
}

/// Storage is damaged: the store has been told already, this stream ends.
fn give_up(error: &engine::Error, out: &mut StreamOut<'_>) {
    tracing::error!(%error, "watch can not read history");
    out.finish(Status::new(Code::DataLoss, format!("etcdserver: {error}")));
}

/// Sends the events that were posted since the last turn. A watcher that can't be sent to falls behind: it keeps its
/// cursor, and history keeps the events.
fn deliver(hub: &Hub, stream: &mut StreamSide, out: &mut StreamOut<'_>) -> Result<(), engine::Error> {
    if stream.deliveries.is_empty() {
        return Ok(());
    }
    let mut view: Option<View> = None;
    let mut events = Vec::new();
    let mut deliveries = std::mem::take(&mut stream.deliveries);
    for delivery in deliveries.drain(..) {
        let Some(watcher) = stream.watchers.get_mut(&delivery.watch_id) else { continue };
        if !watcher.synced || delivery.revision < watcher.next {
            continue;
        }
        if !out.ready() {
            watcher.synced = false;
            watcher.next = delivery.revision;
            hub.counters.lagging.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        events.clear();
        for event in delivery.events() {
            events.push(match watcher.previous {
                false => event.encoded(),
                true => event.encoded_with_previous(view.get_or_insert_with(|| hub.reader.view()))?,
            });
        }
        let limit = watcher.fragment.then_some(hub.options.fragment_bytes);
        let header = (hub.header)(delivery.revision);
        send_events(&header, delivery.watch_id, &events, limit, out);
        hub.counters.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        watcher.active = true;
        watcher.next = delivery.revision + 1;
    }
    stream.deliveries = deliveries;
    Ok(())
}

pub(super) fn send_events(
    header: &api::etcdserverpb::ResponseHeader,
    watch_id: i64,
    events: &[Bytes],
    limit: Option<usize>,
    out: &mut StreamOut<'_>,
) {
    let mut frames = Vec::new();
    response::with_events(header, watch_id, events, limit, out.buffer(), |frame| frames.push(frame));
    frames.into_iter().for_each(|frame| out.send(frame));
}

/// Takes a watcher out of everything. False if there is none of that id.
fn remove(hub: &Hub, id: LoopId, number: u64, watch_id: i64) -> bool {
    let mut state = hub.state(id);
    let LoopState { streams, index, .. } = &mut *state;
    let Some(stream) = streams.get_mut(&number) else { return false };
    if stream.compacted.remove(&watch_id) {
        return true;
    }
    let Some(watcher) = stream.watchers.remove(&watch_id) else { return false };
    index.remove(&watcher.range, (number, watch_id));
    if !watcher.synced {
        hub.counters.lagging.fetch_sub(1, Ordering::Relaxed);
    }
    drop(state);
    hub.forget(id, 1);
    true
}

impl Stream for WatchStream {
    fn message(&mut self, message: Bytes, out: &mut StreamOut<'_>) {
        let request = match WatchRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return out.finish(Status::undecodable(&error)),
        };
        // What was posted before this request goes out before its answer.
        self.advance(out);
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create, out),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id, out),
            Some(RequestUnion::ProgressRequest(_)) => self.request_progress(),
            None => tracing::warn!("watch request of unknown type"),
        }
        self.advance(out);
    }

    fn half_closed(&mut self, _out: &mut StreamOut<'_>) {
        // etcd goes on sending to a client that has nothing more to ask.
    }

    fn wake(&mut self, out: &mut StreamOut<'_>) {
        self.advance(out);
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let mut state = self.hub.state(self.id);
        let LoopState { streams, index, await_progress, .. } = &mut *state;
        let Some(stream) = streams.remove(&self.number) else { return };
        await_progress.remove(&self.number);
        let mut lagging = 0;
        for (watch_id, watcher) in &stream.watchers {
            index.remove(&watcher.range, (self.number, *watch_id));
            lagging += i64::from(!watcher.synced);
        }
        drop(state);
        self.hub.counters.lagging.fetch_sub(lagging, Ordering::Relaxed);
        self.hub.counters.streams.fetch_sub(1, Ordering::Relaxed);
        self.hub.forget(self.id, stream.watchers.len());
    }
}
