//! Watch streams that are misused. The stream survives everything but its own end.

use api::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
    watch_request::RequestUnion,
};
use tests::Clients;
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

fn watch(key: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.into(), ..Default::default() }
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Stream {
    async fn ask(&mut self, union: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(union) }).await.unwrap();
    }

    async fn answer(&mut self) -> String {
        match tokio::time::timeout(crate::PATIENCE, self.responses.message())
            .await
            .unwrap_or_else(|_| Err(tonic::Status::unknown("no answer")))
        {
            Ok(Some(r)) => format!(
                "id {}, created {}, canceled {}, compact revision {}, reason {:?}, {} events, at {}",
                r.watch_id,
                r.created,
                r.canceled,
                r.compact_revision,
                r.cancel_reason,
                r.events.len(),
                r.header.map_or(0, |header| header.revision),
            ),
            Ok(None) => "end of the stream".into(),
            Err(status) => format!("{} {}", i32::from(status.code()), status.message()),
        }
    }
}

pub(crate) async fn all(clients: &mut Clients) -> Vec<(String, String)> {
    let (requests, outgoing) = mpsc::channel(8);
    // Before any watcher: asked for progress, for the end of nothing, and for nothing at all. None has an answer.
    requests
        .send(WatchRequest { request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})) })
        .await
        .unwrap();
    requests
        .send(WatchRequest {
            request_union: Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 5 })),
        })
        .await
        .unwrap();
    requests.send(WatchRequest { request_union: None }).await.unwrap();
    let first = WatchCreateRequest { watch_id: 1, ..watch("w") };
    requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(first)) }).await.unwrap();
    let responses = clients.watch.watch(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let mut stream = Stream { requests, responses };
    let mut out = vec![(String::from("watch, after three requests for nothing"), stream.answer().await)];

    let cases: Vec<(&str, WatchCreateRequest)> = vec![
        ("id in use", WatchCreateRequest { watch_id: 1, ..watch("w") }),
        ("end below key", WatchCreateRequest { range_end: "a".into(), ..watch("b") }),
        ("end equal to key", WatchCreateRequest { range_end: "b".into(), ..watch("b") }),
        ("empty key and end below", WatchCreateRequest { range_end: "\0\0".into(), ..watch("\0\0") }),
        ("negative start", WatchCreateRequest { start_revision: -1, ..watch("w") }),
        ("least start", WatchCreateRequest { start_revision: i64::MIN, ..watch("w") }),
        (
            "negative start and id in use",
            WatchCreateRequest { start_revision: -1, watch_id: 1, ..watch("w") },
        ),
        (
            "negative start and empty range",
            WatchCreateRequest { start_revision: -1, range_end: "a".into(), ..watch("b") },
        ),
        ("unknown filters", WatchCreateRequest { filters: vec![2, -1, i32::MAX], ..watch("w") }),
        ("all filters", WatchCreateRequest { filters: vec![0, 1, 0], ..watch("w") }),
        ("empty key", watch("")),
        ("far future", WatchCreateRequest { start_revision: i64::MAX, ..watch("w") }),
        ("negative id", WatchCreateRequest { watch_id: -5, ..watch("w") }),
        ("greatest id", WatchCreateRequest { watch_id: i64::MAX, ..watch("w") }),
    ];
    for (name, request) in cases {
        stream.ask(RequestUnion::CreateRequest(request)).await;
        out.push((format!("watch, {name}"), stream.answer().await));
    }
    for start in [1, 3] {
        stream
            .ask(RequestUnion::CreateRequest(WatchCreateRequest { start_revision: start, ..watch("w") }))
            .await;
        out.push((format!("watch, compacted start {start}"), stream.answer().await));
        out.push((format!("watch, compacted start {start}, then"), stream.answer().await));
    }
    stream.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 99 })).await;
    stream.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 })).await;
    out.push(("watch, end of nothing, then of a watcher".into(), stream.answer().await));
    stream.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 })).await;
    stream.ask(RequestUnion::CreateRequest(WatchCreateRequest { watch_id: 1, ..watch("w") })).await;
    out.push(("watch, ended twice, then the id again".into(), stream.answer().await));
    out
}
