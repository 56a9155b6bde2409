//! Bytes that are not a message, and calls that are not a call, over a bare HTTP/2 connection.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request};
use tokio::net::TcpStream;

/// A call as it goes over the wire.
pub(crate) struct Raw {
    path: &'static str,
    headers: Vec<(&'static str, &'static [u8])>,
    body: Vec<u8>,
}

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";

/// A whole gRPC message: flag, length, bytes.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(flag);
    out.put_u32(u32::try_from(message.len()).unwrap());
    out.put_slice(message);
    out.to_vec()
}

fn call(path: &'static str, message: &[u8]) -> Raw {
    Raw { path, headers: vec![], body: framed(0, message) }
}

/// `depth` transactions, each in the other's success branch.
fn deep(depth: usize) -> Vec<u8> {
    let varint = |mut n: usize, out: &mut Vec<u8>| {
        while n >= 0x80 {
            out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    };
    let mut message = Vec::new();
    for _ in 0..depth {
        // RequestOp.request_txn is field 4, TxnRequest.success field 2.
        let mut op = vec![0x22];
        varint(message.len(), &mut op);
        op.extend(&message);
        let mut txn = vec![0x12];
        varint(op.len(), &mut txn);
        txn.extend(op);
        message = txn;
    }
    message
}

pub(crate) fn all() -> Vec<(String, Raw)> {
    let mut cases: Vec<(String, Raw)> = Vec::new();
    let malformed: [(&str, &[u8]); 12] = [
        ("a tag cut short", &[0x80]),
        ("a length cut short", &[0x0a, 0x80]),
        ("bytes cut short", &[0x0a, 0x05, b'a']),
        ("a length of 2^31", &[0x0a, 0x80, 0x80, 0x80, 0x80, 0x08]),
        ("a length of 2^63", &[0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        (
            "a varint of eleven bytes",
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
        ("field number 0", &[0x02, 0x00]),
        ("wire type 6", &[0x0e, 0x00]),
        ("wire type 7", &[0x0f, 0x00]),
        ("the end of a group that never began", &[0x0c]),
        ("a group that never ends", &[0xfb, 0x3f]),
        ("a fixed 64 cut short", &[0x09, 0x01, 0x02]),
    ];
    for path in [RANGE, PUT, TXN, GRANT] {
        for (name, message) in malformed {
            let method = path.rsplit('/').next().unwrap();
            cases.push((format!("{method}, {name}"), call(path, message)));
        }
    }
    // Not errors: fields nobody knows, and a field of another wire type than ours.
    cases.push((
        "Range, unknown fields".into(),
        call(RANGE, b"\x0a\x01a\xf8\x3f\x01\xfa\x3f\x02zz\xfd\x3f\x01\x02\x03\x04"),
    ));
    cases.push(("Range, a key that is a number".into(), call(RANGE, &[0x08, 0x05])));
    cases.push(("Range, a limit that is bytes".into(), call(RANGE, b"\x0a\x01a\x1a\x01x")));
    cases.push(("Txn, 40 deep".into(), call(TXN, &deep(40))));

    for (name, path) in [
        ("unknown method", "/etcdserverpb.KV/Nope"),
        ("unknown service", "/etcdserverpb.Nope/Range"),
        ("lower case", "/etcdserverpb.kv/range"),
        ("no method", "/etcdserverpb.KV"),
        ("trailing slash", "/etcdserverpb.KV/Range/"),
        ("root", "/"),
    ] {
        cases.push((format!("path, {name}"), call(path, b"\x0a\x01a")));
    }
    let mut with = |name: &str, headers: Vec<(&'static str, &'static [u8])>, body: Vec<u8>| {
        cases.push((format!("call, {name}"), Raw { path: RANGE, headers, body }));
    };
    let good = || framed(0, b"\x0a\x01a");
    with("two messages", vec![], [good(), good()].concat());
    with("a message cut short", vec![], good()[..7].to_vec());
    with("a prefix cut short", vec![], vec![0, 0]);
    with("compressed without saying how", vec![], framed(1, b"\x0a\x01a"));
    with("compressed flag 2", vec![], framed(2, b"\x0a\x01a"));
    with("encoding nobody knows", vec![("grpc-encoding", b"brotli")], framed(1, b"\x0a\x01a"));
    with("a length of 4 GiB", vec![], vec![0, 0xff, 0xff, 0xff, 0xff]);
    with("a length of 3 MiB", vec![], vec![0, 0, 0x30, 0, 0]);
    with("timeout without a unit", vec![("grpc-timeout", b"5")], good());
    with("timeout of nonsense", vec![("grpc-timeout", b"soon")], good());
    with("timeout too long a number", vec![("grpc-timeout", b"123456789S")], good());
    with("negative timeout", vec![("grpc-timeout", b"-1S")], good());
    with("a client version that is not UTF-8", vec![("client-api-version", b"\xff\xfe")], good());
    with("a long client version", vec![("client-api-version", &[b'9'; 4000])], good());
    with("hasleader", vec![("hasleader", b"true")], good());
    cases
}

/// HTTP status, gRPC status and text.
pub(crate) async fn outcome(endpoint: &str, raw: Raw) -> String {
    match exchange(endpoint, raw).await {
        Ok(text) => text,
        Err(error) => format!("connection or stream: {error}"),
    }
}

async fn exchange(endpoint: &str, raw: Raw) -> Result<String, h2::Error> {
    let tcp = TcpStream::connect(endpoint).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tcp).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{endpoint}{}", raw.path))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in raw.headers {
        request = request.header(name, HeaderValue::from_bytes(value).unwrap());
    }
    let (response, mut body) = client.send_request(request.body(()).unwrap(), raw.body.is_empty())?;
    if !raw.body.is_empty() {
        body.send_data(Bytes::from(raw.body), true)?;
    }
    let response = response.await?;
    let status = response.status();
    let mut headers = response.headers().clone();
    let mut body = response.into_body();
    while let Some(chunk) = body.data().await {
        body.flow_control().release_capacity(chunk?.len())?;
    }
    headers.extend(body.trailers().await?.unwrap_or_default());
    drop(client);
    driver.abort();
    Ok(format!("HTTP {} {}", status.as_u16(), grpc(&headers)))
}

fn grpc(trailers: &HeaderMap) -> String {
    let field = |name| trailers.get(name).map_or("", |value| value.to_str().unwrap_or("?"));
    let code = field("grpc-status");
    let text = percent_decoded(field("grpc-message"));
    // Go's protobuf library puts a no-break space into its texts on some builds.
    if code == "0" { "OK".into() } else { format!("{code} {}", text.replace('\u{a0}', " ")) }
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
