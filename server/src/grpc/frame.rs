//! One gRPC message as it travels: a flag byte, the length in four bytes, the message.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// An arena that has grown beyond this many bytes is given up.
const LARGEST_ARENA: usize = 64 << 10;

/// Bytes before every message: compressed flag and length.
pub(super) const PREFIX: usize = 5;

/// A framed message, ready to be sent. Cloning shares the bytes.
///
/// It has two parts so that a large piece that many receivers share (the events of a watch response) need not be
/// copied for each of them: `head` holds the prefix and what is particular to the receiver, `tail` the rest.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    head: Bytes,
    tail: Bytes,
}

impl Frame {
    /// Encodes `message` in `buffer`, which holds nothing of worth, and splits it off. Allocates only when `buffer` is used up.
    pub fn encode(message: &impl Message, buffer: &mut BytesMut) -> Frame {
        let length = message.encoded_len();
        // A frame that was begun and given up may have left bytes behind.
        buffer.clear();
        buffer.reserve(PREFIX + length);
        put_prefix(buffer, length);
        message.encode_raw(buffer);
        Frame { head: take(buffer), tail: Bytes::new() }
    }

    /// Begins a frame whose message is appended piece by piece.
    pub fn build(buffer: &mut BytesMut) -> FrameBuilder<'_> {
        buffer.clear();
        buffer.put_bytes(0, PREFIX);
        FrameBuilder { buffer }
    }

    /// All bytes on the wire, prefix included.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Never true for a frame made here; there for the sake of `len`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message without its prefix, joined. For tests and for callers that are in no hurry.
    pub fn message(&self) -> Bytes {
        if self.tail.is_empty() {
            return self.head.slice(PREFIX..);
        }
        [&self.head[PREFIX..], &self.tail[..]].concat().into()
    }

    pub(crate) fn into_parts(self) -> (Bytes, Bytes) {
        (self.head, self.tail)
    }
}

/// Appends the pieces of one message; protobuf allows fields in any order, so a message can be assembled from bytes
/// that were encoded before.
pub struct FrameBuilder<'a> {
    buffer: &'a mut BytesMut,
}

impl FrameBuilder<'_> {
    /// Where the pieces go. Only append.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer
    }

    /// Bytes of the message so far.
    pub fn len(&self) -> usize {
        self.buffer.len() - PREFIX
    }

    /// True as long as nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame of what was appended.
    pub fn finish(self) -> Frame {
        self.finish_with(Bytes::new())
    }

    /// The frame of what was appended, followed by `tail`, which is shared and not copied.
    pub fn finish_with(self, tail: Bytes) -> Frame {
        let length = self.len() + tail.len();
        let mut prefix = &mut self.buffer[..PREFIX];
        prefix.put_u8(0);
        prefix.put_u32(u32::try_from(length).expect("a message is shorter than 4 GiB"));
        Frame { head: take(self.buffer), tail }
    }
}

/// Splits off what was built. A large message takes its memory with it: what is left of the arena would otherwise keep
/// the whole of it alive, and reuse it, for ever.
fn take(buffer: &mut BytesMut) -> Bytes {
    let built = buffer.split().freeze();
    if built.len() + buffer.capacity() > LARGEST_ARENA {
        *buffer = BytesMut::new();
    }
    built
}

fn put_prefix(buffer: &mut BytesMut, length: usize) {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).expect("a message is shorter than 4 GiB"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_leaves_no_large_arena() {
        let mut arena = BytesMut::with_capacity(16 << 10);
        for size in [10, 5 << 20, 10] {
            let mut builder = Frame::build(&mut arena);
            builder.buffer().put_bytes(7, size);
            assert_eq!(builder.finish().len(), PREFIX + size);
            assert!(
                arena.capacity() <= LARGEST_ARENA,
                "{} bytes after a message of {size}",
                arena.capacity()
            );
        }
    }

    #[test]
    fn pieces_and_tail_make_one_message() {
        let mut arena = BytesMut::new();
        let mut builder = Frame::build(&mut arena);
        builder.buffer().put_slice(b"ab");
        let frame = builder.finish_with(Bytes::from_static(b"cde"));
        assert_eq!(frame.len(), PREFIX + 5);
        assert_eq!(&frame.message()[..], b"abcde");
        let (head, tail) = frame.into_parts();
        assert_eq!(&head[..], b"\0\0\0\0\x05ab");
        assert_eq!(&tail[..], b"cde");
        assert!(arena.is_empty());
    }
}
