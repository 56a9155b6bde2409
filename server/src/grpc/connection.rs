//! One gRPC connection: one task that does everything.
//!
//! A turn works until there is nothing left to do, then sends once:
//!
//! ```text
//!   answers that came for calls ─► woken streams ─► streams h2 has news of ─► new calls (h2 reads and writes here)
//!        └──────────────────────────── again, as long as there was something ───────────────────────────┘
//!   one send of all that h2 wrote
//! ```

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use h2::server::{self, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Request;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::answer::Blocks;
use super::errors::STOPPED;
use super::late_ends::LateEnds;
use super::payload::{Account, Payload};
use super::pings::{PingPolicy, Verdict};
use super::request;
use super::slots::{Slots, State};
use super::socket::{Socket, Wire};
use super::wakers::ConnectionWaker;
use crate::loops::{Home, Mailbox};
use crate::metrics::ClientCounter;

/// New calls in one turn. Their answers leave at the end of the turn, and other connections get theirs.
const CALLS_A_TURN: usize = 512;
/// Rounds in one turn, for the same reason.
const ROUNDS_A_TURN: usize = 8;
/// Calls that a client may open and reset before we have seen them.
const EARLY_RESETS: usize = 1000;
/// Control frames in a row without any request or data.
const IDLE_FRAMES: u32 = 10_000;
/// What clients get to read their last answers after the grace period of a stop.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Serves one connection to its end. `first` was read already and begins with the preface.
pub(crate) async fn serve(
    home: Rc<Home>,
    stream: TcpStream,
    first: BytesMut,
    deadline: tokio::time::Instant,
) {
    let (socket, wire) = Socket::open(stream, first);
    let options = &home.options;
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_header_list_size(options.max_header_bytes)
        .max_pending_accept_reset_streams(EARLY_RESETS);
    let mut handshake = pin!(builder.handshake::<Wire, Payload>(wire));
    let handshake = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        // A socket that does not take our settings does not give us a preface either.
        let _ = socket.poll_drain(cx);
        shaken
    });
    match timeout_at(deadline, handshake).await {
        Ok(Ok(h2)) => {
            let mut connection = Connection::new(home, h2, socket);
            poll_fn(|cx| connection.poll(cx)).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "HTTP/2 handshake failed"),
        Err(_) => tracing::debug!("HTTP/2 handshake took too long"),
    }
}

pub(crate) struct Connection {
    pub(super) home: Rc<Home>,
    pub(super) mailbox: Rc<Mailbox>,
    pub(super) slots: Slots,
    pub(super) waker: Arc<ConnectionWaker>,
    pub(super) blocks: Blocks,
    pub(super) late_ends: LateEnds,
    /// Unsent bytes of all calls.
    pub(super) unsent: Rc<Cell<usize>>,
    /// Unsent bytes of unary calls.
    pub(super) account: Rc<Account>,
    /// Streams that were full and have room again.
    pub(super) relieved: Rc<RefCell<Vec<u32>>>,
    /// A call of this turn was told that it is alone.
    pub(super) unsettled: bool,
    /// When the turn began.
    pub(super) now: Instant,
    h2: server::Connection<Wire, Payload>,
    h2_waker: Waker,
    socket: Rc<Socket>,
    client: Option<ClientCounter>,
    ready: Vec<u32>,
    /// Not later than the first time at which something is due.
    next_due: Option<Instant>,
    armed: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    pub(super) policy: PingPolicy,
    ping: Option<PingPong>,
    heard: Instant,
    /// A PING of ours is out; without a sign of life until then the client is gone.
    pong_by: Option<Instant>,
    last_stream: u32,
    end: End,
}

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Asked to go away; calls in progress may end until then.
    Draining(Instant),
    /// All calls are ended; the client may read until then.
    Closing(Instant),
    /// Nothing but sending what is collected, until then.
    Farewell(Instant),
}

