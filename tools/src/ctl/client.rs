//! Calls to the cluster: over whichever endpoint answers, again where repeating is harmless, until the time is up.
//!
//! Endpoints are tried in turn, starting with the one that worked last. A connection that cannot be made is
//! always tried again elsewhere; a call that was sent is repeated only if it changes nothing. So with at least
//! one endpoint alive a command succeeds, and with none it ends when its time is up, as etcdctl does.

use super::exit::{Code, Exit};
use super::log;
use super::print::write_err;
use super::settings::{Identity, Settings};
use api::etcdserverpb as pb;
use prost::Message;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// grpc-go pings no more often, and servers refuse clients that do.
const KEEPALIVE_FLOOR: Duration = Duration::from_secs(10);
/// Between two rounds over all endpoints.
const PAUSE: Duration = Duration::from_millis(25);

/// May the call be sent again when it is not known what became of it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Yes,
    No,
}

/// A call that failed, as etcdctl words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The caller's time is up.
    TimedOut,
    Refused(StatusText),
}

/// A gRPC status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusText {
    pub(crate) code: tonic::Code,
    pub(crate) message: String,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        let message = status.message();
        Failure::Refused(if std::error::Error::source(&status).is_some() {
            // No server says so: the connection broke, which tonic reports under various codes.
            let message = format!("error reading from server: {message}");
            StatusText { code: tonic::Code::Unavailable, message }
        } else {
            too_large(message)
                .unwrap_or_else(|| StatusText { code: status.code(), message: message.to_owned() })
        })
    }
}

impl Failure {
    /// The cluster may be right back.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Failure::Refused(StatusText { code: tonic::Code::Unavailable, .. }))
    }
}

/// What grpc-go says where tonic finds an answer larger than `--max-recv-bytes`.
fn too_large(message: &str) -> Option<StatusText> {
    let numbers =
        message.strip_prefix("Error, decoded message length too large: found ")?.strip_suffix(" bytes")?;
    let (size, limit) = numbers.split_once(" bytes, the limit is: ")?;
    let message = format!("grpc: received message larger than max ({size} vs. {limit})");
    Some(StatusText { code: tonic::Code::ResourceExhausted, message })
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::TimedOut => f.write_str("context deadline exceeded"),
            // etcd's own errors are known by their text.
            Failure::Refused(status) if status.message.starts_with("etcdserver: ") => {
                f.write_str(&status.message)
            }
            Failure::Refused(status) => status.fmt(f),
        }
    }
}

impl std::fmt::Display for StatusText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Rust's names of the codes are grpc-go's, but for this one.
        let code = if self.code == tonic::Code::Ok { "OK".to_owned() } else { format!("{:?}", self.code) };
        write!(f, "rpc error: code = {code} desc = {}", self.message)
    }
}

/// When a command gives up; `None`: never.
pub(crate) type Deadline = Option<Instant>;

/// Connections to the endpoints, made when they are needed.
pub(crate) struct Client {
    settings: Settings,
    channels: RefCell<Vec<Option<Channel>>>,
    /// The endpoint that worked last.
    preferred: Cell<usize>,
    token: RefCell<Option<String>>,
    /// Why there is no connection, for the log.
    trouble: RefCell<String>,
}

impl Client {
    /// Nothing is connected yet.
    pub(crate) fn new(settings: Settings) -> Result<Client, Exit> {
        if settings.endpoints.is_empty() {
            return Err(Exit::new(Code::BadConnection, "etcdclient: no available endpoints"));
        }
        let token = match &settings.identity {
            Identity::Token(token) => Some(token.clone()),
            Identity::Nobody | Identity::User { .. } => None,
        };
        let channels = RefCell::new(vec![None; settings.endpoints.len()]);
        Ok(Client {
            settings,
            channels,
            preferred: Cell::new(0),
            token: RefCell::new(token),
            trouble: RefCell::default(),
        })
    }

    /// The same settings with another endpoint.
    pub(crate) fn to_endpoint(&self, endpoint: &str) -> Result<Client, Exit> {
        let client = Client::new(Settings { endpoints: vec![endpoint.to_owned()], ..self.settings.clone() })?;
        client.token.replace(self.token.borrow().clone());
        Ok(client)
    }

    /// Limits on the size of messages: sent, received.
    pub(crate) fn limits(&self) -> (usize, usize) {
        (self.settings.max_request_bytes, self.settings.max_receive_bytes)
    }

    /// Gets a token for a user with a password. A cluster without authentication is fine too.
    pub(crate) async fn authenticate(&self, deadline: Deadline) -> Result<(), Exit> {
        let Identity::User { name, password } = &self.settings.identity else {
            return Ok(());
        };
        if password.is_empty() {
            return Ok(());
        }
        let request = pb::AuthenticateRequest { name: name.clone(), password: password.clone() };
        let call = async |channel| {
            let mut auth = pb::auth_client::AuthClient::new(channel);
            auth.authenticate(self.request(request.clone(), deadline)).await
        };
        match self.call(Repeat::Yes, deadline, call).await {
            Ok(response) => self.token.replace(Some(response.token)),
            Err(Failure::Refused(s)) if s.message == "etcdserver: authentication is not enabled" => None,
            Err(failure) => return Err(Exit::new(Code::BadConnection, failure)),
        };
        Ok(())
    }

