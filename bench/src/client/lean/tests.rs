//! The client against a server that is strict about what it is sent (the `h2` crate), and against bytes that no server
//! should send.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::target::Endpoint;
use super::super::{Client, Events, Failure, Method, Outcome, Target, TlsFiles, Until};
use super::Lean;
use super::connection::{Connection, Identity};
use super::frame::{self, flag, kind, setting};
use super::stream::Shape;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn target(address: SocketAddr) -> Target {
    let endpoint = address.to_string().parse::<Endpoint>().unwrap();
    Target { endpoints: vec![endpoint], tls: None, token: Some("secret.7".into()) }
}

/// What one of these tests' servers is told to be.
#[derive(Clone, Copy)]
struct Limits {
    streams: u32,
    window: u32,
    connection_window: u32,
    frame: u32,
}

const WIDE: Limits = Limits { streams: 1000, window: 1 << 20, connection_window: 1 << 20, frame: 16_384 };

/// Serves on a thread of its own for as long as the process lives; every request is looked at in full.
fn serve(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = Builder::new()
                        .max_concurrent_streams(limits.streams)
                        .initial_window_size(limits.window)
                        .initial_connection_window_size(limits.connection_window)
                        .max_frame_size(limits.frame)
                        .handshake::<_, Bytes>(socket)
                        .await
                        .unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond, address));
                    }
                });
            }
        });
    });
    address
}

/// Everything gRPC's specification says about a request's headers.
fn check(request: &Request<RecvStream>, address: SocketAddr) {
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri().scheme_str(), Some("http"));
    assert_eq!(request.uri().authority().unwrap().as_str(), address.to_string());
    let headers = request.headers();
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("te"), ["trailers"]);
    assert_eq!(all("content-type"), ["application/grpc"]);
    assert_eq!(all("token"), ["secret.7"]);
    assert!(all("user-agent")[0].starts_with("graven-bench/"));
    let names: BTreeSet<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, BTreeSet::from(["content-type", "te", "token", "user-agent"]));
}

/// Answers by the first byte of the request's message: the message itself, or something that goes wrong.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, address: SocketAddr) {
    check(&request, address);
    let streaming = request.uri().path() == Method::Watch.path();
    let mut body = request.into_body();
    let mut bytes = BytesMut::new();
    let head = || Response::builder().header("content-type", "application/grpc");
    if streaming {
        let mut send = respond.send_response(head().body(()).unwrap(), false).unwrap();
        while let Some(chunk) = body.data().await {
            let Ok(chunk) = chunk else { return };
            body.flow_control().release_capacity(chunk.len()).unwrap();
            // Byte by byte now and then, so that messages come in pieces.
            let (one, other) = chunk.split_at(chunk.len() / 3);
            for part in [one, other] {
                send.send_data(Bytes::copy_from_slice(part), false).unwrap();
            }
        }
        send.send_trailers(status("0")).unwrap();
        return;
    }
    while let Some(chunk) = body.data().await {
        let Ok(chunk) = chunk else { return };
        body.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    assert!(body.trailers().await.unwrap().is_none());
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    assert!(bytes[0] == 0 && bytes.len() == 5 + length, "one uncompressed message");
    match bytes.get(5) {
        Some(b's') => {
            let only =
                head().header("grpc-status", "8").header("grpc-message", "no%20room").body(()).unwrap();
            respond.send_response(only, true).unwrap();
        }
        Some(b'h') => {
            respond.send_response(Response::builder().status(404).body(()).unwrap(), true).unwrap();
        }
        Some(b'r') => respond.send_reset(Reason::REFUSED_STREAM),
        Some(b't') => {
            respond
                .send_response(
                    Response::builder().header("content-type", "text/html").body(()).unwrap(),
                    true,
                )
                .unwrap();
        }
        Some(b'n') => {
            let mut send = respond.send_response(head().body(()).unwrap(), false).unwrap();
            send.send_trailers(status("0")).unwrap();
        }
        Some(b'2') => {
            let mut send = respond.send_response(head().body(()).unwrap(), false).unwrap();
            send.send_data(Bytes::from_static(&[0; 10]), false).unwrap();
            send.send_trailers(status("0")).unwrap();
        }
        Some(b'e') => {
            let mut send = respond.send_response(head().body(()).unwrap(), false).unwrap();
            send.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        }
        Some(b'c') => {
            let mut send = respond.send_response(head().body(()).unwrap(), false).unwrap();
            send.send_data(Bytes::from_static(&[1, 0, 0, 0, 0]), false).unwrap();
            send.send_trailers(status("0")).unwrap();
        }
        _ => {
            let mut send = respond.send_response(head().body(()).unwrap(), false).unwrap();
            send.send_data(bytes.freeze(), false).unwrap();
            send.send_trailers(status("0")).unwrap();
        }
    }
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static(code),
    )])
}

