//! Accepting connections and dealing them out.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::home::Home;
use super::inbox::{Inbox, Parcel};

/// What a listener's connections may speak. `tag` is passed on in `HttpRequest::listener`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serves {
    /// gRPC over HTTP/2.
    pub grpc: bool,
    /// HTTP/1.1.
    pub http: bool,
    /// The listener's number, for services that answer differently by listener.
    pub tag: u16,
}

impl Serves {
    /// gRPC and HTTP, told apart by the first bytes.
    pub const EVERYTHING: Serves = Serves { grpc: true, http: true, tag: 0 };
    /// HTTP only (`--listen-metrics-urls`, `--listen-client-http-urls`).
    pub const HTTP: Serves = Serves { grpc: false, http: true, tag: 0 };
    /// gRPC only (client URLs when there are separate ones for HTTP).
    pub const GRPC: Serves = Serves { grpc: true, http: false, tag: 0 };

    /// The same with a tag.
    pub const fn tagged(self, tag: u16) -> Serves {
        Serves { tag, ..self }
    }
}

/// A bound socket and what it serves.
#[derive(Debug)]
pub struct Listener {
    /// Bound and listening.
    pub socket: TcpListener,
    /// What its connections may speak.
    pub serves: Serves,
}

/// Accepts until the loop stops. An error of one accept never ends the server.
pub(crate) async fn accept(home: Rc<Home>, inboxes: Arc<[Arc<Inbox>]>, listener: Listener) {
    let socket = match to_tokio(listener.socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "listener is unusable");
            return;
        }
    };
    while !home.is_stopping() {
        match socket.accept().await {
            Ok((stream, _)) => match stream.into_std() {
                Ok(stream) => {
                    let next = home.next_turn(inboxes.len());
                    inboxes[next].send(Parcel::Connection(stream, listener.serves));
                }
                Err(error) => tracing::warn!(%error, "connection lost before it began"),
            },
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                if !concerns_one_connection(&error) {
                    // Out of descriptors or memory: give connections time to end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn to_tokio(socket: TcpListener) -> io::Result<tokio::net::TcpListener> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
