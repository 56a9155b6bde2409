//! A store, a hub with one loop and one stream on it, driven by hand: for the tests of this folder.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::{ResponseHeader, WatchRequest, WatchResponse};
use bytes::BytesMut;
use engine::{OsFile, Store};
use prost::Message;

use super::{EventBatch, Hub, WatchOptions};
use crate::grpc::{Call, CallId, Metadata, Method, Status, Stream, StreamOut, StreamState, StreamWaker};
use crate::loops::{LoopId, LoopInbox, WakeTarget};

/// Bytes a stream takes before it is full.
const BOUND: usize = 256;

pub(super) struct Harness {
    pub(super) store: Store,
    pub(super) hub: Arc<Hub>,
    pub(super) now: Instant,
    posts: VecDeque<EventBatch>,
    batch: Vec<engine::Change>,
    /// Every event since the last `take_log`: revision, key, whether it is a deletion.
    log: Vec<(i64, bytes::Bytes, bool)>,
    streams: Vec<Client>,
    _folder: tempfile::TempDir,
}

struct Client {
    stream: Box<dyn Stream>,
    waker: StreamWaker,
    state: StreamState,
    /// The client reads nothing: what is sent stays buffered.
    stalled: bool,
}

impl Harness {
    pub(super) fn new(fragment_bytes: usize) -> Harness {
        let folder = tempfile::tempdir().expect("a folder");
        let file = OsFile::open(&folder.path().join("db")).expect("a file");
        let store = Store::open(Arc::new(file), engine::Options::default()).expect("a store");
        let header = Box::new(|revision| ResponseHeader { revision, ..ResponseHeader::default() });
        let options = WatchOptions { progress_interval: Duration::from_secs(600), fragment_bytes };
        let hub = Arc::new(Hub::new(store.reader(), LoopInbox::detached(1), header, options));
        Harness {
            store,
            hub,
            now: Instant::now(),
            posts: VecDeque::new(),
            batch: Vec::new(),
            log: Vec::new(),
            streams: Vec::new(),
            _folder: folder,
        }
    }

    /// Opens a stream and returns its number.
    pub(super) fn open(&mut self) -> usize {
        let id = CallId { loop_id: LoopId(0), ..CallId::nobody() };
        let target = WakeTarget { inbox: Arc::default(), id, called: AtomicBool::new(false) };
        let waker = StreamWaker { target: Arc::new(target) };
        let mut buffer = BytesMut::new();
        let call = Call {
            method: Method::Watch,
            id,
            metadata: &Metadata::default(),
            alone: false,
            now: self.now,
            buffer: &mut buffer,
        };
        let stream = self.hub.open(&call, waker.clone()).expect("a stream");
        let state = StreamState { bound: BOUND, ..StreamState::default() };
        self.streams.push(Client { stream, waker, state, stalled: false });
        self.streams.len() - 1
    }

    pub(super) fn close(&mut self, stream: usize) {
        self.streams.remove(stream);
    }

