//! Services that answer from what they are sent, so that the front end is all that is tested.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use server::grpc::{
    Call, CallId, Code, Frame, Method, Outcome, PERMISSION_DENIED, Services, Status, Stream, StreamOut,
    StreamWaker, TIMEOUT,
};
use server::http::{HttpAnswer, HttpOutcome, HttpRequest};
use server::loops::{CompletionBatch, Completions, Listener, LoopId, LoopInbox, Loops, Options, Serves};
use server::metrics::Metrics;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) echo: Arc<Echo>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) completions: Completions,
    pub(crate) inbox: LoopInbox,
    pub(crate) events: UnboundedReceiver<Event>,
    pub(crate) loops: Option<Loops>,
}

/// What the services tell the test.
#[derive(Debug)]
pub(crate) enum Event {
    Held(CallId),
    Opened(StreamWaker),
    Dropped,
    Posted(LoopId, usize),
    Asked(tokio::sync::oneshot::Sender<HttpAnswer>),
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(|_| {}, Serves::EVERYTHING)
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Options), serves: Serves) -> Server {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        let prepared = Loops::prepare(2);
        let (completions, inbox) = (prepared.completions(), prepared.inbox());
        let metrics = Arc::new(Metrics::new(2, "3.7.1"));
        let (tell, events) = unbounded_channel();
        let echo = Arc::new(Echo {
            tell,
            driver: Mutex::new(Driver::start(completions.clone())),
            calls: AtomicUsize::new(0),
            alone: AtomicUsize::new(0),
            flooded: Arc::default(),
            started: Mutex::default(),
        });
        let mut options = Options::default();
        adjust(&mut options);
        let listeners = vec![Listener { socket, serves: serves.tagged(7) }];
        let loops = prepared.start(options, listeners, echo.clone(), metrics.clone()).expect("threads");
        Server { address, echo, metrics, completions, inbox, events, loops: Some(loops) }
    }

    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv())
            .await
            .expect("in time")
            .expect("open")
    }

    pub(crate) async fn held(&mut self) -> CallId {
        match self.event().await {
            Event::Held(id) => id,
            other => panic!("expected a held call, got {other:?}"),
        }
    }

    /// A sample of the metrics.
    pub(crate) fn sample(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
        line.map_or(0, |line| line.rsplit_once(' ').expect("a value").1.parse().expect("a number"))
    }

    /// Until the metric has that value; the test fails when it does not come to that.
    pub(crate) async fn until(&self, name: &str, value: u64) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.sample(name) != value {
            assert!(Instant::now() < end, "{name} is {} and not {value}", self.sample(name));
            tokio::task::yield_now().await;
        }
    }
}

/// Answers calls from a thread of its own, everything queued in one batch.
struct Driver(std::sync::mpsc::Sender<(CallId, Bytes)>);

impl Driver {
    fn start(completions: Completions) -> Driver {
        let (queue, calls) = std::sync::mpsc::channel::<(CallId, Bytes)>();
        std::thread::spawn(move || {
            let mut batch: CompletionBatch = completions.batch();
            let mut arena = BytesMut::new();
            while let Ok(first) = calls.recv() {
                for (id, message) in std::iter::once(first).chain(calls.try_iter()) {
                    batch.push(id, Ok(raw(&message, &mut arena)));
                }
                batch.flush();
            }
        });
        Driver(queue)
    }
}

/// A frame with any bytes as its message.
pub(crate) fn raw(message: &[u8], buffer: &mut BytesMut) -> Frame {
    let mut frame = Frame::build(buffer);
    frame.buffer().put_slice(message);
    frame.finish()
}

pub(crate) struct Echo {
    tell: UnboundedSender<Event>,
    driver: Mutex<Driver>,
    /// Unary calls that came through.
    pub(crate) calls: AtomicUsize,
    /// Turns that might have been taken on the loop's thread.
    pub(crate) alone: AtomicUsize,
    /// Bytes that flooding streams have sent.
    pub(crate) flooded: Arc<AtomicUsize>,
    pub(crate) started: Mutex<Vec<LoopId>>,
}

impl Services for Echo {
    fn serves(&self, method: Method) -> bool {
        method != Method::Downgrade
    }

