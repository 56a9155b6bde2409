//! Messages out of DATA frames: split or joined as the client liked.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::PREFIX;
use super::status::{Code, Status};

/// Collects the bytes of one stream and gives out whole messages.
#[derive(Default)]
pub(crate) struct Deframer {
    chunk: Bytes,
    /// A message of which only a part was in the chunks so far, prefix included.
    partial: BytesMut,
}

impl Deframer {
    /// Adds received bytes. Take all messages before the next chunk.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// True when a message has begun and not ended.
    pub(crate) fn is_partial(&self) -> bool {
        !self.partial.is_empty() || !self.chunk.is_empty()
    }

    /// The next whole message of at most `max` bytes. The size is checked as soon as the prefix is there, before
    /// anything is kept. A message that came in one piece is not copied.
    pub(crate) fn next(&mut self, max: usize) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            if self.chunk.len() >= PREFIX {
                let length = check_prefix(&self.chunk, max)?;
                if self.chunk.len() >= PREFIX + length {
                    self.chunk.advance(PREFIX);
                    return Ok(Some(self.chunk.split_to(length)));
                }
            }
            self.keep(self.chunk.len());
            return Ok(None);
        }
        if self.partial.len() < PREFIX {
            self.keep(PREFIX - self.partial.len());
            if self.partial.len() < PREFIX {
                return Ok(None);
            }
        }
        let length = check_prefix(&self.partial, max)?;
        self.keep(PREFIX + length - self.partial.len());
        if self.partial.len() < PREFIX + length {
            return Ok(None);
        }
        let mut whole = self.partial.split().freeze();
        whole.advance(PREFIX);
        Ok(Some(whole))
    }

    /// Moves up to `count` bytes from the chunk to the partial message.
    fn keep(&mut self, count: usize) {
        let count = count.min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
    }
}

/// The length that a prefix announces; grpc-go's refusals otherwise.
fn check_prefix(bytes: &[u8], max: usize) -> Result<usize, Status> {
    let [flag, a, b, c, d, ..] = *bytes else { return Ok(0) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > max {
        let text = format!("grpc: received message larger than max ({length} vs. {max})");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    match flag {
        0 => Ok(length),
        // A call that names an encoding was refused before its first message.
        1 => Err(Status::fixed(Code::Internal, "grpc: compressed flag set with identity or empty encoding")),
        flag => Err(Status::new(Code::Internal, format!("grpc: received unexpected payload format {flag}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn messages_come_out_whole_however_the_bytes_are_cut() {
        let messages: [&[u8]; 5] = [b"a", b"", b"some more bytes", b"", b"the end"];
        let wire: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        for size in 1..=wire.len() {
            let mut deframer = Deframer::default();
            let mut seen = Vec::new();
            for chunk in wire.chunks(size) {
                deframer.push(Bytes::copy_from_slice(chunk));
                while let Some(message) = deframer.next(100).expect("valid") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, messages, "cut every {size} bytes");
            assert!(!deframer.is_partial());
        }
    }

    #[test]
    fn the_size_is_refused_from_the_prefix_alone() {
        for split in [0, 1, 4, 5] {
            let wire = [0, 0, 0, 0, 11];
            let mut deframer = Deframer::default();
            deframer.push(Bytes::copy_from_slice(&wire[..split]));
            let first = deframer.next(10);
            let refusal = first.and_then(|_| {
                deframer.push(Bytes::copy_from_slice(&wire[split..]));
                deframer.next(10)
            });
            let status = refusal.expect_err("too large");
            assert_eq!(status.code, Code::ResourceExhausted);
            assert_eq!(status.message, "grpc: received message larger than max (11 vs. 10)");
        }
    }

    #[test]
    fn flags_are_refused() {
        let cases = [
            (1, "grpc: compressed flag set with identity or empty encoding"),
            (2, "grpc: received unexpected payload format 2"),
            (255, "grpc: received unexpected payload format 255"),
        ];
        for (flag, text) in cases {
            let mut deframer = Deframer::default();
            deframer.push(Bytes::copy_from_slice(&[flag, 0, 0, 0, 0]));
            let status = deframer.next(10).expect_err("flag");
            assert_eq!((status.code, &*status.message), (Code::Internal, text));
        }
    }
}
