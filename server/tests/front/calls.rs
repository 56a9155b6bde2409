//! Unary calls that are answered later, or not at all.

use std::sync::atomic::Ordering;

use server::grpc::CallId;
use server::loops::LoopId;

use crate::client::{Client, Inbound, frame, reply, request, within};
use crate::echo::{Event, Server, raw};

const HOLD: &str = "/etcdserverpb.Cluster/MemberList";
const PUT: &str = "/etcdserverpb.KV/Put";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const CANCELED: &str = "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"MemberList\",grpc_service=\"etcdserverpb.Cluster\",grpc_type=\"unary\"}";

fn answer(server: &Server, id: CallId, text: &[u8]) {
    server.completions.complete(id, Ok(raw(text, &mut bytes::BytesMut::new())));
}

#[tokio::test]
async fn a_thousand_calls_at_once_on_one_connection() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    let mut waiting = Vec::new();
    for number in 0..1000u32 {
        let (response, mut body) = client.start(PUT).await;
        body.send_data(frame(&number.to_be_bytes()), true).expect("open");
        waiting.push((number, tokio::spawn(reply(response))));
    }
    for (number, reply) in waiting {
        let reply = reply.await.expect("no panic").expect("an answer");
        assert_eq!(reply.messages, [&number.to_be_bytes()[..]]);
        assert_eq!(reply.code, 0);
    }
    let labels = "{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
    for name in ["grpc_server_started_total", "grpc_server_msg_received_total", "grpc_server_msg_sent_total"]
    {
        assert_eq!(server.sample(&format!("{name}{labels}")), 1000);
    }
    assert_eq!(server.sample("etcd_network_client_grpc_received_bytes_total"), 4000);
    assert_eq!(server.sample("etcd_network_client_grpc_sent_bytes_total"), 4000);
}

#[tokio::test]
async fn ends_that_come_after_the_answer_are_no_offence() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    // More at once than h2 remembers of streams that are over, and more in all than it forgives.
    for round in 0..20u32 {
        let mut calls = Vec::new();
        for _ in 0..100 {
            let (response, mut body) = client.start(PUT).await;
            body.send_data(frame(&round.to_be_bytes()), false).expect("open");
            calls.push((response, body));
        }
        let mut bodies = Vec::new();
        for (response, body) in calls {
            assert_eq!(reply(response).await.expect("an answer").code, 0, "round {round}");
            bodies.push(body);
        }
        for mut body in bodies {
            body.send_data(bytes::Bytes::new(), true).expect("still open");
        }
    }
    assert_eq!(client.unary(PUT, b"once more").await.code, 0);
}

#[tokio::test]
async fn many_connections_on_both_loops() {
    let server = Server::start();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::open(server.address).await);
    }
    for round in 0..50u32 {
        let calls = clients.iter_mut().map(|client| async move {
            assert_eq!(client.unary(PUT, &round.to_be_bytes()).await.messages, [&round.to_be_bytes()[..]]);
        });
        for call in calls {
            call.await;
        }
    }
    let mut loops = server.echo.started.lock().unwrap().clone();
    loops.sort();
    assert_eq!(loops, [LoopId(0), LoopId(1)]);
}

/// How many of a hundred writes, one at a time, could have been carried out on the loop's thread.
async fn alone(server: &Server, client: &mut Client) -> usize {
    let before = server.echo.alone.load(Ordering::SeqCst);
    for number in 0..100u32 {
        let number = number.to_be_bytes();
        assert_eq!(client.unary(PUT, &number).await.messages, [&number[..]]);
    }
    server.echo.alone.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn a_loop_waits_for_the_disk_only_where_nobody_else_would_wait_with_it() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    assert!(alone(&server, &mut client).await > 0);
    // A stream that says nothing.
    let (watch, mut body) = client.start(WATCH).await;
    body.send_data(frame(b"one"), false).expect("open");
    let watch = Inbound::new(within(watch).await.expect("headers"));
    assert_eq!(alone(&server, &mut client).await, 0, "beside a stream");
    body.send_data(Default::default(), true).expect("open");
    watch_to_its_end(watch).await;
    assert!(alone(&server, &mut client).await > 0);
    // Connections that say nothing any more, one of each loop.
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut other = Client::open(server.address).await;
        assert_eq!(other.unary(PUT, b"once").await.messages, ["once"]);
        idle.push(other);
    }
    assert_eq!(alone(&server, &mut client).await, 0, "beside an idle connection");
    for other in &idle {
        other.connection.abort();
    }
    drop(idle);
    within(async { while alone(&server, &mut client).await == 0 {} }).await;
}

async fn watch_to_its_end(mut watch: Inbound) {
    while watch.next().await.expect("open").is_some() {}
}

