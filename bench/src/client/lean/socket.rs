//! Bytes to and from a server, plain or through TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A connected socket.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// A socket with TLS over it.
pub(super) struct Tls {
    stream: TcpStream,
    session: ClientConnection,
    /// What was decrypted last.
    plain: Vec<u8>,
    /// The server has said that it is done.
    is_over: bool,
}

/// What became of bytes to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The system takes no more for now.
    Some,
}

impl Socket {
    /// Shakes hands if need be, waiting no longer than `patience` for each word of the server.
    pub(super) fn open(
        stream: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
        host: &str,
        patience: Duration,
    ) -> io::Result<Socket> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let Some(config) = tls else { return Ok(Socket::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        // What is handed over is gathered by the caller; TLS need not say no.
        session.set_buffer_limit(None);
        let mut tls = Tls { stream, session, plain: Vec::new(), is_over: false };
        while tls.session.is_handshaking() {
            tls.session.complete_io(&mut tls.stream)?;
        }
        Ok(Socket::Tls(Box::new(tls)))
    }

    /// From now on reading and writing never wait.
    pub(super) fn stop_waiting(&self) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.set_nonblocking(true),
            Socket::Tls(tls) => tls.stream.set_nonblocking(true),
        }
    }

    /// Sends from the front of `out` what the system takes; what TLS has taken is its own to send.
    pub(super) fn send(&mut self, out: &mut Vec<u8>) -> io::Result<Sent> {
        let tls = match self {
            Socket::Plain(stream) => {
                let mut sent = 0;
                let result = loop {
                    match stream.write(&out[sent..]) {
                        Ok(length) => sent += length,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(Sent::Some),
                        Err(error) => break Err(error),
                    }
                    if sent == out.len() {
                        break Ok(Sent::All);
                    }
                };
                out.drain(..sent);
                return result;
            }
            Socket::Tls(tls) => tls,
        };
        tls.session.writer().write_all(out)?;
        out.clear();
        while tls.session.wants_write() {
            match tls.session.write_tls(&mut tls.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Some),
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::All)
    }

    /// The server has said goodbye; its end of the connection may still be open.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Socket::Tls(tls) if tls.is_over)
    }

    /// What one read brings: nothing may be there yet; `None` is the end. `buffer` is room to read into.
    pub(super) fn receive<'b>(&'b mut self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        let stream = match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(tls) => &mut tls.stream,
        };
        let length = loop {
            match stream.read(buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(&[])),
                Err(error) => return Err(error),
            }
        };
        match self {
            Socket::Plain(_) => Ok(Some(&buffer[..length])),
            Socket::Tls(tls) => tls.decrypt(&buffer[..length]).map(Some),
        }
    }
}

impl Tls {
    fn decrypt(&mut self, mut coded: &[u8]) -> io::Result<&[u8]> {
        self.plain.clear();
        // Behind the server's goodbye nothing more is taken in, whatever comes.
        while !coded.is_empty() && self.session.read_tls(&mut coded)? > 0 {
            let state = self.session.process_new_packets().map_err(io::Error::other)?;
            let (start, more) = (self.plain.len(), state.plaintext_bytes_to_read());
            self.plain.resize(start + more, 0);
            self.session.reader().read_exact(&mut self.plain[start..])?;
            self.is_over |= state.peer_has_closed();
        }
        Ok(&self.plain)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Plain(stream) => stream.as_fd(),
            Socket::Tls(tls) => tls.stream.as_fd(),
        }
    }
}
