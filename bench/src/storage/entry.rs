//! What one log entry of the benchmark's member holds: a batch of changes, framed as the server frames its proposals, so
//! that the log gets as many bytes and applying has as much to decode.
//!
//! ```text
//! 25 bytes (the server names the batch here) | count u32 | count x (length u32 | kind u8 | key length u16 | key | value)
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{Error, Result};

const NAME_BYTES: usize = 25;
const PUT: u8 = 0;
const DELETE: u8 = 1;

/// Changes on their way into the log.
pub(crate) struct Batch {
    data: BytesMut,
    count: u32,
}

impl Default for Batch {
    fn default() -> Batch {
        let mut batch = Batch { data: BytesMut::new(), count: 0 };
        batch.begin();
        batch
    }
}

impl Batch {
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(PUT, key, value);
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.push(DELETE, key, b"");
    }

    /// Changes in it.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The entry's data; the batch is empty afterwards.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.data[NAME_BYTES..NAME_BYTES + 4].copy_from_slice(&self.count.to_le_bytes());
        let data = self.data.split().freeze();
        self.begin();
        data
    }

    fn begin(&mut self) {
        self.data.reserve(64 << 10);
        self.data.put_bytes(0, NAME_BYTES + 4);
        self.count = 0;
    }

    fn push(&mut self, kind: u8, key: &[u8], value: &[u8]) {
        let length = 1 + 2 + key.len() + value.len();
        self.data.put_u32_le(u32::try_from(length).expect("no change of 4 GiB"));
        self.data.put_u8(kind);
        self.data.put_u16_le(u16::try_from(key.len()).expect("keys are short"));
        self.data.put_slice(key);
        self.data.put_slice(value);
        self.count += 1;
    }
}

/// A change that came out of the log.
pub(crate) enum Change {
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

/// Takes an entry apart; how many changes it held.
pub(crate) fn for_each(mut data: Bytes, mut change: impl FnMut(Change) -> Result<()>) -> Result<usize> {
    let torn = || Error::Wrong("a log entry is not as it was written".to_owned());
    if data.len() < NAME_BYTES + 4 {
        return Err(torn());
    }
    data.advance(NAME_BYTES);
    let count = data.get_u32_le();
    for _ in 0..count {
        let length = data.try_get_u32_le().map_err(|_| torn())? as usize;
        if length < 3 || length > data.len() {
            return Err(torn());
        }
        let mut body = data.split_to(length);
        let kind = body.get_u8();
        let key_bytes = usize::from(body.get_u16_le());
        if key_bytes > body.len() {
            return Err(torn());
        }
        let key = body.split_to(key_bytes);
        change(if kind == PUT { Change::Put { key, value: body } } else { Change::Delete { key } })?;
    }
    Ok(count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went_in() {
        let mut batch = Batch::default();
        batch.put(b"a", b"1");
        batch.delete(b"b");
        assert_eq!(batch.len(), 2);
        let data = batch.finish();
        assert_eq!(batch.len(), 0);
        let mut seen = Vec::new();
        let count = for_each(data.clone(), |change| {
            seen.push(match change {
                Change::Put { key, value } => format!("put {key:?} {value:?}"),
                Change::Delete { key } => format!("delete {key:?}"),
            });
            Ok(())
        });
        assert_eq!(
            (count.unwrap(), seen),
            (2, vec!["put b\"a\" b\"1\"".to_owned(), "delete b\"b\"".to_owned()])
        );
        for length in 0..data.len() {
            assert!(for_each(data.slice(..length), |_| Ok(())).is_err(), "cut at {length}");
        }
    }
}
