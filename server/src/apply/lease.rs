//! Leases as the log has them: granted, revoked.

use api::etcdserverpb::{LeaseGrantRequest, LeaseGrantResponse};
use api::leasepb;
use engine::{Change, Store, SystemBucket};
use prost::Message;

use super::answer::{Answer, Desk};
use super::put::lease_exists;
use crate::grpc;
use crate::kv::Failure;
use crate::lease::{Lessor, MAX_TTL_SECONDS};
use crate::metrics::{Metrics, Operations};

/// Stores a lease and starts its time.
pub(super) fn grant(
    store: &mut Store,
    lessor: &Lessor,
    metrics: &Metrics,
    request: &LeaseGrantRequest,
    desk: &mut Desk<'_>,
) -> Result<Answer, Failure> {
    let (id, ttl) = (request.id, request.ttl);
    if id == 0 {
        return Err(grpc::LEASE_NOT_FOUND.into());
    }
    if ttl > MAX_TTL_SECONDS {
        return Err(grpc::LEASE_TTL_TOO_LARGE.into());
    }
    if lease_exists(store.contents(), id)? {
        return Err(grpc::LEASE_EXIST.into());
    }
    let record = leasepb::Lease { id, ttl, remaining_ttl: 0 };
    store.system_put(SystemBucket::Lease, &id.to_be_bytes(), &record.encode_to_vec())?;
    lessor.granted(id, ttl);
    metrics.debugging_lease_granted_total.inc();
    metrics.debugging_lease_ttl_total.observe(ttl as f64);
    let header = Some(desk.header(store.revision()));
    Ok(desk.message(&LeaseGrantResponse { header, id, ttl, error: String::new() }))
}

/// Removes a lease and every key attached to it, all in one revision, in key order.
pub(super) fn revoke(
    store: &mut Store,
    lessor: &Lessor,
    id: i64,
    counted: &mut Operations,
    changes: &mut Vec<Change>,
) -> Result<(), Failure> {
    if !lease_exists(store.contents(), id)? {
        return Err(grpc::LEASE_NOT_FOUND.into());
    }
    let keys = store.contents().lease_keys(id)?;
    let mut write = store.begin();
    for key in keys {
        counted.deletes += 1;
        write.delete(&key)?;
    }
    write.finish_into(changes)?;
    store.system_delete(SystemBucket::Lease, &id.to_be_bytes())?;
    lessor.revoked(id);
    Ok(())
}

/// Tells the lessor of every lease in the store.
pub(super) fn load(store: &Store, lessor: &Lessor) -> Result<(), engine::Error> {
    for (_, record) in store.contents().system_range(SystemBucket::Lease)? {
        if let Ok(lease) = leasepb::Lease::decode(record) {
            lessor.granted(lease.id, lease.ttl);
        }
    }
    Ok(())
}
