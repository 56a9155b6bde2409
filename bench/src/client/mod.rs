//! gRPC clients that load servers: a lean one of our own and, for comparison, a conventional one.
//!
//! Both are driven the same way, by one thread that owns the client: calls are handed over with a number of the
//! caller's choice (`tag`), and [`Client::turn`] sends what was handed over, waits, and returns what came back. Nothing is
//! spawned and nothing is shared between threads; who wants more threads makes more clients.
//!
//! ```text
//! client.call(connection, Method::Put, &request, tag);
//! client.turn(Until::Answer, &mut events)?;
//! for event in events.iter() {
//!     match event.outcome {
//!         Outcome::Answer(message) => ...          // a unary call that succeeded: check it, send the next
//!         Outcome::Failed(failure) => ...          // a call or stream that did not
//!         Outcome::Message(message) => ...         // one message of a stream
//!         Outcome::Ended => ...                    // a stream that the server ended with status 0
//!     }
//! }
//! ```
//!
//! That an answer is valid gRPC is checked here: status 200, content type, exactly one message, grpc-status 0. Whether it
//! says the right thing is the caller's to check.

mod conventional;
mod events;
mod failure;
mod lean;
mod login;
mod method;
mod secure;
mod servers;
mod target;
mod timer;
mod tls;

use std::io;
use std::time::Instant;

pub(crate) use conventional::Conventional;
pub(crate) use events::{Event, Events, Outcome};
pub(crate) use failure::Failure;
pub(crate) use lean::Lean;
pub(crate) use login::ask;
pub(crate) use login::log_in;
pub(crate) use method::Method;
pub(crate) use servers::Servers;
pub(crate) use target::{Credentials, Endpoint, Target};
pub(crate) use tls::TlsFiles;

/// A stream that was opened: on which connection, and which number it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamId {
    connection: usize,
    number: u32,
}

/// How long a turn may wait for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until there is at least one.
    Answer,
    /// Until there is one, but no longer than this.
    Time(Instant),
    /// Not at all.
    Now,
}

/// Connections to servers, driven by one thread.
pub(crate) trait Client {
    /// How many connections there were at first. Those that were lost stay counted and fail every call.
    fn connections(&self) -> usize;

    /// Whether a connection can still carry calls.
    fn is_alive(&self, connection: usize) -> bool;

    /// Begins a unary call. Its one event is an `Answer` or `Failed` with `tag`.
    fn call(&mut self, connection: usize, method: Method, message: &[u8], tag: u64);

    /// Opens a stream. Its events are any number of `Message` and then `Ended` or `Failed`, all with `tag`.
    fn open(&mut self, connection: usize, method: Method, tag: u64) -> StreamId;

    /// Sends one more message on a stream. One that has ended meanwhile takes nothing and says nothing.
    fn send(&mut self, stream: StreamId, message: &[u8]);

    /// Nothing more will be sent on this stream.
    fn finish(&mut self, stream: StreamId);

    /// Gives up a stream; there are no more events of it.
    fn cancel(&mut self, stream: StreamId);

    /// Sends what was handed over, waits, and puts what came back into `events`, which are emptied first. None may have
    /// come even where an answer was waited for: a connection's own business ends a wait too.
    ///
    /// # Errors
    /// When the system refuses to wait. A connection that fails does not end a turn: its calls fail.
    fn turn(&mut self, until: Until, events: &mut Events) -> io::Result<()>;
}
