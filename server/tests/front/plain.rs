//! HTTP/1.1 on the same port, over raw sockets.

use std::net::SocketAddr;
use std::time::Duration;

use server::http::HttpAnswer;
use server::loops::Serves;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, within};
use crate::echo::{Event, Server};

/// Sends `input` and reads until the server closes.
async fn talk(address: SocketAddr, input: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(input).await.expect("open");
    rest(&mut socket).await
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut output = Vec::new();
    within(socket.read_to_end(&mut output)).await.expect("an end");
    String::from_utf8(output).expect("text")
}

/// Leaves out the date.
fn undated(text: &str) -> String {
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

#[tokio::test]
async fn answers_to_the_letter() {
    let server = Server::start();
    let cases = [
        (
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 29\r\nConnection: close\r\n\r\n{\"health\":\"true\",\"reason\":\"\"}",
        ),
        (
            "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 29\r\nConnection: close\r\n\r\n",
        ),
        (
            "GET /nothing HTTP/1.0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n",
        ),
        (
            "PUT /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nxy",
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 19\r\nConnection: close\r\n\r\nMethod Not Allowed\n",
        ),
        (
            "GET /listener HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7",
        ),
        (
            "garbage\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 15\r\nConnection: close\r\n\r\n400 Bad Request",
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(undated(&talk(server.address, input.as_bytes()).await), expected, "{input}");
    }
}

#[tokio::test]
async fn requests_one_after_the_other_and_all_at_once() {
    let server = Server::start();
    let one = "GET /listener HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let last = "GET /listener HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let all = format!("{one}{post}\r\n{one}{last}{one}");
    let output = talk(server.address, all.as_bytes()).await;
    assert_eq!(output.matches("HTTP/1.1 200 OK").count(), 4, "nothing after the close: {output}");
    assert!(output.contains("\r\n\r\nhelloHTTP/1.1"), "{output}");
    // Byte by byte, on a connection that is kept.
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    socket.set_nodelay(true).expect("an option");
    for byte in format!("{post}{last}").bytes() {
        socket.write_all(&[byte]).await.expect("open");
        tokio::task::yield_now().await;
    }
    assert_eq!(rest(&mut socket).await.matches("HTTP/1.1 200 OK").count(), 2);
}

#[tokio::test]
async fn an_answer_may_come_later() {
    let mut server = Server::start();
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    socket.write_all(b"GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("open");
    let Event::Asked(answer) = server.event().await else { panic!("not asked") };
    answer.send(HttpAnswer::text(200, "at last")).expect("waiting");
    assert!(rest(&mut socket).await.ends_with("\r\n\r\nat last"));
}

#[tokio::test]
async fn limits() {
    let server = Server::with(|options| options.max_http_body = 10, Serves::EVERYTHING);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n", "a".repeat(70 << 10));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let cases = [
        (long.as_str(), "HTTP/1.1 431 "),
        (many.as_str(), "HTTP/1.1 431 "),
        ("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", "HTTP/1.1 413 "),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 501 "),
    ];
    for (input, expected) in cases {
        let output = talk(server.address, input.as_bytes()).await;
        assert!(output.starts_with(expected), "{expected}: {output}");
        assert!(output.contains("Connection: close\r\n"), "{output}");
    }
}

#[tokio::test]
async fn whoever_says_too_little_is_dropped() {
    let short = Duration::from_millis(30);
    let server = Server::with(|options| options.head_timeout = short, Serves::EVERYTHING);
    for input in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost:"] {
        assert_eq!(talk(server.address, input.as_bytes()).await, "", "{input}");
    }
    let mut client = Client::open(server.address).await;
    assert_eq!(client.unary("/etcdserverpb.KV/Range", b"x").await.messages, ["x"]);
}

#[tokio::test]
async fn listeners_serve_what_they_are_told() {
    let grpc = Server::with(|_| {}, Serves::GRPC);
    assert_eq!(talk(grpc.address, b"GET /health HTTP/1.0\r\n\r\n").await, "");
    let http = Server::with(|_| {}, Serves::HTTP);
    assert!(talk(http.address, b"GET /health HTTP/1.0\r\n\r\n").await.contains("200 OK"));
    assert_eq!(talk(http.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}
