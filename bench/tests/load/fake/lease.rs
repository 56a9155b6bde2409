//! The fake's leases. They live until they are revoked: time is not kept.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
    LeaseRevokeResponse,
};
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::Response;
use prost::Message;

use super::{Refusal, State, framed, success};

pub(super) const NOT_FOUND: Refusal = ("5", "etcdserver: requested lease not found");

/// What can be wrong with an answer about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Granted with another number.
    OtherId,
    /// Granted for less time.
    ShortGrant,
    /// Kept alive for another time.
    OtherTtl,
    /// Kept alive is somebody else's.
    Stranger,
    /// Gone long before its time.
    Expired,
    /// The stream of keep-alives is ended.
    StreamEnds,
}

/// By number, for how many seconds.
#[derive(Default)]
pub(super) struct Leases {
    live: Mutex<BTreeMap<i64, i64>>,
    granted: AtomicU64,
    kept: AtomicU64,
}

impl Leases {
    pub(super) fn exists(&self, id: i64) -> bool {
        self.live.lock().unwrap().contains_key(&id)
    }

    pub(super) fn count(&self) -> (usize, u64) {
        (self.live.lock().unwrap().len(), self.granted.load(Ordering::Relaxed))
    }
}

impl State {
    fn lease_fault(&self, count: u64) -> Option<Fault> {
        self.faults.lease.filter(|(_, often)| count.is_multiple_of(*often)).map(|(fault, _)| fault)
    }

    pub(super) fn grant(&self, request: &[u8], asked: u64) -> Result<Vec<u8>, Refusal> {
        let LeaseGrantRequest { ttl, id } = LeaseGrantRequest::decode(request).unwrap();
        assert!(ttl > 0 && id >= 0, "a lease for {ttl} s with number {id}");
        // Without a number the server finds one.
        let id = if id == 0 { asked as i64 | 1 << 50 } else { id };
        let fault = self.lease_fault(asked);
        let id = if fault == Some(Fault::OtherId) { id ^ 1 << 61 } else { id };
        let ttl = if fault == Some(Fault::ShortGrant) { ttl - 1 } else { ttl };
        let before = self.leases.live.lock().unwrap().insert(id, ttl);
        assert_eq!(before, None, "nobody asks for one number twice");
        self.leases.granted.fetch_add(1, Ordering::Relaxed);
        Ok(LeaseGrantResponse { header: self.now(), id, ttl, error: String::new() }.encode_to_vec())
    }

    pub(super) fn revoke(&self, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        let LeaseRevokeRequest { id } = LeaseRevokeRequest::decode(request).unwrap();
        self.leases.live.lock().unwrap().remove(&id).ok_or(NOT_FOUND)?;
        self.delete_of_lease(id);
        Ok(LeaseRevokeResponse { header: self.now() }.encode_to_vec())
    }
}

/// Answers every keep-alive of a stream until the client ends it.
pub(super) async fn keep_alive(mut body: RecvStream, mut respond: SendResponse<Bytes>, state: &State) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut send) = respond.send_response(head, false) else { return };
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let Ok(chunk) = chunk else { return };
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
        while bytes.len() >= 5 {
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            if bytes.len() < 5 + length {
                break;
            }
            bytes.advance(5);
            let LeaseKeepAliveRequest { id } = LeaseKeepAliveRequest::decode(bytes.split_to(length)).unwrap();
            let kept = state.leases.kept.fetch_add(1, Ordering::Relaxed) + 1;
            let ttl = state.leases.live.lock().unwrap().get(&id).copied().unwrap_or(0);
            let (id, ttl) = match state.lease_fault(kept) {
                Some(Fault::OtherTtl) => (id, ttl + 1),
                Some(Fault::Stranger) => (id ^ 1 << 60, ttl),
                Some(Fault::Expired) => (id, 0),
                Some(Fault::StreamEnds) => {
                    let _ = send.send_trailers(success());
                    return;
                }
                _ => (id, ttl),
            };
            let answer = LeaseKeepAliveResponse { header: state.now(), id, ttl };
            if send.send_data(framed(&answer.encode_to_vec()), false).is_err() {
                return;
            }
        }
    }
    let _ = send.send_trailers(success());
}