impl Connection {
    fn new(home: Rc<Home>, mut h2: server::Connection<Wire, Payload>, socket: Rc<Socket>) -> Connection {
        let waker = Arc::new(ConnectionWaker::default());
        let now = Instant::now();
        let unsent = Rc::new(Cell::new(0));
        let mut connection = Connection {
            mailbox: home.register(waker.clone()),
            slots: Slots::default(),
            blocks: Blocks::default(),
            late_ends: LateEnds::default(),
            account: Account::shared(unsent.clone()),
            unsent,
            relieved: Rc::default(),
            unsettled: false,
            now,
            ping: h2.ping_pong(),
            h2,
            h2_waker: Waker::from(waker.clone()),
            waker,
            socket,
            client: None,
            ready: Vec::new(),
            next_due: None,
            armed: None,
            timer: Box::pin(sleep_until(now.into())),
            policy: PingPolicy::new(home.options.keepalive_min_time),
            heard: now,
            pong_by: None,
            last_stream: 0,
            end: End::Open,
            home,
        };
        connection.note_due(now + connection.home.options.keepalive_interval);
        connection
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.begin_turn(cx.waker());
        let outcome = self.turn(cx);
        self.waker.end_turn();
        match outcome {
            Turn::Over => return Poll::Ready(()),
            Turn::Again => cx.waker().wake_by_ref(),
            Turn::Sleep if self.waker.noted() || self.has_news() => cx.waker().wake_by_ref(),
            Turn::Sleep => {}
        }
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        self.now = Instant::now();
        self.home.deliver();
        if let End::Farewell(until) = self.end {
            return match self.socket.poll_drain(cx) {
                Poll::Pending if self.now < until => self.sleep(cx),
                _ => Turn::Over,
            };
        }
        self.check_stop();
        if self.next_due.is_some_and(|due| due <= self.now) && self.check_due().is_err() {
            return Turn::Over;
        }
        let mut again = true;
        for _ in 0..ROUNDS_A_TURN {
            self.take_mail();
            self.take_news();
            match self.accept() {
                Accepted::All => {}
                Accepted::More => break,
                Accepted::Closed => {
                    self.settle_alone();
                    let _ = self.socket.poll_drain(cx);
                    return Turn::Over;
                }
            }
            if !self.has_news() && !self.settle_alone() {
                again = false;
                break;
            }
        }
        self.settle_alone();
        self.late_ends.sweep();
        if let Poll::Ready(Err(_)) = self.socket.poll_drain(cx) {
            return Turn::Over;
        }
        self.look_at_input();
        if again { Turn::Again } else { self.sleep(cx) }
    }

    /// See `Services::settle`. Whether there is mail now.
    fn settle_alone(&mut self) -> bool {
        if std::mem::take(&mut self.unsettled) {
            let here = self.slots.occupied() == 1 && self.home.has_one_connection();
            if self.home.services.settle(here) {
                self.home.deliver();
            }
        }
        self.has_news()
    }

    fn take_mail(&mut self) {
        let mailbox = self.mailbox.clone();
        let mut completions = mailbox.completions.take();
        for (id, answer) in completions.drain(..) {
            self.complete(id, answer);
        }
        put_back(&mailbox.completions, completions);
        let mut wakes = mailbox.wakes.take();
        for id in wakes.drain(..) {
            self.wake_stream(id);
        }
        put_back(&mailbox.wakes, wakes);
    }

    fn take_news(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.waker.take_ready(&mut ready);
        ready.append(&mut self.relieved.borrow_mut());
        for index in ready.drain(..) {
            match self.slots.state(index) {
                State::Vacant => {
                    // The slot's waker fired after its call was over; arm it for the next call.
                    self.slots.quiet(index);
                }
                State::Reading(_) => self.read_on(index),
                State::Pending(_) => self.check_pending(index),
                State::Stream(_) => self.pump(index),
            }
        }
        self.ready = ready;
    }

    fn has_news(&self) -> bool {
        self.waker.has_ready() || !self.relieved.borrow().is_empty() || !self.mailbox.is_empty()
    }

