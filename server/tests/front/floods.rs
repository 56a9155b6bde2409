//! Clients that mean harm, and busy ones that do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use server::loops::Serves;

use crate::client::{Client, Inbound, frame, reply, within};
use crate::echo::Server;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;

/// Frames until the server closes: kind and payload.
fn frames(socket: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut header = [0; 9];
    while socket.read_exact(&mut header).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
        if socket.read_exact(&mut payload).is_err() {
            break;
        }
        seen.push((header[3], payload));
    }
    seen
}

fn connect(server: &Server) -> TcpStream {
    let mut socket = TcpStream::connect(server.address).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
    socket.write_all(PREFACE).expect("open");
    socket
}

#[tokio::test]
async fn too_many_pings_end_the_connection_with_grpc_gos_words() {
    let server = Server::start();
    let mut socket = connect(&server);
    for number in 0..4u8 {
        socket.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]).expect("open");
    }
    let seen = frames(&mut socket);
    let goaway = seen.iter().find(|(kind, _)| *kind == GOAWAY).expect("GOAWAY");
    assert_eq!(&goaway.1[4..8], [0, 0, 0, 11], "ENHANCE_YOUR_CALM");
    assert_eq!(&goaway.1[8..], b"too_many_pings");
}

#[tokio::test]
async fn a_settings_flood_ends_the_connection() {
    let server = Server::start();
    let mut socket = connect(&server);
    let reader = socket.try_clone().expect("a handle");
    reader.set_read_timeout(None).expect("an option");
    // Ends when the server closes the connection and not before.
    let reading = tokio::task::spawn_blocking(move || frames(&mut { reader }));
    let flood = [0u8, 0, 0, 4, 0, 0, 0, 0, 0].repeat(1000);
    for _ in 0..30 {
        if socket.write_all(&flood).is_err() {
            break;
        }
    }
    within(reading).await.expect("no panic");
    let mut client = Client::open(server.address).await;
    assert_eq!(client.unary("/etcdserverpb.KV/Range", b"alive").await.messages, ["alive"]);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped() {
    let short = Duration::from_millis(20);
    let server = Server::with(
        |options| (options.keepalive_interval, options.keepalive_timeout) = (short, short),
        Serves::GRPC,
    );
    let mut socket = connect(&server);
    let seen = tokio::task::spawn_blocking(move || frames(&mut socket)).await.expect("no panic");
    assert!(seen.iter().any(|(kind, payload)| *kind == 6 && payload.len() == 8), "a PING came first");
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let short = Duration::from_millis(20);
    let server = Server::with(
        |options| (options.keepalive_interval, options.keepalive_timeout) = (short, short * 50),
        Serves::GRPC,
    );
    let mut client = Client::open(server.address).await;
    let (response, mut body) = client.start("/etcdserverpb.Watch/Watch").await;
    body.send_data(frame(b"x"), false).expect("open");
    let mut inbound = Inbound::new(within(response).await.expect("headers"));
    // Ten timers of the stream one after the other outlast several pings.
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "x");
    for _ in 0..10 {
        body.send_data(frame(b"timer"), false).expect("open");
        assert_eq!(inbound.next().await.expect("open").expect("a message"), "woken");
    }
}

#[tokio::test]
async fn rapid_resets_do_not_harm_others() {
    let server = Server::start();
    let mut attacker = Client::open(server.address).await;
    for _ in 0..20_000 {
        let Ok(mut send) = attacker.send.clone().ready().await else { break };
        let call = crate::client::request("/etcdserverpb.Cluster/MemberList", &[]);
        let Ok((_response, mut body)) = send.send_request(call, false) else { break };
        body.send_reset(h2::Reason::CANCEL);
        attacker.send = send;
    }
    let mut client = Client::open(server.address).await;
    assert_eq!(client.unary("/etcdserverpb.KV/Range", b"alive").await.messages, ["alive"]);
}

/// The budget of h2 for tiny DATA frames must not stop honest keep-alive streams.
#[tokio::test]
async fn a_thousand_keep_alive_streams_with_tiny_messages() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    let mut open = Vec::new();
    for _ in 0..1000 {
        let (response, mut body) = client.start("/etcdserverpb.Watch/Watch").await;
        body.send_data(frame(b"0"), false).expect("open");
        open.push((response, body));
    }
    let mut streams = Vec::new();
    for (response, body) in open {
        let mut inbound = Inbound::new(within(response).await.expect("headers"));
        assert_eq!(inbound.next().await.expect("open").expect("a message"), "0");
        streams.push((inbound, body));
    }
    for round in 1..6u8 {
        for (_, body) in &mut streams {
            body.send_data(frame(&[round]), false).expect("open");
        }
        for (inbound, _) in &mut streams {
            assert_eq!(inbound.next().await.expect("open").expect("a message")[..], [round]);
        }
    }
}

#[tokio::test]
async fn too_large_heads_are_refused() {
    let server = Server::with(|options| options.max_header_bytes = 8 << 10, Serves::EVERYTHING);
    let mut client = Client::open(server.address).await;
    let value = vec![b'a'; 12 << 10];
    let call = crate::client::request("/etcdserverpb.KV/Range", &[("token", &value)]);
    let (response, _body) = client.begin(call).await;
    let refused = match within(response).await {
        Ok(response) => response.status() == 431,
        Err(error) => error.is_reset(),
    };
    assert!(refused);
    assert_eq!(client.unary("/etcdserverpb.KV/Range", b"alive").await.messages, ["alive"]);
}

#[tokio::test]
async fn as_many_streams_as_configured() {
    let mut server = Server::with(|options| options.max_concurrent_streams = 3, Serves::EVERYTHING);
    let mut client = Client::open(server.address).await;
    // The client knows the limit once the first answer is there.
    assert_eq!(client.unary("/etcdserverpb.KV/Range", b"x").await.messages, ["x"]);
    let mut held = Vec::new();
    for _ in 0..3 {
        let (response, mut body) = client.start("/etcdserverpb.Cluster/MemberList").await;
        body.send_data(frame(b""), true).expect("open");
        held.push((server.held().await, response));
    }
    let fourth = tokio::spawn({
        let mut send = client.send.clone();
        async move {
            send = send.ready().await.expect("room");
            let call = crate::client::request("/etcdserverpb.KV/Range", &[]);
            let (response, mut body) = send.send_request(call, false).expect("a stream");
            body.send_data(frame(b"fourth"), true).expect("open");
            reply(response).await.expect("an answer")
        }
    });
    for (id, response) in held {
        server.completions.complete(id, Ok(crate::echo::raw(b"y", &mut bytes::BytesMut::new())));
        assert_eq!(reply(response).await.expect("an answer").messages, ["y"]);
    }
    assert_eq!(within(fourth).await.expect("no panic").messages, ["fourth"]);
}
