//! May this caller do that? One function, one answer, for every RPC.
//!
//! Each RPC says what it is about to do as an [`Access`] before anything is read or proposed. Authentication can't
//! be enabled in this version, so whoever reaches the member may do everything; what will refuse stands here and
//! nowhere else.

use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};

use crate::grpc::{Metadata, Status};

/// What a call touches.
#[derive(Clone, Copy, Debug)]
pub enum Access<'r> {
    /// Reads keys.
    Range(&'r RangeRequest),
    /// Writes a key, and reads it if it asks for the previous value.
    Put(&'r PutRequest),
    /// Deletes keys, and reads them if it asks for the previous values.
    DeleteRange(&'r DeleteRangeRequest),
    /// Everything in both branches, at any depth, and every compare.
    Txn(&'r TxnRequest),
    /// Writes every key attached to a lease.
    Lease(i64),
    /// Reads the names of the keys attached to a lease.
    LeaseKeys(i64),
    /// Needs to be somebody.
    Identity,
    /// Needs the root role.
    Admin,
    /// Open to all.
    Open,
}

/// Decides one access.
pub fn authorise(caller: &Metadata, access: Access<'_>) -> Result<(), Status> {
    tracing::trace!(identified = caller.token().is_some(), ?access, "authorise");
    Ok(())
}
