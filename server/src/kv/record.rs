//! Reading and making the protobuf form of a key's record without generated types.

use bytes::BytesMut;
use engine::Head;
use prost::encoding::encoded_len_varint;

use crate::wire;

// Fields of mvccpb.KeyValue.
const KEY: u32 = 1;
const CREATE: u32 = 2;
const MODIFIED: u32 = 3;
const VERSION: u32 = 4;
const VALUE: u32 = 5;

/// The record in three parts: what stands before the value field, the value, what stands after it. `None` if the
/// record has no value field.
fn split(record: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = record;
    while !rest.is_empty() {
        let before = &record[..record.len() - rest.len()];
        let key = varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (field, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (contents, after) = rest.split_at_checked(length)?;
                rest = after;
                if field == u64::from(VALUE) {
                    return Some((before, contents, after));
                }
            }
            (_, 0) => {
                varint(&mut rest)?;
            }
            _ => return None,
        }
    }
    None
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends field `tag` holding the record as stored.
pub(crate) fn append_record(out: &mut BytesMut, tag: u32, record: &[u8]) {
    wire::bytes(out, tag, record);
}

/// Appends field `tag` holding the record without its value.
pub(crate) fn append_without_value(out: &mut BytesMut, tag: u32, record: &[u8]) {
    let Some((before, _, after)) = split(record) else { return append_record(out, tag, record) };
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint((before.len() + after.len()) as u64, out);
    out.extend_from_slice(before);
    out.extend_from_slice(after);
}

/// Appends field `tag` holding what etcd answers from its key index alone: no value, and no lease either.
pub(crate) fn append_key(out: &mut BytesMut, tag: u32, key: &[u8], head: &Head) {
    let numbers = [(CREATE, head.create), (MODIFIED, head.modified), (VERSION, head.version)];
    let length = 1
        + encoded_len_varint(key.len() as u64)
        + key.len()
        + numbers.iter().map(|&(field, number)| wire::int64_len(field, number)).sum::<usize>();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(length as u64, out);
    wire::bytes(out, KEY, key);
    for (field, number) in numbers {
        wire::int64(out, field, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::mvccpb::KeyValue;
    use prost::Message;

    fn record(value: &'static [u8], lease: i64) -> KeyValue {
        KeyValue {
            key: b"k".as_slice().into(),
            create_revision: 2,
            mod_revision: 300,
            version: 1,
            value: value.into(),
            lease,
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Holder {
        #[prost(message, repeated, tag = "2")]
        kvs: Vec<KeyValue>,
    }

    #[test]
    fn parts_of_a_record() {
        for (value, lease) in [(&b"value"[..], 7), (b"", 7), (b"v", 0), (b"", 0)] {
            let kv = record(value, lease);
            let bytes = kv.encode_to_vec();
            let mut out = BytesMut::new();
            append_record(&mut out, 2, &bytes);
            append_without_value(&mut out, 2, &bytes);
            let head = Head { create: 2, modified: 300, sub: 0, version: 1, lease };
            append_key(&mut out, 2, b"k", &head);
            let without = KeyValue { value: Default::default(), ..kv.clone() };
            let key = KeyValue { lease: 0, ..without.clone() };
            assert_eq!(Holder::decode(out.freeze()).unwrap().kvs, [kv, without, key]);
        }
    }
}
