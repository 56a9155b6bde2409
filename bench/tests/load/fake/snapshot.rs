//! The fake's snapshots: bytes of no meaning, cut as etcd cuts a database.

use std::sync::atomic::Ordering;

use api::etcdserverpb::SnapshotResponse;
use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{State, framed, success};

/// What can be wrong with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A byte of it is another one.
    Flip,
    /// A piece is missing.
    Gap,
    /// It ends without the hash.
    NoHash,
    /// The server streams none.
    Unknown,
}

/// Of one snapshot, without its hash.
pub(crate) const SNAPSHOT_BYTES: usize = 300_000;
const PIECE: usize = 32 << 10;

/// Streams one.
pub(super) async fn stream(mut respond: SendResponse<Bytes>, state: &State) {
    let head = Response::builder().header("content-type", "application/grpc");
    let number = state.snapshots.fetch_add(1, Ordering::Relaxed);
    let fault = state.faults.snapshot.filter(|fault| number % 2 == 1 || *fault == Fault::Unknown);
    if fault == Some(Fault::Unknown) {
        let head = head.header("grpc-status", "12").header("grpc-message", "unknown method Snapshot");
        let _ = respond.send_response(head.body(()).unwrap(), true);
        return;
    }
    let Ok(mut send) = respond.send_response(head.body(()).unwrap(), false) else { return };
    let database: Vec<u8> = (0..SNAPSHOT_BYTES as u64).map(|at| (at * at % 251 + number) as u8).collect();
    let mut left = database.len();
    let mut say = |remaining: usize, blob: &[u8]| {
        let message = SnapshotResponse {
            header: state.now(),
            remaining_bytes: remaining as u64,
            blob: blob.to_vec().into(),
            version: "3.7.0".to_owned(),
        };
        let _ = send.send_data(framed(&message.encode_to_vec()), false);
    };
    for (at, piece) in database.chunks(PIECE).enumerate() {
        left -= piece.len();
        let mut piece = piece.to_vec();
        match fault {
            Some(Fault::Flip) if at == 2 => piece[77] ^= 1,
            Some(Fault::Gap) if at == 2 => continue,
            _ => {}
        }
        say(left, &piece);
    }
    if fault != Some(Fault::NoHash) {
        say(0, &Sha256::digest(&database));
    }
    let _ = send.send_trailers(success());
}
