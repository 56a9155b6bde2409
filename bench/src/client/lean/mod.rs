//! The lean client: HTTP/2 framed by hand, for gRPC only, on one thread.
//!
//! What it saves against a general client is what a load generator does not need: nothing is spawned or woken, a request
//! is a header block of a byte a field and a frame of data appended to the connection's buffer, and a turn of the loop
//! sends each connection's buffer with one system call and reads what came with one more. The cost of a call is then that of the
//! system calls shared by all calls of a turn.
//!
//! [`connection`] holds the protocol without a socket (calls in, bytes out), [`receive`] the other direction, [`socket`] the
//! bytes with or without TLS, [`hpack`] the header coding. Servers are not trusted: what breaks a rule loses the connection,
//! and its calls fail with the reason.

mod cause;
mod connection;
mod frame;
mod hpack;
mod receive;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use self::cause::Cause;
use self::connection::{Connection, Identity};
use self::socket::{Sent, Socket};
use self::stream::Shape;
use super::target::PATIENCE;
use super::{Client, Events, Failure, Method, StreamId, Target, Until};
use crate::error::{Error, Result};

/// What one read may bring.
const READ_BYTES: usize = 64 << 10;
/// How much longer than asked for epoll may wait.
const EPOLL_ERROR: Duration = Duration::from_millis(2);
/// Connections looked at in one turn.
const MOST_READY: usize = 256;
/// A server that lets this much lie and still asks for more is not reading.
const MOST_OUT: usize = 1 << 30;

/// Connections to servers, driven by the thread that owns them.
pub(crate) struct Lean {
    epoll: OwnedFd,
    links: Vec<Link>,
    buffer: Box<[u8]>,
    ready: Vec<epoll::Event>,
    /// Links with something to send.
    dirty: Vec<usize>,
    /// Calls on connections that are lost: they fail in the next turn.
    refused: Vec<(usize, u64, Arc<str>)>,
}

struct Link {
    /// None once it is lost.
    socket: Option<Socket>,
    connection: Connection,
    is_dirty: bool,
    /// The system took no more; it tells when it does.
    is_stuck: bool,
}

impl Lean {
    /// Connects to the endpoints in turn, and waits until each server has said its settings.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the endpoint that could not be reached, or does not speak gRPC.
    pub(crate) fn connect(target: &Target, connections: usize) -> Result<Lean> {
        let system = |error: Errno| Error::Wrong(format!("cannot wait for sockets: {error}"));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
        let mut links = Vec::with_capacity(connections);
        let mut buffer = vec![0; READ_BYTES].into_boxed_slice();
        for index in 0..connections {
            let link = Link::open(target, index, &mut buffer)?;
            let data = epoll::EventData::new_u64(index as u64);
            let socket = link.socket.as_ref().expect("it was just opened");
            epoll::add(&epoll, socket, data, epoll::EventFlags::IN).map_err(system)?;
            links.push(link);
        }
        // An open loop sleeps until the next call is due; the system's usual slack is longer than that.
        let slack = std::num::NonZeroU64::new(1_000);
        let _ = rustix::thread::set_current_timer_slack(slack);
        let ready = Vec::with_capacity(MOST_READY);
        // What the handshakes left to be sent.
        let dirty = (0..connections).collect();
        Ok(Lean { epoll, links, buffer, ready, dirty, refused: Vec::new() })
    }

    fn start(
        &mut self,
        connection: usize,
        method: Method,
        shape: Shape,
        message: Option<&[u8]>,
        tag: u64,
    ) -> u32 {
        let link = &mut self.links[connection];
        if let Some(why) = link.connection.refuses() {
            self.refused.push((connection, tag, why));
            // No stream has this number.
            return 0;
        }
        let number = link.connection.start(method, shape, message, tag);
        self.touch(connection);
        number
    }

