//! The small buckets beside the keys: leases, members, alarms, users. Opaque to the engine.

use crate::schema::{self, Bucket};

/// A bucket whose entries the server names and encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemBucket {
    /// Single values.
    Meta,
    /// Granted leases.
    Lease,
    /// Members of the cluster.
    Members,
    /// Ids of removed members, which may not come back.
    MembersRemoved,
    /// Cluster version and settings.
    Cluster,
    /// Raised alarms.
    Alarm,
    /// Whether authentication is on, and its revision.
    Auth,
    /// Users.
    AuthUsers,
    /// Roles.
    AuthRoles,
}

impl SystemBucket {
    /// Every system bucket.
    pub const ALL: [SystemBucket; 9] = [
        SystemBucket::Meta,
        SystemBucket::Lease,
        SystemBucket::Members,
        SystemBucket::MembersRemoved,
        SystemBucket::Cluster,
        SystemBucket::Alarm,
        SystemBucket::Auth,
        SystemBucket::AuthUsers,
        SystemBucket::AuthRoles,
    ];

    pub(crate) fn bucket(self) -> Bucket {
        match self {
            SystemBucket::Meta => schema::META,
            SystemBucket::Lease => schema::LEASE,
            SystemBucket::Members => schema::MEMBERS,
            SystemBucket::MembersRemoved => schema::MEMBERS_REMOVED,
            SystemBucket::Cluster => schema::CLUSTER,
            SystemBucket::Alarm => schema::ALARM,
            SystemBucket::Auth => schema::AUTH,
            SystemBucket::AuthUsers => schema::AUTH_USERS,
            SystemBucket::AuthRoles => schema::AUTH_ROLES,
        }
    }
}
