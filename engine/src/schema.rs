//! The buckets of a database file. A bucket's number is its place in the root table of the meta page: numbers
//! are never reused.

/// One ordered map of the file, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Bucket(pub(crate) u8);

/// Places in the root table; the format has room for this many buckets.
pub(crate) const BUCKETS: usize = 32;

/// User key -> head of its newest generation.
pub(crate) const KEYS: Bucket = Bucket(0);
/// First revision (main BE8, sub BE8) -> extent: the records from there on. Append-only but for compaction.
pub(crate) const REVISIONS: Bucket = Bucket(1);
/// Single values of the engine itself.
pub(crate) const META: Bucket = Bucket(2);
/// Lease id BE8 -> granted time to live.
pub(crate) const LEASE: Bucket = Bucket(3);
/// Lease id BE8 + user key -> nothing: which keys hang on a lease.
pub(crate) const LEASE_KEYS: Bucket = Bucket(4);
/// Member id -> member.
pub(crate) const MEMBERS: Bucket = Bucket(5);
/// Member ids that may not come back.
pub(crate) const MEMBERS_REMOVED: Bucket = Bucket(6);
/// Cluster version and settings.
pub(crate) const CLUSTER: Bucket = Bucket(7);
/// Raised alarms.
pub(crate) const ALARM: Bucket = Bucket(8);
/// Whether authentication is on, and its revision.
pub(crate) const AUTH: Bucket = Bucket(9);
/// User name -> user.
pub(crate) const AUTH_USERS: Bucket = Bucket(10);
/// Role name -> role.
pub(crate) const AUTH_ROLES: Bucket = Bucket(11);
/// First revision of an extent -> which of its records compaction has dropped; absent when none.
pub(crate) const DROPPED: Bucket = Bucket(12);

/// Every bucket with the name people know it by.
pub(crate) const ALL: [(Bucket, &str); 13] = [
    (KEYS, "keys"),
    (REVISIONS, "revisions"),
    (META, "meta"),
    (LEASE, "lease"),
    (LEASE_KEYS, "lease_keys"),
    (MEMBERS, "members"),
    (MEMBERS_REMOVED, "members_removed"),
    (CLUSTER, "cluster"),
    (ALARM, "alarm"),
    (AUTH, "auth"),
    (AUTH_USERS, "auth_users"),
    (AUTH_ROLES, "auth_roles"),
    (DROPPED, "dropped"),
];

const _: () = assert!(ALL.len() <= BUCKETS);

impl Bucket {
    /// The bucket's name, for messages.
    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(bucket, _)| *bucket == self).map_or("unknown", |(_, name)| name)
    }
}
