//! Plain gRPC clients of one server.

use anyhow::Context;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};

/// Opens one connection to `endpoint`, which is HOST:PORT.
pub async fn connect(endpoint: &str) -> anyhow::Result<Channel> {
    Endpoint::from_shared(format!("http://{endpoint}"))?
        .connect()
        .await
        .with_context(|| format!("cannot connect to {endpoint}"))
}

/// A client of each service the tests use, over one connection, that take answers of any size.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Keys.
    pub kv: KvClient<Channel>,
    /// Leases.
    pub lease: LeaseClient<Channel>,
    /// Watches.
    pub watch: WatchClient<Channel>,
    /// Status and hashes.
    pub maintenance: MaintenanceClient<Channel>,
}

impl Clients {
    /// Connects to `endpoint`, which is HOST:PORT.
    pub async fn connect(endpoint: &str) -> anyhow::Result<Self> {
        Ok(Self::over(connect(endpoint).await?))
    }

    /// The clients over a connection that exists.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            lease: LeaseClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            maintenance: MaintenanceClient::new(channel).max_decoding_message_size(usize::MAX),
        }
    }
}
