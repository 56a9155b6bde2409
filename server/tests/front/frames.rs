//! Odd frames and heads, each with the answer that grpc-go's server gives.

use bytes::Bytes;

use crate::client::{Client, Reply, frame, reply, request};
use crate::echo::Server;

const RANGE: &str = "/etcdserverpb.KV/Range";
const MAX: usize = 1000;

fn server() -> Server {
    Server::with(|options| options.max_receive_bytes = MAX, server::loops::Serves::EVERYTHING)
}

/// How the client's side ends.
#[derive(Clone, Copy)]
enum End {
    /// With the last chunk.
    Chunk,
    /// By an empty DATA frame of its own.
    Empty,
    /// By trailers.
    Trailers,
    /// Not before the answer is there.
    Never,
}

async fn exchange(client: &mut Client, request: http::Request<()>, chunks: &[&[u8]], end: End) -> Reply {
    let (response, mut body) = client.begin(request).await;
    for (number, chunk) in chunks.iter().enumerate() {
        let last = matches!(end, End::Chunk) && number + 1 == chunks.len();
        body.send_data(Bytes::copy_from_slice(chunk), last).expect("open");
    }
    match end {
        End::Empty => body.send_data(Bytes::new(), true).expect("open"),
        End::Trailers => body.send_trailers(http::HeaderMap::new()).expect("open"),
        End::Chunk | End::Never => {}
    }
    reply(response).await.expect("an answer")
}

#[tokio::test]
async fn whole_messages_get_through_however_they_are_cut() {
    let server = server();
    let mut client = Client::open(server.address).await;
    let whole = frame(b"hello");
    let bytewise: Vec<&[u8]> = whole.chunks(1).collect();
    let two = [&whole[..], &frame(b"ignored")].concat();
    let large = frame(&[7; MAX]);
    type Case<'a> = (&'a str, Vec<&'a [u8]>, End, &'a [u8]);
    let cases: [Case<'_>; 9] = [
        ("one chunk", vec![&whole], End::Chunk, b"hello"),
        ("byte by byte", bytewise, End::Chunk, b"hello"),
        ("prefix apart", vec![&whole[..5], &whole[5..]], End::Chunk, b"hello"),
        ("prefix split", vec![&whole[..3], &whole[3..]], End::Empty, b"hello"),
        ("two in one", vec![&two], End::Chunk, b"hello"),
        ("end apart", vec![&whole], End::Empty, b"hello"),
        ("trailers", vec![&whole], End::Trailers, b"hello"),
        ("open", vec![&whole], End::Never, b"hello"),
        ("as large as allowed", vec![&large], End::Chunk, &[7; MAX]),
    ];
    for (name, chunks, end, expected) in cases {
        let reply = exchange(&mut client, request(RANGE, &[]), &chunks, end).await;
        assert_eq!((reply.http, reply.code, &*reply.text), (200, 0, ""), "{name}");
        assert_eq!(reply.messages, [expected], "{name}");
        assert_eq!(reply.content_type, "application/grpc", "{name}");
        assert!(!reply.trailers_only, "{name}");
    }
}

