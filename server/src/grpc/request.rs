//! The head of a call: what grpc-go's server checks before a handler runs, in its order and with its texts.

use std::fmt::Write;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method as HttpMethod};

use super::metadata::Metadata;
use super::method::Method;
use super::service::Services;
use super::status::{Code, Status};

/// A call that may go on.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) metadata: Metadata,
    /// For the response; `None` is plain `application/grpc`.
    pub(crate) content_type: Option<HeaderValue>,
}

/// A call that ends before it began: trailers only, with this HTTP status.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) http: u16,
    pub(crate) status: Status,
}

impl Refusal {
    fn new(http: u16, code: Code, message: String) -> Refusal {
        Refusal { http, status: Status::new(code, message) }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal { http: 200, status }
    }
}

/// The answer when a deadline has passed.
pub(crate) const DEADLINE: Status = Status::fixed(Code::DeadlineExceeded, "context deadline exceeded");

/// Checks the head of a request.
pub(crate) fn parse(parts: &Parts, services: &dyn Services, now: Instant) -> Result<Head, Refusal> {
    let mut metadata = Metadata::default();
    let mut grpc = None;
    let mut foreign: Option<&HeaderValue> = None;
    let mut malformed = None;
    let mut encoding: Option<&HeaderValue> = None;
    let mut hosts = 0;
    for (name, value) in &parts.headers {
        let bytes = value.as_bytes();
        match name.as_str() {
            "content-type" => match subtype(bytes) {
                Some(subtype) => grpc = Some(subtype),
                None => foreign = Some(value),
            },
            "grpc-timeout" => match timeout(bytes) {
                Ok(limit) => metadata.deadline = Some(now + limit),
                Err(why) => malformed = Some(format!("malformed grpc-timeout: {why}")),
            },
            "grpc-encoding" => encoding = Some(value),
            "token" => keep_first(&mut metadata.token, value),
            "authorization" => keep_first(&mut metadata.authorization, value),
            "client-api-version" => keep_first(&mut metadata.client_api_version, value),
            "hasleader" => metadata.require_leader |= bytes == b"true",
            "grpcgateway-accept" => metadata.from_gateway = true,
            "host" => hosts += 1,
            other if other.ends_with("-bin") => {
                if let Some(at) = bad_base64(bytes) {
                    malformed = Some(format!(
                        "malformed binary metadata {} in header {}: illegal base64 data at input byte {at}",
                        quote(bytes),
                        quote(name_bytes(name)),
                    ));
                }
            }
            _ => {}
        }
    }
    if hosts > 1 {
        let text = format!(
            "num values of :authority: {}, num values of host: {hosts}, both must only have 1 value as per HTTP/2 spec",
            usize::from(parts.uri.authority().is_some()),
        );
        return Err(Refusal::new(400, Code::Internal, text));
    }
    let Some(subtype) = grpc else {
        let shown = quote(foreign.map_or(&[], |value| value.as_bytes()));
        let text = format!("invalid gRPC request content-type {shown}");
        return Err(Refusal::new(415, Code::InvalidArgument, text));
    };
    if let Some(text) = malformed {
        return Err(Refusal::new(400, Code::Internal, text));
    }
    if parts.method != HttpMethod::POST {
        let shown = quote(parts.method.as_str().as_bytes());
        let text = format!("Received a HEADERS frame with :method {shown} which should be POST");
        return Err(Refusal::new(405, Code::Internal, text));
    }
    if metadata.deadline.is_some_and(|deadline| deadline <= now) {
        return Err(DEADLINE.into());
    }
    // With the query, if any: grpc-go knows no queries, so that they are part of the name.
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let method = find(path, services)?;
    if let Some(encoding) = encoding.filter(|value| !matches!(value.as_bytes(), b"" | b"identity")) {
        let text =
            format!("grpc: Decompressor is not installed for grpc-encoding {}", quote(encoding.as_bytes()));
        return Err(Status::new(Code::Unimplemented, text).into());
    }
    Ok(Head { method, metadata, content_type: response_type(subtype) })
}

/// The method of a path, or how grpc-go says that there is none. Only the exact path is looked up, so that whoever
/// compares paths elsewhere sees what is served.
fn find(path: &str, services: &dyn Services) -> Result<Method, Status> {
    if let Some(method) = Method::find(path.as_bytes())
        && services.serves(method)
    {
        return Ok(method);
    }
    let split = path.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    Err(match split {
        None => {
            Status::new(Code::Unimplemented, format!("malformed method name: {}", quote(path.as_bytes())))
        }
        Some((service, method)) if Method::is_service(service) => Status::unknown_method(service, method),
        Some((service, _)) => Status::new(Code::Unimplemented, format!("unknown service {service}")),
    })
}

fn keep_first(place: &mut Option<HeaderValue>, value: &HeaderValue) {
    if place.is_none() {
        *place = Some(value.clone());
    }
}

