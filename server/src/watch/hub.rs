//! The hub: from the apply thread to every loop that has watchers, and on each loop to the streams concerned.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::etcdserverpb::ResponseHeader;
use engine::Reader;

use super::events::EventBatch;
use super::index::Index;
use super::stream::WatchStream;
use super::watcher::Watcher;
use crate::grpc::{Call, Status, Stream, StreamWaker};
use crate::loops::{LoopId, LoopInbox};

/// What the hub is told once.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// Time between two progress notifications of a stream.
    pub progress_interval: Duration,
    /// Encoded bytes from which on a response is split for a watcher that asked for fragments.
    pub fragment_bytes: usize,
}

/// Fills the header of a response: ids and term of this member, with the revision given.
pub type HeaderOf = dyn Fn(i64) -> ResponseHeader + Send + Sync;

/// Numbers for the metrics.
#[derive(Debug, Default)]
pub struct WatchCounters {
    /// Open watch streams.
    pub streams: AtomicI64,
    /// Watchers on them.
    pub watchers: AtomicI64,
    /// Watchers that read history to catch up.
    pub lagging: AtomicI64,
    /// Events sent since the start.
    pub events: AtomicU64,
}

/// All watchers of this member.
pub struct Hub {
    pub(super) reader: Reader,
    pub(super) options: WatchOptions,
    pub(super) header: Box<HeaderOf>,
    pub(super) counters: WatchCounters,
    inbox: LoopInbox,
    loops: Box<[LoopSide]>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct LoopSide {
    /// Watchers of this loop; while it is zero the loop is not bothered with events.
    watchers: AtomicUsize,
    /// Only ever locked on the loop's own thread.
    state: Mutex<LoopState>,
}

/// The watchers of one loop.
#[derive(Default)]
pub(super) struct LoopState {
    /// All events up to this revision were handed to the streams (or ruled out) on this loop.
    pub(super) seen: i64,
    pub(super) index: Index<(u64, i64)>,
    pub(super) streams: HashMap<u64, StreamSide>,
    /// Streams where a progress request may wait.
    pub(super) await_progress: BTreeSet<u64>,
    /// Streams that the batch at hand concerns; empty between batches, with memory to use again.
    concerned: Vec<u64>,
}

/// What the hub knows of one stream.
pub(super) struct StreamSide {
    pub(super) waker: StreamWaker,
    pub(super) watchers: BTreeMap<i64, Watcher>,
    /// Ids of watchers that compaction ended. As in etcd they stay taken until the client cancels them too, and
    /// until then the stream as a whole makes no progress.
    pub(super) compacted: BTreeSet<i64>,
    pub(super) deliveries: Vec<Delivery>,
    /// Is in `concerned`.
    is_concerned: bool,
    /// A progress request waits until everything up to this revision was seen.
    pub(super) progress_at: Option<i64>,
}

/// Events of one revision for one watcher, between the post and the stream's turn on the same loop.
pub(super) struct Delivery {
    pub(super) watch_id: i64,
    pub(super) revision: i64,
    pub(super) batch: Arc<EventBatch>,
    pub(super) first: u32,
    pub(super) more: Vec<u32>,
}

impl Delivery {
    pub(super) fn events(&self) -> impl Iterator<Item = &super::events::WatchEvent> {
        let all = self.batch.events();
        std::iter::once(self.first).chain(self.more.iter().copied()).map(|at| &all[at as usize])
    }
}

impl Hub {
    /// A hub without watchers.
    pub fn new(reader: Reader, inbox: LoopInbox, header: Box<HeaderOf>, options: WatchOptions) -> Hub {
        let loops = (0..inbox.loops()).map(|_| LoopSide::default()).collect();
        let counters = WatchCounters::default();
        Hub { reader, options, header, counters, inbox, loops, numbers: AtomicU64::new(0) }
    }

    /// Hands a batch to every loop that has watchers. Called by the apply thread after the batch was published to
    /// readers, in order.
    pub fn publish(&self, batch: EventBatch) {
        // Pairs with the fence in `expect_events`: either we see the loop's watcher here, or the watcher sees the
        // published revision there.
        fence(Ordering::SeqCst);
        let mut shared: Option<Arc<dyn Any + Send + Sync>> = None;
        let mut batch = Some(batch);
        for (at, side) in self.loops.iter().enumerate() {
            if side.watchers.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let item = match (&shared, batch.take()) {
                (Some(item), _) => item.clone(),
                (None, Some(batch)) => Arc::new(batch) as Arc<dyn Any + Send + Sync>,
                (None, None) => unreachable!("the batch is taken only into the shared item"),
            };
            self.inbox.post(LoopId(at as u16), item.clone());
            shared = Some(item);
        }
    }

