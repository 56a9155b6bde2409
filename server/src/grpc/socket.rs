//! The bytes of a connection: h2 reads and writes through these.
//!
//! What h2 writes is only collected. The connection sends it once at the end of its turn, so that all answers of a
//! turn leave in one system call. `is_write_vectored` is false, which makes h2 copy small payloads next to their
//! frame headers instead of handing over a list of pieces.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::inspect::Inspector;

/// With more than this collected, h2 has to wait until the socket takes some.
const COLLECT: usize = 256 << 10;
/// An idle connection keeps no larger buffer than this.
const KEEP: usize = 32 << 10;

/// The sending side, shared by h2's half and the connection.
pub(crate) struct Socket {
    sending: RefCell<Sending>,
    inspector: RefCell<Inspector>,
}

struct Sending {
    writer: OwnedWriteHalf,
    out: BytesMut,
    /// Bytes h2 has written since the beginning.
    written: u64,
}

impl Socket {
    /// Takes a connection apart. `first` was read from it already.
    pub(crate) fn open(stream: TcpStream, first: BytesMut) -> (Rc<Socket>, Wire) {
        let (reader, writer) = stream.into_split();
        let sending = RefCell::new(Sending { writer, out: BytesMut::new(), written: 0 });
        let socket = Rc::new(Socket { sending, inspector: RefCell::default() });
        let wire = Wire { reader, first, socket: socket.clone() };
        (socket, wire)
    }

    /// Sends what was collected. `Pending` when the socket takes no more now.
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sending.borrow_mut().poll_drain(cx)
    }

    /// Puts a finished frame behind what h2 has written. Only between h2's frames.
    pub(crate) fn append(&self, frame: &[u8]) {
        self.sending.borrow_mut().out.extend_from_slice(frame);
    }

    /// Bytes h2 has written since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.sending.borrow().written
    }

    /// What came in since the last look.
    pub(crate) fn inspect<R>(&self, look: impl FnOnce(&mut Inspector) -> R) -> R {
        look(&mut self.inspector.borrow_mut())
    }
}

impl Sending {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let sent = ready!(Pin::new(&mut self.writer).poll_write(cx, &self.out))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(sent);
        }
        if self.out.capacity() > KEEP {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// h2's side of the connection.
pub(crate) struct Wire {
    reader: OwnedReadHalf,
    first: BytesMut,
    socket: Rc<Socket>,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        if this.first.is_empty() {
            ready!(Pin::new(&mut this.reader).poll_read(cx, into))?;
        } else {
            let count = into.remaining().min(this.first.len());
            into.put_slice(&this.first[..count]);
            this.first.advance(count);
            if this.first.is_empty() {
                this.first = BytesMut::new();
            }
        }
        this.socket.inspector.borrow_mut().push(&into.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut sending = self.socket.sending.borrow_mut();
        if sending.out.len() >= COLLECT {
            ready!(sending.poll_drain(cx))?;
        }
        sending.out.extend_from_slice(bytes);
        sending.written += bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.socket.sending.borrow_mut();
        ready!(sending.poll_drain(cx))?;
        Pin::new(&mut sending.writer).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}