#[tokio::test]
async fn refusals() {
    let server = server();
    let mut client = Client::open(server.address).await;
    let good = frame(b"x");
    let good = &good[..];
    let long_path = format!("/{}/x", "y".repeat(300));
    let long_text = format!("unknown service {}", "y".repeat(300));
    type Headers<'a> = &'a [(&'a str, &'a [u8])];
    // Path, headers, what is sent; HTTP status, code and text of the answer.
    type Case<'a> = (&'a str, Headers<'a>, &'a [u8], u16, u32, &'a str);
    #[rustfmt::skip]
    let cases: Vec<Case<'_>> = vec![
        (RANGE, &[], &[0, 0, 0, 3, 233], 200, 8, "grpc: received message larger than max (1001 vs. 1000)"),
        (RANGE, &[], &[0, 255, 255, 255, 255], 200, 8, "grpc: received message larger than max (4294967295 vs. 1000)"),
        (RANGE, &[], &[1, 0, 0, 0, 0], 200, 13, "grpc: compressed flag set with identity or empty encoding"),
        (RANGE, &[], &[7, 0, 0, 0, 0], 200, 13, "grpc: received unexpected payload format 7"),
        (RANGE, &[], &[], 200, 2, "EOF"),
        (RANGE, &[], &[0], 200, 2, "unexpected EOF"),
        (RANGE, &[], &good[..5], 200, 2, "unexpected EOF"),
        (RANGE, &[("grpc-encoding", b"gzip")], good, 200, 12, "grpc: Decompressor is not installed for grpc-encoding \"gzip\""),
        (RANGE, &[("grpc-encoding", b"identity")], &[1, 0, 0, 0, 0], 200, 13, "grpc: compressed flag set with identity or empty encoding"),
        (RANGE, &[("content-type", b"application/json")], good, 415, 3, "invalid gRPC request content-type \"application/json\""),
        (RANGE, &[("content-type", b"")], good, 415, 3, "invalid gRPC request content-type \"\""),
        (RANGE, &[("content-type", b"application/grpcx")], good, 415, 3, "invalid gRPC request content-type \"application/grpcx\""),
        (RANGE, &[("grpc-timeout", b"5x")], good, 400, 13, "malformed grpc-timeout: transport: timeout unit is not recognized: \"5x\""),
        (RANGE, &[("grpc-timeout", b"0S")], good, 200, 4, "context deadline exceeded"),
        (RANGE, &[("x-bin", b"*")], good, 400, 13, "malformed binary metadata \"*\" in header \"x-bin\": illegal base64 data at input byte 0"),
        (RANGE, &[("client-api-version", b"\xff\xfe")], good, 200, 3, "etcdserver: invalid client api version"),
        ("/etcdserverpb.Nope/Range", &[], good, 200, 12, "unknown service etcdserverpb.Nope"),
        ("/etcdserverpb.KV/Nope", &[], good, 200, 12, "unknown method Nope for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/range", &[], good, 200, 12, "unknown method range for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/Range/", &[], good, 200, 12, "unknown service etcdserverpb.KV/Range"),
        ("//etcdserverpb.KV/Range", &[], good, 200, 12, "unknown service /etcdserverpb.KV"),
        ("/etcdserverpb.KV%2fRange", &[], good, 200, 12, "malformed method name: \"/etcdserverpb.KV%252fRange\""),
        ("/etcdserverpb.KV/Range?a=b", &[], good, 200, 12, "unknown method Range?a=b for service etcdserverpb.KV"),
        ("/etcdserverpb.Maintenance/Downgrade", &[], good, 200, 12, "unknown method Downgrade for service etcdserverpb.Maintenance"),
        ("/", &[], good, 200, 12, "malformed method name: \"/\""),
        (&long_path, &[], good, 200, 12, &long_text),
        ("/etcdserverpb.KV/RangeStream", &[], &[], 200, 13, "cardinality violation: received no request message from non-client-streaming RPC"),
        ("/etcdserverpb.Watch/Watch", &[], &[0, 0], 200, 13, "unexpected EOF"),
        ("/etcdserverpb.Watch/Watch", &[], &[0, 0, 0, 3, 233], 200, 8, "grpc: received message larger than max (1001 vs. 1000)"),
        ("/etcdserverpb.Maintenance/Snapshot", &[], good, 200, 7, "etcdserver: permission denied"),
        ("/etcdserverpb.Lease/LeaseTimeToLive", &[], &[0, 0, 0, 0, 1, 0xff], 200, 13, "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"),
    ];
    for (path, headers, wire, http, code, text) in cases {
        let reply = exchange(&mut client, request(path, headers), &[wire], End::Chunk).await;
        assert_eq!((reply.http, reply.code, &*reply.text), (http, code, text), "{path} {headers:?} {wire:?}");
        assert!(reply.trailers_only && reply.messages.is_empty(), "{path} {headers:?}");
    }
    // The connection has survived all that.
    assert_eq!(client.unary(RANGE, b"still here").await.messages, ["still here"]);
}

