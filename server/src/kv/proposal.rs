//! What goes through the log: an `InternalRaftRequest`, as etcd would write it.
//!
//! The request of the client becomes one field of it byte for byte, so that wrapping is a copy and unwrapping is
//! a slice.

use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field};
use replication::Room;

/// Field of `InternalRaftRequest` that holds the header.
const HEADER: u32 = 100;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $field:literal;)*) => {
        /// What a proposal asks for; the number is its field in `InternalRaftRequest`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])* $name = $field,)*
        }

        impl Operation {
            fn of(field: u32) -> Option<Operation> {
                match field { $($field => Some(Operation::$name),)* _ => None }
            }

            /// Whether it waits while the disk has no space. A transaction without puts need not.
            pub(crate) fn room(self) -> Room {
                match self {
                    Operation::Put | Operation::Txn | Operation::LeaseGrant => Room::Needs,
                    Operation::DeleteRange
                    | Operation::Compaction
                    | Operation::LeaseRevoke
                    | Operation::LeaseExpire
                    | Operation::Alarm
                    | Operation::ClusterVersionSet
                    | Operation::ClusterMemberAttrSet => Room::Frees,
                }
            }
        }
    };
}

operations! {
    /// `PutRequest`
    Put = 4;
    /// `DeleteRangeRequest`
    DeleteRange = 5;
    /// `TxnRequest`
    Txn = 6;
    /// `CompactionRequest`
    Compaction = 7;
    /// `LeaseGrantRequest`
    LeaseGrant = 8;
    /// `LeaseRevokeRequest`
    LeaseRevoke = 9;
    /// `AlarmRequest`
    Alarm = 10;
    /// `ClusterVersionSetRequest`
    ClusterVersionSet = 1300;
    /// `ClusterMemberAttrSetRequest`
    ClusterMemberAttrSet = 1301;
    /// [`crate::lease::ExpiredLease`]: the leader's own revocation. Not one of etcd's: it carries the leader's
    /// term, so that a leader of the past can't revoke what a later one has renewed.
    LeaseExpire = 20001;
}

/// A proposal taken out of the log.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Identifies it among the proposals of the cluster.
    pub id: u64,
    /// What is asked for.
    pub operation: Operation,
    /// The encoded request.
    pub body: Bytes,
}

impl Proposal {
    /// Wraps `request`, without copying it.
    pub fn wrap(id: u64, operation: Operation, request: &[u8]) -> impl Buf {
        let (mut key, mut header) = (Small::default(), Small::default());
        key.put(|out| {
            prost::encoding::encode_key(operation as u32, WireType::LengthDelimited, out);
            encode_varint(request.len() as u64, out);
        });
        header.put(|out| {
            prost::encoding::encode_key(HEADER, WireType::LengthDelimited, out);
            encode_varint(1 + prost::encoding::encoded_len_varint(id) as u64, out);
            prost::encoding::encode_key(1, WireType::Varint, out);
            encode_varint(id, out);
        });
        // Fields go in the order of their numbers.
        let (before, after) =
            if (operation as u32) < HEADER { (Small::default(), header) } else { (header, Small::default()) };
        before.into_buf().chain(key.into_buf()).chain(request).chain(after.into_buf())
    }

    /// Unwraps. `None` is a proposal of a kind that this version doesn't know.
    pub fn decode(mut bytes: Bytes) -> Result<Option<Proposal>, Malformed> {
        let mut id = 0;
        let mut found = None;
        while bytes.has_remaining() {
            let (field, wire_type) = decode_key(&mut bytes)?;
            if wire_type != WireType::LengthDelimited {
                skip_field(wire_type, field, &mut bytes, DecodeContext::default())?;
                continue;
            }
            let length = prost::decode_length_delimiter(&mut bytes)?;
            if length > bytes.len() {
                return Err(Malformed);
            }
            let contents = bytes.split_to(length);
            if field == HEADER {
                id = header_id(contents)?;
            } else if let Some(operation) = Operation::of(field) {
                found = Some((operation, contents));
            }
        }
        Ok(found.map(|(operation, body)| Proposal { id, operation, body }))
    }
}

