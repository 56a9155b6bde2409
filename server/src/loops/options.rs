//! The front end's numbers, with the values etcd runs with.

use std::time::Duration;

/// Limits and times of the front end.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest request message in bytes. etcd: `--max-request-bytes` plus 512 KiB.
    pub max_receive_bytes: usize,
    /// `--max-concurrent-streams`, per connection.
    pub max_concurrent_streams: u32,
    /// What a client may send on one stream before it is read.
    pub stream_window: u32,
    /// The same for a whole connection. Also allows half as much overhead of tiny DATA frames: a client with
    /// thousands of keep-alive streams on one connection sends nothing but tiny frames.
    pub connection_window: u32,
    /// Decoded size of a request's headers. grpc-go allows 16 MiB; no client of etcd sends more than a token.
    pub max_header_bytes: u32,
    /// `StreamOut::ready` says no beyond this many unsent bytes of a stream.
    pub stream_buffer: usize,
    /// With more unsent bytes than this a connection's further calls wait until the client has read.
    pub connection_buffer: usize,
    /// A connection must say what it wants (preface or request head) within this time.
    pub head_timeout: Duration,
    /// An HTTP/1.1 connection between requests.
    pub idle_timeout: Duration,
    /// Largest body of an HTTP/1.1 request.
    pub max_http_body: usize,
    /// `--grpc-keepalive-interval`: ping a client that was silent for so long.
    pub keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout`: and close when it stays silent for so long after that.
    pub keepalive_timeout: Duration,
    /// `--grpc-keepalive-min-time`: clients that ping more often are sent away.
    pub keepalive_min_time: Duration,
    /// Connections at once over all loops; further ones are closed at once.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_receive_bytes: 1536 * 1024 + 512 * 1024,
            max_concurrent_streams: u32::MAX,
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            max_header_bytes: 64 << 10,
            stream_buffer: 1 << 20,
            connection_buffer: 64 << 20,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            max_http_body: 4 << 20,
            keepalive_interval: Duration::from_secs(2 * 3600),
            keepalive_timeout: Duration::from_secs(20),
            keepalive_min_time: Duration::from_secs(5),
            max_connections: usize::MAX,
        }
    }
}
