//! The HTTP/2 state of a connection, without its socket: calls in, bytes out (`out`); the other direction is in
//! [`super::receive`].

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use super::super::events::Events;
use super::super::{Failure, Method};
use super::cause::Cause;
use super::frame::{self, flag, kind, setting};
use super::hpack::{Decoder, Encoder};
use super::stream::{self, Shape, Stream};

/// What the server may send on a stream before it is told of more.
pub(super) const STREAM_WINDOW: i64 = 16 << 20;
/// The same of all streams together. Everything is read as soon as it comes, so this need not hold anybody back.
pub(super) const CONNECTION_WINDOW: i64 = 1 << 30;
/// Windows are this large until somebody says otherwise.
const DEFAULT_WINDOW: i64 = 65_535;
const LAST_STREAM: u32 = (1 << 31) - 1;
/// Buffers of answers that are kept for the next ones: as many, and none larger.
const SPARES: usize = 256;
const SPARE_BYTES: usize = 64 << 10;

/// What is sent with every call.
pub(super) struct Identity {
    pub(super) scheme: &'static str,
    pub(super) authority: String,
    pub(super) token: Option<String>,
}

/// What the server allows.
pub(super) struct Allowed {
    pub(super) streams: u32,
    pub(super) stream_window: i64,
    pub(super) frame: usize,
}

/// Stream numbers are consecutive: nobody chooses them to collide.
#[derive(Default)]
pub(super) struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("stream numbers are u32")
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A header block that was sent before, and the state of the encoder in which it is valid.
#[derive(Clone, Default)]
struct Block {
    generation: u64,
    bytes: Vec<u8>,
}

/// A connection, but for its socket.
pub(super) struct Connection {
    /// Which of the client's.
    pub(super) index: usize,
    identity: Identity,
    /// To be sent.
    pub(super) out: Vec<u8>,
    /// Received: the beginning of a frame.
    pub(super) rest: Vec<u8>,
    pub(super) streams: HashMap<u32, Stream, BuildHasherDefault<ByNumber>>,
    /// Streams whose headers wait for others to end, in the order of their numbers.
    pub(super) waiting: VecDeque<u32>,
    /// Streams with something to send that a window holds back.
    blocked: VecDeque<u32>,
    /// Streams the server knows of and that have not ended.
    active: u32,
    pub(super) next: u32,
    pub(super) allowed: Allowed,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    blocks: Vec<Block>,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    /// The server's SETTINGS have come.
    pub(super) settled: bool,
    /// The server takes no new streams, and why.
    pub(super) leaving: Option<std::sync::Arc<str>>,
    /// A header block of which more is to come: its stream, the flags it began with, and the bytes so far.
    pub(super) continued: Option<(u32, u8, Vec<u8>)>,
    spares: Vec<Vec<u8>>,
}