    /// One request in one batch of its own, published and on its way to the loop.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        let mut write = self.store.begin();
        write.put(key, value, 0).expect("a put");
        let changes = write.finish().expect("a write").changes;
        self.note(changes);
    }

    pub(super) fn delete(&mut self, keys: &[&[u8]]) {
        let mut write = self.store.begin();
        for key in keys {
            write.delete(key).expect("a delete");
        }
        let changes = write.finish().expect("a write").changes;
        self.note(changes);
    }

    fn note(&mut self, changes: Vec<engine::Change>) {
        let deletion = |change: &engine::Change| change.kind == engine::ChangeKind::Delete;
        self.log.extend(changes.iter().map(|c| (c.revision.main, c.key.clone(), deletion(c))));
        self.batch.extend(changes);
    }

    pub(super) fn take_log(&mut self) -> Vec<(i64, bytes::Bytes, bool)> {
        std::mem::take(&mut self.log)
    }

    /// The newest revision that readers see.
    pub(super) fn hub_revision(&self) -> i64 {
        self.store.reader().view().revision()
    }

    /// Several puts under one revision.
    pub(super) fn put_all(&mut self, keys: &[&[u8]], value: &[u8]) {
        let mut write = self.store.begin();
        for key in keys {
            write.put(key, value, 0).expect("a put");
        }
        let changes = write.finish().expect("a write").changes;
        self.note(changes);
    }

    pub(super) fn compact(&mut self, revision: i64) {
        self.store.compact(revision).expect("a compaction");
        while self.store.compaction_pending() {
            self.store.compact_slice(1000).expect("a slice");
        }
    }

    /// The end of the apply thread's batch.
    pub(super) fn publish(&mut self) {
        self.store.publish();
        if let Some(batch) = EventBatch::new(self.batch.drain(..))
            && self.hub.expects_events(LoopId(0))
        {
            self.posts.push_back(batch);
        }
    }

    /// The loop takes what was posted and runs the streams that were woken.
    pub(super) fn turn(&mut self) {
        self.post();
        for at in 0..self.streams.len() {
            self.run(at);
        }
    }

    /// The loop takes what was posted; no stream runs yet.
    pub(super) fn post(&mut self) {
        while let Some(batch) = self.posts.pop_front() {
            self.hub.on_post(LoopId(0), Arc::new(batch));
        }
    }

    /// Streams that were woken and did not run yet.
    pub(super) fn woken(&self) -> Vec<usize> {
        let is_woken = |at: &usize| self.streams[*at].waker.target.called.load(Ordering::Relaxed);
        (0..self.streams.len()).filter(is_woken).collect()
    }

    fn run(&mut self, at: usize) {
        let now = self.now;
        let client = &mut self.streams[at];
        for _ in 0..10_000 {
            let due = client.state.wake_at.is_some_and(|at| at <= now);
            let drained = client.state.starved && client.state.buffered < client.state.bound;
            if !client.waker.target.called.swap(false, Ordering::Relaxed) && !due && !drained {
                return;
            }
            if due {
                client.state.wake_at = None;
            }
            client.state.starved &= !drained;
            let mut buffer = BytesMut::new();
            client.stream.wake(&mut StreamOut { state: &mut client.state, buffer: &mut buffer, now });
            client.drain();
        }
        panic!("the stream never came to rest");
    }

    pub(super) fn request(&mut self, stream: usize, request: &WatchRequest) {
        self.raw(stream, &request.encode_to_vec());
    }

    pub(super) fn raw(&mut self, stream: usize, message: &[u8]) {
        let now = self.now;
        let client = &mut self.streams[stream];
        let mut buffer = BytesMut::new();
        let message = bytes::Bytes::copy_from_slice(message);
        client.stream.message(message, &mut StreamOut { state: &mut client.state, buffer: &mut buffer, now });
        client.drain();
    }

    /// The client stops reading, or reads on.
    pub(super) fn stall(&mut self, stream: usize, stalled: bool) {
        self.streams[stream].stalled = stalled;
        self.streams[stream].drain();
    }

    /// Everything sent since the last call.
    pub(super) fn responses(&mut self, stream: usize) -> Vec<WatchResponse> {
        let frames = std::mem::take(&mut self.streams[stream].state.outbox);
        frames.iter().map(|f| WatchResponse::decode(f.message()).expect("a watch response")).collect()
    }

    pub(super) fn ended(&self, stream: usize) -> Option<&Status> {
        self.streams[stream].state.finish.as_ref()
    }

    /// Bytes a stalled client has not taken.
    pub(super) fn buffered(&self, stream: usize) -> usize {
        self.streams[stream].state.buffered
    }
}

impl Client {
    fn drain(&mut self) {
        if !self.stalled {
            self.state.buffered = 0;
        }
    }
}
