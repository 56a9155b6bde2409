//! Streaming calls.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::client::{Client, Inbound, frame, reply, within};
use crate::echo::{Event, FLOOD_MESSAGE, Server};

const WATCH: &str = "/etcdserverpb.Watch/Watch";

async fn next_drop(server: &mut Server) {
    loop {
        if let Event::Dropped = server.event().await {
            return;
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_until_the_client_is_done() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let (response, mut body) = client.start(WATCH).await;
    body.send_data(frame(b"one"), false).expect("open");
    let mut inbound = Inbound::new(within(response).await.expect("headers"));
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "one");
    // Two messages in one DATA frame, the second cut.
    let both = [frame(b"two"), frame(b"three")].concat();
    body.send_data(Bytes::copy_from_slice(&both[..both.len() - 2]), false).expect("open");
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "two");
    body.send_data(Bytes::copy_from_slice(&both[both.len() - 2..]), false).expect("open");
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "three");
    body.send_data(Bytes::new(), true).expect("open");
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "bye");
    assert_eq!(inbound.status().await.expect("trailers"), (0, String::new()));
    next_drop(&mut server).await;
    let labels = "{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"}";
    assert_eq!(server.sample(&format!("grpc_server_msg_received_total{labels}")), 3);
    assert_eq!(server.sample(&format!("grpc_server_msg_sent_total{labels}")), 4);
}

#[tokio::test]
async fn timers_and_wakers() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let (response, mut body) = client.start(WATCH).await;
    body.send_data(frame(b"timer"), false).expect("open");
    let mut inbound = Inbound::new(within(response).await.expect("headers"));
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "woken");
    let Event::Opened(waker) = server.event().await else { panic!("not opened") };
    for _ in 0..3 {
        let waker = waker.clone();
        std::thread::spawn(move || waker.wake()).join().expect("no panic");
        assert_eq!(inbound.next().await.expect("open").expect("a message"), "woken");
    }
    // The service ends the call though the client has not.
    body.send_data(frame(b"finish"), false).expect("open");
    assert_eq!(inbound.status().await.expect("trailers"), (15, "as you wish".to_string()));
    next_drop(&mut server).await;
    // Waking what has ended does nothing, not even when another stream has its place.
    waker.wake();
    let (response, mut body) = client.start(WATCH).await;
    body.send_data(frame(b"next"), true).expect("open");
    waker.wake();
    assert_eq!(reply(response).await.expect("an answer").messages, ["next", "bye"]);
}

#[tokio::test]
async fn a_reset_or_a_lost_connection_drops_the_stream() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let (response, mut body) = client.start(WATCH).await;
    body.send_data(frame(b"x"), false).expect("open");
    let _open = within(response).await.expect("headers");
    body.send_reset(h2::Reason::CANCEL);
    next_drop(&mut server).await;
    let canceled = "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"}";
    server.until(canceled, 1).await;

    let (response, mut body) = client.start(WATCH).await;
    body.send_data(frame(b"x"), false).expect("open");
    let _open = within(response).await.expect("headers");
    client.connection.abort();
    next_drop(&mut server).await;
    server.until(canceled, 2).await;
}

#[tokio::test]
async fn one_request_is_enough_for_a_server_stream() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    let (response, mut body) = client.start("/etcdserverpb.KV/RangeStream").await;
    body.send_data([frame(b"a"), frame(b"b")].concat().into(), true).expect("open");
    let reply = reply(response).await.expect("an answer");
    let text = "cardinality violation: received multiple request messages for non-client-streaming RPC";
    assert_eq!((reply.code, &*reply.text), (13, text));
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_stream_and_nothing_else() {
    let bound = 64 << 10;
    let server = Server::with(|options| options.stream_buffer = bound, server::loops::Serves::EVERYTHING);
    let mut builder = h2::client::Builder::new();
    let window = 65_535;
    builder.initial_window_size(window).initial_connection_window_size(8 << 20);
    let mut client = Client::with(server.address, &builder).await;
    let messages = 200;
    let (response, mut body) = client.start(WATCH).await;
    body.send_data(frame(format!("#{messages}").as_bytes()), false).expect("open");
    let mut inbound = Inbound::new(within(response).await.expect("headers"));
    inbound.release = false;
    while inbound.buffer.len() < window as usize {
        let chunk = within(inbound.body.data()).await.expect("open").expect("data");
        inbound.buffer.extend_from_slice(&chunk);
    }
    // Other calls on the connection are not held up, and once they are answered the flood has long stopped.
    for _ in 0..10 {
        assert_eq!(client.unary("/etcdserverpb.KV/Range", b"x").await.messages, ["x"]);
    }
    let sent = server.echo.flooded.load(Ordering::SeqCst);
    let most = bound + window as usize + 2 * (FLOOD_MESSAGE + 5);
    assert!((bound..=most).contains(&sent), "{sent} bytes were sent to a client that does not read");
    // A client that does not read is not read either: more messages than its window wait on its side.
    // Reading lets the stream go on to the end.
    inbound.body.flow_control().release_capacity(inbound.buffer.len()).expect("open");
    inbound.release = true;
    for _ in 0..messages {
        let message = inbound.next().await.expect("open").expect("a message");
        assert!(message.len() == FLOOD_MESSAGE && message.iter().all(|byte| *byte == b'f'));
    }
    body.send_data(Bytes::new(), true).expect("open");
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "bye");
    assert_eq!(inbound.status().await.expect("trailers").0, 0);
}
