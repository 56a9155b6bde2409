//! Generated types of etcd's v3 API and of Graven's internal messages.
//!
//! One module for each protobuf package. Every `bytes` field is a [`bytes::Bytes`], so that a value decoded from
//! a request shares the request's buffer. With the feature `client` each service has its tonic client beside
//! its messages (`etcdserverpb::kv_client::KvClient` and so on); there are no server stubs, because the server
//! has its own gRPC front end.

/// One method of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// As in the HTTP/2 `:path`, for example `/etcdserverpb.KV/Range`.
    pub path: &'static str,
    /// The client may send more than one message.
    pub client_streaming: bool,
    /// The server may send more than one message.
    pub server_streaming: bool,
}

/// Every method of every service, taken from the `.proto` files.
pub const METHODS: &[Rpc] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The generated code of one package as a module.
macro_rules! package {
    ($(#[$doc:meta])* $module:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            rust_2018_idioms,
            clippy::all,
            clippy::allow_attributes_without_reason,
            reason = "generated; the .proto files hold the comments"
        )]
        pub mod $module {
            include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
        }
    };
}

package!(
    /// The services KV, Watch, Lease, Cluster, Maintenance and Auth, and what a proposal holds.
    etcdserverpb, "etcdserverpb");
package!(
    /// Key-value records and events.
    mvccpb, "mvccpb");
package!(
    /// Users, roles and permissions.
    authpb, "authpb");
package!(
    /// Membership requests in the log.
    membershippb, "membershippb");
package!(
    /// Stored leases.
    leasepb, "leasepb");
package!(
    /// The lock service.
    v3lockpb, "v3lockpb");
package!(
    /// The election service.
    v3electionpb, "v3electionpb");
package!(
    /// gRPC's health service, `grpc.health.v1`.
    health, "grpc.health.v1");
package!(
    /// Graven's own messages: raft transport and stored records.
    graven, "graven");
