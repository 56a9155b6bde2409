//! What a member counts, read where everybody can: its `/metrics`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use measure::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// Since the member started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Counters {
    /// When they were read.
    pub(super) at: Instant,
    pub(super) puts: f64,
    /// Durable writes of the log.
    pub(super) syncs: f64,
    /// How long they took, seconds.
    pub(super) syncing: f64,
    /// CPU time of its process, seconds.
    pub(super) cpu: f64,
}

impl Counters {
    pub(super) fn read(address: SocketAddr) -> Result<Counters> {
        let text = get(address)
            .map_err(|error| Error::Wrong(format!("the server's metrics cannot be read: {error}")))?;
        Counters::parse(&text)
            .ok_or_else(|| Error::Wrong("the server's metrics lack its puts or its syncs".to_owned()))
    }

    fn parse(text: &str) -> Option<Counters> {
        let value = |name: &str| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
            text.lines().find_map(value)
        };
        Some(Counters {
            at: Instant::now(),
            puts: value("etcd_mvcc_put_total")?,
            syncs: value("graven_wal_sync_duration_seconds_count")?,
            syncing: value("graven_wal_sync_duration_seconds_sum")?,
            cpu: value("process_cpu_seconds_total")?,
        })
    }
}

fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let text = "# TYPE etcd_mvcc_put_total counter\netcd_mvcc_put_total 12\n\
                    graven_wal_sync_duration_seconds_bucket{le=\"+Inf\"} 9\n\
                    graven_wal_sync_duration_seconds_sum 0.25\ngraven_wal_sync_duration_seconds_count 9\n\
                    process_cpu_seconds_total 1.5\n";
        let found = Counters::parse(text).unwrap();
        assert_eq!((found.puts, found.syncs, found.syncing, found.cpu), (12.0, 9.0, 0.25, 1.5));
        assert_eq!(Counters::parse(&text.replace("put_total", "put_totals")), None);
    }
}
