//! gRPC as etcd's clients speak it, over the `h2` crate.
//!
//! What the rest of the server sees is a narrow boundary: a [`Call`] and request bytes in, a [`Frame`] or a
//! [`Status`] out. Nothing of HTTP/2 shows through it, so that the protocol engine below can be replaced without
//! touching a service.
//!
//! ```text
//!   connection (one task on one loop)
//!     HEADERS, DATA ──► Services::unary ──► Outcome::Ready(frame) ──► appended to the connection's output
//!                                      └──► Outcome::Pending ─ ─ ─ ─ Completions::flush (driver thread)
//!     HEADERS, DATA ──► Services::open_stream ──► Box<dyn Stream>    StreamWaker::wake (any thread)
//!                                                   └─ StreamOut: send, finish, ready, wake_at
//!   end of the turn: one flush
//! ```

mod answer;
mod connection;
mod deframe;
mod errors;
mod frame;
mod inspect;
mod late_ends;
mod metadata;
mod method;
mod payload;
mod pings;
mod request;
mod service;
mod slots;
mod socket;
mod status;
mod streaming;
mod unary;
mod wakers;

pub(crate) use connection::serve;
pub(crate) use wakers::ConnectionWaker;

pub use errors::*;
pub use frame::{Frame, FrameBuilder};
pub use metadata::Metadata;
pub use method::{Kind, Method};
#[cfg(test)]
pub(crate) use service::StreamState;
pub use service::{Call, CallId, Outcome, Services, Stream, StreamOut, StreamWaker};
pub use status::{Code, Status};