/// A field's key and length, or the whole header.
#[derive(Default)]
struct Small {
    bytes: [u8; 16],
    length: usize,
}

impl Small {
    fn put(&mut self, write: impl FnOnce(&mut &mut [u8])) {
        let mut rest = &mut self.bytes[..];
        write(&mut rest);
        self.length = 16 - rest.len();
    }

    fn into_buf(self) -> impl Buf {
        Cursor::new(self.bytes).take(self.length)
    }
}

/// An entry that is no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry holds no proposal")]
pub struct Malformed;

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Malformed {
        Malformed
    }
}

fn header_id(mut header: Bytes) -> Result<u64, Malformed> {
    let mut id = 0;
    while header.has_remaining() {
        match decode_key(&mut header)? {
            (1, WireType::Varint) => id = decode_varint(&mut header)?,
            (field, wire_type) => skip_field(wire_type, field, &mut header, DecodeContext::default())?,
        }
    }
    Ok(id)
}

/// Numbers for proposals and leases: 2 bytes of the member's id, 5 of the start time in milliseconds, 1 and what
/// overflows it of a counter. Unique in the cluster as long as a member restarts less often than it counts.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    suffix: AtomicU64,
}

impl RequestIds {
    /// `since_epoch` is the time of the start.
    pub fn new(member: u64, since_epoch: Duration) -> RequestIds {
        let milliseconds = since_epoch.as_millis() as u64 & (u64::MAX >> 24);
        RequestIds { prefix: member << 48, suffix: AtomicU64::new(milliseconds << 8) }
    }

    /// The next one.
    pub fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.prefix | (suffix & (u64::MAX >> 16))
    }

    /// The next one that can be the id of a lease: positive.
    pub fn next_lease(&self) -> i64 {
        loop {
            let id = (self.next() & (u64::MAX >> 1)).cast_signed();
            if id != 0 {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::etcdserverpb::{InternalRaftRequest, PutRequest, RequestHeader};
    use prost::Message;

    #[test]
    fn a_proposal_is_an_internal_raft_request() {
        let put =
            PutRequest { key: Bytes::from_static(b"k"), value: vec![1; 300].into(), ..Default::default() };
        let request = put.encode_to_vec();
        let mut wrapped = Proposal::wrap(1 << 40, Operation::Put, &request);
        let bytes = wrapped.copy_to_bytes(wrapped.remaining());
        let same = InternalRaftRequest {
            header: Some(RequestHeader { id: 1 << 40, ..Default::default() }),
            put: Some(put.clone()),
            ..Default::default()
        };
        assert_eq!(bytes.len(), same.encoded_len());
        assert_eq!(InternalRaftRequest::decode(bytes.clone()).unwrap(), same);
        let back = Proposal::decode(same.encode_to_vec().into()).unwrap().unwrap();
        assert_eq!((back.id, back.operation), (1 << 40, Operation::Put));
        assert_eq!(PutRequest::decode(back.body).unwrap(), put);
    }

    #[test]
    fn damaged_or_foreign_proposals() {
        let mut wrapped = Proposal::wrap(7, Operation::ClusterVersionSet, b"\x0a\x053.7.0");
        let bytes = wrapped.copy_to_bytes(wrapped.remaining());
        for end in 1..bytes.len() {
            // Cut anywhere it is an error, or what is left is whole and has nothing to do.
            if let Ok(Some(found)) = Proposal::decode(bytes.slice(..end)) {
                panic!("{end}: {found:?}");
            }
        }
        assert!(Proposal::decode(Bytes::new()).unwrap().is_none());
        assert!(Proposal::decode(Bytes::from_static(b"\x9a\x71\x01x")).unwrap().is_none());
    }

    #[test]
    fn ids_differ_by_member_and_time() {
        let ids = RequestIds::new(0x1234_5678_9abc_def0, Duration::from_millis(5));
        let first = ids.next();
        assert_eq!(first, (0xdef0 << 48) | (5 << 8) | 1);
        assert_eq!(ids.next(), first + 1);
        assert!(ids.next_lease() > 0);
    }
}