impl Connection {
    pub(super) fn new(index: usize, identity: Identity) -> Connection {
        let mut out = frame::PREFACE.to_vec();
        let settings = [
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW as u32),
            (setting::MAX_HEADER_LIST_SIZE, 64 << 10),
        ];
        frame::settings(&settings, &mut out);
        frame::number(kind::WINDOW_UPDATE, 0, (CONNECTION_WINDOW - DEFAULT_WINDOW) as u32, &mut out);
        Connection {
            index,
            identity,
            out,
            rest: Vec::new(),
            streams: HashMap::default(),
            waiting: VecDeque::new(),
            blocked: VecDeque::new(),
            active: 0,
            next: 1,
            allowed: Allowed { streams: u32::MAX, stream_window: DEFAULT_WINDOW, frame: frame::MOST },
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            blocks: vec![Block::default(); Method::COUNT],
            send_window: DEFAULT_WINDOW,
            receive_window: CONNECTION_WINDOW,
            settled: false,
            leaving: None,
            continued: None,
            spares: Vec::new(),
        }
    }

    /// Begins a call; the caller has looked at [`Connection::refuses`].
    pub(super) fn start(&mut self, method: Method, shape: Shape, message: Option<&[u8]>, tag: u64) -> u32 {
        let number = self.next;
        self.next += 2;
        let waits = self.active >= self.allowed.streams || !self.waiting.is_empty();
        let mut stream = Stream {
            tag,
            method,
            shape,
            waits,
            send_window: self.allowed.stream_window,
            receive_window: STREAM_WINDOW,
            unsent: Vec::new(),
            sent: 0,
            is_blocked: false,
            ends: shape == Shape::Unary,
            ended: false,
            headed: false,
            body: self.spares.pop().unwrap_or_default(),
        };
        if waits {
            self.waiting.push_back(number);
        } else {
            self.active += 1;
            self.write_headers(number, method);
        }
        if let Some(message) = message {
            let length = stream::PREFIX + message.len();
            let fits = self.send_window.min(stream.send_window).min(self.allowed.frame as i64);
            if !waits && length as i64 <= fits && stream.ends {
                // The usual case: one frame, and nothing to remember.
                frame::head(length, kind::DATA, flag::END_STREAM, number, &mut self.out);
                stream::frame(message, &mut self.out);
                self.send_window -= length as i64;
                stream.send_window -= length as i64;
                stream.ended = true;
            } else {
                stream::frame(message, &mut stream.unsent);
            }
        }
        let more = !waits && !stream.ended && !stream.unsent.is_empty();
        self.streams.insert(number, stream);
        if more {
            self.pump(number);
        }
        number
    }

    /// One more message of a stream.
    pub(super) fn send(&mut self, number: u32, message: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&number).filter(|stream| !stream.ends) {
            stream::frame(message, &mut stream.unsent);
            self.pump(number);
        }
    }

    /// A stream will send no more.
    pub(super) fn finish(&mut self, number: u32) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.ends = true;
            self.pump(number);
        }
    }

    /// Gives a stream up.
    pub(super) fn cancel(&mut self, number: u32) {
        if self.streams.contains_key(&number) {
            self.remove(number);
        }
    }

    /// Why no further call can be made here.
    pub(super) fn refuses(&self) -> Option<std::sync::Arc<str>> {
        if self.next > LAST_STREAM { Some(Cause::UsedUp.to_string().into()) } else { self.leaving.clone() }
    }

    /// Sends what a stream has and windows allow.
    fn pump(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        if stream.waits || stream.ended {
            return;
        }
        loop {
            let left = stream.unsent.len() - stream.sent;
            let open = self.send_window.min(stream.send_window).max(0) as usize;
            let length = left.min(open).min(self.allowed.frame);
            if length < left && length == 0 {
                if !stream.is_blocked {
                    stream.is_blocked = true;
                    self.blocked.push_back(number);
                }
                return;
            }
            let last = length == left;
            if length == 0 && !stream.ends {
                break;
            }
            let flags = if last && stream.ends { flag::END_STREAM } else { 0 };
            frame::head(length, kind::DATA, flags, number, &mut self.out);
            self.out.extend_from_slice(&stream.unsent[stream.sent..][..length]);
            stream.sent += length;
            stream.send_window -= length as i64;
            self.send_window -= length as i64;
            if last {
                stream.ended = stream.ends;
                break;
            }
        }
        stream.unsent.clear();
        stream.sent = 0;
    }

    /// Windows have grown: sends what they held back.
    pub(super) fn pump_blocked(&mut self) {
        for _ in 0..self.blocked.len() {
            if self.send_window <= 0 {
                return;
            }
            // Whoever is still held back goes to the end.
            let Some(number) = self.blocked.pop_front() else { return };
            if let Some(stream) = self.streams.get_mut(&number) {
                stream.is_blocked = false;
            }
            self.pump(number);
        }
    }

    /// Begins streams that waited for others to end.
    pub(super) fn start_waiting(&mut self) {
        while self.active < self.allowed.streams
            && let Some(number) = self.waiting.pop_front()
        {
            // Given up meanwhile: its number is skipped, which is allowed.
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            stream.waits = false;
            stream.send_window = self.allowed.stream_window;
            let method = stream.method;
            self.active += 1;
            self.write_headers(number, method);
            self.pump(number);
        }
    }

    /// Forgets a stream, telling the server if it still expects something.
    pub(super) fn close(&mut self, number: u32, server_is_done: bool) -> Option<Stream> {
        let stream = self.streams.remove(&number)?;
        if stream.waits {
            return Some(stream);
        }
        if !(server_is_done && stream.ended) {
            frame::number(kind::RST_STREAM, number, frame::CANCEL, &mut self.out);
        }
        self.active -= 1;
        self.start_waiting();
        Some(stream)
    }

    fn remove(&mut self, number: u32) {
        if let Some(stream) = self.close(number, false) {
            self.keep(stream);
        }
    }

    /// The buffer of a stream that has ended is used again.
    pub(super) fn keep(&mut self, stream: Stream) {
        let mut body = stream.body;
        if self.spares.len() < SPARES && (1..=SPARE_BYTES).contains(&body.capacity()) {
            body.clear();
            self.spares.push(body);
        }
    }

    /// The connection is lost: so are its calls.
    pub(super) fn fail_all(&mut self, why: &std::sync::Arc<str>, at: Instant, events: &mut Events) {
        let mut numbers: Vec<u32> = self.streams.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(stream) = self.streams.remove(&number) {
                events.of(self.index, stream.tag, at).failed(Failure::Lost(why.clone()));
            }
        }
        self.leaving = Some(why.clone());
    }

    fn write_headers(&mut self, number: u32, method: Method) {
        let block = &mut self.blocks[method as usize];
        if self.encoder.must_announce()
            || block.bytes.is_empty()
            || block.generation != self.encoder.generation()
        {
            let identity = &self.identity;
            // In the order gRPC's specification gives them.
            let fields = [
                (":method", "POST"),
                (":scheme", identity.scheme),
                (":path", method.path()),
                (":authority", &identity.authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", concat!("graven-bench/", env!("CARGO_PKG_VERSION"))),
            ];
            let token = identity.token.as_deref().map(|token| ("token", token));
            // Valid again only if it is encoded as it will be from now on: without anything new for the table.
            let before = self.encoder.generation();
            block.bytes.clear();
            self.encoder.encode(fields.into_iter().chain(token), &mut block.bytes);
            block.generation = if before == self.encoder.generation() { before } else { u64::MAX };
        }
        let mut rest = &block.bytes[..];
        let mut next = kind::HEADERS;
        loop {
            let (part, after) = rest.split_at(rest.len().min(self.allowed.frame));
            let flags = if after.is_empty() { flag::END_HEADERS } else { 0 };
            frame::head(part.len(), next, flags, number, &mut self.out);
            self.out.extend_from_slice(part);
            if after.is_empty() {
                return;
            }
            (rest, next) = (after, kind::CONTINUATION);
        }
    }
}
