//! A raw HTTP/2 client: every frame as the test wants it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) http: u16,
    pub(crate) content_type: String,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) code: u32,
    pub(crate) text: String,
    /// Headers and trailers came as one block.
    pub(crate) trailers_only: bool,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Client {
        // h2 limits tiny DATA frames by the connection's window, on this side too.
        let mut builder = h2::client::Builder::new();
        Client::with(address, builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20))
            .await
    }

    pub(crate) async fn with(address: SocketAddr, builder: &h2::client::Builder) -> Client {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let (send, connection) = builder.handshake(stream).await.expect("a handshake");
        let mut client = Client { send, connection: tokio::spawn(connection) };
        client.ready().await;
        client
    }

    pub(crate) async fn ready(&mut self) {
        self.send = self.send.clone().ready().await.expect("room for a stream");
    }

    /// Opens a call with the usual headers.
    pub(crate) async fn start(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        self.begin(request(path, &[])).await
    }

    pub(crate) async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.ready().await;
        self.send.send_request(request, false).expect("a stream")
    }

    /// One message, one answer.
    pub(crate) async fn unary(&mut self, path: &str, message: &[u8]) -> Reply {
        let (response, mut body) = self.start(path).await;
        body.send_data(frame(message), true).expect("open");
        reply(response).await.expect("an answer")
    }
}

/// A gRPC request; `extra` replaces headers of the same name, an empty value removes them.
pub(crate) fn request(path: &str, extra: &[(&str, &[u8])]) -> Request<()> {
    let uri = format!("http://localhost{path}");
    let mut request = Request::post(uri).body(()).expect("a request");
    let headers = request.headers_mut();
    headers.insert("te", "trailers".parse().expect("a value"));
    headers.insert("content-type", "application/grpc".parse().expect("a value"));
    for (name, value) in extra {
        let name: http::HeaderName = name.parse().expect("a name");
        headers.remove(&name);
        if !value.is_empty() {
            headers.insert(name, http::HeaderValue::from_bytes(value).expect("a value"));
        }
    }
    request
}

/// One framed message.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat().into()
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time")
}

pub(crate) async fn reply(response: ResponseFuture) -> Result<Reply, h2::Error> {
    within(async {
        let response = response.await?;
        let trailers_only = response.body().is_end_stream();
        let headers = response.headers().clone();
        let http = response.status().as_u16();
        let content_type = text_of(&headers, "content-type");
        let mut inbound = Inbound::new(response);
        let mut messages = Vec::new();
        while let Some(message) = inbound.next().await? {
            messages.push(message);
        }
        let trailers = inbound.body.trailers().await?.unwrap_or(headers);
        let (code, text) = status(&trailers);
        Ok(Reply { http, content_type, messages, code, text, trailers_only })
    })
    .await
}

/// The messages of a response.
pub(crate) struct Inbound {
    pub(crate) body: RecvStream,
    pub(crate) buffer: bytes::BytesMut,
    /// Give flow control back as messages are read.
    pub(crate) release: bool,
}

impl Inbound {
    pub(crate) fn new(response: Response<RecvStream>) -> Inbound {
        Inbound { body: response.into_body(), buffer: bytes::BytesMut::new(), release: true }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, h2::Error> {
        loop {
            if self.buffer.len() >= 5 {
                let length = u32::from_be_bytes(self.buffer[1..5].try_into().expect("four bytes")) as usize;
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match within(self.body.data()).await {
                None => {
                    assert!(self.buffer.is_empty(), "a message was cut short");
                    return Ok(None);
                }
                Some(chunk) => {
                    let chunk = chunk?;
                    if self.release {
                        self.body.flow_control().release_capacity(chunk.len())?;
                    }
                    self.buffer.extend_from_slice(&chunk);
                }
            }
        }
    }

    /// The status that ends the response.
    pub(crate) async fn status(mut self) -> Result<(u32, String), h2::Error> {
        assert_eq!(self.next().await?, None, "no further message");
        Ok(status(&self.body.trailers().await?.expect("trailers")))
    }
}

fn status(headers: &HeaderMap) -> (u32, String) {
    let code = text_of(headers, "grpc-status").parse().expect("a number");
    let text = text_of(headers, "grpc-message");
    (code, text)
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    assert!(values.next().is_none(), "{name} was sent twice");
    first.unwrap_or_default()
}
