//! Telling gRPC from plain HTTP by a connection's first bytes.

use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::home::{Home, OpenGuard};
use super::listener::Serves;
use crate::{grpc, http};

/// What an HTTP/2 client with prior knowledge sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end.
pub(crate) async fn serve(home: Rc<Home>, stream: TcpStream, serves: Serves, guard: OpenGuard) {
    let deadline = Instant::now() + home.options.head_timeout;
    let (stream, first) = match timeout_at(deadline, open(stream)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%error, "connection ended before it began"),
        Err(_) => return tracing::debug!("connection said nothing in time"),
    };
    if first.starts_with(&PREFACE[..first.len().min(PREFACE.len())]) {
        if serves.grpc {
            grpc::serve(home, stream, first, deadline).await;
        }
    } else if serves.http {
        http::serve(home, stream, first, deadline, serves.tag).await;
    }
    drop(guard);
}

/// Reads until the first bytes differ from the preface or are it.
async fn open(stream: TcpStream) -> io::Result<(tokio::net::TcpStream, BytesMut)> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut first = BytesMut::with_capacity(8 << 10);
    loop {
        if stream.read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let known = first.len().min(PREFACE.len());
        if first.len() >= PREFACE.len() || first[..known] != PREFACE[..known] {
            return Ok((stream, first));
        }
    }
}
