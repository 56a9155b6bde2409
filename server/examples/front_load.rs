//! What a call costs in the front end alone: services that echo, and a closed-loop client.
//!
//! ```text
//! cargo run --release -p graven-server --example front_load -- serve            # prints its address
//! cargo run --release -p graven-server --example front_load -- load ADDRESS range 16 16 5
//! cargo run --release -p graven-server --example front_load -- load ADDRESS put 16 1 5 65536
//! ```
//!
//! `range` is answered on the loop, `put` by another thread in batches. The numbers: connections, calls
//! outstanding on each, seconds, and bytes of a value where they are not 256. The server's CPU time is taken from its own `/metrics`. The requests mean something to
//! a member too: keys of 48 bytes out of 100,000.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::unwrap_used, reason = "a tool for a developer at hand")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use server::grpc::{Call, CallId, Frame, Method, Outcome, Services, Status, Stream, StreamWaker, TIMEOUT};
use server::http::{HttpAnswer, HttpOutcome, HttpRequest};
use server::loops::{Listener, Loops, Options, Serves};
use server::metrics::Metrics;

/// What every call asks for.
#[derive(Clone, Copy)]
struct Asked {
    path: &'static str,
    /// Bytes of a value put.
    value: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => serve(),
        ["load", address, method, connections, outstanding, seconds, ref value @ ..] if value.len() < 2 => {
            let path = if method == "put" { "/etcdserverpb.KV/Put" } else { "/etcdserverpb.KV/Range" };
            let seconds = Duration::from_secs(seconds.parse().unwrap());
            let request = Asked { path, value: value.first().map_or(256, |bytes| bytes.parse().unwrap()) };
            load(address, request, connections.parse().unwrap(), outstanding.parse().unwrap(), seconds);
        }
        _ => println!("front_load serve | load ADDRESS range|put CONNECTIONS OUTSTANDING SECONDS [BYTES]"),
    }
}

struct Echo {
    metrics: Arc<Metrics>,
    queue: Mutex<mpsc::Sender<(CallId, Bytes)>>,
}

impl Services for Echo {
    fn unary(&self, call: Call<'_>, request: Bytes) -> Outcome {
        if call.method == Method::Put {
            self.queue.lock().unwrap().send((call.id, request)).unwrap();
            return Outcome::Pending { limit: Duration::from_secs(7), late: TIMEOUT };
        }
        echo(&request, call.buffer).into()
    }

    fn open_stream(&self, _: Call<'_>, _: StreamWaker) -> Result<Box<dyn Stream>, Status> {
        Err(TIMEOUT)
    }

    fn http(&self, _: HttpRequest) -> HttpOutcome {
        HttpAnswer::text(200, self.metrics.render()).into()
    }
}

fn echo(request: &[u8], buffer: &mut BytesMut) -> Frame {
    let mut frame = Frame::build(buffer);
    frame.buffer().put_slice(request);
    frame.finish()
}

fn serve() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", socket.local_addr().unwrap());
    let cores = Loops::cores();
    let prepared = Loops::prepare(cores);
    let metrics = Arc::new(Metrics::new(cores, "3.7.1"));
    let (queue, calls) = mpsc::channel::<(CallId, Bytes)>();
    let mut batch = prepared.completions().batch();
    let services = Arc::new(Echo { metrics: metrics.clone(), queue: Mutex::new(queue) });
    let listeners = vec![Listener { socket, serves: Serves::EVERYTHING }];
    let _loops = prepared.start(Options::default(), listeners, services, metrics).unwrap();
    let mut arena = BytesMut::new();
    while let Ok(first) = calls.recv() {
        for (id, request) in std::iter::once(first).chain(calls.try_iter()) {
            batch.push(id, Ok(echo(&request, &mut arena)));
        }
        batch.flush();
    }
}

fn load(address: &str, asked: Asked, connections: usize, outstanding: usize, seconds: Duration) {
    let done = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = cpu_seconds(address);
    let began = Instant::now();
    runtime.block_on(async {
        for _ in 0..connections {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut builder = h2::client::Builder::new();
            builder.initial_connection_window_size(16 << 20).initial_window_size(1 << 20);
            let (send, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
            tokio::spawn(connection);
            for number in 0..outstanding {
                let seed = (number * connections) as u64;
                tokio::spawn(caller(send.clone(), asked, seed, done.clone()));
            }
        }
        tokio::time::sleep(seconds).await;
    });
    let mut latencies: Vec<Duration> = std::mem::take(&mut *done.lock().unwrap());
    latencies.sort_unstable();
    let calls = latencies.len() as f64;
    let cpu = cpu_seconds(address) - before;
    let rate = calls / began.elapsed().as_secs_f64();
    let at = |share: f64| latencies[((calls - 1.0) * share) as usize].as_micros();
    let (p50, p99) = (at(0.5), at(0.99));
    let Asked { path, .. } = asked;
    println!("{path}: {rate:.0} calls/s, p50 {p50} us, p99 {p99} us, server CPU {:.2} us", cpu * 1e6 / calls);
}

/// A `PutRequest`, or a `RangeRequest` of one key, as a gRPC message.
fn message(number: u64, asked: Asked) -> Bytes {
    let key = format!("/registry/pods/default/{number:025}");
    let mut request = BytesMut::new();
    request.put_slice(&[0x0a, key.len() as u8]);
    request.put_slice(key.as_bytes());
    if asked.path.ends_with("Put") {
        request.put_u8(0x12);
        prost::encoding::encode_varint(asked.value as u64, &mut request);
        request.put_bytes(b'v', asked.value);
    }
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(request.len() as u32);
    message.put(request);
    message.freeze()
}

async fn caller(
    mut send: h2::client::SendRequest<Bytes>,
    asked: Asked,
    seed: u64,
    done: Arc<Mutex<Vec<Duration>>>,
) {
    let mut number = seed;
    loop {
        send = send.ready().await.unwrap();
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let message = message((number >> 33) % 100_000, asked);
        let began = Instant::now();
        let request = Request::post(format!("http://localhost{}", asked.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "front-load")
            .header("grpc-timeout", "5S")
            .body(())
            .unwrap();
        let (response, mut body) = send.send_request(request, false).unwrap();
        body.send_data(message, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        while let Some(chunk) = body.data().await {
            let length = chunk.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
        done.lock().unwrap().push(began.elapsed());
    }
}

fn cpu_seconds(address: &str) -> f64 {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total ")).unwrap();
    line.parse().unwrap()
}
