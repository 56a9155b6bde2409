//! Stopping with and without grace.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{Client, Inbound, frame, reply, within};
use crate::echo::{Server, raw};

const HOLD: &str = "/etcdserverpb.Cluster/MemberList";

fn stop(server: &mut Server, grace: Duration) -> tokio::task::JoinHandle<()> {
    let loops = server.loops.take().expect("running");
    tokio::task::spawn_blocking(move || loops.stop(grace))
}

#[tokio::test]
async fn calls_in_progress_may_end() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let mut idle = TcpStream::connect(server.address).await.expect("a connection");
    let (response, mut body) = client.start(HOLD).await;
    body.send_data(frame(b""), true).expect("open");
    let id = server.held().await;
    let stopped = stop(&mut server, Duration::from_secs(30));
    // A connection that has said nothing yet is of no interest; the client's is told to go away.
    while client.send.clone().ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.completions.complete(id, Ok(raw(b"done", &mut bytes::BytesMut::new())));
    assert_eq!(reply(response).await.expect("an answer").messages, ["done"]);
    within(client.connection).await.expect("no panic").expect("a clean end");
    drop(idle.read(&mut [0]));
    drop(idle);
    within(stopped).await.expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn without_grace_calls_are_told() {
    let mut server = Server::start();
    let mut client = Client::open(server.address).await;
    let (response, mut body) = client.start(HOLD).await;
    body.send_data(frame(b""), true).expect("open");
    server.held().await;
    let (stream, mut watch) = client.start("/etcdserverpb.Watch/Watch").await;
    watch.send_data(frame(b"x"), false).expect("open");
    let mut inbound = Inbound::new(within(stream).await.expect("headers"));
    assert_eq!(inbound.next().await.expect("open").expect("a message"), "x");
    let stopped = stop(&mut server, Duration::ZERO);
    let reply = reply(response).await.expect("an answer");
    assert_eq!((reply.code, &*reply.text), (14, "etcdserver: server stopped"));
    assert_eq!(inbound.status().await.expect("trailers"), (14, "etcdserver: server stopped".to_string()));
    within(stopped).await.expect("no panic");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let mut server = Server::start();
    let client = Client::open(server.address).await;
    let mut plain = TcpStream::connect(server.address).await.expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET /listener HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("open");
    let mut first = [0; 16];
    within(plain.read_exact(&mut first)).await.expect("an answer");
    let stopped = stop(&mut server, Duration::from_secs(600));
    within(stopped).await.expect("no panic");
    within(client.connection).await.expect("no panic").expect("a clean end");
}
