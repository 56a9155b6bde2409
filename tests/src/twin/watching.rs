//! Watch streams: control responses apart from events, events by watcher.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_create_request, watch_request,
};
use api::mvccpb::{Event, event};
use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::endpoint::PATIENCE;

/// The responses of one stream, sorted.
pub(super) struct WatchStream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    /// Created, canceled and progress, in the order they came.
    pub(super) control: VecDeque<WatchResponse>,
    pub(super) delivered: BTreeMap<i64, Delivered>,
    /// Of the log: the last revision that was taken from it.
    pub(super) told: i64,
}

/// What one watcher got since the last look.
#[derive(Default)]
pub(super) struct Delivered {
    pub(super) events: Vec<Event>,
    /// The last revision, and whether more of it may come because the response was a fragment.
    last: i64,
    open: bool,
}

impl WatchStream {
    /// Opens a stream with a first watcher, because etcd sends headers only with the first response.
    pub(super) async fn open(
        client: &mut WatchClient<Channel>,
        first: WatchCreateRequest,
    ) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(64);
        let union = watch_request::RequestUnion::CreateRequest(first);
        requests.send(WatchRequest { request_union: Some(union) }).await?;
        let opening = client.watch(ReceiverStream::new(outgoing));
        let responses =
            tokio::time::timeout(PATIENCE, opening).await.context("a watch stream does not open")??;
        Ok(Self {
            requests,
            responses: responses.into_inner(),
            control: VecDeque::new(),
            delivered: BTreeMap::new(),
            told: 1,
        })
    }

    pub(super) async fn create(&self, request: WatchCreateRequest) -> anyhow::Result<()> {
        let union = watch_request::RequestUnion::CreateRequest(request);
        Ok(self.requests.send(WatchRequest { request_union: Some(union) }).await?)
    }

    pub(super) async fn cancel(&self, id: i64) -> anyhow::Result<()> {
        Ok(self.requests.send(cancel(id)).await?)
    }

    pub(super) async fn ask_progress(&self) -> anyhow::Result<()> {
        let union = watch_request::RequestUnion::ProgressRequest(api::etcdserverpb::WatchProgressRequest {});
        Ok(self.requests.send(WatchRequest { request_union: Some(union) }).await?)
    }

    /// The next control response; events that come before it are kept.
    pub(super) async fn next_control(&mut self) -> anyhow::Result<WatchResponse> {
        loop {
            if let Some(response) = self.control.pop_front() {
                return Ok(response);
            }
            ensure!(self.pump(PATIENCE).await?, "no answer on the watch stream after {PATIENCE:?}");
        }
    }

    /// Waits for one response and sorts it in; false when none came in `patience`.
    pub(super) async fn pump(&mut self, patience: Duration) -> anyhow::Result<bool> {
        match tokio::time::timeout(patience, self.responses.message()).await {
            Err(_) => Ok(false),
            Ok(Err(status)) => bail!("the watch stream ended: {:?} {}", status.code(), status.message()),
            Ok(Ok(None)) => bail!("the watch stream ended without an error"),
            Ok(Ok(Some(response))) => {
                self.sort(response)?;
                Ok(true)
            }
        }
    }

    fn sort(&mut self, response: WatchResponse) -> anyhow::Result<()> {
        if response.events.is_empty() {
            if response.created && !response.canceled {
                self.delivered.entry(response.watch_id).or_default();
            }
            self.control.push_back(response);
            return Ok(());
        }
        let id = response.watch_id;
        ensure!(!response.created && !response.canceled, "events in a control response: {response:?}");
        let Some(watcher) = self.delivered.get_mut(&id) else {
            bail!("events for watch {id}, which does not exist: {response:?}");
        };
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        let continues = watcher.open;
        for (at, event) in response.events.into_iter().enumerate() {
            let modified = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            ensure!(
                modified <= revision,
                "watch {id}: event of revision {modified} under a header of {revision}"
            );
            let torn = at == 0 && !continues && modified == watcher.last;
            ensure!(
                modified >= watcher.last && !torn,
                "watch {id}: an event of revision {modified} in a response after one of revision {}",
                watcher.last
            );
            watcher.last = modified;
            watcher.events.push(event);
        }
        watcher.open = response.fragment;
        Ok(())
    }

    /// Forgets a watcher that was canceled.
    pub(super) fn forget(&mut self, id: i64) {
        self.delivered.remove(&id);
    }
}

fn cancel(id: i64) -> WatchRequest {
    let union =
        watch_request::RequestUnion::CancelRequest(api::etcdserverpb::WatchCancelRequest { watch_id: id });
    WatchRequest { request_union: Some(union) }
}

/// What a watcher was promised.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    pub(super) request: WatchCreateRequest,
    /// The first revision it should see.
    pub(super) from: i64,
    /// The compacted revision when it was created: previous values from before are gone.
    pub(super) compacted: i64,
    /// Events of the log before this one are dealt with.
    pub(super) position: usize,
    /// It began in the past, and nothing has shown yet that it reached the present.
    pub(super) behind: bool,
}

impl Promise {
    /// A key this watcher sees and its filters, if it still has to show that it has caught up. Asked once.
    pub(super) fn catch_up(&mut self) -> Option<(Bytes, Vec<i32>)> {
        let key =
            if self.request.key.is_empty() { Bytes::from_static(b"\0") } else { self.request.key.clone() };
        std::mem::take(&mut self.behind).then(|| (key, self.request.filters.clone()))
    }

    /// The part of `log` that this watcher should have got, `log` being every event with its previous value.
    pub(super) fn due<'l>(&self, log: &'l [Event]) -> impl Iterator<Item = Event> + use<'l, '_> {
        log.iter().filter(|event| self.wants(event)).map(|event| {
            let mut event = event.clone();
            let modified = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if !self.request.prev_kv || modified <= self.compacted {
                event.prev_kv = None;
            }
            event
        })
    }

    fn wants(&self, event: &Event) -> bool {
        let Some(kv) = &event.kv else { return false };
        let dropped = self.request.filters.iter().any(|filter| match event.r#type() {
            event::EventType::Put => *filter == watch_create_request::FilterType::Noput as i32,
            event::EventType::Delete => *filter == watch_create_request::FilterType::Nodelete as i32,
        });
        kv.mod_revision >= self.from && !dropped && self.covers(&kv.key)
    }

    fn covers(&self, key: &Bytes) -> bool {
        let start: &[u8] = if self.request.key.is_empty() { b"\0" } else { &self.request.key };
        match &self.request.range_end[..] {
            b"" => key == start,
            b"\0" => &key[..] >= start,
            end => &key[..] >= start && &key[..] < end,
        }
    }
}