/// Says its settings and goodbye through TLS, then something more, all at once; and keeps the connection open.
fn say_goodbye_and_more() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut config =
        rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = rustls::ServerConnection::new(config.into()).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        session.writer().write_all(&server_settings()).unwrap();
        session.send_close_notify();
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).unwrap();
        }
        // More than TLS takes in at once, so that it is asked again when it has heard the goodbye.
        bytes.extend_from_slice(&[0x17; 40_000]);
        socket.write_all(&bytes).unwrap();
        // Until the client has gone.
        while let Ok(1..) = socket.read(&mut [0; 1024]) {}
    });
    address
}

#[test]
fn behind_goodbye_nothing_is_waited_for() {
    let skip = TlsFiles { skip_verify: true, ..TlsFiles::default() };
    let mut target = target(say_goodbye_and_more());
    target.tls = Some(skip.config().unwrap());
    let (done, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(Lean::connect(&target, 1).err().map(|error| error.to_string())));
    let said = heard.recv_timeout(PATIENCE).expect("it does not go round and round").unwrap();
    assert!(said.contains("the server closed the connection"), "{said}");
}

/// Turns until as many events have come, and hands each over.
fn collect(client: &mut Lean, mut count: usize, mut each: impl FnMut(u64, Outcome<'_>)) {
    let by = Instant::now() + PATIENCE;
    let mut events = Events::new();
    while count > 0 {
        assert!(Instant::now() < by, "{count} events did not come");
        client.turn(Until::Time(by), &mut events).unwrap();
        for event in events.iter() {
            each(event.tag, event.outcome);
            count -= 1;
        }
    }
}

#[test]
fn a_strict_server_finds_nothing_wrong() {
    let mut client = Lean::connect(&target(serve(WIDE)), 2).unwrap();
    for round in 0..3 {
        for tag in 0..100 {
            let method = if tag % 3 == 0 { Method::Range } else { Method::Put };
            client.call(tag as usize % 2, method, format!("xx{round} {tag}").as_bytes(), tag);
        }
        let mut seen = BTreeSet::new();
        collect(&mut client, 100, |tag, outcome| match outcome {
            Outcome::Answer(bytes) if bytes == format!("xx{round} {tag}").as_bytes() => {
                assert!(seen.insert(tag))
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn large_messages_and_many_calls_keep_to_narrow_limits() {
    // The connection's window is the least there is; a stream's is far less than a message.
    let narrow = Limits { streams: 3, window: 1000, connection_window: 65_535, frame: 20_000 };
    let mut client = Lean::connect(&target(serve(narrow)), 1).unwrap();
    let message = |tag: u64| -> Vec<u8> {
        let length = [10, 70_000, 200_000][tag as usize % 3];
        (0..length).map(|at| b'x'.wrapping_add((at as u64 * 7 + tag) as u8 % 3)).collect()
    };
    for tag in 0..30 {
        client.call(0, Method::Put, &message(tag), tag);
    }
    let mut bytes = 0;
    collect(&mut client, 30, |tag, outcome| match outcome {
        Outcome::Answer(answer) => {
            assert!(answer == message(tag), "call {tag}");
            bytes += answer.len();
        }
        other => panic!("{other:?}"),
    });
    assert!(bytes > 2_000_000);
}

#[test]
fn answers_larger_than_our_window_are_let_through() {
    let mut client = Lean::connect(&target(serve(WIDE)), 1).unwrap();
    let message = vec![b'x'; 40 << 20];
    client.call(0, Method::Range, &message, 1);
    collect(&mut client, 1, |_, outcome| {
        assert!(matches!(outcome, Outcome::Answer(answer) if answer == message))
    });
}

#[test]
fn failures_are_told_apart() {
    let mut client = Lean::connect(&target(serve(WIDE)), 1).unwrap();
    let cases: &[(&str, Failure)] = &[
        ("s", Failure::Status { code: 8, message: "no room".to_owned() }),
        ("h", Failure::Http(404)),
        ("r", Failure::Reset(7)),
        ("t", Failure::Invalid("its content type is not application/grpc")),
        ("n", Failure::Invalid("status 0 without a message")),
        ("2", Failure::Invalid("more than one message")),
        ("e", Failure::Invalid("it ends without grpc-status")),
        ("c", Failure::Invalid("a compressed message, which was not asked for")),
    ];
    for (what, expected) in cases {
        client.call(0, Method::Put, what.as_bytes(), 5);
        collect(&mut client, 1, |tag, outcome| match outcome {
            Outcome::Failed(failure) => assert_eq!((tag, failure), (5, expected)),
            other => panic!("{what}: {other:?}"),
        });
    }
    // And the connection is as good as before.
    client.call(0, Method::Put, b"x", 6);
    collect(&mut client, 1, |_, outcome| assert!(matches!(outcome, Outcome::Answer(b"x"))));
}

#[test]
fn streams_go_both_ways_and_end() {
    let mut client = Lean::connect(&target(serve(WIDE)), 1).unwrap();
    let stream = client.open(0, Method::Watch, 9);
    let other = client.open(0, Method::Watch, 10);
    for number in 0..5u8 {
        let message = vec![number; 1 + usize::from(number) * 30_000];
        client.send(stream, &message);
        collect(&mut client, 1, |tag, outcome| {
            assert!(tag == 9 && matches!(outcome, Outcome::Message(bytes) if bytes == message));
        });
    }
    client.cancel(other);
    client.send(other, b"nobody hears this");
    client.finish(stream);
    collect(&mut client, 1, |tag, outcome| assert!(tag == 9 && matches!(outcome, Outcome::Ended)));
    client.send(stream, b"too late");
    client.call(0, Method::Put, b"x", 11);
    collect(&mut client, 1, |tag, outcome| assert!(tag == 11 && matches!(outcome, Outcome::Answer(b"x"))));
}

/// A connection without a socket, and what a server says on it.
struct Wire {
    connection: Connection,
    events: Events,
}

fn server_settings() -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::settings(&[], &mut bytes);
    bytes
}

fn piece(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::head(payload.len(), kind, flags, stream, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// `:status: 200` and `content-type: application/grpc`.
const GOOD_HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
/// `grpc-status: 0`.
const GOOD_END: &[u8] = b"\x00\x0bgrpc-status\x010";

impl Wire {
    fn new() -> Wire {
        let identity = Identity { scheme: "http", authority: "x".to_owned(), token: None };
        let mut wire = Wire { connection: Connection::new(0, identity), events: Events::new() };
        wire.hear(&server_settings()).unwrap();
        wire
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.connection.receive(bytes, Instant::now(), &mut self.events).map_err(|cause| cause.to_string())
    }

    fn put(&mut self, tag: u64) -> u32 {
        self.connection.start(Method::Put, Shape::Unary, Some(b"m"), tag)
    }

    /// What became of the calls so far.
    fn told(&mut self) -> Vec<String> {
        let told = self.events.iter().map(|event| match event.outcome {
            Outcome::Answer(bytes) => format!("{} answer {bytes:?}", event.tag),
            Outcome::Message(bytes) => format!("{} message {bytes:?}", event.tag),
            Outcome::Ended => format!("{} ended", event.tag),
            Outcome::Failed(failure) => format!("{} {failure}", event.tag),
        });
        let told = told.collect();
        self.events.clear();
        told
    }
}

/// A whole good answer in its most unusual form: a 1xx before it, padding, a block in three pieces, other frames between.
fn unusual_answer(stream: u32) -> Vec<u8> {
    let mut bytes = piece(kind::HEADERS, flag::END_HEADERS, stream, b"\x08\x03103");
    bytes.extend(piece(kind::PING, 0, 0, b"12345678"));
    let mut padded = vec![3];
    padded.extend_from_slice(&[0, 0, 0, 0, 9]);
    padded.extend_from_slice(GOOD_HEAD);
    padded.extend_from_slice(&[0; 3]);
    bytes.extend(piece(kind::HEADERS, flag::PADDED | flag::PRIORITY | flag::END_HEADERS, stream, &padded));
    bytes.extend(piece(0xbe, 0xff, 77, b"nobody knows this frame"));
    bytes.extend(piece(kind::DATA, flag::PADDED, stream, b"\x02\0\0\0\0\x03ab\0\0"));
    bytes.extend(piece(kind::PRIORITY, 0, stream, b"12345"));
    bytes.extend(piece(kind::DATA, 0, stream, b"c"));
    bytes.extend(piece(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 1, 0]));
    bytes.extend(piece(kind::HEADERS, flag::END_STREAM, stream, &GOOD_END[..1]));
    bytes.extend(piece(kind::CONTINUATION, 0, stream, &GOOD_END[1..4]));
    bytes.extend(piece(kind::CONTINUATION, flag::END_HEADERS, stream, &GOOD_END[4..]));
    bytes
}

#[test]
fn an_answer_may_come_in_any_form_and_in_any_pieces() {
    for size in [1, 2, 7, 100, 1000] {
        let mut wire = Wire::new();
        let stream = wire.put(4);
        wire.connection.out.clear();
        for chunk in unusual_answer(stream).chunks(size) {
            wire.hear(chunk).unwrap();
        }
        assert_eq!(wire.told(), ["4 answer [97, 98, 99]"]);
        assert_eq!(wire.connection.out, piece(kind::PING, flag::ACK, 0, b"12345678"));
    }
}

#[test]
fn what_breaks_a_rule_loses_the_connection() {
    let cases: &[(&str, Vec<u8>)] = &[
        ("larger", vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("wrong stream", piece(kind::SETTINGS, 0, 1, &[])),
        ("wrong stream", piece(kind::DATA, 0, 0, &[])),
        ("never opened", piece(kind::DATA, 0, 3, &[])),
        ("never opened", piece(kind::HEADERS, flag::END_HEADERS, 2, &[])),
        ("never opened", piece(kind::WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1])),
        ("padding", piece(kind::DATA, flag::PADDED, 1, &[9, 0, 0])),
        ("padding", piece(kind::HEADERS, flag::PADDED, 1, &[])),
        ("wrong length", piece(kind::HEADERS, flag::PRIORITY, 1, &[1])),
        ("wrong length", piece(kind::SETTINGS, 0, 0, &[1])),
        ("wrong length", piece(kind::PING, 0, 0, &[1])),
        ("wrong length", piece(kind::GOAWAY, 0, 0, &[1])),
        ("wrong length", piece(kind::RST_STREAM, 0, 1, &[1])),
        ("wrong length", piece(kind::WINDOW_UPDATE, 0, 0, &[1])),
        ("wrong length", piece(kind::PRIORITY, 0, 1, &[1])),
        ("push", piece(kind::PUSH_PROMISE, 0, 1, &[0, 0, 0, 2])),
        ("pushes", piece(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1])),
        ("largest frame", piece(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        ("too large", piece(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        ("can't be", piece(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 0])),
        ("can't be", piece(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("continues nothing", piece(kind::CONTINUATION, flag::END_HEADERS, 1, &[])),
        ("does not exist", piece(kind::HEADERS, flag::END_HEADERS, 1, &[0xff, 0x20])),
        ("interrupted", [piece(kind::HEADERS, 0, 1, &[]), piece(kind::PING, 0, 0, &[0; 8])].concat()),
        ("without end", [piece(kind::HEADERS, 0, 1, &[]), piece(kind::CONTINUATION, 0, 1, &[])].concat()),
    ];
    for (why, bytes) in cases {
        let mut wire = Wire::new();
        wire.put(1);
        let heard = wire.hear(bytes);
        assert!(heard.as_ref().is_err_and(|text| text.contains(why)), "{why}: {heard:?}");
    }
    // Before SETTINGS nothing else may come, and HTTP/1 is told apart.
    let identity = || Identity { scheme: "http", authority: "x".to_owned(), token: None };
    for (why, bytes) in
        [("not SETTINGS", &piece(kind::PING, 0, 0, &[0; 8])[..]), ("HTTP/1", b"HTTP/1.1 400 Bad")]
    {
        let mut connection = Connection::new(0, identity());
        let heard = connection.receive(bytes, Instant::now(), &mut Events::new());
        assert!(heard.as_ref().is_err_and(|cause| cause.to_string().contains(why)), "{heard:?}");
    }
}

#[test]
fn a_server_that_leaves_finishes_what_it_has_begun() {
    let mut wire = Wire::new();
    wire.hear(&piece(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 2])).unwrap();
    let first = wire.put(1);
    wire.put(2);
    wire.put(3);
    let mut goodbye = first.to_be_bytes().to_vec();
    goodbye.extend_from_slice(&[0, 0, 0, 11]);
    goodbye.extend_from_slice(b"too_many_pings");
    wire.hear(&piece(kind::GOAWAY, 0, 0, &goodbye)).unwrap();
    let why = "connection lost: the server sent GOAWAY with ENHANCE_YOUR_CALM (too_many_pings)";
    assert_eq!(wire.told(), [format!("2 {why}"), format!("3 {why}")]);
    wire.hear(&unusual_answer(first)).unwrap();
    assert_eq!(wire.told(), ["1 answer [97, 98, 99]"]);
    assert!(wire.connection.refuses().is_some());
}

/// A server that is shut down says first that it takes nothing more, without saying what it will not answer.
#[test]
fn a_server_that_leaves_is_asked_for_nothing_more() {
    // It has begun the first, or not even that.
    for last in [0x7fff_ffff_u32, 0] {
        let mut wire = Wire::new();
        wire.hear(&piece(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])).unwrap();
        let first = wire.put(1);
        wire.put(2);
        wire.put(3);
        wire.connection.out.clear();
        wire.hear(&piece(kind::GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0; 4]].concat())).unwrap();
        let why = "connection lost: the server sent GOAWAY with NO_ERROR";
        let refused: &[u64] = if last == 0 { &[1, 2, 3] } else { &[2, 3] };
        let refused: Vec<String> = refused.iter().map(|tag| format!("{tag} {why}")).collect();
        assert_eq!(wire.told(), refused);
        if last != 0 {
            wire.hear(&unusual_answer(first)).unwrap();
            assert_eq!(wire.told(), ["1 answer [97, 98, 99]"]);
            wire.connection.out.drain(..17);
        }
        // But for the answer to a ping, nothing was said.
        assert_eq!(wire.connection.out, b"");
    }
}

#[test]
fn calls_wait_for_their_turn_and_windows_may_shrink() {
    let mut wire = Wire::new();
    // One stream at a time, and windows of four bytes: the message has six with its prefix.
    let narrow = [0, 3, 0, 0, 0, 1, 0, 4, 0, 0, 0, 4];
    wire.hear(&piece(kind::SETTINGS, 0, 0, &narrow)).unwrap();
    wire.connection.out.clear();
    let (first, second) = (wire.put(1), wire.put(2));
    let data = |stream: u32, flags: u8, bytes: &[u8]| piece(kind::DATA, flags, stream, bytes);
    let sent = |wire: &mut Wire, what: &[u8]| {
        let out = std::mem::take(&mut wire.connection.out);
        out.windows(what.len().max(1)).any(|part| part == what)
    };
    assert!(sent(&mut wire, &data(first, 0, &[0, 0, 0, 0])));
    wire.hear(&piece(kind::WINDOW_UPDATE, 0, first, &[0, 0, 0, 1])).unwrap();
    assert!(sent(&mut wire, &data(first, 0, &[1])));
    // The initial window shrinks below zero for this stream; it takes as much more to open it.
    wire.hear(&piece(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 2])).unwrap();
    wire.hear(&piece(kind::WINDOW_UPDATE, 0, first, &[0, 0, 0, 2])).unwrap();
    assert!(!sent(&mut wire, &data(first, flag::END_STREAM, b"m")));
    wire.hear(&piece(kind::WINDOW_UPDATE, 0, first, &[0, 0, 0, 1])).unwrap();
    assert!(sent(&mut wire, &data(first, flag::END_STREAM, b"m")));
    wire.hear(&unusual_answer(first)).unwrap();
    assert!(sent(&mut wire, &data(second, 0, &[0, 0])));
}

/// Whatever comes, the client ends with an error or goes on; mutations of a good conversation reach deep into it.
#[test]
fn no_bytes_make_it_panic() {
    let seed = 0x6772_6176;
    println!("seed {seed:#x}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut good = Vec::new();
    for stream in [1, 3, 5] {
        good.extend(unusual_answer(stream));
    }
    good.extend(piece(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 50, 0, 4, 0, 0, 0, 9]));
    let (mut lost, mut kept) = (0, 0);
    for _ in 0..20_000 {
        let mut wire = Wire::new();
        for tag in 0..2 {
            wire.put(tag);
        }
        let stream = wire.connection.start(Method::Watch, Shape::Streaming, None, 3);
        let mut bytes = good.clone();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, random.next_u32() as u8),
                _ => bytes[at] ^= 1 << random.random_range(0..8u32),
            }
        }
        let mut heard = Ok(());
        for chunk in bytes.chunks(random.random_range(1..200)) {
            heard = wire.hear(chunk);
            if heard.is_err() {
                break;
            }
            wire.connection.send(stream, b"message");
        }
        if heard.is_err() { lost += 1 } else { kept += 1 }
    }
    // Both ways are taken often, so the mutations are neither too wild nor too tame.
    assert!(lost > 1000 && kept > 1000, "{lost} lost, {kept} kept");
}

#[test]
fn settings_of_the_server_reach_the_header_coder() {
    let mut wire = Wire::new();
    wire.hear(&piece(kind::SETTINGS, 0, 0, &[0, setting::HEADER_TABLE_SIZE as u8, 0, 0, 0, 0])).unwrap();
    wire.connection.out.clear();
    let stream = wire.put(1);
    // The block begins with the table's new size, zero, and names nothing that would have to be kept.
    let out = &wire.connection.out;
    assert_eq!(
        (out[3], u32::from_be_bytes(out[5..9].try_into().unwrap()), out[9]),
        (kind::HEADERS, stream, 0x20)
    );
    let mut message = BytesMut::new();
    message.put_slice(&out[10..]);
    assert!(message.windows(8).any(|part| part == b"trailers"));
}
