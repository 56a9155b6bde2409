//! Why a call did not succeed.

use std::fmt;
use std::sync::Arc;

/// What became of a call that was not answered with status 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server said so.
    Status {
        /// gRPC's number.
        code: u32,
        /// The server's words.
        message: String,
    },
    /// Not even HTTP's status was 200.
    Http(u16),
    /// The server ended the stream with this HTTP/2 error.
    Reset(u32),
    /// The answer is no valid gRPC, and why.
    Invalid(&'static str),
    /// The connection ended, and why.
    Lost(Arc<str>),
}

/// gRPC's codes; where they are given names, these are Go's.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// HTTP/2's error codes.
const RESETS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The name of an HTTP/2 error.
pub(super) fn reset_name(code: u32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| RESETS.get(code)).copied().unwrap_or("an unknown error")
}

impl Failure {
    /// The method is not known there: the server is no etcd, or an old one.
    pub(crate) fn is_unimplemented(&self) -> bool {
        matches!(self, Failure::Status { code: 12, .. } | Failure::Http(404))
    }

    /// The connection is gone, and with it the call's fate is unknown.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Failure::Lost(_))
    }
}

/// One line; failures of the same kind have the same words, so that they can be counted by them.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status { code, message } => {
                match usize::try_from(*code).ok().and_then(|code| CODES.get(code)) {
                    Some(name) => write!(f, "{name}")?,
                    None => write!(f, "status {code}")?,
                }
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Failure::Http(status) => write!(f, "HTTP status {status}"),
            Failure::Reset(code) => write!(f, "stream reset with {}", reset_name(*code)),
            Failure::Invalid(why) => write!(f, "invalid answer: {why}"),
            Failure::Lost(why) => write!(f, "connection lost: {why}"),
        }
    }
}
