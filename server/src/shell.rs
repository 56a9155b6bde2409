//! What surrounds the member's services: metrics on every listener, and the few plain pages of the peer port.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::Members;
use crate::grpc::{Call, Method, Outcome, Services, Status, Stream, StreamWaker};
use crate::http::{HttpAnswer, HttpOutcome, HttpRequest};
use crate::loops::{LoopId, Serves};
use crate::metrics::Metrics;
use crate::services::Member;

/// Tag of the listeners for peers.
const PEER_TAG: u16 = 1;

/// What a peer listener serves: no gRPC until peers speak it.
pub(crate) const PEER: Serves = Serves::HTTP.tagged(PEER_TAG);

/// The services as the loops see them.
pub(crate) struct Shell {
    pub(crate) member: Member,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) members: Members,
}

impl Shell {
    fn peer_page(&self, request: HttpRequest) -> HttpOutcome {
        match (request.path.as_str(), request.method.as_str()) {
            ("/version", _) => self.member.http(request),
            ("/members", "GET") => HttpAnswer::json(members_page(&self.members)).into(),
            ("/members", _) => HttpAnswer::method_not_allowed().into(),
            _ => HttpAnswer::not_found().into(),
        }
    }
}

/// The members as etcd's peers list them.
fn members_page(members: &Members) -> String {
    let listed: Vec<_> = members
        .get()
        .members
        .iter()
        .map(|member| {
            let mut page = serde_json::json!({
                "id": member.id,
                "peerURLs": member.peer_urls,
                "name": member.name,
                "clientURLs": member.client_urls,
            });
            if member.is_learner {
                page["isLearner"] = true.into();
            }
            page
        })
        .collect();
    serde_json::Value::Array(listed).to_string() + "\n"
}

impl Services for Shell {
    fn settle(&self, here: bool) -> bool {
        self.member.settle(here)
    }

    fn serves(&self, method: Method) -> bool {
        self.member.serves(method)
    }

    fn unary(&self, call: Call<'_>, request: Bytes) -> Outcome {
        self.member.unary(call, request)
    }

    fn open_stream(&self, call: Call<'_>, waker: StreamWaker) -> Result<Box<dyn Stream>, Status> {
        self.member.open_stream(call, waker)
    }

    fn http(&self, request: HttpRequest) -> HttpOutcome {
        if request.listener == PEER_TAG {
            return self.peer_page(request);
        }
        match (request.path.as_str(), request.method.as_str()) {
            ("/metrics", "GET" | "HEAD") => {
                let mut answer = HttpAnswer::text(200, self.metrics.render());
                answer.content_type = "text/plain; version=0.0.4; charset=utf-8".into();
                answer.into()
            }
            ("/metrics", _) => HttpAnswer::method_not_allowed().into(),
            _ => self.member.http(request),
        }
    }

    fn on_loop_start(&self, id: LoopId) {
        self.member.on_loop_start(id);
    }

    fn on_post(&self, id: LoopId, item: Arc<dyn Any + Send + Sync>) {
        self.member.on_post(id, item);
    }
}