    /// Whether any loop has watchers: if not, a batch that was published before needs not be made.
    pub fn is_wanted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.loops.iter().any(|side| side.watchers.load(Ordering::Relaxed) > 0)
    }

    /// A batch arrived on its loop: sorts its events to the streams and wakes those. Streams that it does not concern
    /// cost nothing, however many there are.
    pub fn on_post(&self, id: LoopId, item: Arc<dyn Any + Send + Sync>) {
        let Ok(batch) = item.downcast::<EventBatch>() else { return };
        let mut state = self.state(id);
        let LoopState { seen, index, streams, await_progress, concerned } = &mut *state;
        for (at, event) in batch.events().iter().enumerate() {
            index.stab(event.key(), |(number, watch_id)| {
                let Some(stream) = streams.get_mut(&number) else { return };
                if stream.note(watch_id, &batch, at as u32) && !stream.is_concerned {
                    stream.is_concerned = true;
                    concerned.push(number);
                }
            });
        }
        *seen = (*seen).max(batch.last());
        for number in concerned.drain(..) {
            let stream = streams.get_mut(&number).expect("it was just found");
            stream.is_concerned = false;
            stream.waker.wake();
        }
        await_progress.retain(|number| {
            let Some(stream) = streams.get(number) else { return false };
            if stream.progress_at.is_some_and(|at| at <= *seen) {
                stream.waker.wake();
            }
            stream.progress_at.is_some()
        });
    }

    /// A client opened a watch stream.
    pub fn open(self: &Arc<Self>, call: &Call<'_>, waker: StreamWaker) -> Result<Box<dyn Stream>, Status> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let id = waker.loop_id();
        debug_assert_eq!(id, call.id.loop_id());
        let side = StreamSide {
            waker,
            watchers: BTreeMap::new(),
            compacted: BTreeSet::new(),
            deliveries: Vec::new(),
            is_concerned: false,
            progress_at: None,
        };
        self.state(id).streams.insert(number, side);
        self.counters.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(WatchStream::new(self.clone(), id, number, call.now)))
    }

    /// Numbers for the metrics.
    pub fn counters(&self) -> &WatchCounters {
        &self.counters
    }

    pub(super) fn state(&self, id: LoopId) -> MutexGuard<'_, LoopState> {
        self.loops[id.index()].state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on every batch reaches the loop. Read the current revision after this, never before.
    pub(super) fn expect_events(&self, id: LoopId) {
        self.loops[id.index()].watchers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.counters.watchers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether batches must be posted to the loop.
    #[cfg(test)]
    pub(super) fn expects_events(&self, id: LoopId) -> bool {
        self.loops[id.index()].watchers.load(Ordering::Relaxed) > 0
    }

    pub(super) fn forget(&self, id: LoopId, watchers: usize) {
        self.loops[id.index()].watchers.fetch_sub(watchers, Ordering::Relaxed);
        self.counters.watchers.fetch_sub(watchers as i64, Ordering::Relaxed);
    }
}

impl StreamSide {
    pub(super) fn knows(&self, watch_id: i64) -> bool {
        self.watchers.contains_key(&watch_id) || self.compacted.contains(&watch_id)
    }

    /// Whether a progress request at `current` can be answered: every watcher is up to date.
    pub(super) fn is_exact(&self, current: i64) -> bool {
        let exact = |watcher: &Watcher| watcher.synced && watcher.start <= current;
        self.compacted.is_empty() && !self.watchers.is_empty() && self.watchers.values().all(exact)
    }

    /// Whether there is something to deliver.
    fn note(&mut self, watch_id: i64, batch: &Arc<EventBatch>, at: u32) -> bool {
        let Some(watcher) = self.watchers.get_mut(&watch_id) else { return false };
        let event = &batch.events()[at as usize];
        let revision = event.revision();
        if !watcher.synced || !watcher.shows(revision, event.is_delete()) {
            return false;
        }
        let known =
            watcher.open.filter(|(of, _)| *of == revision).and_then(|(_, at)| self.deliveries.get_mut(at));
        if let Some(delivery) = known.filter(|d| d.watch_id == watch_id && d.revision == revision) {
            delivery.more.push(at);
            return true;
        }
        watcher.open = Some((revision, self.deliveries.len()));
        let batch = batch.clone();
        self.deliveries.push(Delivery { watch_id, revision, batch, first: at, more: Vec::new() });
        true
    }
}
