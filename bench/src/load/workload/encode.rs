//! Requests of `rpc.proto`, written field by field: a load generator must not spend its time on building messages.

/// Appends a number without its field.
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field that holds bytes or another message.
pub(in crate::load) fn bytes(field: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Appends a field that holds a number; 0 is not written.
pub(in crate::load) fn number(field: u8, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        out.push(field << 3);
        varint(value, out);
    }
}

/// Appends a field that holds a number, 0 as well: one of several of which exactly one has to be there.
pub(in crate::load) fn choice(field: u8, value: u64, out: &mut Vec<u8>) {
    out.push(field << 3);
    varint(value, out);
}

/// Appends a `PutRequest`.
pub(in crate::load) fn put(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    bytes(1, key, out);
    if !value.is_empty() {
        bytes(2, value, out);
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::PutRequest;
    use prost::Message;

    use super::*;

    #[test]
    fn puts_are_as_the_generated_type_writes_them() {
        for value in [&b""[..], b"v", &[7; 300]] {
            let mut out = Vec::new();
            put(b"key", value, &mut out);
            let request =
                PutRequest { key: "key".into(), value: value.to_vec().into(), ..PutRequest::default() };
            assert_eq!(out, request.encode_to_vec());
        }
    }
}
