//! DeleteRange.

use api::etcdserverpb::{DeleteRangeRequest, ResponseHeader};
use bytes::BytesMut;
use engine::{KeyRange, Write};

use crate::kv::{Failure, append_record};
use crate::metrics::Operations;
use crate::wire;

// Fields of DeleteRangeResponse.
const HEADER: u32 = 1;
const DELETED: u32 = 2;
const PREV_KVS: u32 = 3;

/// Deletes, and appends the `DeleteRangeResponse`.
pub(super) fn execute(
    write: &mut Write<'_>,
    request: &DeleteRangeRequest,
    header: ResponseHeader,
    counted: &mut Operations,
    out: Option<&mut BytesMut>,
) -> Result<(), Failure> {
    counted.deletes += 1;
    counted.ranges += u64::from(request.prev_kv);
    let wants_previous = request.prev_kv && out.is_some();
    let mut keys = Vec::new();
    let mut previous = BytesMut::new();
    if request.range_end.is_empty() {
        if let Some(item) = write.view_current().get(&request.key, 0)? {
            keys.push(request.key.clone());
            if wants_previous {
                append_record(&mut previous, PREV_KVS, item.record()?);
            }
        }
    } else {
        let range = KeyRange::from_etcd(request.key.clone(), request.range_end.clone());
        let mut found = write.view_current().range(&range, 0);
        while let Some(item) = found.try_next()? {
            keys.push(item.key.to_vec().into());
            if wants_previous {
                append_record(&mut previous, PREV_KVS, item.record()?);
            }
        }
    }
    for key in &keys {
        write.delete(key)?;
    }
    if let Some(out) = out {
        wire::message(out, HEADER, &ResponseHeader { revision: write.current_revision(), ..header });
        wire::int64(out, DELETED, keys.len() as i64);
        out.extend_from_slice(&previous);
    }
    Ok(())
}
