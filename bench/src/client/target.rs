//! Which servers, and who asks.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::error::{Error, Result};

/// How long a server may take to take a connection, and then to say its first word.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Where one server listens for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As it was written; without a scheme the other flags decide.
    pub(crate) tls: Option<bool>,
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Endpoint> {
        let wrong = || {
            let what = "is no endpoint; write HOST:PORT, http://HOST:PORT or https://HOST:PORT";
            Error::Usage(format!("--endpoints {text:?} {what}"))
        };
        let (tls, place) = match text.split_once("://") {
            Some(("http", place)) => (Some(false), place),
            Some(("https", place)) => (Some(true), place),
            Some(_) => return Err(wrong()),
            None => (None, text),
        };
        let (host, port) = place.strip_suffix('/').unwrap_or(place).rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let colon = bare.is_none() && host.contains(':');
        let host = bare.unwrap_or(host);
        if host.is_empty() || colon || host.contains(|c: char| c == '/' || c == '@' || !c.is_ascii_graphic())
        {
            return Err(wrong());
        }
        Ok(Endpoint { host: host.to_owned(), port: port.parse().map_err(|_| wrong())?, tls })
    }
}

impl Endpoint {
    /// As in `:authority`.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A name and its password.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// Everything connections need to know.
#[derive(Clone)]
pub(crate) struct Target {
    /// Connections go to each of them in turn.
    pub(crate) endpoints: Vec<Endpoint>,
    /// With TLS, and how.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What `Authenticate` gave.
    pub(crate) token: Option<Arc<str>>,
}

impl Target {
    /// The endpoint of a connection.
    pub(crate) fn endpoint(&self, connection: usize) -> &Endpoint {
        &self.endpoints[connection % self.endpoints.len()]
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// As messages name the server of a connection.
    pub(crate) fn name(&self, connection: usize) -> String {
        format!("{}://{}", self.scheme(), self.endpoint(connection))
    }

    /// A TCP connection to an endpoint's first address that takes one.
    pub(super) fn dial(&self, connection: usize) -> Result<TcpStream> {
        let endpoint = self.endpoint(connection);
        let failed = |error: std::io::Error| {
            let what = "is a server running there, and is the port its client port?";
            Error::Usage(format!("cannot reach {}: {error}; {what}", self.name(connection)))
        };
        let addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(failed)?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let mut last = std::io::Error::other("its name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    // Calls are gathered before they are sent; the system has nothing left to gather.
                    stream.set_nodelay(true).map_err(failed)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Endpoint>().map(|one| (one.authority(), one.tls)).ok();
        assert_eq!(read("127.0.0.1:2379"), Some(("127.0.0.1:2379".to_owned(), None)));
        assert_eq!(read("http://etcd-0:2379/"), Some(("etcd-0:2379".to_owned(), Some(false))));
        assert_eq!(read("https://[::1]:1"), Some(("[::1]:1".to_owned(), Some(true))));
        for wrong in ["", "x", ":1", "x:", "x:99999", "ftp://x:1", "::1:2379", "http://u@x:1", "x:1/y"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