#[tokio::test]
async fn methods_other_than_post_are_refused() {
    let server = server();
    let mut client = Client::open(server.address).await;
    let mut get = request(RANGE, &[]);
    *get.method_mut() = http::Method::GET;
    let reply = exchange(&mut client, get, &[&frame(b"x")], End::Chunk).await;
    let text = "Received a HEADERS frame with :method \"GET\" which should be POST";
    assert_eq!((reply.http, reply.code, &*reply.text), (405, 13, text));
}

#[tokio::test]
async fn the_content_subtype_comes_back() {
    let server = server();
    let mut client = Client::open(server.address).await;
    let call = request(RANGE, &[("content-type", b"application/grpc+proto")]);
    let reply = exchange(&mut client, call, &[&frame(b"x")], End::Chunk).await;
    assert_eq!((&*reply.content_type, reply.code), ("application/grpc+proto", 0));
}

#[tokio::test]
async fn metadata_arrives() {
    let server = server();
    let mut client = Client::open(server.address).await;
    type Headers<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Headers<'_>, &str); 6] = [
        (&[], "token=None version=unknown leader=false gateway=false deadline=false"),
        (
            &[("token", b"abc.1"), ("authorization", b"other"), ("client-api-version", b"3.7")],
            "token=Some(\"abc.1\") version=3.7 leader=false gateway=false deadline=false",
        ),
        (
            &[("authorization", b"Bearer xyz"), ("hasleader", b"true")],
            "token=Some(\"xyz\") version=unknown leader=true gateway=false deadline=false",
        ),
        (
            &[("authorization", b"xyz"), ("hasleader", b"True")],
            "token=Some(\"xyz\") version=unknown leader=false gateway=false deadline=false",
        ),
        (
            &[("grpcgateway-accept", b"x"), ("grpc-timeout", b"1H")],
            "token=None version=unknown leader=false gateway=true deadline=true",
        ),
        (&[("x-bin", b"YWJj")], "token=None version=unknown leader=false gateway=false deadline=false"),
    ];
    for (headers, expected) in cases {
        let call = request("/etcdserverpb.Maintenance/Status", headers);
        let reply = exchange(&mut client, call, &[&frame(b"")], End::Chunk).await;
        assert_eq!(reply.messages, [expected], "{headers:?}");
    }
    assert_eq!(
        server.sample("etcd_server_client_requests_total{client_api_version=\"3.7\",type=\"unary\"}"),
        1
    );
}

#[tokio::test]
async fn every_code_and_text_gets_through() {
    let server = server();
    let mut client = Client::open(server.address).await;
    let texts = [("", ""), ("etcdserver: no", "etcdserver: no"), ("50% \u{fc}\n", "50%25 %C3%BC%0A")];
    for code in 1..17u8 {
        for (text, on_the_wire) in texts {
            let message = [&[code], text.as_bytes()].concat();
            let reply = client.unary("/etcdserverpb.KV/Txn", &message).await;
            assert_eq!((reply.code, &*reply.text), (u32::from(code), on_the_wire));
            assert!(reply.trailers_only);
        }
    }
    let handled = "grpc_server_handled_total{grpc_code=\"DataLoss\",grpc_method=\"Txn\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
    assert_eq!(server.sample(handled), 3);
}

#[tokio::test]
async fn a_path_without_a_slash_reaches_nobody() {
    use std::io::{Read, Write};
    use std::sync::atomic::Ordering;

    let server = server();
    let mut socket = std::net::TcpStream::connect(server.address).expect("a connection");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("an option");
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    for (name, value) in [
        (":path", "etcdserverpb.KV/Range"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend([0, name.len() as u8]);
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
    }
    let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    wire.extend([0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1]);
    wire.extend(&block);
    wire.extend([0, 0, 6, 0, 1, 0, 0, 0, 1]);
    wire.extend(frame(b"x"));
    socket.write_all(&wire).expect("open");
    // The first frame of stream 1 that comes back resets it.
    loop {
        let mut header = [0; 9];
        socket.read_exact(&mut header).expect("a frame");
        let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
        socket.read_exact(&mut payload).expect("a payload");
        if header[8] == 1 {
            assert_eq!((header[3], &payload[..]), (3, &[0, 0, 0, 1][..]), "RST_STREAM with PROTOCOL_ERROR");
            break;
        }
    }
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 0);
}
