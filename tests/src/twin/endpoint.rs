//! One of the two servers.

use std::time::Duration;

use anyhow::Context;
use api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseRevokeRequest,
    RangeRequest, RangeResponse, WatchCreateRequest,
};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::request::{Answer, Request};
use super::watching::WatchStream;
use crate::Clients;

/// No single answer takes longer, on however busy a machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Endpoint {
    clients: Clients,
    keep_alive: mpsc::Sender<LeaseKeepAliveRequest>,
    kept: Streaming<LeaseKeepAliveResponse>,
    pub(super) streams: Vec<WatchStream>,
}

impl Endpoint {
    pub(super) async fn connect(endpoint: &str, first: &[WatchCreateRequest]) -> anyhow::Result<Self> {
        let mut clients = Clients::connect(endpoint).await?;
        let (keep_alive, requests) = mpsc::channel(16);
        // etcd answers with headers only when there is a first message.
        keep_alive.send(LeaseKeepAliveRequest { id: 0x7fff_ffff_ffff }).await?;
        let mut kept = clients.lease.lease_keep_alive(ReceiverStream::new(requests)).await?.into_inner();
        kept.message().await?.context("the keep-alive stream ended at once")?;
        let mut opened = Vec::new();
        for request in first {
            opened.push(WatchStream::open(&mut clients.watch, request.clone()).await?);
        }
        Ok(Self { clients, keep_alive, kept, streams: opened })
    }

    /// Sends everything but watches.
    pub(super) async fn answer(&mut self, request: &Request) -> anyhow::Result<Answer> {
        match tokio::time::timeout(PATIENCE, self.send(request)).await {
            Ok(answer) => Ok(answer.unwrap_or_else(Answer::from)),
            Err(_) => anyhow::bail!("no answer after {PATIENCE:?}"),
        }
    }

    async fn send(&mut self, request: &Request) -> Result<Answer, tonic::Status> {
        let Clients { kv, lease, maintenance, .. } = &mut self.clients;
        Ok(match request.clone() {
            Request::Range(r) => Answer::Range(kv.range(r).await?.into_inner()),
            Request::RangeStream(r) => {
                let (whole, shaped) = self.range_stream(r).await?;
                Answer::RangeStream(whole, shaped)
            }
            Request::Put(r) => Answer::Put(kv.put(r).await?.into_inner()),
            Request::DeleteRange(r) => Answer::DeleteRange(kv.delete_range(r).await?.into_inner()),
            Request::Txn(r) => Answer::Txn(kv.txn(r).await?.into_inner()),
            Request::Compact(r) => Answer::Compact(kv.compact(r).await?.into_inner()),
            Request::LeaseGrant(r) => Answer::LeaseGrant(lease.lease_grant(r).await?.into_inner()),
            Request::LeaseRoundTrip(r) => self.round_trip(r).await?,
            Request::LeaseRevoke(r) => Answer::LeaseRevoke(lease.lease_revoke(r).await?.into_inner()),
            Request::LeaseTimeToLive(r) => {
                Answer::LeaseTimeToLive(lease.lease_time_to_live(r).await?.into_inner())
            }
            Request::LeaseLeases => {
                Answer::LeaseLeases(lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner())
            }
            Request::LeaseKeepAlive(id) => Answer::LeaseKeepAlive(self.keep(id).await?),
            Request::HashKv(r) => Answer::HashKv(maintenance.hash_kv(r).await?.into_inner()),
            Request::Watch(..) | Request::CancelWatch(..) | Request::Progress => {
                unreachable!("watches go through their streams")
            }
        })
    }

    async fn keep(&mut self, id: i64) -> Result<Option<LeaseKeepAliveResponse>, tonic::Status> {
        if self.keep_alive.send(LeaseKeepAliveRequest { id }).await.is_err() {
            return Ok(None);
        }
        self.kept.message().await
    }

    async fn round_trip(&mut self, request: LeaseGrantRequest) -> Result<Answer, tonic::Status> {
        let granted = self.clients.lease.lease_grant(request).await?.into_inner();
        let id = granted.id;
        let kept = self.keep(id).await?;
        let revoked = self.clients.lease.lease_revoke(LeaseRevokeRequest { id }).await?.into_inner();
        Ok(Answer::LeaseRoundTrip(granted, kept, revoked))
    }

    async fn range_stream(&mut self, request: RangeRequest) -> Result<(RangeResponse, bool), tonic::Status> {
        let mut stream = self.clients.kv.range_stream(request).await?.into_inner();
        let mut whole = RangeResponse::default();
        let mut shaped = true;
        let mut chunks = 0;
        while let Some(chunk) = stream.message().await? {
            let chunk = chunk.range_response.unwrap_or_default();
            // Header, more and count come with the last chunk and not before.
            shaped &= whole.header.is_none() && (chunks == 0 || !chunk.kvs.is_empty());
            whole.kvs.extend(chunk.kvs);
            (whole.header, whole.more, whole.count) = (chunk.header, chunk.more, chunk.count);
            chunks += 1;
        }
        Ok((whole, shaped && chunks > 0))
    }
}
