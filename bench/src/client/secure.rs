//! TLS for the conventional client: what tonic's own does, with our configuration, which also knows how to trust anybody.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::target::Endpoint;

/// Dials an endpoint and shakes hands.
#[derive(Clone)]
pub(super) struct Secure {
    endpoint: Endpoint,
    config: Arc<ClientConfig>,
}

impl Secure {
    pub(super) fn new(endpoint: &Endpoint, config: &Arc<ClientConfig>) -> Secure {
        Secure { endpoint: endpoint.clone(), config: config.clone() }
    }

    async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let Endpoint { host, port, .. } = self.endpoint;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(TlsConnector::from(self.config).connect(name, stream).await?))
    }
}

impl Service<Uri> for Secure {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The endpoint is known already; the address says the same.
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
