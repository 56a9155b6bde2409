//! Just enough HTTP/1.1 for who asks for metrics.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use measure::{Error, Result};

use super::metrics::Metrics;

/// Scrapes at a time; further ones are hung up on.
const MOST: usize = 8;
/// A request's head is not longer...
const LONGEST_HEAD: u64 = 8 << 10;
/// ...and does not take longer to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves from threads of its own until the process ends. Returns the address, with the port that was found.
pub(super) fn listen(address: &str, metrics: Arc<Metrics>) -> Result<SocketAddr> {
    let refused = |error: io::Error| {
        Error::Usage(format!(
            "--listen {address}: {error}: give an address of this machine and a free port, as 127.0.0.1:9470"
        ))
    };
    let listener = TcpListener::bind(address).map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || accept(&listener, &metrics))
        .map_err(refused)?;
    Ok(bound)
}

fn accept(listener: &TcpListener, metrics: &Arc<Metrics>) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        // Out of descriptors, or the peer has gone: the next one may do better.
        let Ok(stream) = stream else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if busy.fetch_add(1, Ordering::Relaxed) >= MOST {
            busy.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (own, metrics) = (Arc::clone(&busy), Arc::clone(metrics));
        let spawned = thread::Builder::new().name("scrape".to_owned()).spawn(move || {
            // A scraper that goes away is its own affair.
            let _ = answer(stream, &metrics);
            own.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn answer(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut stream)?;
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", prometheus::TEXT_FORMAT, metrics.text()),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "text/plain", b"metrics are at /metrics\n".to_vec()),
        _ => ("405 Method Not Allowed", "text/plain", b"only GET\n".to_vec()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    if method != b"HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()
}

/// Up to the empty line, or to the end of what is taken.
fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut stream = stream.take(LONGEST_HEAD);
    let mut piece = [0; 1024];
    loop {
        let read = stream.read(&mut piece)?;
        head.extend_from_slice(&piece[..read]);
        let ended = head.windows(4).any(|bytes| bytes == b"\r\n\r\n")
            || head.windows(2).any(|bytes| bytes == b"\n\n");
        if read == 0 || ended {
            return Ok(head);
        }
    }
}
