//! Defragmentation from the first request to the last answer.
//!
//! What a run does is the engine's to say (`engine::Defragmentation`): slices and checkpoints in turn, beside everything
//! else. Here is who asks for one, and how fast one goes that nobody has asked for. Who asks while a run is under way
//! waits for that one: the file is one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::etcdserverpb::DefragmentResponse;
use bytes::BytesMut;
use engine::{
    AUTO_DEFRAGMENT_RATE, Ahead, AutoDefragment, Defragment, Defragmentation, Pace, Sizes, Store, Wish,
};

use super::events::{Event, Events};
use crate::grpc::{CallId, Frame, STOPPED, Status};
use crate::loops::Completions;
use crate::metrics::Metrics;

/// Calls on their way to the driver and back. Loops put them in, the driver takes them.
pub struct Defragments {
    completions: Completions,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    calls: Vec<CallId>,
    closed: bool,
}

impl Defragments {
    /// Nobody has asked yet.
    pub fn new(completions: Completions) -> Defragments {
        Defragments { completions, asked: Mutex::default() }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has this call answered when the file is defragmented.
    pub(crate) fn ask(&self, call: CallId) -> Result<(), Status> {
        let mut asked = self.asked();
        if asked.closed {
            return Err(STOPPED);
        }
        asked.calls.push(call);
        Ok(())
    }

    /// The member stops: whoever waits is told so, and a run under way ends where it is.
    pub fn close(&self) {
        let calls = {
            let mut asked = self.asked();
            asked.closed = true;
            std::mem::take(&mut asked.calls)
        };
        self.answer(calls, &Err(STOPPED));
    }

    fn answer(&self, calls: Vec<CallId>, result: &Result<(), Status>) {
        for call in calls {
            let answer = result.clone();
            let answer =
                answer.map(|()| Frame::encode(&DefragmentResponse { header: None }, &mut BytesMut::new()));
            self.completions.complete(call, answer);
        }
    }
}

/// Bytes of a page.
const PAGE_BYTES: usize = 4096;

/// A run.
struct Run {
    steps: Defragmentation,
    /// Nobody has asked for it.
    automatic: Option<Pace>,
    /// It goes on then.
    not_before: Instant,
    begun: Instant,
    before: Sizes,
    calls: Vec<CallId>,
}

/// The driver's side.
pub(super) struct Defragmenter {
    asked: Arc<Defragments>,
    auto: Option<AutoDefragment>,
    run: Option<Run>,
    metrics: Arc<Metrics>,
    events: Events,
}

impl Defragmenter {
    pub(super) fn new(
        asked: Arc<Defragments>,
        auto: Option<AutoDefragment>,
        metrics: Arc<Metrics>,
        events: Events,
    ) -> Self {
        Defragmenter { asked, auto, run: None, metrics, events }
    }

    /// Begins or ends what has to.
    pub(super) fn look(&mut self, store: &Store, now: Instant) {
        let (calls, closed) = {
            let mut asked = self.asked.asked();
            (std::mem::take(&mut asked.calls), asked.closed)
        };
        if closed {
            if let Some(run) = self.run.take() {
                tracing::info!(took = ?now - run.begun, "defragmentation stopped");
                self.metrics.disk_defrag_inflight.set(0);
                self.asked.answer(run.calls, &Err(STOPPED));
            }
            return;
        }
        for _ in &calls {
            tracing::info!("starting defragment");
        }
        let due = self.run.is_none()
            && self.auto.as_mut().is_some_and(|auto| auto.is_due(now, store.sizes(), store.revision()));
        match &mut self.run {
            Some(run) if !calls.is_empty() => {
                // Somebody waits now.
                run.automatic = None;
                run.not_before = now;
                run.calls.extend(calls);
            }
            Some(_) => {}
            None if due || !calls.is_empty() => {
                let automatic = calls.is_empty().then(|| Pace::new(AUTO_DEFRAGMENT_RATE, now));
                self.begin(store, calls, automatic, now);
            }
            None => {}
        }
        let asked_for = self.run.as_ref().is_some_and(|run| !run.calls.is_empty());
        self.metrics.disk_defrag_inflight.set(i64::from(asked_for));
    }