#[tokio::test]
async fn an_answer_never_reaches_another_call() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let (first, mut body) = client.start(HOLD).await;
    body.send_data(frame(b""), true).expect("open");
    let old = server.held().await;
    body.send_reset(h2::Reason::CANCEL);
    drop(first);
    server.until(CANCELED, 1).await;
    // The next call takes the same place.
    let (second, mut body) = client.start(HOLD).await;
    body.send_data(frame(b""), true).expect("open");
    let new = server.held().await;
    answer(&server, old, b"too late");
    answer(&server, new, b"right");
    answer(&server, new, b"twice");
    assert_eq!(reply(second).await.expect("an answer").messages, ["right"]);
    answer(&server, CallId::nobody(), b"nobody");
    assert_eq!(client.unary(PUT, b"fine").await.messages, ["fine"]);
}

#[tokio::test]
async fn deadlines_end_calls() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    // The client's own deadline, with the request there and with the request missing.
    for whole in [true, false] {
        let (response, mut body) = client.begin(request(HOLD, &[("grpc-timeout", b"30m")])).await;
        if whole {
            body.send_data(frame(b""), true).expect("open");
            server.held().await;
        }
        let reply = reply(response).await.expect("an answer");
        assert_eq!((reply.code, &*reply.text), (4, "context deadline exceeded"), "request whole: {whole}");
    }
    // The service's limit.
    let reply = client.unary("/etcdserverpb.KV/DeleteRange", b"").await;
    assert_eq!((reply.code, &*reply.text), (14, "etcdserver: request timed out"));
    // A stream's deadline.
    let (response, _body) =
        client.begin(request("/etcdserverpb.Watch/Watch", &[("grpc-timeout", b"30m")])).await;
    let reply = crate::client::reply(response).await.expect("an answer");
    assert_eq!((reply.code, &*reply.text), (4, "context deadline exceeded"));
}

#[tokio::test]
async fn a_lost_connection_ends_its_calls() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let (_response, mut body) = client.start(HOLD).await;
    body.send_data(frame(b""), true).expect("open");
    let id = server.held().await;
    client.connection.abort();
    server.until(CANCELED, 1).await;
    answer(&server, id, b"nobody hears");
    let mut other = Client::open(server.address).await;
    assert_eq!(other.unary(PUT, b"fine").await.messages, ["fine"]);
}

#[tokio::test]
async fn large_messages_both_ways() {
    let server =
        Server::with(|options| options.max_receive_bytes = 20 << 20, server::loops::Serves::EVERYTHING);
    let mut client = Client::open(server.address).await;
    // More than both windows: the server has to give credit while it reads.
    let message = vec![b'q'; 19 << 20];
    let (response, mut body) = client.start("/etcdserverpb.KV/Range").await;
    body.send_data(frame(&message), true).expect("open");
    let reply = reply(response).await.expect("an answer");
    assert_eq!(reply.messages.len(), 1);
    assert!(reply.messages[0] == message, "the message has changed");
}

#[tokio::test]
async fn posts_reach_every_loop_in_order() {
    let mut server = Server::start();
    for number in 0..100usize {
        server
            .inbox
            .broadcast(&(std::sync::Arc::new(number) as std::sync::Arc<dyn std::any::Any + Send + Sync>));
    }
    let mut next = [0usize; 2];
    for _ in 0..200 {
        match server.event().await {
            Event::Posted(id, number) => {
                assert_eq!(number, next[id.index()]);
                next[id.index()] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(next, [100, 100]);
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_no_more_answers_made() {
    use std::sync::atomic::Ordering;

    let buffer = 256 << 10;
    let server =
        Server::with(|options| options.connection_buffer = buffer, server::loops::Serves::EVERYTHING);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(65_535).initial_connection_window_size(8 << 20);
    let mut client = Client::with(server.address, &builder).await;
    let size = 128u32 << 10;
    let mut responses = Vec::new();
    for _ in 0..40 {
        let (response, mut body) = client.start("/etcdserverpb.KV/Compact").await;
        body.send_data(frame(&size.to_be_bytes()), true).expect("open");
        responses.push(response);
    }
    // The first answers have come as far as their windows go.
    let mut inbounds = Vec::new();
    let mut responses = responses.into_iter();
    for response in responses.by_ref().take(2) {
        let mut inbound = crate::client::Inbound::new(within(response).await.expect("headers"));
        inbound.release = false;
        while inbound.buffer.len() < 65_535 {
            let chunk = within(inbound.body.data()).await.expect("open").expect("data");
            inbound.buffer.extend_from_slice(&chunk);
        }
        inbounds.push(inbound);
    }
    // Half of each answer waits, so that about buffer / (size / 2) + 1 of them were made.
    let made = server.echo.calls.load(Ordering::SeqCst);
    assert!(
        made <= buffer / (size as usize / 2) + 2,
        "{made} answers were made for a client that does not read"
    );
    // Reading makes the rest come.
    for mut inbound in inbounds {
        inbound.body.flow_control().release_capacity(65_535).expect("open");
        inbound.release = true;
        assert_eq!(inbound.next().await.expect("open").expect("a message").len(), size as usize);
    }
    for response in responses {
        let reply = reply(response).await.expect("an answer");
        assert_eq!(reply.messages[0].len(), size as usize);
    }
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 40);
}
