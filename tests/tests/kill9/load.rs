//! 64 clients that write as fast as they are answered, each its own keys, and one that grants and revokes leases.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RequestOp, TxnRequest,
};
use bytes::Bytes;
use tests::{Clients, Dice};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::check::{Ack, State, Write};

const CLIENTS: usize = 64;
const CONNECTIONS: usize = 8;
const KEYS: usize = 12;
/// Leases that a put may attach to; the oldest is revoked when there are more.
const LEASES: usize = 6;
const TTL: i64 = 100_000;

/// A load that runs until the server dies.
pub(crate) struct Load {
    tasks: JoinSet<(Vec<Ack>, Option<Write>)>,
}

/// Starts the clients. Their choices follow from `dice`; how far each gets does not.
pub(crate) async fn start(
    endpoint: &str,
    base: &State,
    dice: &mut Dice,
    round: usize,
) -> anyhow::Result<Load> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Clients::connect(endpoint).await?);
    }
    let leases = Arc::new(Mutex::new(base.leases.keys().copied().collect::<Vec<_>>()));
    let mut tasks = JoinSet::new();
    tasks.spawn(lease_client(connections[0].clone(), leases.clone(), round));
    for client in 0..CLIENTS {
        let exists: BTreeMap<Bytes, bool> = (0..KEYS)
            .map(|n| Bytes::from(format!("{client:02}/{n:02}")))
            .map(|key| (key.clone(), base.keys.contains_key(&key)))
            .collect();
        let connection = connections[client % CONNECTIONS].clone();
        tasks.spawn(key_client(
            connection,
            leases.clone(),
            Dice::new(dice.any()),
            exists,
            format!("{round}.{client}"),
        ));
    }
    Ok(Load { tasks })
}

impl Load {
    /// Waits for all clients; call it after the kill. Returns what was acknowledged and what was under way.
    pub(crate) async fn finish(mut self) -> anyhow::Result<(Vec<Ack>, Vec<Write>)> {
        let (mut acks, mut pending) = (Vec::new(), Vec::new());
        while let Some(done) = self.tasks.join_next().await {
            let (acked, last) = done?;
            acks.extend(acked);
            pending.extend(last);
        }
        Ok((acks, pending))
    }
}

async fn key_client(
    mut clients: Clients,
    leases: Arc<Mutex<Vec<i64>>>,
    mut dice: Dice,
    mut exists: BTreeMap<Bytes, bool>,
    name: String,
) -> (Vec<Ack>, Option<Write>) {
    let mut acks = Vec::new();
    let keys: Vec<_> = exists.keys().cloned().collect();
    for sequence in 0.. {
        let key = dice.pick(&keys).clone();
        let length = dice.below(300);
        let value = Bytes::from([format!("{name}.{sequence} ").into_bytes(), vec![b'.'; length]].concat());
        let lease = if dice.once_in(6) {
            let known = leases.lock().await;
            if known.is_empty() { 0 } else { *dice.pick(&known) }
        } else {
            0
        };
        // A lease's revocation deletes keys behind this client's back; a delete of nothing has no revision then.
        let write = match dice.below(10) {
            0 if exists[&key] => Write::Delete(key),
            1 => {
                let other = keys.iter().find(|other| **other != key).cloned().unwrap_or_default();
                Write::Txn(vec![(key, value.clone(), lease), (other, value, 0)])
            }
            _ => Write::Put(key, value, lease),
        };
        match send(&mut clients, &write).await {
            Ok(Some(revision)) => {
                match &write {
                    Write::Delete(key) => _ = exists.insert(key.clone(), false),
                    Write::Put(key, ..) => _ = exists.insert(key.clone(), true),
                    Write::Txn(puts) => exists.extend(puts.iter().map(|(key, ..)| (key.clone(), true))),
                    Write::Grant(_) | Write::Revoke(_) => {}
                }
                acks.push(Ack { revision, write });
            }
            Ok(None) => {}
            // The lease was revoked in the meantime: the server said no, so nothing was written.
            Err(status) if status.code() == Code::NotFound => {}
            Err(_) => return (acks, Some(write)),
        }
    }
    unreachable!("the numbers do not end")
}

async fn lease_client(
    mut clients: Clients,
    leases: Arc<Mutex<Vec<i64>>>,
    round: usize,
) -> (Vec<Ack>, Option<Write>) {
    let mut acks = Vec::new();
    for sequence in 1.. {
        let crowded = {
            let mut known = leases.lock().await;
            if known.len() >= LEASES { Some(known.remove(0)) } else { None }
        };
        let write = match crowded {
            Some(id) => Write::Revoke(id),
            None => Write::Grant((round * 100_000_000 + sequence) as i64),
        };
        match send(&mut clients, &write).await {
            Ok(Some(revision)) => {
                if let Write::Grant(id) = write {
                    leases.lock().await.push(id);
                }
                acks.push(Ack { revision, write });
            }
            Ok(None) => {}
            Err(_) => return (acks, Some(write)),
        }
    }
    unreachable!("the numbers do not end")
}

/// The revision the server acknowledged the write with; nothing for a delete that found nothing.
async fn send(clients: &mut Clients, write: &Write) -> Result<Option<i64>, Status> {
    let put = |key: &Bytes, value: &Bytes, lease: i64| PutRequest {
        key: key.clone(),
        value: value.clone(),
        lease,
        ..Default::default()
    };
    let header = match write {
        Write::Put(key, value, lease) => clients.kv.put(put(key, value, *lease)).await?.into_inner().header,
        Write::Delete(key) => {
            let request = DeleteRangeRequest { key: key.clone(), ..Default::default() };
            let answer = clients.kv.delete_range(request).await?.into_inner();
            if answer.deleted == 0 {
                return Ok(None);
            }
            answer.header
        }
        Write::Txn(puts) => {
            let success = puts
                .iter()
                .map(|(key, value, lease)| RequestOp {
                    request: Some(Op::RequestPut(put(key, value, *lease))),
                })
                .collect();
            clients.kv.txn(TxnRequest { success, ..Default::default() }).await?.into_inner().header
        }
        Write::Grant(id) => {
            clients.lease.lease_grant(LeaseGrantRequest { ttl: TTL, id: *id }).await?.into_inner().header
        }
        Write::Revoke(id) => {
            clients.lease.lease_revoke(LeaseRevokeRequest { id: *id }).await?.into_inner().header
        }
    };
    Ok(Some(header.map_or(0, |header| header.revision)))
}
