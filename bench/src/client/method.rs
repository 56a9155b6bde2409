//! The calls that loads are made of.

/// A method of etcd's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
    Watch,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    Status,
    Defragment,
    Snapshot,
    MemberList,
    Authenticate,
}

impl Method {
    /// How many there are.
    pub(super) const COUNT: usize = Method::Authenticate as usize + 1;

    /// As in the `:path` of a request.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Method::Range => "/etcdserverpb.KV/Range",
            Method::Put => "/etcdserverpb.KV/Put",
            Method::DeleteRange => "/etcdserverpb.KV/DeleteRange",
            Method::Txn => "/etcdserverpb.KV/Txn",
            Method::Compact => "/etcdserverpb.KV/Compact",
            Method::Watch => "/etcdserverpb.Watch/Watch",
            Method::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
            Method::LeaseRevoke => "/etcdserverpb.Lease/LeaseRevoke",
            Method::LeaseKeepAlive => "/etcdserverpb.Lease/LeaseKeepAlive",
            Method::LeaseTimeToLive => "/etcdserverpb.Lease/LeaseTimeToLive",
            Method::Status => "/etcdserverpb.Maintenance/Status",
            Method::Defragment => "/etcdserverpb.Maintenance/Defragment",
            Method::Snapshot => "/etcdserverpb.Maintenance/Snapshot",
            Method::MemberList => "/etcdserverpb.Cluster/MemberList",
            Method::Authenticate => "/etcdserverpb.Auth/Authenticate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let all = [
            Method::Range,
            Method::Put,
            Method::DeleteRange,
            Method::Txn,
            Method::Compact,
            Method::Watch,
            Method::LeaseGrant,
            Method::LeaseRevoke,
            Method::LeaseKeepAlive,
            Method::LeaseTimeToLive,
            Method::Status,
            Method::Defragment,
            Method::Snapshot,
            Method::MemberList,
            Method::Authenticate,
        ];
        assert_eq!(all.len(), Method::COUNT);
        for (at, method) in all.into_iter().enumerate() {
            assert_eq!(method as usize, at);
            assert!(api::METHODS.iter().any(|rpc| rpc.path == method.path()), "{}", method.path());
        }
    }
}
