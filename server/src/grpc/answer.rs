//! Response headers and trailers.

use std::fmt::Write;

use h2::SendStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::frame::Frame;
use super::payload::{Account, Payload};
use super::status::{Code, Status};
use std::rc::Rc;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Header blocks that most answers share, made once per connection and copied.
pub(crate) struct Blocks {
    headers: HeaderMap,
    ok_trailers: HeaderMap,
}

impl Default for Blocks {
    fn default() -> Blocks {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(CONTENT_TYPE, GRPC);
        let mut ok_trailers = HeaderMap::with_capacity(1);
        ok_trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        Blocks { headers, ok_trailers }
    }
}

impl Blocks {
    /// Opens a response that goes on with messages.
    pub(crate) fn begin(
        &self,
        respond: &mut SendResponse<Payload>,
        content_type: Option<&HeaderValue>,
    ) -> Result<SendStream<Payload>, h2::Error> {
        let mut response = Response::new(());
        *response.headers_mut() = self.headers.clone();
        if let Some(value) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, value.clone());
        }
        respond.send_response(response, false)
    }

    /// A whole unary answer.
    pub(crate) fn answer(
        &self,
        respond: &mut SendResponse<Payload>,
        content_type: Option<&HeaderValue>,
        frame: Frame,
        account: &Rc<Account>,
    ) -> Result<(), h2::Error> {
        let mut stream = self.begin(respond, content_type)?;
        stream.send_data(Payload::new(frame, account), false)?;
        stream.send_trailers(self.ok_trailers.clone())
    }

    /// The end of a response that had messages.
    pub(crate) fn end(&self, stream: &mut SendStream<Payload>, status: &Status) -> Result<(), h2::Error> {
        if *status == Status::OK {
            return stream.send_trailers(self.ok_trailers.clone());
        }
        let mut trailers = HeaderMap::with_capacity(2);
        put_status(&mut trailers, status);
        stream.send_trailers(trailers)
    }

    /// A response without messages: headers and trailers in one frame.
    pub(crate) fn refuse(
        &self,
        respond: &mut SendResponse<Payload>,
        content_type: Option<&HeaderValue>,
        http: u16,
        status: &Status,
    ) -> Result<(), h2::Error> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.reserve(3);
        headers.insert(CONTENT_TYPE, content_type.cloned().unwrap_or(GRPC));
        put_status(headers, status);
        respond.send_response(response, true).map(drop)
    }
}

fn put_status(headers: &mut HeaderMap, status: &Status) {
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status.code.digits()));
    if status.code != Code::Ok || !status.message.is_empty() {
        headers.insert(GRPC_MESSAGE, message_value(&status.message));
    }
}

/// Percent-encodes what is not printable ASCII, and `%`.
fn message_value(message: &str) -> HeaderValue {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if message.bytes().all(plain) {
        return HeaderValue::from_str(message).expect("printable ASCII is a header value");
    }
    let mut encoded = String::with_capacity(message.len() + 16);
    for byte in message.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&encoded).expect("percent-encoded text is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        let cases = [
            ("", ""),
            ("etcdserver: key is not provided", "etcdserver: key is not provided"),
            ("100% \u{e9}\n", "100%25 %C3%A9%0A"),
            ("\u{7f}~", "%7F~"),
        ];
        for (text, expected) in cases {
            assert_eq!(message_value(text).as_bytes(), expected.as_bytes());
        }
    }
}
