//! Deletes what the load has put there: over a connection of its own, because those of the load may be busy or gone.

use api::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse, LeaseRevokeRequest, LeaseRevokeResponse};
use bytes::Bytes;
use prost::Message;

use super::resource::{Resource, end_of};
use crate::client::{Client, Failure, Lean, Method, Target, ask};

/// How often a refused call is made.
const ATTEMPTS: usize = 3;

/// Revokes the leases and deletes the objects. A server that is gone, or refuses, keeps the rest: there is nobody to tell
/// who has not been told by the load itself.
pub(super) fn clean(target: &Target, root: &str, leases: &[i64], mark: &Bytes) {
    if let Ok(mut wire) = Lean::connect(target, 1) {
        let _ = remove(&mut wire, root, leases, mark);
    }
}

fn remove(wire: &mut dyn Client, root: &str, leases: &[i64], mark: &Bytes) -> Result<(), Failure> {
    for id in leases {
        // One that has run out is not there any more.
        insist::<LeaseRevokeResponse>(wire, Method::LeaseRevoke, &LeaseRevokeRequest { id: *id })?;
    }
    let parts = Resource::ALL.iter().flat_map(|resource| resource.parts(root));
    let ranges = parts.map(|part| (Bytes::copy_from_slice(part.as_bytes()), end_of(&part)));
    for (key, range_end) in ranges.chain([(mark.clone(), Bytes::new())]) {
        let request = DeleteRangeRequest { key, range_end, prev_kv: false };
        insist::<DeleteRangeResponse>(wire, Method::DeleteRange, &request)?;
    }
    Ok(())
}

/// Asks again where a server refuses, as it may when it is busy, but goes on if it insists.
fn insist<A: Message + Default>(
    wire: &mut dyn Client,
    method: Method,
    request: &impl Message,
) -> Result<(), Failure> {
    for _ in 0..ATTEMPTS {
        match ask::<A>(wire, 0, method, request) {
            Err(Failure::Status { .. }) => {}
            ended => return ended.map(drop),
        }
    }
    Ok(())
}
