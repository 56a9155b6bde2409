//! Every numeric bound of the server, and what must hold between them.

/// Largest value of `--max-request-bytes`: one WAL frame and one gRPC message must be able to carry it.
pub(crate) const LARGEST_REQUEST_BYTES: usize = 512 * 1024 * 1024;

/// gRPC messages may exceed `--max-request-bytes` by this much, as in etcd.
pub(crate) const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// Most network threads.
pub(crate) const MOST_LOOPS: usize = 256;

const _: () = assert!(LARGEST_REQUEST_BYTES + GRPC_OVERHEAD_BYTES < u32::MAX as usize);
