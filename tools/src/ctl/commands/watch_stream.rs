//! Watchers over one stream. When the stream breaks, each goes on after the last revision it has seen.

use super::super::client::{Client, Failure};
use super::super::print::WatchReport;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::watch_request::RequestUnion;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status, Streaming};

/// The server's word for "no watcher", and its word for "every watcher".
const NO_WATCHER: i64 = -1;
const PAUSE: Duration = Duration::from_millis(100);

/// A watcher of this program; numbers are never used again.
pub(super) type WatcherId = usize;

struct Watcher {
    request: pb::WatchCreateRequest,
    /// The server's number, once it has one.
    remote: Option<i64>,
    finished: bool,
}

struct Connection {
    endpoint: usize,
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

/// All watchers of one command.
pub(super) struct WatchStream<'c> {
    client: &'c Client,
    watchers: Vec<Watcher>,
    /// Asked for on this connection and not answered yet, in order.
    pending: VecDeque<WatcherId>,
    connection: Option<Connection>,
}

/// What a watcher has to say.
pub(super) struct Report {
    pub(super) watcher: WatcherId,
    pub(super) report: WatchReport,
    /// Why there will be no more; the report says `canceled` then.
    pub(super) end: Option<String>,
}

impl<'c> WatchStream<'c> {
    pub(super) fn new(client: &'c Client) -> WatchStream<'c> {
        WatchStream { client, watchers: Vec::new(), pending: VecDeque::new(), connection: None }
    }

    pub(super) fn watch(&mut self, request: pb::WatchCreateRequest) -> WatcherId {
        let id = self.watchers.len();
        self.watchers.push(Watcher { request, remote: None, finished: false });
        self.create(id);
        id
    }

    /// Not before a watcher is there would the server answer.
    pub(super) fn request_progress(&mut self) {
        self.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    }

    /// Nothing is lost without a connection: all watchers are created again on the next one.
    fn send(&mut self, request: RequestUnion) {
        if let Some(connection) = &self.connection {
            let _ = connection.requests.send(pb::WatchRequest { request_union: Some(request) });
        }
    }

    fn create(&mut self, id: WatcherId) {
        if self.connection.is_some() {
            self.pending.push_back(id);
            self.send(RequestUnion::CreateRequest(self.watchers[id].request.clone()));
        }
    }

    fn is_waiting(&self) -> bool {
        self.watchers.iter().any(|watcher| !watcher.finished)
    }

    /// The server has answered the request for this watcher, one way or the other.
    pub(super) fn is_settled(&self, id: WatcherId) -> bool {
        self.watchers[id].finished || self.watchers[id].remote.is_some()
    }

    /// What the next answer of the server means to the watchers: it may concern several, or none. Waits for as
    /// long as it takes, and for ever when there is no watcher. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Vec<Report> {
        loop {
            if !self.is_waiting() {
                std::future::pending::<()>().await;
            }
            let result = match &mut self.connection {
                None => match self.connect().await {
                    Ok(()) => continue,
                    Err(status) => Err(status),
                },
                Some(connection) => match connection.responses.message().await {
                    Ok(Some(response)) => Ok(response),
                    Ok(None) => Err(Status::unavailable("transport is closing")),
                    Err(status) => Err(status),
                },
            };
            match result {
                Ok(response) => return self.sort_out(response),
                Err(status) => {
                    self.disconnect();
                    let is_internal = status.code() == Code::Internal;
                    let failure = Failure::from(status);
                    if !failure.is_unavailable() && !is_internal {
                        return self.end_all(&failure.to_string());
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Status> {
        let (endpoint, channel) = self.client.connected().await;
        let (requests, receiver) = mpsc::unbounded_channel();
        let first = self.watchers.iter().position(|watcher| !watcher.finished);
        // The server may keep its headers back until it is asked something.
        for watcher in self.watchers.iter().filter(|watcher| !watcher.finished) {
            let create = RequestUnion::CreateRequest(watcher.request.clone());
            let _ = requests.send(pb::WatchRequest { request_union: Some(create) });
        }
        let mut request = self.client.request(UnboundedReceiverStream::new(receiver), None);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut watch = WatchClient::new(channel).max_decoding_message_size(self.client.limits().1);
        let responses =
            watch.watch(request).await.inspect_err(|_| self.client.forget(endpoint))?.into_inner();
        let live = (first.unwrap_or(0)..self.watchers.len()).filter(|&id| !self.watchers[id].finished);
        self.pending = live.collect();
        self.connection = Some(Connection { endpoint, requests, responses });
        Ok(())
    }

    fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.client.forget(connection.endpoint);
        }
        self.pending.clear();
        self.watchers.iter_mut().for_each(|watcher| watcher.remote = None);
    }

    fn end_all(&mut self, why: &str) -> Vec<Report> {
        let live: Vec<_> = (0..self.watchers.len()).filter(|&id| !self.watchers[id].finished).collect();
        live.into_iter().map(|id| self.end(id, why.to_owned())).collect()
    }

    /// The watcher never was, or is no more, and the server has said no more than why.
    fn end(&mut self, watcher: WatcherId, why: String) -> Report {
        self.watchers[watcher].finished = true;
        let report = WatchReport { canceled: true, ..WatchReport::default() };
        Report { watcher, report, end: Some(why) }
    }

    fn sort_out(&mut self, response: pb::WatchResponse) -> Vec<Report> {
        if response.created {
            let Some(id) = self.pending.pop_front() else {
                return Vec::new();
            };
            if response.canceled || response.watch_id == NO_WATCHER {
                return vec![self.end(id, response.cancel_reason)];
            }
            let watcher = &mut self.watchers[id];
            watcher.remote = Some(response.watch_id);
            if watcher.request.start_revision == 0 {
                // After a break, what happened meanwhile must not be missed.
                let now = response.header.unwrap_or_default().revision;
                watcher.request.start_revision = now + 1;
            }
            return Vec::new();
        }
        let to_all = response.watch_id == NO_WATCHER;
        let concerned: Vec<WatcherId> = (0..self.watchers.len())
            .filter(|&id| !self.watchers[id].finished)
            .filter(|&id| {
                self.watchers[id].remote.is_some_and(|remote| to_all || remote == response.watch_id)
            })
            .collect();
        concerned.into_iter().map(|id| self.report(id, &response)).collect()
    }

    fn report(&mut self, id: WatcherId, response: &pb::WatchResponse) -> Report {
        let watcher = &mut self.watchers[id];
        let header = response.header.unwrap_or_default();
        let next = match response.events.last().and_then(|event| event.kv.as_ref()) {
            Some(kv) => kv.mod_revision + 1,
            None => header.revision + 1,
        };
        watcher.request.start_revision = watcher.request.start_revision.max(next);
        watcher.finished = response.canceled;
        let end =
            response.canceled.then(|| match (response.compact_revision, response.cancel_reason.as_str()) {
                (1.., _) => "etcdserver: mvcc: required revision has been compacted".to_owned(),
                (_, "") => "etcdserver: mvcc: required revision is a future revision".to_owned(),
                (_, reason) => Failure::from(Status::failed_precondition(reason)).to_string(),
            });
        let report = WatchReport {
            header: Some(header),
            events: (!response.events.is_empty()).then(|| response.events.clone()),
            compact_revision: response.compact_revision,
            canceled: response.canceled,
            cancel_reason: response.cancel_reason.clone(),
        };
        Report { watcher: id, report, end }
    }
}
