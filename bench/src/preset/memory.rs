//! The server's memory as its metrics tell it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::client::Target;

const PATIENCE: Duration = Duration::from_secs(10);
/// More than all metrics of a server.
const MOST_BYTES: u64 = 64 << 20;
const RESIDENT: &str = "process_resident_memory_bytes ";

/// Resident bytes of the first endpoint's process; the reason in words when they can't be had.
pub(super) fn resident_bytes(target: &Target) -> Result<f64, String> {
    let endpoint = target.endpoint(0);
    let text = fetch(target).map_err(|error| format!("http://{endpoint}/metrics: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(RESIDENT));
    line.and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| format!("{endpoint}/metrics has no {}", RESIDENT.trim()))
}

fn fetch(target: &Target) -> std::io::Result<String> {
    let endpoint = target.endpoint(0);
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match &target.tls {
        None => exchange(stream, &endpoint.to_string()),
        Some(config) => {
            let mut config = config.as_ref().clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let name = ServerName::try_from(endpoint.host.clone()).map_err(std::io::Error::other)?;
            let session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
            exchange(StreamOwned::new(session, stream), &endpoint.to_string())
        }
    }
}

/// HTTP/1.0, so that the body comes as it is and ends with the connection.
fn exchange(mut stream: impl Read + Write, host: &str) -> std::io::Result<String> {
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut answer = Vec::new();
    let read = stream.take(MOST_BYTES).read_to_end(&mut answer);
    // Without TLS's goodbye the body may still be whole; the metric is looked for in it anyway.
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
