//! Why a connection ended.

use std::io;

use super::super::failure::reset_name;
use super::hpack;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// The network failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server broke a rule of HTTP/2.
    #[error("the server broke a rule of HTTP/2: {0}")]
    Rule(&'static str),
    /// The server sent headers that make no sense.
    #[error("the server broke a rule of HTTP/2: {0}")]
    Headers(#[from] hpack::Broken),
    /// The server speaks HTTP/1.
    #[error("the server answers with HTTP/1, not with gRPC's HTTP/2")]
    Http1,
    /// The server asked to leave.
    #[error("the server sent GOAWAY with {}{}", reset_name(*code), said(text))]
    GoAway {
        /// HTTP/2's error.
        code: u32,
        /// Its words.
        text: String,
    },
    /// A billion calls were made.
    #[error("the connection has no more stream numbers")]
    UsedUp,
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