fn name_bytes(name: &HeaderName) -> &[u8] {
    name.as_str().as_bytes()
}

/// What follows `application/grpc`, without its `+` or `;`.
fn subtype(content_type: &[u8]) -> Option<&[u8]> {
    match content_type.strip_prefix(b"application/grpc")? {
        [] => Some(&[]),
        [b'+' | b';', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn response_type(subtype: &[u8]) -> Option<HeaderValue> {
    if subtype.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&[b"application/grpc+", subtype].concat()).ok()
}

/// `grpc-timeout`: up to eight digits and a unit. The error is grpc-go's.
fn timeout(value: &[u8]) -> Result<Duration, String> {
    let shown = || quote(value);
    let [digits @ .., unit] = value else {
        return Err(format!("transport: timeout string is too short: {}", shown()));
    };
    if digits.is_empty() {
        return Err(format!("transport: timeout string is too short: {}", shown()));
    }
    if value.len() > 9 {
        return Err(format!("transport: timeout string is too long: {}", shown()));
    }
    let nanos_per_unit: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return Err(format!("transport: timeout unit is not recognized: {}", shown())),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(format!("strconv.ParseUint: parsing {}: invalid syntax", quote(digits)));
    }
    let count = digits.iter().fold(0u64, |count, digit| count * 10 + u64::from(digit - b'0'));
    // 99,999,999 hours are more than u64 holds in nanoseconds; a century is as good as that.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    Ok(count.checked_mul(nanos_per_unit).map_or(CENTURY, Duration::from_nanos).min(CENTURY))
}

/// The first byte at which Go's decoder gives up: padded base64 when the length allows it, else unpadded.
fn bad_base64(value: &[u8]) -> Option<usize> {
    let padding = match value {
        _ if !value.len().is_multiple_of(4) => 0,
        [.., b'=', b'='] => 2,
        [.., b'='] => 1,
        _ => 0,
    };
    let data = &value[..value.len() - padding];
    let wrong = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    data.iter().position(wrong).or_else(|| (data.len() % 4 == 1).then_some(data.len()))
}

/// Go's `%q`.
fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                ' '..='~' => out.push(character),
                _ if character.is_control() && character.is_ascii() => {
                    let _ = write!(out, "\\x{:02x}", u32::from(character));
                }
                _ if character.is_control() => {
                    let _ = write!(out, "\\u{:04x}", u32::from(character));
                }
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_grpc_go_reads_them() {
        let seconds = Duration::from_secs;
        let good: [(&str, Duration); 9] = [
            ("1H", seconds(3600)),
            ("2M", seconds(120)),
            ("3S", seconds(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0S", seconds(0)),
            ("00000007S", seconds(7)),
            ("99999999H", seconds(100 * 365 * 24 * 3600)),
        ];
        for (text, expected) in good {
            assert_eq!(timeout(text.as_bytes()), Ok(expected), "{text}");
        }
        let bad = [
            ("", "transport: timeout string is too short: \"\""),
            ("S", "transport: timeout string is too short: \"S\""),
            ("123456789S", "transport: timeout string is too long: \"123456789S\""),
            ("12s", "transport: timeout unit is not recognized: \"12s\""),
            ("-1S", "strconv.ParseUint: parsing \"-1\": invalid syntax"),
            ("1.5S", "strconv.ParseUint: parsing \"1.5\": invalid syntax"),
        ];
        for (text, expected) in bad {
            assert_eq!(timeout(text.as_bytes()), Err(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn quoting_as_go_does() {
        let cases: [(&[u8], &str); 4] = [
            (b"plain", r#""plain""#),
            (b"a\"b\\c\n\t\x01", r#""a\"b\\c\n\t\x01""#),
            ("\u{e9}".as_bytes(), "\"\u{e9}\""),
            (b"\xff\xfe", r#""\xff\xfe""#),
        ];
        for (bytes, expected) in cases {
            assert_eq!(quote(bytes), expected);
        }
    }

    #[test]
    fn base64_as_go_checks_it() {
        let cases: [(&[u8], Option<usize>); 9] = [
            (b"", None),
            (b"YQ==", None),
            (b"YWI=", None),
            (b"YWJj", None),
            (b"YQ", None),
            (b"YWI", None),
            (b"YW-j", Some(2)),
            (b"Y", Some(1)),
            (b"!", Some(0)),
        ];
        for (value, expected) in cases {
            assert_eq!(bad_base64(value), expected, "{value:?}");
        }
    }

    #[test]
    fn content_types() {
        let cases: [(&[u8], Option<&[u8]>); 6] = [
            (b"application/grpc", Some(b"")),
            (b"application/grpc+proto", Some(b"proto")),
            (b"application/grpc;charset=utf-8", Some(b"charset=utf-8")),
            (b"application/grpcx", None),
            (b"application/json", None),
            (b"", None),
        ];
        for (value, expected) in cases {
            assert_eq!(subtype(value), expected);
        }
    }
}
