//! Everything a server serves, read through all of its ways to read.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use api::etcdserverpb::{
    LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, WatchCreateRequest, WatchRequest, watch_request,
};
use api::mvccpb::{Event, KeyValue};
use bytes::Bytes;
use tests::Clients;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Truth {
    revision: i64,
    compact_revision: i64,
    keys: Vec<KeyValue>,
    /// As they were at the compact revision: records from before it that nothing else shows.
    oldest: Vec<KeyValue>,
    /// Everything since the compact revision.
    history: Vec<Event>,
    leases: BTreeMap<i64, Vec<Bytes>>,
}

impl Truth {
    pub(crate) async fn of(endpoint: &str) -> anyhow::Result<Truth> {
        tokio::time::timeout(PATIENCE, read(endpoint)).await.context("it does not answer")?
    }
}

async fn read(endpoint: &str) -> anyhow::Result<Truth> {
    let mut clients = Clients::connect(endpoint).await?;
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let range = clients.kv.range(all).await?.into_inner();
    let revision = range.header.context("a header")?.revision;
    ensure!(range.count == range.kvs.len() as i64, "it counts {} of {} keys", range.count, range.kvs.len());
    let (compact_revision, history) = history(&mut clients, revision).await?;
    let then = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        revision: compact_revision.max(1),
        ..Default::default()
    };
    let oldest = clients.kv.range(then).await?.into_inner().kvs;
    let mut leases = BTreeMap::new();
    for lease in clients.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases {
        let ask = LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let mut keys = clients.lease.lease_time_to_live(ask).await?.into_inner().keys;
        keys.sort();
        leases.insert(lease.id, keys);
    }
    Ok(Truth { revision, compact_revision, keys: range.kvs, oldest, history, leases })
}

/// The compact revision, and every event after it.
async fn history(clients: &mut Clients, until: i64) -> anyhow::Result<(i64, Vec<Event>)> {
    let compact_revision = {
        let (_requests, mut responses) = watch(clients, 1).await?;
        let mut compacted = 0;
        while let Some(response) = responses.message().await? {
            if response.canceled {
                compacted = response.compact_revision;
                break;
            }
            if !response.created {
                break;
            }
        }
        compacted
    };
    let (_requests, mut responses) = watch(clients, compact_revision.max(1)).await?;
    let mut events: Vec<Event> = Vec::new();
    while events.last().and_then(|event| event.kv.as_ref()).map_or(0, |kv| kv.mod_revision) < until {
        let response = responses.message().await?.context("the watch ended")?;
        ensure!(!response.canceled, "the watch was canceled: {response:?}");
        events.extend(response.events);
    }
    Ok((compact_revision, events))
}

type Watching = (mpsc::Sender<WatchRequest>, tonic::Streaming<api::etcdserverpb::WatchResponse>);

async fn watch(clients: &mut Clients, start_revision: i64) -> anyhow::Result<Watching> {
    let (requests, outgoing) = mpsc::channel(4);
    let create =
        WatchCreateRequest { key: "\0".into(), range_end: "\0".into(), start_revision, ..Default::default() };
    let union = watch_request::RequestUnion::CreateRequest(create);
    requests.send(WatchRequest { request_union: Some(union) }).await?;
    let responses = clients.watch.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok((requests, responses))
}
