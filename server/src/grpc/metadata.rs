//! What etcd reads from the headers of a request.

use std::time::Instant;

use http::HeaderValue;

use super::errors::INVALID_CLIENT_API_VERSION;
use super::status::Status;

/// The request headers that mean something to etcd (api.md 0.2). Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pub(crate) token: Option<HeaderValue>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) client_api_version: Option<HeaderValue>,
    pub(crate) require_leader: bool,
    pub(crate) from_gateway: bool,
    pub(crate) deadline: Option<Instant>,
}

impl Metadata {
    /// The auth token: `token`, or else `authorization` without the word `Bearer`.
    pub fn token(&self) -> Option<&[u8]> {
        if let Some(token) = &self.token {
            return Some(token.as_bytes());
        }
        let value = self.authorization.as_ref()?.as_bytes();
        Some(value.strip_prefix(b"Bearer ").unwrap_or(value))
    }

    /// `hasleader: true`: refuse, or cancel later, when this member knows no leader.
    pub fn require_leader(&self) -> bool {
        self.require_leader
    }

    /// The client's version for the metrics, `unknown` when it names none. An error when it is not UTF-8.
    pub fn client_api_version(&self) -> Result<&str, Status> {
        match &self.client_api_version {
            None => Ok("unknown"),
            Some(value) => std::str::from_utf8(value.as_bytes()).map_err(|_| INVALID_CLIENT_API_VERSION),
        }
    }

    /// Set by the JSON gateway: the identity of a client certificate does not count.
    pub fn from_gateway(&self) -> bool {
        self.from_gateway
    }

    /// When the client stops waiting. The front end enforces it; services may use it to give up earlier.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Metadata with a token, for tests and for calls made inside the server.
    pub fn with_token(token: HeaderValue) -> Metadata {
        Metadata { token: Some(token), ..Metadata::default() }
    }
}