    fn begin(&mut self, store: &Store, calls: Vec<CallId>, automatic: Option<Pace>, now: Instant) {
        let before = store.sizes();
        tracing::info!(
            automatic = automatic.is_some(),
            "current-db-size-bytes" = before.file_bytes,
            "current-db-size-in-use-bytes" = before.in_use_bytes,
            "defragmenting"
        );
        let steps = Defragmentation::default();
        self.run = Some(Run { steps, automatic, not_before: now, begun: now, before, calls });
    }

    /// Whether there is something to move now.
    pub(super) fn wants_slice(&self, store: &Store, now: Instant) -> bool {
        self.run.as_ref().is_some_and(|run| now >= run.not_before && run.steps.wants_slice(store))
    }

    /// What the next slices look at and nobody has read yet.
    pub(super) fn ahead(&self, store: &Store) -> Option<Ahead> {
        self.run.as_ref().and_then(|run| run.steps.ahead(store))
    }

    pub(super) fn wants_checkpoint(&self) -> Wish {
        match self.run.as_ref().filter(|run| run.steps.wants_checkpoint()) {
            Some(Run { automatic: None, .. }) => Wish::Now,
            Some(Run { automatic: Some(_), .. }) => Wish::Soon,
            None => Wish::No,
        }
    }

    /// What was moved is on disk.
    pub(super) fn checkpoint_completed(&mut self) {
        if let Some(run) = &mut self.run {
            run.steps.checkpoint_completed();
        }
    }

    /// Packs or moves at most so many pages; whether there is more to do at once.
    pub(super) fn slice(
        &mut self,
        store: &mut Store,
        pages: usize,
        now: Instant,
    ) -> Result<bool, engine::Error> {
        let Some(run) = &mut self.run else { return Ok(false) };
        let moved = run.steps.slice(store, pages)?;
        match moved {
            Defragment::More => {
                let pause = run.automatic.as_mut().map(|pace| pace.pause((pages * PAGE_BYTES) as u64, now));
                run.not_before = now + pause.unwrap_or_default();
                Ok(run.not_before <= now && run.steps.wants_slice(store))
            }
            Defragment::NeedsCheckpoint => Ok(false),
            Defragment::Done { .. } => {
                self.end(store, now);
                Ok(false)
            }
        }
    }

    fn end(&mut self, store: &Store, now: Instant) {
        let Some(run) = self.run.take() else { return };
        let (after, took) = (store.sizes(), now.saturating_duration_since(run.begun));
        if let Some(auto) = &mut self.auto {
            auto.ended(now, run.before, after);
        }
        tracing::info!(
            "current-db-size-bytes-diff" =
                after.file_bytes.cast_signed() - run.before.file_bytes.cast_signed(),
            "current-db-size-bytes" = after.file_bytes,
            "current-db-size-in-use-bytes" = after.in_use_bytes,
            ?took,
            "finished defragmenting directory"
        );
        if run.calls.is_empty() {
            self.metrics.auto_defragments_total.inc();
            (self.events)(Event::AutoDefragmented);
        } else {
            self.observe(took);
        }
        for _ in &run.calls {
            tracing::info!("finished defragment");
        }
        self.asked.answer(run.calls, &Ok(()));
    }

    fn observe(&self, took: Duration) {
        self.metrics.disk_backend_defrag_duration_seconds.observe(took.as_secs_f64());
        self.metrics.disk_defrag_inflight.set(0);
    }
}

impl Drop for Defragmenter {
    fn drop(&mut self) {
        self.asked.close();
        if let Some(run) = self.run.take() {
            self.asked.answer(run.calls, &Err(STOPPED));
        }
    }
}
