//! The fake's watches, and all events there ever were.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    CompactionRequest, CompactionResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};
use api::mvccpb::{Event, KeyValue};
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::Response;
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::kv::within;
use super::{Refusal, State, framed, success};

/// What can be wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Dropped,
    Twice,
    /// It comes after the next one.
    Late,
    /// With another mod revision than its put has.
    OtherRevision,
    /// Without what was there before.
    NoPrevKv,
    /// The watch is canceled instead: what it wants is compacted.
    Canceled,
    /// The stream is ended instead.
    StreamEnds,
}

/// How many events there are in one response about the past.
const BATCH: usize = 100;

#[derive(Default)]
pub(super) struct Watches {
    list: Mutex<Vec<Watch>>,
    log: Mutex<Vec<Event>>,
    told: AtomicU64,
    compacted: AtomicU64,
}

/// A message, or none for the end.
type Out = UnboundedSender<Option<Vec<u8>>>;

struct Watch {
    id: i64,
    request: WatchCreateRequest,
    /// An event that comes late.
    held: Option<Event>,
    out: Out,
}

impl State {
    /// Something has happened: takes it down, and tells those who watch.
    pub(super) fn tell(&self, event: Event) {
        self.watches.log.lock().unwrap().push(event.clone());
        let mut list = self.watches.list.lock().unwrap();
        list.retain(|watch| !watch.out.is_closed());
        for watch in list.iter_mut() {
            let WatchCreateRequest { key, range_end, .. } = &watch.request;
            if within(&event.kv.as_ref().unwrap().key, key, range_end) {
                self.tell_one(watch, vec![event.clone()]);
            }
        }
    }

    fn tell_one(&self, watch: &mut Watch, events: Vec<Event>) {
        let mut told = Vec::new();
        for mut event in events {
            let count = self.watches.told.fetch_add(1, Ordering::Relaxed) + 1;
            let fault = self.faults.watch.filter(|(_, often)| count.is_multiple_of(*often));
            if !watch.request.prev_kv {
                event.prev_kv = None;
            }
            match fault.map(|(fault, _)| fault) {
                Some(Fault::Dropped) => {}
                Some(Fault::Twice) => told.extend([event.clone(), event]),
                Some(Fault::Late) if watch.held.is_none() => watch.held = Some(event),
                Some(Fault::OtherRevision) => {
                    event.kv.as_mut().unwrap().mod_revision += 1_000_000;
                    told.push(event);
                }
                Some(Fault::NoPrevKv) => told.push(Event { prev_kv: None, ..event }),
                Some(Fault::Canceled) => {
                    let compact_revision = event.kv.unwrap().mod_revision;
                    self.say(
                        watch,
                        WatchResponse { canceled: true, compact_revision, ..WatchResponse::default() },
                    );
                }
                Some(Fault::StreamEnds) => {
                    let _ = watch.out.send(None);
                }
                Some(Fault::Late) | None => {
                    told.push(event);
                    told.extend(watch.held.take());
                }
            }
        }
        if !told.is_empty() {
            self.say(watch, WatchResponse { events: told, ..WatchResponse::default() });
        }
    }

    fn say(&self, watch: &Watch, response: WatchResponse) {
        let response = WatchResponse { header: self.now(), watch_id: watch.id, ..response };
        let _ = watch.out.send(Some(response.encode_to_vec()));
    }

    fn create(&self, request: WatchCreateRequest, out: &Out) {
        assert!(request.watch_id > 0, "watches have numbers of the client's choice");
        let mut watch = Watch { id: request.watch_id, request, held: None, out: out.clone() };
        self.say(&watch, WatchResponse { created: true, ..WatchResponse::default() });
        let WatchCreateRequest { key, range_end, start_revision, .. } = watch.request.clone();
        if start_revision > 0 {
            let past = |event: &&Event| {
                let kv = event.kv.as_ref().unwrap();
                kv.mod_revision >= start_revision && within(&kv.key, &key, &range_end)
            };
            let past: Vec<Event> = self.watches.log.lock().unwrap().iter().filter(past).cloned().collect();
            past.chunks(BATCH).for_each(|batch| self.tell_one(&mut watch, batch.to_vec()));
        }
        self.watches.list.lock().unwrap().push(watch);
    }

    /// What there was at a revision.
    pub(super) fn keys_at(&self, revision: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut keys = BTreeMap::new();
        for event in self.watches.log.lock().unwrap().iter() {
            let kv = event.kv.clone().unwrap();
            match (kv.mod_revision <= revision, event.r#type) {
                (false, _) => break,
                (true, 0) => drop(keys.insert(kv.key.clone(), kv)),
                (true, _) => drop(keys.remove(&kv.key)),
            }
        }
        keys
    }

    pub(super) fn compact(&self, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        let CompactionRequest { revision, .. } = CompactionRequest::decode(request).unwrap();
        let before = self.watches.compacted.swap(revision as u64, Ordering::Relaxed);
        assert!(revision as u64 > before, "{revision} was compacted already, with {before}");
        Ok(CompactionResponse { header: self.now() }.encode_to_vec())
    }
}

impl super::Fake {
    /// The revision that history was compacted to.
    pub(crate) fn compacted(&self) -> u64 {
        self.state.watches.compacted.load(Ordering::Relaxed)
    }
}

/// A stream of watches, until the client ends it or a fault does.
pub(super) async fn stream(mut body: RecvStream, mut respond: SendResponse<Bytes>, state: Arc<State>) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut send) = respond.send_response(head, false) else { return };
    let (out, mut messages) = unbounded_channel::<Option<Vec<u8>>>();
    tokio::task::spawn_local(async move {
        while let Some(message) = messages.recv().await {
            let sent = match message {
                Some(message) => send.send_data(framed(&message), false),
                None => {
                    let _ = send.send_trailers(success());
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let Ok(chunk) = chunk else { break };
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
        while bytes.len() >= 5 {
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            if bytes.len() < 5 + length {
                break;
            }
            bytes.advance(5);
            match WatchRequest::decode(bytes.split_to(length)).unwrap().request_union.unwrap() {
                RequestUnion::CreateRequest(request) => state.create(request, &out),
                RequestUnion::CancelRequest(cancel) => {
                    let mut list = state.watches.list.lock().unwrap();
                    let mine = |watch: &Watch| watch.id == cancel.watch_id && watch.out.same_channel(&out);
                    let at = list.iter().position(mine).expect("it was created");
                    let gone = list.remove(at);
                    state.say(&gone, WatchResponse { canceled: true, ..WatchResponse::default() });
                }
                RequestUnion::ProgressRequest(_) => panic!("nobody asks for progress"),
            }
        }
    }
    state.watches.list.lock().unwrap().retain(|watch| !watch.out.same_channel(&out));
}