    fn touch(&mut self, connection: usize) {
        let link = &mut self.links[connection];
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(connection);
        }
    }

    fn send_all(&mut self, events: &mut Events) {
        while let Some(index) = self.dirty.pop() {
            let link = &mut self.links[index];
            link.is_dirty = false;
            // One that is stuck is sent when the system says so.
            if link.is_stuck {
                continue;
            }
            let result = link.send();
            self.after(index, result, events);
        }
    }

    /// What sending led to: nothing, waiting, or the connection's end.
    fn after(&mut self, index: usize, result: std::result::Result<Sent, Cause>, events: &mut Events) {
        let link = &mut self.links[index];
        match result {
            Ok(sent) => {
                let stuck = sent == Sent::Some;
                if stuck != link.is_stuck {
                    link.is_stuck = stuck;
                    let out = if stuck { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
                    let data = epoll::EventData::new_u64(index as u64);
                    if let Some(socket) = &link.socket
                        && let Err(error) =
                            epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN | out)
                    {
                        link.lose(Cause::Io(error.into()), events);
                    }
                }
            }
            Err(cause) => link.lose(cause, events),
        }
    }

    fn wait(&mut self, until: Until) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = match until {
            Until::Answer => None,
            Until::Now => Some(now),
            Until::Time(at) => {
                let left = at.saturating_duration_since(Instant::now());
                // epoll knows milliseconds only: far from the end it may wait alone, and rather too short than too long.
                let coarse = left.checked_sub(EPOLL_ERROR).filter(|coarse| *coarse > EPOLL_ERROR);
                let exact = if coarse.is_none() { left } else { Duration::ZERO };
                if !exact.is_zero() {
                    let exact = Timespec::try_from(exact).map_err(io::Error::other)?;
                    let mut set = [PollFd::new(&self.epoll, PollFlags::IN)];
                    match poll(&mut set, Some(&exact)) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Some(Timespec::try_from(coarse.unwrap_or_default()).map_err(io::Error::other)?)
            }
        };
        self.ready.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Client for Lean {
    fn connections(&self) -> usize {
        self.links.len()
    }

    fn is_alive(&self, connection: usize) -> bool {
        self.links[connection].connection.refuses().is_none()
    }

    fn call(&mut self, connection: usize, method: Method, message: &[u8], tag: u64) {
        self.start(connection, method, Shape::Unary, Some(message), tag);
    }

    fn open(&mut self, connection: usize, method: Method, tag: u64) -> StreamId {
        let number = self.start(connection, method, Shape::Streaming, None, tag);
        StreamId { connection, number }
    }

    fn send(&mut self, stream: StreamId, message: &[u8]) {
        self.links[stream.connection].connection.send(stream.number, message);
        self.touch(stream.connection);
    }

    fn finish(&mut self, stream: StreamId) {
        self.links[stream.connection].connection.finish(stream.number);
        self.touch(stream.connection);
    }

    fn cancel(&mut self, stream: StreamId) {
        self.links[stream.connection].connection.cancel(stream.number);
        self.touch(stream.connection);
    }

    fn turn(&mut self, until: Until, events: &mut Events) -> io::Result<()> {
        events.clear();
        self.send_all(events);
        for (connection, tag, why) in self.refused.drain(..) {
            events.of(connection, tag, Instant::now()).failed(Failure::Lost(why));
        }
        let nobody = self.links.iter().all(|link| link.socket.is_none());
        self.wait(if events.is_empty() && !nobody { until } else { Until::Now })?;
        for at in 0..self.ready.len() {
            let ready = self.ready[at];
            let (index, flags) = (ready.data.u64() as usize, ready.flags);
            let link = &mut self.links[index];
            if flags.contains(epoll::EventFlags::OUT) {
                let result = link.send();
                self.after(index, result, events);
            }
            let link = &mut self.links[index];
            match link.receive(&mut self.buffer, events) {
                Ok(()) if !link.connection.out.is_empty() => self.touch(index),
                Ok(()) => {}
                Err(cause) => link.lose(cause, events),
            }
        }
        Ok(())
    }
}

impl Link {
    fn open(target: &Target, index: usize, buffer: &mut [u8]) -> Result<Link> {
        let endpoint = target.endpoint(index);
        let stream = target.dial(index)?;
        let failed = |what: String| Error::Usage(format!("{}: {what}", target.name(index)));
        let socket = Socket::open(stream, target.tls.as_ref(), &endpoint.host, PATIENCE)
            .map_err(|error| failed(format!("the TLS handshake failed: {}", tls_words(&error))))?;
        let identity = Identity {
            scheme: target.scheme(),
            authority: endpoint.authority(),
            token: target.token.as_deref().map(str::to_owned),
        };
        let connection = Connection::new(index, identity);
        let mut link = Link { socket: Some(socket), connection, is_dirty: true, is_stuck: false };
        link.greet(buffer).map_err(|cause| failed(greeting_advice(&cause, target.tls.is_some())))?;
        Ok(link)
    }

    /// Says hello and waits for the server's settings.
    fn greet(&mut self, buffer: &mut [u8]) -> std::result::Result<(), Cause> {
        let by = Instant::now() + PATIENCE;
        let mut nothing = Events::new();
        self.send()?;
        while !self.connection.settled {
            if Instant::now() >= by {
                return Err(Cause::Io(io::ErrorKind::TimedOut.into()));
            }
            self.receive(buffer, &mut nothing)?;
        }
        match &self.socket {
            Some(socket) => Ok(socket.stop_waiting()?),
            None => Err(Cause::Closed),
        }
    }

    fn send(&mut self) -> std::result::Result<Sent, Cause> {
        let Some(socket) = &mut self.socket else { return Ok(Sent::All) };
        if self.connection.out.len() > MOST_OUT {
            return Err(Cause::Rule("it does not read what is sent to it"));
        }
        if self.connection.out.is_empty() && matches!(socket, Socket::Plain(_)) {
            return Ok(Sent::All);
        }
        Ok(socket.send(&mut self.connection.out)?)
    }

    fn receive(&mut self, buffer: &mut [u8], events: &mut Events) -> std::result::Result<(), Cause> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        match socket.receive(buffer)? {
            None => return Err(Cause::Closed),
            Some([]) => {}
            Some(bytes) => self.connection.receive(bytes, Instant::now(), events)?,
        }
        if self.socket.as_ref().is_some_and(Socket::is_over) { Err(Cause::Closed) } else { Ok(()) }
    }

    fn lose(&mut self, cause: Cause, events: &mut Events) {
        // What it said when it left says more than that it left.
        let why = match (&cause, &self.connection.leaving) {
            (Cause::Closed | Cause::Io(_), Some(why)) => why.clone(),
            _ => cause.to_string().into(),
        };
        // Closing takes it out of the set as well.
        self.socket = None;
        self.connection.out.clear();
        self.connection.fail_all(&why, Instant::now(), events);
    }
}

