//! What is sent, and what comes back.

use api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, HashKvRequest,
    HashKvResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchResponse,
};

/// One step of a twin run.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "named as etcd's RPCs")]
pub enum Request {
    Range(RangeRequest),
    RangeStream(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    LeaseGrant(LeaseGrantRequest),
    /// Grants a lease that would expire during the run (or whose id the server chooses), keeps it alive once and revokes it.
    LeaseRoundTrip(LeaseGrantRequest),
    LeaseRevoke(LeaseRevokeRequest),
    LeaseTimeToLive(LeaseTimeToLiveRequest),
    LeaseLeases,
    LeaseKeepAlive(i64),
    HashKv(HashKvRequest),
    /// On the watch stream of that number.
    Watch(usize, WatchCreateRequest),
    CancelWatch(usize, i64),
    /// A barrier, then a request for progress on the stream that has no watcher in the future.
    Progress,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "named as etcd's RPCs")]
pub enum Answer {
    Range(RangeResponse),
    /// All chunks put together, and whether only the last one had a header.
    RangeStream(RangeResponse, bool),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRoundTrip(LeaseGrantResponse, Option<LeaseKeepAliveResponse>, LeaseRevokeResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseTimeToLive(LeaseTimeToLiveResponse),
    LeaseLeases(LeaseLeasesResponse),
    LeaseKeepAlive(Option<LeaseKeepAliveResponse>),
    HashKv(HashKvResponse),
    /// Everything that is not an event.
    Watch(Vec<WatchResponse>),
    /// An error: code and text.
    Refused(i32, String),
}

impl Request {
    /// The name of the RPC, for counting.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Range(_) => "Range",
            Self::RangeStream(_) => "RangeStream",
            Self::Put(_) => "Put",
            Self::DeleteRange(_) => "DeleteRange",
            Self::Txn(_) => "Txn",
            Self::Compact(_) => "Compact",
            Self::LeaseGrant(_) => "LeaseGrant",
            Self::LeaseRoundTrip(_) => "LeaseGrant, KeepAlive, Revoke",
            Self::LeaseRevoke(_) => "LeaseRevoke",
            Self::LeaseTimeToLive(_) => "LeaseTimeToLive",
            Self::LeaseLeases => "LeaseLeases",
            Self::LeaseKeepAlive(_) => "LeaseKeepAlive",
            Self::HashKv(_) => "HashKV",
            Self::Watch(..) => "Watch create",
            Self::CancelWatch(..) => "Watch cancel",
            Self::Progress => "Watch progress",
        }
    }
}

impl From<tonic::Status> for Answer {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(i32::from(status.code()), status.message().to_owned())
    }
}
