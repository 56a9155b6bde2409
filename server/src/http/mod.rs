//! Plain HTTP/1.1 on the client port: `/health`, `/version`, `/metrics` and what else is not gRPC.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

mod date;
mod serve;

pub(crate) use serve::serve;

/// One request, head and body read.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// For example `GET`. Whether it is allowed on the path is the service's business (`HttpAnswer::method_not_allowed`).
    pub method: String,
    /// As sent, without the query, for example `/health`.
    pub path: String,
    /// What follows `?`, as sent; empty when there is none.
    pub query: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, Bytes)>,
    /// Empty for most.
    pub body: Bytes,
    /// The tag of the listener it came through (`loops::Serves::tag`).
    pub listener: u16,
}

impl HttpRequest {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &value[..])
    }

    /// The values of a query parameter, percent-decoded, in order.
    pub fn query_values(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| unescape(key) == name).map(|(_, value)| unescape(value)).collect()
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// For example 200.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: Cow<'static, str>,
    /// Further headers; `Content-Length`, `Date` and `Connection` are written by the front end.
    pub headers: Vec<(&'static str, String)>,
    /// Left out of the answer to HEAD.
    pub body: Bytes,
}

impl HttpAnswer {
    /// Text with a status.
    pub fn text(status: u16, body: impl Into<Bytes>) -> HttpAnswer {
        HttpAnswer {
            status,
            content_type: "text/plain; charset=utf-8".into(),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// JSON with status 200.
    pub fn json(body: impl Into<Bytes>) -> HttpAnswer {
        HttpAnswer { content_type: "application/json".into(), ..HttpAnswer::text(200, body) }
    }

    /// Go's answer for a path that nobody serves.
    pub fn not_found() -> HttpAnswer {
        let mut answer = HttpAnswer::text(404, "404 page not found\n");
        answer.headers.push(("X-Content-Type-Options", "nosniff".into()));
        answer
    }

    /// etcd's answer for a method other than GET.
    pub fn method_not_allowed() -> HttpAnswer {
        let mut answer = HttpAnswer::text(405, "Method Not Allowed\n");
        answer.headers.push(("Allow", "GET".into()));
        answer.headers.push(("X-Content-Type-Options", "nosniff".into()));
        answer
    }
}

/// What became of a request.
pub enum HttpOutcome {
    /// The answer.
    Ready(HttpAnswer),
    /// The answer comes when this is done; it is polled on the loop and dropped when the client goes.
    Later(Pin<Box<dyn Future<Output = HttpAnswer>>>),
}

impl From<HttpAnswer> for HttpOutcome {
    fn from(answer: HttpAnswer) -> HttpOutcome {
        HttpOutcome::Ready(answer)
    }
}

impl fmt::Debug for HttpOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpOutcome::Ready(answer) => answer.fmt(f),
            HttpOutcome::Later(_) => f.write_str("Later"),
        }
    }
}

/// Percent-decoding as of a query; what does not decode stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        rest = after;
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            (b'+', _, _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded_and_keep_their_order() {
        let query = "exclude=NOSPACE&serializable=true&exclude=a%20b%2&x&exclude".to_string();
        let request = HttpRequest { query, ..HttpRequest::default() };
        assert_eq!(request.query_values("exclude"), ["NOSPACE", "a b%2", ""]);
        assert_eq!(request.query_values("serializable"), ["true"]);
        assert!(request.query_values("none").is_empty());
    }
}
