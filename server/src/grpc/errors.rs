//! etcd's declared errors (`rpctypes`): code and text, letter for letter.
//!
//! The names are etcd's without the prefix `ErrGRPC`. What maps an internal error to one of these lives with the
//! code that raises it; the wire form has this one home.

use super::status::{Code, Status};

/// `ErrGRPCEmptyKey`.
pub const EMPTY_KEY: Status = Status::fixed(Code::InvalidArgument, "etcdserver: key is not provided");
/// `ErrGRPCKeyNotFound`.
pub const KEY_NOT_FOUND: Status = Status::fixed(Code::InvalidArgument, "etcdserver: key not found");
/// `ErrGRPCValueProvided`.
pub const VALUE_PROVIDED: Status = Status::fixed(Code::InvalidArgument, "etcdserver: value is provided");
/// `ErrGRPCLeaseProvided`.
pub const LEASE_PROVIDED: Status = Status::fixed(Code::InvalidArgument, "etcdserver: lease is provided");
/// `ErrGRPCTooManyOps`.
pub const TOO_MANY_OPS: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: too many operations in txn request");
/// `ErrGRPCDuplicateKey`.
pub const DUPLICATE_KEY: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: duplicate key given in txn request");
/// `ErrGRPCInvalidClientAPIVersion`.
pub const INVALID_CLIENT_API_VERSION: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: invalid client api version");
/// `ErrGRPCInvalidSortOption`.
pub const INVALID_SORT_OPTION: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: invalid sort option");
/// `ErrGRPCCompacted`.
pub const COMPACTED: Status =
    Status::fixed(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
/// `ErrGRPCFutureRev`.
pub const FUTURE_REV: Status =
    Status::fixed(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
/// `ErrGRPCNoSpace`.
pub const NO_SPACE: Status =
    Status::fixed(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
/// Not etcd's, which has no such state: damage was found in the log, and for the time that it takes to store the state and
/// to begin a new log nothing is taken that changes anything.
pub const LOG_DAMAGED: Status =
    Status::fixed(Code::Unavailable, "etcdserver: the log is damaged, it is being replaced");
/// `ErrGRPCLeaseNotFound`.
pub const LEASE_NOT_FOUND: Status = Status::fixed(Code::NotFound, "etcdserver: requested lease not found");
/// `ErrGRPCLeaseExist`.
pub const LEASE_EXIST: Status = Status::fixed(Code::FailedPrecondition, "etcdserver: lease already exists");
/// `ErrGRPCLeaseTTLTooLarge`.
pub const LEASE_TTL_TOO_LARGE: Status = Status::fixed(Code::OutOfRange, "etcdserver: too large lease TTL");
/// `ErrGRPCWatchCanceled`.
pub const WATCH_CANCELED: Status = Status::fixed(Code::Canceled, "etcdserver: watch canceled");
/// `ErrGRPCMemberExist`.
pub const MEMBER_EXIST: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: member ID already exist");
/// `ErrGRPCPeerURLExist`.
pub const PEER_URL_EXIST: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: Peer URLs already exists");
/// `ErrGRPCMemberNotEnoughStarted`.
pub const MEMBER_NOT_ENOUGH_STARTED: Status =
    Status::fixed(Code::Unknown, "etcdserver: re-configuration failed due to not enough started members");
/// `ErrGRPCMemberBadURLs`.
pub const MEMBER_BAD_URLS: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: given member URLs are invalid");
/// `ErrGRPCMemberNotFound`.
pub const MEMBER_NOT_FOUND: Status = Status::fixed(Code::NotFound, "etcdserver: member not found");
/// `ErrGRPCMemberNotLearner`.
pub const MEMBER_NOT_LEARNER: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: can only promote a learner member");
/// `ErrGRPCLearnerNotReady`.
pub const LEARNER_NOT_READY: Status = Status::fixed(
    Code::FailedPrecondition,
    "etcdserver: can only promote a learner member which is in sync with leader",
);
/// `ErrGRPCTooManyLearners`.
pub const TOO_MANY_LEARNERS: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: too many learner members in cluster");
/// `ErrGRPCClusterIDMismatch`.
pub const CLUSTER_ID_MISMATCH: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: cluster ID mismatch");
/// `ErrGRPCRequestTooLarge`.
pub const REQUEST_TOO_LARGE: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: request is too large");
/// `ErrGRPCRequestTooManyRequests`.
pub const REQUEST_TOO_MANY_REQUESTS: Status = Status::fixed(Code::Unknown, "etcdserver: too many requests");
/// `ErrGRPCRootUserNotExist`.
pub const ROOT_USER_NOT_EXIST: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: root user does not exist");
/// `ErrGRPCRootRoleNotExist`.
pub const ROOT_ROLE_NOT_EXIST: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: root user does not have root role");
/// `ErrGRPCUserAlreadyExist`.
pub const USER_ALREADY_EXIST: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: user name already exists");
/// `ErrGRPCUserEmpty`.
pub const USER_EMPTY: Status = Status::fixed(Code::InvalidArgument, "etcdserver: user name is empty");
/// `ErrGRPCUserNotFound`.
pub const USER_NOT_FOUND: Status = Status::fixed(Code::FailedPrecondition, "etcdserver: user name not found");
/// `ErrGRPCRoleAlreadyExist`.
pub const ROLE_ALREADY_EXIST: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: role name already exists");
/// `ErrGRPCRoleNotFound`.
pub const ROLE_NOT_FOUND: Status = Status::fixed(Code::FailedPrecondition, "etcdserver: role name not found");
/// `ErrGRPCRoleEmpty`.
pub const ROLE_EMPTY: Status = Status::fixed(Code::InvalidArgument, "etcdserver: role name is empty");
/// `ErrGRPCAuthFailed`.
pub const AUTH_FAILED: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password");
/// `ErrGRPCPermissionNotGiven`.
pub const PERMISSION_NOT_GIVEN: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: permission not given");
/// `ErrGRPCPermissionDenied`.
pub const PERMISSION_DENIED: Status = Status::fixed(Code::PermissionDenied, "etcdserver: permission denied");
/// `ErrGRPCRoleNotGranted`.
pub const ROLE_NOT_GRANTED: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: role is not granted to the user");
/// `ErrGRPCPermissionNotGranted`.
pub const PERMISSION_NOT_GRANTED: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: permission is not granted to the role");
/// `ErrGRPCAuthNotEnabled`.
pub const AUTH_NOT_ENABLED: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: authentication is not enabled");
/// `ErrGRPCInvalidAuthToken`.
pub const INVALID_AUTH_TOKEN: Status = Status::fixed(Code::Unauthenticated, "etcdserver: invalid auth token");
/// `ErrGRPCInvalidAuthMgmt`.
pub const INVALID_AUTH_MGMT: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: invalid auth management");
/// `ErrGRPCAuthOldRevision`.
pub const AUTH_OLD_REVISION: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: revision of auth store is old");
/// `ErrGRPCNoLeader`.
pub const NO_LEADER: Status = Status::fixed(Code::Unavailable, "etcdserver: no leader");
/// `ErrGRPCNotLeader`.
pub const NOT_LEADER: Status = Status::fixed(Code::FailedPrecondition, "etcdserver: not leader");
/// `ErrGRPCLeaderChanged`.
pub const LEADER_CHANGED: Status = Status::fixed(Code::Unavailable, "etcdserver: leader changed");
/// `ErrGRPCNotCapable`.
pub const NOT_CAPABLE: Status = Status::fixed(Code::FailedPrecondition, "etcdserver: not capable");
/// `ErrGRPCStopped`.
pub const STOPPED: Status = Status::fixed(Code::Unavailable, "etcdserver: server stopped");
/// `ErrGRPCTimeout`.
pub const TIMEOUT: Status = Status::fixed(Code::Unavailable, "etcdserver: request timed out");
/// `ErrGRPCTimeoutDueToLeaderFail`.
pub const TIMEOUT_DUE_TO_LEADER_FAIL: Status = Status::fixed(
    Code::Unavailable,
    "etcdserver: request timed out, possibly due to previous leader failure",
);
/// `ErrGRPCTimeoutDueToConnectionLost`.
pub const TIMEOUT_DUE_TO_CONNECTION_LOST: Status =
    Status::fixed(Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost");
/// `ErrGRPCTimeoutWaitAppliedIndex`.
pub const TIMEOUT_WAIT_APPLIED_INDEX: Status = Status::fixed(
    Code::Unavailable,
    "etcdserver: request timed out, waiting for the applied index took too long",
);
/// `ErrGRPCUnhealthy`.
pub const UNHEALTHY: Status = Status::fixed(Code::Unavailable, "etcdserver: unhealthy cluster");
/// `ErrGRPCCorrupt`.
pub const CORRUPT: Status = Status::fixed(Code::DataLoss, "etcdserver: corrupt cluster");
/// `ErrGRPCNotSupportedForLearner`.
pub const NOT_SUPPORTED_FOR_LEARNER: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: rpc not supported for learner");
/// `ErrGRPCBadLeaderTransferee`.
pub const BAD_LEADER_TRANSFEREE: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: bad leader transferee");
/// `ErrGRPCWrongDowngradeVersionFormat`.
pub const WRONG_DOWNGRADE_VERSION_FORMAT: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: wrong downgrade target version format");
/// `ErrGRPCInvalidDowngradeTargetVersion`.
pub const INVALID_DOWNGRADE_TARGET_VERSION: Status =
    Status::fixed(Code::InvalidArgument, "etcdserver: invalid downgrade target version");
/// `ErrGRPCClusterVersionUnavailable`.
pub const CLUSTER_VERSION_UNAVAILABLE: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: cluster version not found during downgrade");
/// `ErrGRPCDowngradeInProcess`.
pub const DOWNGRADE_IN_PROCESS: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress");
/// `ErrGRPCNoInflightDowngrade`.
pub const NO_INFLIGHT_DOWNGRADE: Status =
    Status::fixed(Code::FailedPrecondition, "etcdserver: no inflight downgrade job");
/// `ErrGRPCCanceled`.
pub const CANCELED: Status = Status::fixed(Code::Canceled, "etcdserver: request canceled");
/// `ErrGRPCDeadlineExceeded`.
pub const DEADLINE_EXCEEDED: Status =
    Status::fixed(Code::DeadlineExceeded, "etcdserver: context deadline exceeded");
