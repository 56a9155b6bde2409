//! Writing protobuf by hand, where answers are put together from stored bytes.
//!
//! A length stands before its contents, and here contents are written once and in place: one byte is left for
//! the length, and only contents of 128 bytes and more are moved up to make room for a longer one.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// A length-delimited field whose contents `body` appends.
pub(crate) fn nested<E>(
    out: &mut BytesMut,
    tag: u32,
    body: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    encode_key(tag, WireType::LengthDelimited, out);
    let start = out.len();
    out.put_u8(0);
    body(out)?;
    let length = out.len() - start - 1;
    let more = encoded_len_varint(length as u64) - 1;
    if more > 0 {
        out.put_bytes(0, more);
        out.copy_within(start + 1..start + 1 + length, start + 1 + more);
    }
    let mut place = &mut out[start..=start + more];
    encode_varint(length as u64, &mut place);
    Ok(())
}

/// A length-delimited field with contents at hand.
pub(crate) fn bytes(out: &mut BytesMut, tag: u32, contents: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(contents.len() as u64, out);
    out.put_slice(contents);
}

/// A message field; nothing is left out, an empty message is two bytes.
pub(crate) fn message(out: &mut BytesMut, tag: u32, message: &impl prost::Message) {
    prost::encoding::message::encode(tag, message, out);
}

/// An integer field; zero is left out, as proto3 has it.
pub(crate) fn int64(out: &mut BytesMut, tag: u32, value: i64) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        // Negative numbers travel as their two's complement.
        encode_varint(value.cast_unsigned(), out);
    }
}

/// A boolean field; false is left out.
pub(crate) fn bool(out: &mut BytesMut, tag: u32, value: bool) {
    int64(out, tag, i64::from(value));
}

/// How many bytes [`int64`] appends.
pub(crate) fn int64_len(tag: u32, value: i64) -> usize {
    if value == 0 { 0 } else { prost::encoding::key_len(tag) + encoded_len_varint(value.cast_unsigned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn nested_lengths_of_every_size() {
        for size in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000, 2_097_152] {
            let contents = vec![7_u8; size];
            let mut out = BytesMut::from(&b"before"[..]);
            nested::<()>(&mut out, 2, |out| {
                out.put_slice(&contents);
                Ok(())
            })
            .unwrap();
            let mut expected = BytesMut::from(&b"before"[..]);
            bytes(&mut expected, 2, &contents);
            assert_eq!(out, expected, "{size}");
        }
    }

    #[test]
    fn integers_as_prost_writes_them() {
        for value in [0, 1, -1, 127, 128, i64::MAX, i64::MIN] {
            let mut out = BytesMut::new();
            int64(&mut out, 3, value);
            assert_eq!(out.len(), int64_len(3, value));
            let header = api::etcdserverpb::ResponseHeader { revision: value, ..Default::default() };
            assert_eq!(out[..], header.encode_to_vec()[..]);
        }
    }
}