    /// Adds what every request carries.
    pub(crate) fn request<M>(&self, message: M, deadline: Deadline) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("client-api-version", MetadataValue::from_static("3.7"));
        if let Some(token) = self.token.borrow().as_ref().and_then(|token| token.parse().ok()) {
            metadata.insert("token", token);
        }
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        request
    }

    /// As grpc-go refuses it, before it is sent.
    pub(crate) fn check_size(&self, message: &impl Message) -> Result<(), Failure> {
        let (size, limit) = (message.encoded_len(), self.settings.max_request_bytes);
        if size <= limit {
            return Ok(());
        }
        let message = format!("trying to send message larger than max ({size} vs. {limit})");
        Err(Failure::Refused(StatusText { code: tonic::Code::ResourceExhausted, message }))
    }

    /// One call, by `send` over a channel.
    pub(crate) async fn call<T>(
        &self,
        repeat: Repeat,
        deadline: Deadline,
        send: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.repeat_call(repeat, deadline, send).await.inspect_err(|failure| {
            if *failure == Failure::TimedOut {
                let endpoints = self.settings.endpoints.join(",");
                let fields = [("endpoints", endpoints.as_str()), ("error", &self.trouble.borrow())];
                write_err(&log::line("warn", "etcd-client", "no answer in time", &fields));
            }
        })
    }

    async fn repeat_call<T>(
        &self,
        repeat: Repeat,
        deadline: Deadline,
        send: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let work = async {
            loop {
                let (at, channel) = self.connected().await;
                let failure = match send(channel).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) => Failure::from(status),
                };
                if !failure.is_unavailable() || repeat == Repeat::No {
                    return Err(failure);
                }
                self.forget(at);
                tokio::time::sleep(PAUSE).await;
            }
        };
        match deadline {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
                Ok(Err(_)) if Instant::now() >= deadline => Err(Failure::TimedOut),
                Ok(result) => result,
                Err(_) => Err(Failure::TimedOut),
            },
        }
    }

    /// A channel that is connected, and which endpoint it goes to. Waits for as long as there is none.
    pub(crate) async fn connected(&self) -> (usize, Channel) {
        loop {
            let count = self.settings.endpoints.len();
            for at in (0..count).map(|offset| (self.preferred.get() + offset) % count) {
                let known = self.channels.borrow()[at].clone();
                let channel = match known {
                    Some(channel) => Some(channel),
                    None => self.connect(&self.settings.endpoints[at]).await,
                };
                if let Some(channel) = channel {
                    self.channels.borrow_mut()[at] = Some(channel.clone());
                    self.preferred.set(at);
                    return (at, channel);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The next call begins with another endpoint and a fresh connection.
    pub(crate) fn forget(&self, at: usize) {
        self.channels.borrow_mut()[at] = None;
        self.preferred.set((at + 1) % self.settings.endpoints.len());
    }

    async fn connect(&self, endpoint: &str) -> Option<Channel> {
        let connected = match Endpoint::from_shared(address(endpoint)) {
            Ok(configured) => {
                configured
                    .connect_timeout(self.settings.dial_timeout)
                    .http2_keep_alive_interval(self.settings.keepalive_time.max(KEEPALIVE_FLOOR))
                    .keep_alive_timeout(self.settings.keepalive_timeout)
                    .tcp_nodelay(true)
                    .connect()
                    .await
            }
            Err(error) => Err(error),
        };
        connected.inspect_err(|error| *self.trouble.borrow_mut() = chain(error)).ok()
    }
}

/// An error with everything that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// An endpoint may stand without a scheme.
fn address(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_etcdctls() {
        let refused = |code, message: &str| Failure::from(Status::new(code, message)).to_string();
        assert_eq!(
            refused(tonic::Code::InvalidArgument, "etcdserver: key is not provided"),
            "etcdserver: key is not provided"
        );
        assert_eq!(
            refused(tonic::Code::Unimplemented, "unknown service x"),
            "rpc error: code = Unimplemented desc = unknown service x"
        );
        assert_eq!(Failure::TimedOut.to_string(), "context deadline exceeded");
        assert_eq!(
            refused(
                tonic::Code::OutOfRange,
                "Error, decoded message length too large: found 9 bytes, the limit is: 5 bytes"
            ),
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (9 vs. 5)"
        );
    }

    #[test]
    fn endpoints_with_and_without_a_scheme() {
        for (endpoint, expected) in
            [("h:1", "http://h:1"), ("http://h:1", "http://h:1"), ("unix:///s", "unix:///s")]
        {
            assert_eq!(address(endpoint), expected);
        }
    }
}
