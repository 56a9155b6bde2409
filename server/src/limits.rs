//! Every numeric bound of the server, and what must hold between them.

/// Largest value of `--max-request-bytes`: a log segment must be able to carry the entry.
pub(crate) const LARGEST_REQUEST_BYTES: usize = 31 * 1024 * 1024;

/// Length of a log segment unless `--wal-segment-bytes` says otherwise.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Longest segment that may be asked for.
pub(crate) const LARGEST_SEGMENT_BYTES: u64 = 1 << 30;

/// Shortest segment that may be asked for.
const LEAST_SEGMENT_BYTES: u64 = 256 * 1024;

/// What log and replication add to an entry, at most.
const ENTRY_OVERHEAD_BYTES: u64 = 64 * 1024;

/// Shortest segment for requests of this size: half of it carries an entry.
pub(crate) const fn least_segment_bytes(max_request_bytes: usize) -> u64 {
    let bytes = (2 * (max_request_bytes as u64 + ENTRY_OVERHEAD_BYTES)).next_multiple_of(4096);
    if bytes < LEAST_SEGMENT_BYTES { LEAST_SEGMENT_BYTES } else { bytes }
}

/// Most bytes that share one entry: a half of the segment carries it, and requests are not made to wait for more.
pub(crate) fn batch_bytes(segment_bytes: u64) -> usize {
    (segment_bytes / 2 - ENTRY_OVERHEAD_BYTES).min(1 << 20) as usize
}

/// gRPC messages may exceed `--max-request-bytes` by this much, as in etcd.
pub(crate) const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// Most network threads.
pub(crate) const MOST_LOOPS: usize = 256;

const _: () = assert!(least_segment_bytes(LARGEST_REQUEST_BYTES) <= SEGMENT_BYTES);
const _: () = assert!(LARGEST_REQUEST_BYTES + GRPC_OVERHEAD_BYTES < u32::MAX as usize);
