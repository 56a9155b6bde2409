//! Every numeric bound of the server, and what must hold between them.

/// Largest value of `--max-request-bytes`: a log segment must be able to carry the entry.
pub(crate) const LARGEST_REQUEST_BYTES: usize = 31 * 1024 * 1024;

/// Length of a log segment.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// gRPC messages may exceed `--max-request-bytes` by this much, as in etcd.
pub(crate) const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// Most network threads.
pub(crate) const MOST_LOOPS: usize = 256;

// Half a segment, less what log and replication add to an entry.
const _: () = assert!(2 * (LARGEST_REQUEST_BYTES as u64 + 64 * 1024) <= SEGMENT_BYTES);
const _: () = assert!(LARGEST_REQUEST_BYTES + GRPC_OVERHEAD_BYTES < u32::MAX as usize);
