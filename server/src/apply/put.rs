//! Put.

use api::etcdserverpb::{PutRequest, ResponseHeader};
use bytes::BytesMut;
use engine::{Contents, SystemBucket, Write};

use crate::grpc::{self, Status};
use crate::kv::{Failure, append_record};
use crate::metrics::Operations;
use crate::wire;

// Fields of PutResponse.
const HEADER: u32 = 1;
const PREV_KV: u32 = 2;

/// What is refused before anything is written: an unknown lease, and nothing there to keep a value or lease of.
pub(super) fn check(
    contents: Contents<'_>,
    request: &PutRequest,
    counted: &mut Operations,
) -> Result<(), Failure> {
    if request.lease != 0 && !lease_exists(contents, request.lease)? {
        return Err(grpc::LEASE_NOT_FOUND.into());
    }
    counted.ranges += u64::from(looks_back(request));
    if (request.ignore_value || request.ignore_lease) && contents.get(&request.key, 0)?.is_none() {
        return Err(grpc::KEY_NOT_FOUND.into());
    }
    Ok(())
}

/// Whether the put has to know what was there before.
pub(super) fn looks_back(request: &PutRequest) -> bool {
    request.ignore_value || request.ignore_lease || request.prev_kv
}

pub(super) fn lease_exists(contents: Contents<'_>, id: i64) -> Result<bool, engine::Error> {
    Ok(contents.system_get(SystemBucket::Lease, &id.to_be_bytes())?.is_some())
}

/// Writes, and appends the `PutResponse`. `check` has passed.
pub(super) fn execute(
    write: &mut Write<'_>,
    request: &PutRequest,
    header: ResponseHeader,
    counted: &mut Operations,
    mut out: Option<&mut BytesMut>,
) -> Result<(), Failure> {
    let header = ResponseHeader { revision: write.start_revision() + 1, ..header };
    if let Some(out) = out.as_deref_mut() {
        wire::message(out, HEADER, &header);
    }
    let mut kept = None;
    let mut lease = request.lease;
    if looks_back(request) {
        match write.view_current().get(&request.key, 0)? {
            Some(prev) => {
                if request.ignore_value {
                    kept = Some(prev.value()?.to_vec());
                }
                if request.ignore_lease {
                    lease = prev.head.lease;
                }
                if let (true, Some(out)) = (request.prev_kv, out) {
                    append_record(out, PREV_KV, prev.record()?);
                }
            }
            // Only reached when an earlier operation of the same transaction deleted the key.
            None if request.ignore_value || request.ignore_lease => return Err(gone_meanwhile().into()),
            None => {}
        }
    }
    let value = kept.as_deref().unwrap_or(&request.value);
    counted.puts += 1;
    counted.put_bytes += (request.key.len() + value.len()) as u64;
    write.put(&request.key, value, lease)?;
    Ok(())
}

fn gone_meanwhile() -> Status {
    grpc::KEY_NOT_FOUND
}
