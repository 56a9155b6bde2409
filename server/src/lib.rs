//! A member: gRPC front end, etcd's semantics, watch, leases.
