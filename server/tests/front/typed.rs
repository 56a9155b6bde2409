//! The generated tonic clients: another HTTP/2 and gRPC than ours.

use std::pin::Pin;
use std::task::{Context, Poll};

use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::Endpoint;

use crate::client::within;
use crate::echo::Server;

/// What is sent on the channel, as tonic wants it.
struct Requests(tokio::sync::mpsc::Receiver<LeaseKeepAliveRequest>);

impl Stream for Requests {
    type Item = LeaseKeepAliveRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LeaseKeepAliveRequest>> {
        self.0.poll_recv(cx)
    }
}

#[tokio::test]
async fn unary_and_streaming_calls_through_tonic() {
    let server = Server::start();
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
    let mut client = LeaseClient::new(within(endpoint.connect()).await.expect("a connection"));
    for id in 0..100 {
        let request = LeaseTimeToLiveRequest { id, ..Default::default() };
        let answer = within(client.lease_time_to_live(request)).await.expect("an answer").into_inner();
        assert_eq!((answer.id, answer.ttl), (id, id + 1));
    }
    let error = within(client.lease_grant(LeaseGrantRequest::default())).await.expect_err("no such thing");
    assert_eq!((error.code(), error.message()), (tonic::Code::Unknown, "LeaseGrant"));

    let (send, requests) = tokio::sync::mpsc::channel(1);
    send.send(LeaseKeepAliveRequest { id: 1 }).await.expect("open");
    let mut answers =
        within(client.lease_keep_alive(Requests(requests))).await.expect("headers").into_inner();
    for id in 1..50 {
        let answer = within(answers.message()).await.expect("open").expect("a message");
        assert_eq!((answer.id, answer.ttl), (id, 9));
        send.send(LeaseKeepAliveRequest { id: id + 1 }).await.expect("open");
    }
}