    fn unary(&self, call: Call<'_>, request: Bytes) -> Outcome {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let later = |limit| Outcome::Pending { limit, late: TIMEOUT };
        match call.method {
            // Answered on the spot.
            Method::Range => raw(&request, call.buffer).into(),
            // Answered by another thread.
            Method::Put => {
                self.driver.lock().unwrap().0.send((call.id, request)).expect("the driver runs");
                later(Duration::from_secs(60))
            }
            // Never answered.
            Method::DeleteRange => later(Duration::from_millis(30)),
            // Answered by the test.
            Method::MemberList => {
                let _ = self.tell.send(Event::Held(call.id));
                later(Duration::from_secs(60))
            }
            // The status that the request says: code, text.
            Method::Txn => {
                let text = String::from_utf8(request[1..].to_vec()).unwrap();
                Status::new(Code::ALL[usize::from(request[0])], text).into()
            }
            // As many bytes as the request says.
            Method::Compact => {
                let length = u32::from_be_bytes(request[..4].try_into().unwrap()) as usize;
                raw(&vec![b'x'; length], call.buffer).into()
            }
            // What came in the headers.
            Method::Status => {
                let metadata = call.metadata;
                let text = format!(
                    "token={:?} version={} leader={} gateway={} deadline={}",
                    metadata.token().map(|token| String::from_utf8_lossy(token).into_owned()),
                    metadata.client_api_version().unwrap(),
                    metadata.require_leader(),
                    metadata.from_gateway(),
                    metadata.deadline().is_some_and(|at| at > call.now),
                );
                raw(text.as_bytes(), call.buffer).into()
            }
            // A real message.
            Method::LeaseTimeToLive => match api::etcdserverpb::LeaseTimeToLiveRequest::decode(request) {
                Ok(request) => {
                    let answer = api::etcdserverpb::LeaseTimeToLiveResponse {
                        id: request.id,
                        ttl: request.id + 1,
                        ..Default::default()
                    };
                    Frame::encode(&answer, call.buffer).into()
                }
                Err(error) => Status::undecodable(&error).into(),
            },
            method => Status::new(Code::Unknown, format!("{method:?}")).into(),
        }
    }

    fn settle(&self, here: bool) -> bool {
        self.alone.fetch_add(usize::from(here), Ordering::SeqCst);
        false
    }

    fn open_stream(&self, call: Call<'_>, waker: StreamWaker) -> Result<Box<dyn Stream>, Status> {
        if call.method == Method::Snapshot {
            return Err(PERMISSION_DENIED);
        }
        let _ = self.tell.send(Event::Opened(waker));
        Ok(Box::new(EchoStream {
            method: call.method,
            tell: self.tell.clone(),
            flood: 0,
            flooded: self.flooded.clone(),
        }))
    }

    fn http(&self, request: HttpRequest) -> HttpOutcome {
        if request.method != "GET" && request.method != "HEAD" && request.path != "/body" {
            return HttpAnswer::method_not_allowed().into();
        }
        match request.path.as_str() {
            "/health" => HttpAnswer::json(r#"{"health":"true","reason":""}"#).into(),
            "/listener" => HttpAnswer::text(200, request.listener.to_string()).into(),
            "/body" => HttpAnswer::text(200, request.body).into(),
            "/later" => {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let _ = self.tell.send(Event::Asked(sender));
                HttpOutcome::Later(Box::pin(async move {
                    receiver.await.unwrap_or_else(|_| HttpAnswer::text(503, "gone"))
                }))
            }
            _ => HttpAnswer::not_found().into(),
        }
    }

    fn on_loop_start(&self, id: LoopId) {
        self.started.lock().unwrap().push(id);
    }

    fn on_post(&self, id: LoopId, item: Arc<dyn Any + Send + Sync>) {
        let number = *item.downcast_ref::<usize>().expect("tests post numbers");
        let _ = self.tell.send(Event::Posted(id, number));
    }
}

struct EchoStream {
    method: Method,
    tell: UnboundedSender<Event>,
    flood: usize,
    flooded: Arc<AtomicUsize>,
}

/// Bytes in each message of a flood.
pub(crate) const FLOOD_MESSAGE: usize = 8 << 10;

impl EchoStream {
    fn pour(&mut self, out: &mut StreamOut<'_>) {
        while self.flood > 0 && out.ready() {
            let frame = raw(&[b'f'; FLOOD_MESSAGE], out.buffer());
            out.send(frame);
            self.flooded.fetch_add(FLOOD_MESSAGE, Ordering::SeqCst);
            self.flood -= 1;
        }
    }

    fn say(out: &mut StreamOut<'_>, text: &[u8]) {
        let frame = raw(text, out.buffer());
        out.send(frame);
    }
}

impl Stream for EchoStream {
    fn message(&mut self, message: Bytes, out: &mut StreamOut<'_>) {
        if self.method == Method::LeaseKeepAlive {
            let request = api::etcdserverpb::LeaseKeepAliveRequest::decode(message).expect("valid");
            let answer =
                api::etcdserverpb::LeaseKeepAliveResponse { id: request.id, ttl: 9, ..Default::default() };
            let frame = Frame::encode(&answer, out.buffer());
            return out.send(frame);
        }
        match &message[..] {
            [b'#', count @ ..] => {
                self.flood = std::str::from_utf8(count).unwrap().parse().unwrap();
                self.pour(out);
            }
            b"timer" => out.wake_at(out.now() + Duration::from_millis(10)),
            b"finish" => out.finish(Status::fixed(Code::DataLoss, "as you wish")),
            message => EchoStream::say(out, message),
        }
    }

    fn half_closed(&mut self, out: &mut StreamOut<'_>) {
        if self.flood == 0 {
            EchoStream::say(out, b"bye");
            out.finish(Status::OK);
        }
    }

    fn wake(&mut self, out: &mut StreamOut<'_>) {
        if self.flood > 0 {
            return self.pour(out);
        }
        EchoStream::say(out, b"woken");
    }
}

impl Drop for EchoStream {
    fn drop(&mut self) {
        let _ = self.tell.send(Event::Dropped);
    }
}
