//! One HTTP/1.1 connection: requests one after the other, pipelined or not.

use std::io;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::date::http_date;
use super::{HttpAnswer, HttpOutcome, HttpRequest};
use crate::loops::Home;

/// Largest request head.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// Serves a connection of which `buffer` was read already; the first head must be there by `deadline`.
pub(crate) async fn serve(
    home: Rc<Home>,
    stream: TcpStream,
    buffer: BytesMut,
    deadline: Instant,
    listener: u16,
) {
    let mut connection = Connection { home, stream, buffer, listener };
    if let Err(error) = connection.run(deadline).await {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

struct Connection {
    home: Rc<Home>,
    stream: TcpStream,
    buffer: BytesMut,
    listener: u16,
}

/// A request's head and what it says about the connection.
struct Head {
    request: HttpRequest,
    body: usize,
    keep_alive: bool,
    wants_continue: bool,
}

/// Why a head or body is refused; the connection is closed after the answer.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(u16, &'static str);

impl Connection {
    async fn run(&mut self, first: Instant) -> io::Result<()> {
        let mut deadline = first;
        loop {
            let head = match self.head(deadline).await? {
                None => return Ok(()),
                Some(Ok(head)) => head,
                Some(Err(refusal)) => return self.refuse(refusal).await,
            };
            let Head { mut request, body, keep_alive, wants_continue } = head;
            if body > self.home.options.max_http_body {
                return self.refuse(Refusal(413, "Request Entity Too Large")).await;
            }
            if wants_continue && self.buffer.len() < body {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            request.body = match self.body(body).await? {
                None => return Ok(()),
                Some(body) => body,
            };
            request.listener = self.listener;
            let head_only = request.method == "HEAD";
            let answer = match self.home.services.http(request) {
                HttpOutcome::Ready(answer) => answer,
                HttpOutcome::Later(answer) => answer.await,
            };
            let keep_alive = keep_alive && !self.home.is_stopping();
            self.send(answer, head_only, keep_alive).await?;
            if !keep_alive {
                return self.stream.shutdown().await;
            }
            deadline = Instant::now() + self.home.options.idle_timeout;
        }
    }

    /// The next head; `None` when the client (or the server) is done.
    async fn head(&mut self, deadline: Instant) -> io::Result<Option<Result<Head, Refusal>>> {
        let home = self.home.clone();
        let mut deadline = deadline;
        loop {
            // Empty lines before a request are to be skipped.
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
            }
            match parse(&self.buffer) {
                Ok(Some((length, head))) => {
                    self.buffer.advance(length);
                    return Ok(Some(Ok(head)));
                }
                Ok(None) if self.buffer.len() > MAX_HEAD => {
                    return Ok(Some(Err(Refusal(431, "Request Header Fields Too Large"))));
                }
                Ok(None) => {}
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
            let begun = !self.buffer.is_empty();
            let read = tokio::select! {
                read = timeout_at(deadline, self.stream.read_buf(&mut self.buffer)) => read,
                () = home.stopping(), if !begun => return Ok(None),
            };
            match read {
                Err(_) => return Ok(None),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(_)) if !begun => deadline = deadline.min(Instant::now() + home.options.head_timeout),
                Ok(Ok(_)) => {}
            }
        }
    }

    async fn body(&mut self, length: usize) -> io::Result<Option<Bytes>> {
        let deadline = Instant::now() + self.home.options.head_timeout;
        while self.buffer.len() < length {
            match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
                Err(_) => return Ok(None),
                Ok(Ok(0)) => return Ok(None),
                Ok(read) => drop(read?),
            }
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// As Go's server does it: a short text, and the connection is closed.
    async fn refuse(&mut self, Refusal(status, reason): Refusal) -> io::Result<()> {
        let answer = HttpAnswer::text(status, format!("{status} {reason}"));
        self.send(answer, false, false).await?;
        self.stream.shutdown().await
    }

    async fn send(&mut self, answer: HttpAnswer, head_only: bool, keep_alive: bool) -> io::Result<()> {
        let mut out = Vec::with_capacity(256 + answer.body.len());
        let line = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        out.extend_from_slice(line.as_bytes());
        let mut header = |name: &str, value: &str| {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        };
        for (name, value) in &answer.headers {
            header(name, value);
        }
        if !answer.content_type.is_empty() {
            header("Content-Type", &answer.content_type);
        }
        header("Date", &http_date(std::time::SystemTime::now()));
        header("Content-Length", &answer.body.len().to_string());
        if !keep_alive {
            header("Connection", "close");
        }
        out.extend_from_slice(b"\r\n");
        if !head_only {
            out.extend_from_slice(&answer.body);
        }
        let deadline = Instant::now() + self.home.options.idle_timeout;
        match timeout_at(deadline, self.stream.write_all(&out)).await {
            Ok(written) => written,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Parses a head at the beginning of `bytes`: its length and what it says, or `None` when it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, Refusal> {
    const BAD: Refusal = Refusal(400, "Bad Request");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut raw = httparse::Request::new(&mut headers);
    let length = match raw.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal(431, "Request Header Fields Too Large")),
        Err(httparse::Error::Version) => return Err(Refusal(505, "HTTP Version Not Supported")),
        Err(_) => return Err(BAD),
    };
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(BAD);
    };
    // Absolute form is for proxies; what counts is the path.
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = HttpRequest {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        ..HttpRequest::default()
    };
    for header in raw.headers.iter() {
        request.headers.push((header.name.to_ascii_lowercase(), Bytes::copy_from_slice(header.value)));
    }
    if minor == 1 && request.headers.iter().filter(|(name, _)| name == "host").count() != 1 {
        return Err(Refusal(400, "Bad Request: missing required Host header"));
    }
    if request.header("transfer-encoding").is_some() {
        return Err(Refusal(501, "Not Implemented: unsupported transfer encoding"));
    }
    let mut body = 0;
    for (_, value) in request.headers.iter().filter(|(name, _)| name == "content-length") {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse().ok()).ok_or(BAD)?;
        if body != 0 && body != length {
            return Err(BAD);
        }
        body = length;
    }
    let says = |name: &str, word: &str| {
        let value = request.header(name).and_then(|value| std::str::from_utf8(value).ok());
        value.is_some_and(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
    };
    let keep_alive = if minor == 1 { !says("connection", "close") } else { says("connection", "keep-alive") };
    let wants_continue = says("expect", "100-continue");
    Ok(Some((length, Head { keep_alive, wants_continue, body, request })))
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let parsed = |text: &str| parse(text.as_bytes());
        let (length, head) =
            parsed("GET /health?a=b HTTP/1.1\r\nHost: x\r\n\r\nrest").expect("valid").expect("whole");
        assert_eq!(length, "GET /health?a=b HTTP/1.1\r\nHost: x\r\n\r\n".len());
        assert_eq!(
            (&*head.request.method, &*head.request.path, &*head.request.query),
            ("GET", "/health", "a=b")
        );
        assert!(head.keep_alive && head.body == 0);
        let (_, head) =
            parsed("GET http://h:1/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("valid").expect("whole");
        assert_eq!(head.request.path, "/x");
        assert!(parsed("GET / HTTP/1.1\r\nHost: x\r\n").expect("valid").is_none());

        let bad = [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/7.1\r\nHost: a\r\n\r\n", 505),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ];
        for (text, status) in bad {
            let refusal = parsed(text).err().expect(text);
            assert_eq!(refusal.0, status, "{text}");
        }
    }

    #[test]
    fn keep_alive_by_version_and_header() {
        let cases = [
            ("HTTP/1.1", "", true),
            ("HTTP/1.1", "Connection: close\r\n", false),
            ("HTTP/1.1", "Connection: upgrade, Close\r\n", false),
            ("HTTP/1.0", "", false),
            ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ];
        for (version, header, expected) in cases {
            let text = format!("GET / {version}\r\nHost: x\r\n{header}\r\n");
            let (_, head) = parse(text.as_bytes()).expect("valid").expect("whole");
            assert_eq!(head.keep_alive, expected, "{text}");
        }
    }
}