    /// Lets h2 read and write, and takes new calls until there is none. The last poll of h2 here comes after
    /// everything that was sent before, so that all of it is written.
    fn accept(&mut self) -> Accepted {
        let waker = self.h2_waker.clone();
        let cx = &mut Context::from_waker(&waker);
        for _ in 0..CALLS_A_TURN {
            self.waker.forget();
            if self.unsent.get() > self.home.options.connection_buffer {
                // This client has enough to read. Its further calls wait within h2, unopened.
                return match self.h2.poll_closed(cx) {
                    Poll::Ready(_) => Accepted::Closed,
                    Poll::Pending => Accepted::All,
                };
            }
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.open(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection failed");
                    return Accepted::Closed;
                }
                Poll::Ready(None) => return Accepted::Closed,
                Poll::Pending => return Accepted::All,
            }
        }
        match self.h2.poll_closed(cx) {
            Poll::Ready(_) => Accepted::Closed,
            Poll::Pending => Accepted::More,
        }
    }

    fn open(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Payload>) {
        self.last_stream = respond.stream_id().as_u32();
        let (parts, body) = request.into_parts();
        let head = match request::parse(&parts, &*self.home.services, self.now) {
            Ok(head) => head,
            Err(refusal) => return self.refuse(&mut respond, None, refusal.http, &refusal.status),
        };
        let streaming = head.method.kind().is_stream();
        match ClientCounter::of(&mut self.client, &head.metadata, &self.home.metrics) {
            Ok(counter) => counter.count(streaming),
            Err(status) => return self.refuse(&mut respond, head.content_type.as_ref(), 200, &status),
        }
        if streaming {
            self.open_stream(head, body, respond);
        } else {
            self.open_unary(head, body, respond);
        }
    }

    pub(super) fn note_due(&mut self, at: Instant) {
        if self.next_due.is_none_or(|due| at < due) {
            self.next_due = Some(at);
        }
    }

    fn sleep(&mut self, cx: &mut Context<'_>) -> Turn {
        let Some(due) = self.next_due else { return Turn::Sleep };
        if self.armed.is_none_or(|armed| due < armed || armed <= self.now) {
            self.timer.as_mut().reset(due.into());
            self.armed = Some(due);
            if self.timer.as_mut().poll(cx).is_ready() {
                return Turn::Again;
            }
        }
        Turn::Sleep
    }

    /// Something may be due: finds out what, and when the next is. An error ends the connection.
    fn check_due(&mut self) -> Result<(), ()> {
        self.next_due = None;
        for index in self.slots.indices() {
            let Some(due) = self.slots.state(index).due() else { continue };
            if due > self.now {
                self.note_due(due);
                continue;
            }
            match self.slots.state(index) {
                State::Reading(_) => self.end_unary(index, &request::DEADLINE),
                State::Pending(_) => self.pending_due(index),
                State::Stream(_) => self.stream_due(index),
                State::Vacant => {}
            }
        }
        self.check_life()?;
        match self.end {
            End::Draining(until) if until <= self.now => {
                for index in self.slots.indices() {
                    self.end_unary(index, &STOPPED);
                    self.end_stream(index, &STOPPED);
                }
                self.end = End::Closing(self.now + LAST_WORDS);
                self.note_due(self.now + LAST_WORDS);
            }
            End::Closing(until) if until <= self.now => return Err(()),
            End::Draining(until) | End::Closing(until) => self.note_due(until),
            End::Open | End::Farewell(_) => {}
        }
        Ok(())
    }

    fn check_stop(&mut self) {
        if let (End::Open, Some(until)) = (self.end, self.home.stop_by()) {
            self.h2.graceful_shutdown();
            self.end = End::Draining(until);
            self.next_due = Some(self.now);
        }
    }

    /// Keepalive: PING after long silence, end after no answer.
    fn check_life(&mut self) -> Result<(), ()> {
        let options = self.home.options.clone();
        if let Some(by) = self.pong_by {
            if by <= self.now {
                tracing::debug!("client did not answer a ping");
                return Err(());
            }
            self.note_due(by);
            return Ok(());
        }
        let mut next = self.heard + options.keepalive_interval;
        if next <= self.now
            && let Some(ping) = &mut self.ping
        {
            // The pong of an earlier ping must be taken before h2 sends another.
            let _ = ping.poll_pong(&mut Context::from_waker(Waker::noop()));
            if ping.send_ping(Ping::opaque()).is_ok() {
                next = self.now + options.keepalive_timeout;
                self.pong_by = Some(next);
            } else {
                next = self.now + options.keepalive_interval;
            }
        }
        self.note_due(next);
        Ok(())
    }

    /// What the input looked like apart from calls.
    fn look_at_input(&mut self) {
        let (received, pings, idle) = self.socket.inspect(|inspector| {
            (inspector.take_received(), inspector.take_pings(), inspector.idle_frames())
        });
        if received > 0 {
            self.heard = self.now;
            self.pong_by = None;
        }
        let active = self.slots.occupied() > 0;
        self.policy.wrote(self.socket.written());
        for _ in 0..pings {
            if self.policy.ping(self.now, active) == Verdict::TooMany {
                return self.send_away(b"too_many_pings");
            }
        }
        if idle > IDLE_FRAMES {
            self.send_away(b"too_many_control_frames");
        }
    }

    /// GOAWAY with ENHANCE_YOUR_CALM and a text, which h2 does not offer, then the end. h2's frames are whole in
    /// the socket's buffer at the end of a turn, so that ours may follow.
    fn send_away(&mut self, text: &[u8]) {
        const GOAWAY: u8 = 7;
        const ENHANCE_YOUR_CALM: u32 = 11;
        tracing::debug!(reason = %text.escape_ascii(), "client is sent away");
        let length = (8 + text.len()) as u32;
        let mut frame = Vec::with_capacity(17 + text.len());
        frame.extend_from_slice(&length.to_be_bytes()[1..]);
        frame.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
        frame.extend_from_slice(&self.last_stream.to_be_bytes());
        frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend_from_slice(text);
        self.socket.append(&frame);
        self.end = End::Farewell(self.now + LAST_WORDS);
        self.next_due = Some(self.now + LAST_WORDS);
        self.waker.wake_connection();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for index in self.slots.indices() {
            match self.slots.take(index).1 {
                State::Pending(pending) => self.home.grpc().handled(pending.method, super::Code::Canceled),
                State::Stream(call) => self.home.grpc().handled(call.method(), super::Code::Canceled),
                State::Vacant | State::Reading(_) => {}
            }
        }
        self.home.unregister(&self.mailbox);
    }
}

enum Turn {
    Sleep,
    Again,
    Over,
}

enum Accepted {
    All,
    More,
    Closed,
}

/// Keeps the memory of an emptied list, unless something new came meanwhile.
fn put_back<T>(place: &RefCell<Vec<T>>, emptied: Vec<T>) {
    let mut place = place.borrow_mut();
    if place.is_empty() {
        *place = emptied;
    }
}