/// What went wrong, and what to do, without the names that a library has for it.
fn tls_words(error: &io::Error) -> String {
    use rustls::AlertDescription as Alert;
    use rustls::CertificateError as Certificate;
    let trust = "give its authority by --cacert, or --insecure-skip-tls-verify to trust it as it is";
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{error}; the server does not speak TLS: use http:// and no TLS flags")
        }
        Some(rustls::Error::InvalidCertificate(Certificate::UnknownIssuer)) => {
            format!("the server's certificate is signed by nobody who is trusted; {trust}")
        }
        Some(rustls::Error::InvalidCertificate(why)) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is an authority's own, which is not taken as a server's; give the server one that is \
             signed by it, or --insecure-skip-tls-verify to trust it as it is"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(_)) => format!("{error}; {trust}"),
        Some(rustls::Error::AlertReceived(Alert::HandshakeFailure)) => format!(
            "{error}; its key may be one of P-521, as etcd's --auto-tls makes them, which is not known here: use P-256 or \
             RSA"
        ),
        Some(rustls::Error::AlertReceived(Alert::UnknownCA)) => {
            "the server does not know the authority that signed --cert; give a certificate of one that it trusts".to_owned()
        }
        Some(rustls::Error::AlertReceived(Alert::CertificateRequired)) => {
            "the server wants a certificate; give --cert and --key".to_owned()
        }
        Some(rustls::Error::AlertReceived(_)) => {
            format!("{error}; it may want a certificate, or another one: give --cert and --key")
        }
        _ => error.to_string(),
    }
}

fn greeting_advice(cause: &Cause, tls: bool) -> String {
    let advice = match cause {
        Cause::Http1 | Cause::Closed | Cause::Io(_) if !tls => {
            "; give the client port of an etcd, with https:// if it speaks TLS"
        }
        Cause::Io(error) => return tls_words(error),
        _ => "; give the client port of an etcd",
    };
    format!("{cause}{advice}")
}
