//! As much of etcd's answers as a load has to look at, read without copying. Fields are those of `rpc.proto`.

/// The bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// Goes through the fields of a message.
pub(crate) struct Fields<'b>(pub(crate) &'b [u8]);

impl<'b> Fields<'b> {
    fn varint(&mut self) -> Result<u64, Garbled> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Garbled)
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], Garbled> {
        let length = usize::try_from(length).map_err(|_| Garbled)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Garbled)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The next field with its number; fields of fixed width, which etcd does not use, count as bytes.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Field<'b>)>, Garbled> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Bytes(self.take(4)?),
            _ => return Err(Garbled),
        };
        Ok(Some((key >> 3, field)))
    }
}

/// What every answer has: the revision in its header; 0 where there is none.
pub(crate) fn revision(answer: &[u8]) -> Result<i64, Garbled> {
    let mut fields = Fields(answer);
    while let Some(field) = fields.next()? {
        if let (1, Field::Bytes(header)) = field {
            return header_revision(header);
        }
    }
    Ok(0)
}

pub(crate) fn header_revision(header: &[u8]) -> Result<i64, Garbled> {
    let mut fields = Fields(header);
    let mut revision = 0;
    while let Some(field) = fields.next()? {
        if let (3, Field::Number(number)) = field {
            revision = number.cast_signed();
        }
    }
    Ok(revision)
}

/// A `RangeResponse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range<'b> {
    pub(crate) revision: i64,
    /// How many keys came.
    pub(crate) kvs: u64,
    /// How many there are.
    pub(crate) count: i64,
    pub(crate) more: bool,
    /// The first and the last key that came.
    pub(crate) first: &'b [u8],
    pub(crate) last: &'b [u8],
    /// Keys came in ascending order, each once.
    pub(crate) is_sorted: bool,
}

/// Reads a `RangeResponse`.
pub(crate) fn range(answer: &[u8]) -> Result<Range<'_>, Garbled> {
    let mut range = Range { is_sorted: true, ..Range::default() };
    let mut fields = Fields(answer);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(header)) => range.revision = header_revision(header)?,
            (2, Field::Bytes(kv)) => {
                let key = key_of(kv)?;
                if range.kvs == 0 {
                    range.first = key;
                } else {
                    range.is_sorted &= range.last < key;
                }
                range.last = key;
                range.kvs += 1;
            }
            (3, Field::Number(more)) => range.more = more != 0,
            (4, Field::Number(count)) => range.count = count.cast_signed(),
            _ => {}
        }
    }
    Ok(range)
}

fn key_of(kv: &[u8]) -> Result<&[u8], Garbled> {
    let mut fields = Fields(kv);
    while let Some(field) = fields.next()? {
        if let (1, Field::Bytes(key)) = field {
            return Ok(key);
        }
    }
    Ok(&[])
}

/// A `TxnResponse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Txn {
    pub(crate) revision: i64,
    pub(crate) succeeded: bool,
    /// How many operations were answered.
    pub(crate) responses: u64,
    /// One of them is of a read that found a key.
    pub(crate) has_found: bool,
}

/// Reads a `TxnResponse`.
pub(crate) fn txn(answer: &[u8]) -> Result<Txn, Garbled> {
    let mut txn = Txn::default();
    let mut fields = Fields(answer);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(header)) => txn.revision = header_revision(header)?,
            (2, Field::Number(succeeded)) => txn.succeeded = succeeded != 0,
            (3, Field::Bytes(response)) => {
                txn.responses += 1;
                txn.has_found = txn.has_found || finds(response)?;
            }
            _ => {}
        }
    }
    Ok(txn)
}

/// Whether a `ResponseOp` is of a read that found a key.
fn finds(response: &[u8]) -> Result<bool, Garbled> {
    match Fields(response).next()? {
        Some((1, Field::Bytes(range))) => {
            let mut fields = Fields(range);
            while let Some(field) = fields.next()? {
                if let (4, Field::Number(count)) = field {
                    return Ok(count != 0);
                }
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::response_op::Response;
    use api::etcdserverpb::{PutResponse, RangeResponse, ResponseHeader, ResponseOp, TxnResponse};
    use api::mvccpb::KeyValue;
    use prost::Message;

    use super::*;

    fn header() -> Option<ResponseHeader> {
        Some(ResponseHeader { cluster_id: u64::MAX, member_id: 7, revision: 123_456, raft_term: 2 })
    }

    fn kv(key: &'static str) -> KeyValue {
        KeyValue {
            key: key.into(),
            create_revision: 5,
            mod_revision: 300,
            value: "v".into(),
            ..KeyValue::default()
        }
    }

    #[test]
    fn reads_what_the_generated_types_write() {
        let put = PutResponse { header: header(), prev_kv: Some(kv("a")) }.encode_to_vec();
        assert_eq!(revision(&put), Ok(123_456));
        let kvs = vec![kv("a"), kv("ab"), kv("c")];
        let sorted = RangeResponse { header: header(), kvs, more: true, count: 9 }.encode_to_vec();
        let read = range(&sorted).unwrap();
        assert_eq!((read.revision, read.kvs, read.count, read.more), (123_456, 3, 9, true));
        assert_eq!((read.first, read.last, read.is_sorted), (&b"a"[..], &b"c"[..], true));
        let twice = RangeResponse { kvs: vec![kv("b"), kv("b")], ..RangeResponse::default() }.encode_to_vec();
        assert!(!range(&twice).unwrap().is_sorted);
        let responses = vec![ResponseOp::default(), ResponseOp::default()];
        let answer = TxnResponse { header: header(), succeeded: true, responses }.encode_to_vec();
        let expected = Txn { revision: 123_456, succeeded: true, responses: 2, has_found: false };
        assert_eq!(txn(&answer), Ok(expected));
        let read = |count| ResponseOp {
            response: Some(Response::ResponseRange(RangeResponse {
                header: header(),
                count,
                ..RangeResponse::default()
            })),
        };
        let found = |counts: [i64; 2]| {
            let responses = counts.map(read).to_vec();
            txn(&TxnResponse { header: header(), succeeded: true, responses }.encode_to_vec())
                .unwrap()
                .has_found
        };
        assert_eq!([found([0, 0]), found([0, 3])], [false, true]);
    }

    #[test]
    fn what_is_cut_short_is_garbled_or_less_but_never_a_panic() {
        let put = PutResponse { header: header(), prev_kv: Some(kv("a")) }.encode_to_vec();
        for length in 1..put.len() {
            let _ = (revision(&put[..length]), range(&put[..length]), txn(&put[..length]));
        }
        assert_eq!(revision(&put[..5]), Err(Garbled));
        assert_eq!(revision(&[0xff; 20]), Err(Garbled));
        assert_eq!(revision(&[]), Ok(0));
    }
}
