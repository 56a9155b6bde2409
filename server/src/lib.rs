//! A member: gRPC front end, etcd's semantics, watch, leases.

pub mod grpc;
pub mod http;
pub mod loops;
pub mod metrics;
